//! Why a file cannot be loaded, and why one line of it cannot.

use evenkeel_codec::json::EventTextError;
use evenkeel_model::StreamIdError;
use evenkeel_model::limits::{FIELDS_MAX, TS_MAX_MS, TS_MIN_MS};
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

/// Why the first line of a CSV file names no usable columns.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Not a line of text that can be split.
    #[error("the header cannot be read: {0}")]
    Line(#[from] LineError),
    /// A column that is needed is missing.
    #[error(
        "no column {wanted}; the first line must name the columns, separated by commas, among them stream_id \
         and ts (or ts_ms); found: {found}"
    )]
    Missing {
        /// What is missing.
        wanted: &'static str,
        /// The names that are there, cut.
        found: String,
    },
    /// Two columns for one thing.
    #[error("column {0:?} appears twice; each column needs a name of its own")]
    Twice(String),
    /// `ts` and `ts_ms`.
    #[error("columns ts and ts_ms are both there; keep the one that holds the event's time")]
    TwoTimes,
    /// A name that no field may have.
    #[error("the name of column number {number} {source}")]
    Name {
        /// Which column, from 1.
        number: usize,
        /// Why.
        source: StreamIdError,
    },
    /// Too many fields.
    #[error("{0} numeric columns; an event has at most {max} fields", max = FIELDS_MAX)]
    TooManyFields(usize),
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
    /// A stream id that breaks a limit.
    #[error("stream_id {0}")]
    StreamId(StreamIdError),
    /// Longer than a line may be.
    #[error("the line is {bytes} bytes long; the limit is {max}")]
    TooLong {
        /// Its length, bytes.
        bytes: u64,
        /// The limit, bytes.
        max: usize,
    },
    /// Not text.
    #[error("byte {0} of the line is not UTF-8")]
    Utf8(usize),
    /// Another number of cells than columns.
    #[error("{got} cells for {want} columns")]
    Cells {
        /// Cells of the line.
        got: usize,
        /// Columns of the header.
        want: usize,
    },
    /// Quotes that do not fit.
    #[error(
        "the quotes of cell {0} do not fit; write \"…\" around the whole cell and \"\" for a quote in it"
    )]
    Quotes(usize),
    /// A cell that holds something else than it should.
    #[error("{column} is {got:?}; {want}")]
    Cell {
        /// The column.
        column: String,
        /// What the cell holds, cut.
        got: String,
        /// What it should hold.
        want: &'static str,
    },
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

/// What of a text a message shows.
pub(super) fn cut(text: &str) -> String {
    text.chars().take(64).collect()
}
