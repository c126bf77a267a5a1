//! Why a model cannot be loaded, and why rows cannot be run through it.

use crate::kind::Dtype;

/// Why a file is no model that can be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// Larger than [`crate::limits::MODEL_BYTES_MAX`].
    #[error("the model has {bytes} bytes, the limit is {max}; prune or split the model")]
    TooLarge {
        /// Its size, bytes.
        bytes: usize,
        /// The limit, bytes.
        max: usize,
    },
    /// Not ONNX, or cut off.
    #[error("not an ONNX model: {0}; export it again, or fetch the file again if it was cut off")]
    Malformed(String),
    /// More of something than the limits allow.
    #[error("the model has more than {max} {what}; prune or split it")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// An operator that is not there.
    #[error("operator {op} of node {node} is not supported; supported are: {supported}")]
    Unsupported {
        /// The operator, with its domain where that is not the default one.
        op: String,
        /// The node: its name, or what it makes.
        node: String,
        /// All that are supported.
        supported: String,
    },
    /// An operator that is there, used in a way that is not.
    #[error("node {node} ({op}): {reason}")]
    Node {
        /// The operator.
        op: String,
        /// The node: its name, or what it makes.
        node: String,
        /// What is wrong, and what would do.
        reason: String,
    },
    /// An input, output or constant of the graph that cannot be served.
    #[error("{which} {name:?}: {reason}")]
    Port {
        /// `input`, `output` or what else has the name.
        which: &'static str,
        /// Its name.
        name: String,
        /// What is wrong, and what would do.
        reason: String,
    },
}

/// Why rows cannot be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// Another number of columns than the model takes.
    #[error("{got} columns were given, the model takes {want}")]
    Columns {
        /// Columns given.
        got: usize,
        /// Columns wanted.
        want: usize,
    },
    /// A column of another type.
    #[error("column {column} of input {input:?} is {got}, the model takes {want}")]
    Type {
        /// The input.
        input: String,
        /// Which of its columns, from 0.
        column: usize,
        /// The type given.
        got: Dtype,
        /// The type wanted.
        want: Dtype,
    },
    /// Columns of different lengths.
    #[error("column {column} of input {input:?} has {got} rows, the first column has {want}")]
    Rows {
        /// The input.
        input: String,
        /// Which of its columns, from 0.
        column: usize,
        /// Its rows.
        got: usize,
        /// The rows wanted.
        want: usize,
    },
    /// A value that an operator refuses.
    #[error("row {row}: {reason}")]
    Row {
        /// Which row, from 0.
        row: usize,
        /// What the operator refuses.
        reason: String,
    },
}
