//! Why a file is no network that can be run.

use evenkeel_onnx::LoadError;

/// Why a file is no network that can be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// This program has no tract.
    #[error("this program was built without neural networks; build it with `cargo build --release`")]
    NotBuilt,
    /// No ONNX, beyond the limits of a file, or a node, input, output or constant that is not let through.
    #[error(transparent)]
    Read(#[from] LoadError),
    /// Larger than [`crate::limits::NETWORK_BYTES_MAX`].
    #[error("the network has {bytes} bytes, the limit is {max}; prune or split it")]
    TooLarge {
        /// Its size, bytes.
        bytes: usize,
        /// The limit, bytes.
        max: usize,
    },
    /// An operator that is not let through.
    #[error("operator {op} of node {node} is not supported; of neural networks these are: {supported}")]
    Unsupported {
        /// The operator, with its domain where that is not the default one.
        op: String,
        /// The node: its name, or what it makes.
        node: String,
        /// All that are.
        supported: String,
    },
    /// More cells than the limits allow.
    #[error("{what} has more than {max} cells for one row; prune or split the network")]
    TooWide {
        /// A node, or all of them.
        what: String,
        /// The limit.
        max: usize,
    },
    /// tract refuses it.
    #[error("tract cannot {what} it: {reason}")]
    Tract {
        /// At which step.
        what: &'static str,
        /// What tract says.
        reason: String,
    },
}
