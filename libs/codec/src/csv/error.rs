//! Why a CSV text cannot be read: its first line, or one of the others.

use evenkeel_model::StreamIdError;
use evenkeel_model::limits::FIELDS_MAX;

/// Why the first line of a CSV file names no usable columns.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Not a line of text that can be split.
    #[error("the header cannot be read: {0}")]
    Row(#[from] RowError),
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

/// Why a line is no event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
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
}
