//! Why a run of the scorer ends without its files, or without some of their rows.

use crate::runtime::RuntimeError;
use evenkeel_scoring::BindError;
use std::path::PathBuf;

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// It cannot be opened or read.
    #[error("{}: cannot be read: {source}; check the path and its permissions", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Too large to be held in memory.
    #[error("{}: is larger than {max_bytes} bytes; split it, or raise scorer.input-max", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit, bytes.
        max_bytes: u64,
    },
    /// A configuration file that is none.
    #[error("{}: {message}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        message: String,
    },
    /// It is no table.
    #[error("{}: {message}", path.display())]
    Table {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        message: String,
    },
    /// It has no row.
    #[error("{}: holds no rows; the first line of a CSV names the columns, a row must follow", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A column's name is there twice.
    #[error("{}: column {name:?} appears twice; each column needs a name of its own", path.display())]
    Twice {
        /// The file.
        path: PathBuf,
        /// The name.
        name: String,
    },
}

/// Why a file cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("{}: cannot be written: {source}; make room there, or give another directory: --out DIR", path.display())]
pub struct OutputError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub source: std::io::Error,
}

/// Why a run ends.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A file cannot be read.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The model file is none that can be run.
    #[error("{}: {source}", path.display())]
    Model {
        /// The file.
        path: PathBuf,
        /// Why.
        source: RuntimeError,
    },
    /// Model and rows do not fit.
    #[error("{}: {source}", path.display())]
    Bind {
        /// The rows, or the model.
        path: PathBuf,
        /// Why.
        source: BindError,
    },
    /// A file cannot be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// A thread ended by itself: a defect.
    #[error("a {0} thread panicked; please report it")]
    Panicked(&'static str),
}
