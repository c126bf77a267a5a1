//! What leaves the core: a closed enum, handed to a callback that encodes it at once.

use evenkeel_model::{DropReason, EventBatch, LateRecord, Mark, WindowRow};

/// One thing the core says.
#[derive(Debug)]
pub enum Output<'a> {
    /// The row of a closed window, for `windows`.
    Row(&'a WindowRow),
    /// The late events of one (stream, size, window) of this tick, for `windows`, after the row if there
    /// was one (EK-LATE-0).
    Late(&'a LateRecord),
    /// How far a quiet stream's rows have left, for `marks`.
    Mark(&'a Mark),
    /// Refused events, for `dlq`: a batch of just those.
    Refused(Refused<'a>),
}

/// Refused events of one reason.
#[derive(Debug)]
pub struct Refused<'a> {
    /// Why.
    pub reason: DropReason,
    /// What exactly, for people.
    pub detail: &'static str,
    /// The window size that refuses them, ms, if only that one does.
    pub size_ms: Option<i64>,
    /// Offset of the record they came in.
    pub offset: u64,
    /// The events.
    pub events: &'a EventBatch,
}

/// The callback.
pub type Out<'a> = dyn FnMut(Output<'_>) + 'a;
