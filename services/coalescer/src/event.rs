//! What a worker says, and why it ends.

use evenkeel_model::Topic;
use evenkeel_window::{Imbalance, RecoverError};

/// What is worth telling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A partition is live again.
    Recovered {
        /// The partition.
        partition: u32,
        /// Records read in all three steps.
        records: u64,
        /// What differs from the commit: empty, or the log was cut, or an alarm.
        imbalances: Vec<Imbalance>,
    },
    /// The log no longer holds what recovery needs.
    LogCut {
        /// The topic.
        topic: Topic,
        /// The partition.
        partition: u32,
        /// First offset needed.
        needed: u64,
        /// First offset there is.
        log_start: u64,
        /// How much of the log is gone, by arrival, ms; `None` = not known.
        gone_ms: Option<i64>,
    },
    /// A window size left the configuration with windows open: they are not written.
    SizeRemoved {
        /// The partition.
        partition: u32,
        /// The size, ms.
        size_ms: i64,
        /// Events in its open windows.
        events: u64,
    },
    /// A record could not be decoded; it is in `dlq`.
    Undecodable {
        /// The partition.
        partition: u32,
        /// The offset.
        offset: u64,
        /// Why.
        error: String,
    },
    /// A tick ran.
    Ticked {
        /// Rows that left.
        rows: usize,
        /// Due rows had no room.
        waiting: bool,
    },
    /// The last commit is still in flight: the tick merges with the next.
    TickMerged,
    /// A transaction was aborted; its partitions recover.
    Aborted(String),
    /// A record of `interest` could not be decoded; it is passed over.
    InterestUnreadable {
        /// The partition.
        partition: u32,
        /// The offset.
        offset: u64,
        /// Why.
        error: String,
    },
    /// So many frames are not known to have reached the log.
    FramesDropped(usize),
    /// Partitions pause until the next tick: outputs or memory are at their bound.
    Paused,
}

/// Why the worker ends.
#[derive(Debug, PartialEq, Eq)]
pub enum Stop {
    /// Drained in good order.
    Drained,
    /// A partition cannot be recovered with these settings.
    Refused(RecoverError),
    /// The log is shorter than recovery needs, and the configuration says to refuse.
    LogCut(Event),
}
