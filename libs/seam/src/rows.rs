//! The sink's way to the store.

use evenkeel_model::{StoredRow, StoredScore, WindowSpan};
use std::time::Duration;

/// Which row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowKey {
    /// The stream.
    pub stream_id: String,
    /// Size and id of the window.
    pub span: WindowSpan,
}

/// Everything the sink can ask of the store.
#[derive(Debug, Clone, PartialEq)]
pub enum RowAction {
    /// Read the stored row, at the consistency that sees every acknowledged write.
    Read(RowKey),
    /// Write the whole row with timestamp `t_end_µs + revision` (last write wins, so that an older
    /// revision that lands late loses).
    Write(Box<StoredRow>),
    /// Write a score. The same score written twice is one.
    Score(Box<StoredScore>),
}

/// The outcome of one action.
#[derive(Debug, Clone, PartialEq)]
pub enum RowResult {
    /// What the store holds.
    Read(Option<Box<StoredRow>>),
    /// The row is durable.
    Written,
    /// The row's time to live had passed: nothing was written.
    Expired,
    /// The store refuses this row for ever; says why.
    Refused(String),
    /// Outcome unknown or store away: submit it again. Says why.
    Unavailable(String),
}

/// A store of window rows and scores. Implemented by libs/local and libs/cql.
pub trait Rows {
    /// Starts an action under an id. The caller keeps actions of one key in order: it submits the next
    /// only after the last one's result.
    fn submit(&mut self, id: u64, action: RowAction);

    /// Waits up to `wait` for results and appends them to `out`. Each id has exactly one.
    fn done(&mut self, wait: Duration, out: &mut Vec<(u64, RowResult)>);
}
