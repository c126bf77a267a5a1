//! Why a file cannot be loaded, and why one line of it cannot.

use evenkeel_codec::csv::{HeaderError, RowError};
use evenkeel_codec::json::EventTextError;
use evenkeel_model::limits::{TS_MAX_MS, TS_MIN_MS};
use std::path::PathBuf;

/// Why a file as a whole cannot be loaded. Nothing of it is in the log when its survey says so.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// It cannot be opened.
    #[error("{path}: cannot be opened: {source}; check the path and its permissions")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It cannot be read to its end.
    #[error("{path}:{line}: cannot be read on: {source}{remedy}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The line after which reading failed, from 1.
        line: u64,
        /// Why.
        source: std::io::Error,
        /// What to do, with a separator in front.
        remedy: &'static str,
    },
    /// It holds no line.
    #[error("{path}: is empty; it should hold events as CSV (the first line names the columns) or NDJSON")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The first line names no usable columns.
    #[error("{path}:{line}: {source}")]
    Header {
        /// The file.
        path: PathBuf,
        /// Which line, from 1.
        line: u64,
        /// Why.
        source: HeaderError,
    },
    /// Its content is not what it was a moment ago.
    #[error("{path}: changed while it was read; load it again when nobody writes to it")]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// Standard input cannot be kept.
    #[error(
        "the input cannot be kept in {path} while it is read: {source}; free space there, or give a file"
    )]
    Spool {
        /// Where it is kept.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Why a line is no event. It is counted, shown and kept in `dlq`, and does not stop the rest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// A JSON text.
    #[error(transparent)]
    Json(#[from] EventTextError),
    /// No stream.
    #[error("stream_id is missing; every line of a file names its stream")]
    NoStream,
    /// A line of CSV, or one of any kind that is too long.
    #[error(transparent)]
    Row(#[from] RowError),
    /// A time out of range.
    #[error("{member} is {got}; it must be between {TS_MIN_MS} and {TS_MAX_MS} ms (years 1970 to 9999)")]
    TimeRange {
        /// `ts` or `arrival`.
        member: &'static str,
        /// The time, ms.
        got: i64,
    },
    /// The stream's numbers end.
    #[error("the stream has used the last sequence number; give its lines a seq")]
    NumbersUsedUp,
}
