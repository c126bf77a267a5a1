//! What a worker shows of itself: metrics, log lines, and a status for whoever waits for it.

use crate::driver::{Driver, Event};
use evenkeel_model::Topic;
use evenkeel_seam::behind;
use evenkeel_telemetry::names::sink as names;
use evenkeel_telemetry::{Counter, Emitter, Histogram, Latest, Share, event};
use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

event! {
    /// A record could not be decoded.
    struct Undecodable<'a> WARN "sink.record.undecodable" "a record cannot be decoded; its bytes are in dlq" {
        values { partition: u32, offset: u64 }
        shown { error: &'a dyn std::fmt::Display }
        limit("", 10_000);
        counts(names::ROWS, ["undecodable"], 1);
    }
}

event! {
    /// A record lies in the wrong partition.
    struct Misrouted WARN "sink.record.misrouted" "a record lies in a partition that is not its stream's; it is in dlq (who else writes to this topic?)" {
        values { partition: u32, offset: u64 }
        limit("", 10_000);
        counts(names::ROWS, ["misrouted"], 1);
    }
}

event! {
    /// The store refuses a row for ever.
    struct Refused<'a> ERROR "sink.row.refused" "the store refuses a row; it is in dlq" {
        values {}
        shown { error: &'a dyn std::fmt::Display }
        limit("", 10_000);
        counts(names::ROWS, ["refused"], 1);
    }
}

event! {
    /// The store is away.
    struct Unavailable<'a> WARN "sink.store.unavailable" "the store is away; rows are tried again, consumption pauses" {
        values {}
        shown { error: &'a dyn std::fmt::Display }
        limit("", 5_000);
        counts(names::ROWS, ["unavailable"], 1);
    }
}

event! {
    /// A transaction was aborted.
    struct Aborted<'a> WARN "sink.transaction.aborted" "a commit was aborted; its partitions start again" {
        values {}
        shown { error: &'a dyn std::fmt::Display }
        limit("", 1000);
    }
}

/// How a worker stands.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Status {
    /// Everything consumed is settled and committed.
    pub quiet: bool,
    /// Records in work.
    pub in_work: u64,
    /// Rows written.
    pub rows: u64,
    /// Scores written.
    pub scores: u64,
    /// Late events merged.
    pub late_merged: u64,
    /// Late events that rows held already.
    pub late_held: u64,
    /// Late events refused as overflow.
    pub late_overflow: u64,
    /// Rows past their time to live.
    pub expired: u64,
    /// Rows the store refused.
    pub refused: u64,
    /// Why the store takes no rows, since its last refusal to and until the next row it takes.
    pub away: Option<String>,
    /// The next offset per partition of `windows`.
    pub positions: BTreeMap<u32, u64>,
}

/// The status after the last turn, for others to look at.
pub type StatusCell = Latest<Status>;

/// Turns a driver's events into metrics.
#[derive(Debug)]
pub struct Watch {
    emitter: Emitter,
    share: Share,
    topic: Topic,
    cell: StatusCell,
    status: Status,
    writes: Histogram,
    /// When each request was handed over. Bound: those in flight.
    begun: HashMap<u64, Instant>,
    written: Counter,
    scores: Counter,
    merged: Counter,
    held: Counter,
    overflow: Counter,
    expired: Counter,
}

impl Watch {
    /// Watches a worker of a topic; the status goes to `cell`.
    pub fn new(emitter: Emitter, cell: StatusCell, topic: Topic) -> Self {
        let metrics = emitter.metrics();
        Self {
            writes: metrics.histogram(&names::WRITE_DURATION, []),
            begun: HashMap::new(),
            written: metrics.counter(&names::ROWS, ["written"]),
            scores: metrics.counter(&names::SCORES, []),
            merged: metrics.counter(&names::LATE_MERGED, []),
            held: metrics.counter(&names::LATE_SKIPPED, ["duplicate"]),
            overflow: metrics.counter(&names::LATE_SKIPPED, ["overflow"]),
            expired: metrics.counter(&names::EXPIRED, []),
            share: Share::new(metrics.clone()),
            emitter,
            topic,
            cell,
            status: Status::default(),
        }
    }

    /// Tells what happened. `now_ms`: the wall clock, for the age of rows.
    pub fn say(&mut self, now_ms: i64, event: &Event) {
        match event {
            Event::Stored { t_end, size_ms, .. } => {
                self.status.rows += 1;
                self.status.away = None;
                self.written.add(1);
                let age = self.emitter.metrics().histogram(&names::ROW_AGE, [&size_ms.to_string()]);
                age.record((now_ms - t_end) as f64 / 1000.0);
            }
            Event::ScoreStored => {
                self.status.scores += 1;
                self.status.away = None;
                self.scores.add(1);
            }
            Event::Merged { merged, held, overflow } => {
                self.status.late_merged += u64::from(*merged);
                self.status.late_held += u64::from(*held);
                self.status.late_overflow += u64::from(*overflow);
                self.merged.add(u64::from(*merged));
                self.held.add(u64::from(*held));
                self.overflow.add(u64::from(*overflow));
            }
            Event::Expired => {
                self.status.expired += 1;
                self.expired.add(1);
            }
            Event::Refused(error) => {
                self.status.refused += 1;
                Refused { error }.emit(&self.emitter);
            }
            Event::Unavailable(error) => {
                self.status.away = Some(error.clone());
                Unavailable { error }.emit(&self.emitter);
            }
            Event::Misrouted { partition, offset } => {
                Misrouted { partition: *partition, offset: *offset }.emit(&self.emitter);
            }
            Event::Undecodable { partition, offset, error } => {
                Undecodable { partition: *partition, offset: *offset, error }.emit(&self.emitter);
            }
            Event::Aborted(error) => Aborted { error }.emit(&self.emitter),
        }
    }

    /// A request goes to the store.
    pub fn submitted(&mut self, id: u64) {
        self.begun.insert(id, Instant::now());
    }

    /// It has an outcome.
    pub fn done(&mut self, id: u64) {
        if let Some(since) = self.begun.remove(&id) {
            self.writes.record_duration(since.elapsed());
        }
    }

    /// After a tick. `ends` of the log, by partition.
    pub fn ticked(&mut self, driver: &Driver, ends: &[(u32, u64)]) {
        self.status.quiet = driver.is_quiet();
        self.status.in_work = driver.in_work() as u64;
        self.status.positions = driver.positions().collect();
        let topic = [self.topic.as_str()];
        self.share.count(&names::CONSUMER_LAG, topic, behind(ends, &self.status.positions));
        self.share.count(&names::INFLIGHT, topic, self.status.in_work);
        self.share.count(&names::LIMIT, topic, driver.in_flight_max() as u64);
        self.share.count(&names::PAUSED, topic, driver.paused_partitions() as u64);
        self.cell.set(self.status.clone());
    }
}
