//! The coalescer's, the sink's and the scorer's way to the log.
//!
//! One worker = one consumer + one transactional producer + one driver per assigned partition; workers
//! share nothing. The order of use, per partition:
//!
//! ```text
//! Assigned ─► Read marks ─► ReadDone ─► Read windows ─► ReadDone ─► Read events ─► ReadDone
//!     │  (a partition without commit, and every sink, goes straight to Start)        │
//!     └────────────────────────────► Start ◄─────────────────────────────────────────┘
//! Start ─► Records … ─► Commit ─► TxnDone ─► Commit …      (one Commit in flight per worker)
//! Revoking{lost: false} ─► Commit (optional) ─► TxnDone ─► Release      Revoking{lost: true} ─► Release
//! TxnDone{Aborted} ─► (nothing of any partition) ─► Assigned, for each that does not leave
//! ```
//! Beside it, and without any bearing on it: `Follow ─► Records …` of another topic, and `Send ─► Sent ─► Send …`
//! outside every transaction. Neither waits for a commit, nor a commit for them.
//! tests/scenarios/src/contract holds every log to this, case by case. What is not drawn here (a second
//! `Commit`, a `Start` of a partition that is not held) a log may answer with [`WorkerError::Fatal`].

use crate::{CommitMeta, Outputs};
use evenkeel_model::Topic;
use std::collections::BTreeMap;
use std::time::Duration;

/// A record header: name and bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    /// Name, e.g. `traceparent`.
    pub name: &'a str,
    /// Value.
    pub value: &'a [u8],
}

/// One record of the log.
#[derive(Debug, Clone, Copy, Default)]
pub struct RecordRef<'a> {
    /// Its offset in the partition.
    pub offset: u64,
    /// The record's own timestamp, ms since the epoch.
    pub timestamp_ms: i64,
    /// Key, if any.
    pub key: Option<&'a [u8]>,
    /// Value; `None` = tombstone.
    pub value: Option<&'a [u8]>,
    /// Headers, if the adapter was asked to read them; else empty.
    pub headers: &'a [Header<'a>],
    /// The value as it lies on the log, where the adapter has put it into another framing.
    pub original: Option<&'a [u8]>,
}

impl<'a> RecordRef<'a> {
    /// The value as it lies on the log: what `dlq` keeps of a record that cannot be read.
    pub fn on_log(&self) -> Option<&'a [u8]> {
        self.original.or(self.value)
    }
}

/// What the log tells a driver. Every reason to wake that comes from the log.
#[derive(Debug)]
pub enum LogInput<'a> {
    /// A partition is ours, or ours again after an aborted transaction: forget what was held of it and
    /// recover. Nothing of it flows until `Start`. A partition that was asked back (`Revoking`) or given up
    /// (`Release`) does not come again after an abort.
    Assigned {
        /// The partition.
        partition: u32,
        /// How many partitions the topic has now.
        partitions: u32,
        /// The committed offset and the way back, if this group ever committed.
        committed: Option<Position>,
    },
    /// Records of one partition, rising offsets: of the consumed topic after `Start`, of the topic of the
    /// running `Read`, or of a followed topic. May be empty with `at_end`.
    Records {
        /// The partition.
        partition: u32,
        /// The topic.
        topic: Topic,
        /// The records.
        records: &'a [RecordRef<'a>],
        /// The offset after the last record (beyond it by commit markers and aborted records that the adapter has
        /// seen; never by what it has not).
        next: u64,
        /// A fetch was answered and nothing more was there: this is the end of the log for now.
        at_end: bool,
    },
    /// A `Read` has reached its `to`, or the log holds no more (`next < to` only if the log ends before).
    ReadDone {
        /// The partition.
        partition: u32,
        /// The topic.
        topic: Topic,
        /// First offset the log still holds. Above the asked `from` = the log is shorter than needed.
        log_start: u64,
        /// Position reached, at most the asked `to`: what lies behind is of no interest.
        next: u64,
    },
    /// The running `Commit` has an outcome.
    TxnDone {
        /// What became of it.
        result: TxnResult,
        /// The buffers of the commit, emptied, to be used again.
        outputs: Outputs,
    },
    /// These partitions leave; no more records of them. `lost = false`: answer with a last `Commit` (or none)
    /// and then `Release` for each; `lost = true`: nothing can be committed any more, answer with `Release`.
    /// May name a partition that was on its way to us (not yet `Assigned`, or not again after an abort).
    Revoking {
        /// The partitions.
        partitions: Vec<u32>,
        /// Already owned by somebody else.
        lost: bool,
    },
    /// What became of the last `Send`.
    Sent {
        /// The buffers, emptied, to be used again.
        outputs: Outputs,
        /// How many of its records are not known to be in the log.
        dropped: usize,
    },
}

/// The outcome of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TxnResult {
    /// Outputs and offsets are durable and visible. Per partition of the commit, in the same order: the
    /// metadata as written, with the ends of its outputs filled in (`None` for a commit without).
    Committed(Vec<(u32, Option<CommitMeta>)>),
    /// Nothing of it happened. Every partition of the worker follows as `Assigned` again.
    Aborted {
        /// What the log said.
        error: String,
    },
}

/// A committed (or to be committed) place in a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The partition.
    pub partition: u32,
    /// Offset of the next record to consume: the true position.
    pub offset: u64,
    /// The way back; `None` for consumers without state (the sink).
    pub meta: Option<CommitMeta>,
}

/// One transaction: outputs and offsets together or not at all.
#[derive(Debug, Default)]
pub struct Commit {
    /// Records to append. Those to `Windows` and `Marks` name their partition.
    pub outputs: Outputs,
    /// Offsets, with metadata also when the offset did not move. The adapter fills in
    /// from where the outputs landed ([`CommitMeta::landed`]); where it wrote none to a partition it keeps the
    /// value given here. A log with transactional ids fills in `writer`.
    pub positions: Vec<Position>,
}

/// Everything a driver can ask of the log.
#[derive(Debug)]
pub enum LogAction {
    /// Read `topic`'s partition over `[from, to)` on a second consumer: a recovery read. With
    /// `committed_only`, wait for commit markers and leave out aborted records. `to` is the position that
    /// must be REACHED (the offset after the last wanted record; markers may lie beyond). Neither `Pause` nor
    /// the other partitions hold it up, nor it them. Headers may be left out.
    Read {
        /// The partition.
        partition: u32,
        /// The topic.
        topic: Topic,
        /// First offset.
        from: u64,
        /// Position to reach.
        to: u64,
        /// read_committed.
        committed_only: bool,
    },
    /// Consume the partition from here. Ends a `Pause`. If the log begins later, at its first record; if it
    /// ends before, acknowledged records are gone, and the worker stops.
    Start {
        /// The partition.
        partition: u32,
        /// First offset; `None` = the oldest the log holds.
        from: Option<u64>,
    },
    /// Deliver no records of the partition until `Resume` or `Start`.
    Pause {
        /// The partition.
        partition: u32,
    },
    /// Deliver again. Starts nothing that was not started.
    Resume {
        /// The partition.
        partition: u32,
    },
    /// Run one transaction. Not before the last one's `TxnDone`.
    Commit(Commit),
    /// Bring what comes into a partition of another topic, beginning with about its newest `tail` records, until the
    /// partition leaves or is assigned anew. Best effort and apart from everything else: a topic that is not there, or
    /// a log that cannot be reached, brings nothing and stops nobody. `Pause` does not hold it up.
    Follow {
        /// The partition.
        partition: u32,
        /// The topic, another than the consumed one and those that are read.
        topic: Topic,
        /// How many records back.
        tail: u64,
    },
    /// Append records outside every transaction, and not again if that fails. Not before the last one's `Sent`: who
    /// has newer ones by then sends those. A record whose partition does not exist is dropped.
    Send(Outputs),
    /// The partition may go; ends a `Revoking`. Unasked (a drain), the partition does not come back to this
    /// worker unless it leaves and joins again, and is free for others at `close` at the latest.
    Release {
        /// The partition.
        partition: u32,
    },
}

/// Why a worker must stop. It holds no partition any more; a new one may join.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// Somebody else works under this transactional id or generation. A worker that was thrown out of its
    /// group hears this or `Revoking { lost: true }`; either way nothing it commits happens.
    #[error("fenced by a newer worker: {0}; this one stops and rejoins")]
    Fenced(String),
    /// The log cannot go on (unreachable too long, refused, disk full …).
    #[error("the log failed: {0}")]
    Fatal(String),
}

/// A consumer group member with a transactional producer. Implemented by each log.
pub trait Worker {
    /// Waits up to `wait` for something to happen and hands over all that did, in order.
    fn poll(&mut self, wait: Duration, each: &mut dyn FnMut(LogInput<'_>)) -> Result<(), WorkerError>;

    /// Carries out one action. Returns at once; outcomes come through [`Worker::poll`].
    fn perform(&mut self, action: LogAction) -> Result<(), WorkerError>;

    /// For each partition that flows, the end of its log as last heard: the offset after its last record. For figures
    /// only: nothing is decided by it.
    fn ends(&self) -> Vec<(u32, u64)>;

    /// Leaves the group in good order (partitions were released before). Blocks for a bounded time.
    fn close(&mut self) -> Result<(), WorkerError>;
}

/// Records between `positions` and the `ends` that a [`Worker`] has heard of; a partition without a position is not
/// counted.
pub fn behind(ends: &[(u32, u64)], positions: &BTreeMap<u32, u64>) -> u64 {
    let of = |(partition, end): &(u32, u64)| {
        positions.get(partition).map_or(0, |position| end.saturating_sub(*position))
    };
    ends.iter().map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_held_and_not_consumed_is_behind() {
        let positions = BTreeMap::from([(0, 5), (1, 9), (2, 4)]);
        assert_eq!(behind(&[(0, 8), (1, 7), (3, 100)], &positions), 3);
    }
}
