//! What the contract asks of a log under test. Each method is what an operator, a disk or a crash does to
//! it; what a log cannot arrange it says with the reason.

use evenkeel_model::Topic;
use evenkeel_seam::{Appender, Commit, Outputs, Worker};

/// Partitions of every topic of a log under test.
pub const PARTITIONS: u32 = 2;

/// A situation that this log cannot be brought into, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unarranged(pub &'static str);

/// Whether a situation could be arranged.
pub type Arranged = Result<(), Unarranged>;

/// Who joins.
#[derive(Debug, Clone, Copy)]
pub struct Who<'a> {
    /// Names the consumer group.
    pub service: &'a str,
    /// The consumed topic.
    pub topic: Topic,
    /// The transactional id, where the log has such.
    pub id: &'a str,
    /// It is going to fall silent in this case: the log should notice as soon as it can.
    pub doomed: bool,
}

impl<'a> Who<'a> {
    /// A worker on `events`.
    pub fn coalescer(id: &'a str) -> Self {
        Self { service: "coalescer", topic: Topic::Events, id, doomed: false }
    }

    /// A worker on `windows`.
    pub fn sink(id: &'a str) -> Self {
        Self { service: "sink", topic: Topic::Windows, id, doomed: false }
    }

    /// The same, but it will fall silent.
    pub fn doomed(self) -> Self {
        Self { doomed: true, ..self }
    }
}

/// A fresh log with [`PARTITIONS`] partitions per topic. What was arranged ends with the value.
pub trait Log {
    /// Its worker. It delivers record headers.
    type Worker: Worker;
    /// Its appender.
    type Appender: Appender;

    /// Reads the log's clock, ms since the epoch. It may stand still unless workers poll.
    fn clock(&self) -> Box<dyn Fn() -> i64>;

    /// A worker joins its group.
    fn join(&mut self, who: Who<'_>) -> Self::Worker;

    /// What this log writes as `writer` into the metadata of a worker's commits.
    fn writer(&self, who: Who<'_>) -> String {
        who.id.to_owned()
    }

    /// An appender.
    fn appender(&mut self) -> Self::Appender;

    /// The worker dies without a word, as by kill -9.
    fn kill(&mut self, worker: Self::Worker);

    /// The worker dies when the records of this commit are written and nothing is decided.
    fn kill_in_commit(&mut self, who: Who<'_>, worker: Self::Worker, commit: Commit) -> Arranged;

    /// The worker stands still for so long that it loses its partitions; nobody polls it until `go_on`.
    fn stand_still(&mut self, worker: &mut Self::Worker);

    /// It goes on.
    fn go_on(&mut self, worker: &mut Self::Worker);

    /// Whether a second worker can be had under the same id.
    fn can_share_an_id(&self) -> Arranged {
        Ok(())
    }

    /// Retention removes every record of a partition below an offset.
    fn cut(&mut self, topic: Topic, partition: u32, before: u64);

    /// Compaction leaves the newest record of each key of `marks`.
    fn compact_marks(&mut self, partition: u32) -> Arranged;

    /// Makes the log abort the next transaction, which is going to carry these outputs. Until `heal`.
    fn abort_next(&mut self, outputs: &mut Outputs);

    /// Ends what `abort_next` arranged.
    fn heal(&mut self) {}

    /// Makes the log refuse the next append, which is going to carry these records.
    fn refuse_next(&mut self, records: &mut Outputs);

    /// Somebody else writes records in a transaction and leaves it open.
    fn open(&mut self, outputs: &Outputs) -> Arranged;

    /// Ends the open transaction.
    fn end_open(&mut self, commit: bool);
}
