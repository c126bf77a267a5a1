//! What a worker of the scorer says, and why it ends.

use evenkeel_model::{AlertAction, AlertSeverity, Topic};

/// What is worth telling.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A partition is live again.
    Recovered {
        /// The partition.
        partition: u32,
        /// Records read.
        records: u64,
    },
    /// The log no longer holds all that is remembered: lags, thresholds and alerts may differ from what they were.
    LogCut {
        /// The topic.
        topic: Topic,
        /// The partition.
        partition: u32,
        /// First offset needed.
        needed: u64,
        /// First offset there is.
        log_start: u64,
    },
    /// A record could not be decoded; the sink has it in `dlq`.
    Undecodable {
        /// The partition.
        partition: u32,
        /// The offset.
        offset: u64,
        /// Why.
        error: String,
    },
    /// A row of a stream that belongs elsewhere, from somebody else.
    Misrouted {
        /// The partition.
        partition: u32,
        /// The offset.
        offset: u64,
    },
    /// A row that the model cannot score.
    Unscorable {
        /// Why.
        error: String,
    },
    /// Rows that were scored at once.
    Batch {
        /// How many.
        rows: usize,
        /// How long each waited, ms.
        waited_ms: Vec<i64>,
    },
    /// Scores are durable: the last arrival that each rests on, ms since the epoch.
    Committed {
        /// One per score of the model that counts.
        arrivals: Vec<i64>,
    },
    /// An alert was said.
    Alert(AlertAction, AlertSeverity),
    /// How far features are from training.
    Drift(Vec<(String, f64)>),
    /// The last commit is still in flight: the tick merges with the next.
    TickMerged,
    /// A transaction was aborted; its partitions recover.
    Aborted(String),
    /// Partitions pause until the next tick: outputs are at their bound.
    Paused,
}

/// Why the worker ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// Drained in good order.
    Drained,
    /// The topic has another number of partitions than when it was committed: streams have moved.
    Partitions {
        /// Then.
        committed: u32,
        /// Now.
        now: u32,
    },
}
