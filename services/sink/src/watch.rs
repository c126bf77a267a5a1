//! What a worker shows of itself: metrics, log lines, and a status for whoever waits for it.

use crate::driver::{Driver, Event};
use evenkeel_model::Topic;
use evenkeel_seam::{RowAction, RowResult};
use evenkeel_telemetry::names::sink as names;
use evenkeel_telemetry::{Counter, Emitter, Histogram, Latest, event};
use std::collections::BTreeMap;
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
        counts(names::RETRIES, ["unavailable"], 1);
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
    topic: Topic,
    cell: StatusCell,
    status: Status,
    written: Counter,
    scores: Counter,
    merged: Counter,
    held: Counter,
    overflow: Counter,
    expired: Counter,
    write_duration: Histogram,
    /// Writes at the store, and since when; as many as may be in flight.
    writing: BTreeMap<u64, Instant>,
}

impl Watch {
    /// Watches a worker of a topic; the status goes to `cell`.
    pub fn new(emitter: Emitter, cell: StatusCell, topic: Topic) -> Self {
        let metrics = emitter.metrics();
        Self {
            written: metrics.counter(&names::ROWS, ["written"]),
            scores: metrics.counter(&names::SCORES, []),
            merged: metrics.counter(&names::LATE_MERGED, []),
            held: metrics.counter(&names::LATE_SKIPPED, ["duplicate"]),
            overflow: metrics.counter(&names::LATE_SKIPPED, ["overflow"]),
            expired: metrics.counter(&names::EXPIRED, []),
            write_duration: metrics.histogram(&names::WRITE_DURATION, []),
            writing: BTreeMap::new(),
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

    /// Before an action goes to the store.
    pub fn submit(&mut self, id: u64, action: &RowAction) {
        if matches!(action, RowAction::Write(_) | RowAction::Score(_)) {
            self.writing.insert(id, Instant::now());
        }
    }

    /// The store's answer: how long a write took.
    pub fn done(&mut self, id: u64, result: &RowResult) {
        if let Some(began) = self.writing.remove(&id)
            && *result == RowResult::Written
        {
            self.write_duration.record_duration(began.elapsed());
        }
    }

    /// How far the log is ahead, records.
    pub fn lag(&self, records: Option<u64>) {
        let gauge = |records| {
            let metrics = self.emitter.metrics();
            metrics.gauge(&names::CONSUMER_LAG, [self.topic.as_str()]).set_count(records);
        };
        records.into_iter().for_each(gauge);
    }

    /// After a tick.
    pub fn ticked(&mut self, driver: &Driver) {
        self.status.quiet = driver.is_quiet();
        self.status.in_work = driver.in_work() as u64;
        self.status.positions = driver.positions().collect();
        let metrics = self.emitter.metrics();
        let topic = [self.topic.as_str()];
        metrics.gauge(&names::INFLIGHT, topic).set_count(self.status.in_work);
        metrics.gauge(&names::LIMIT, topic).set_count(driver.in_flight_max() as u64);
        metrics.gauge(&names::PAUSED, topic).set_count(driver.paused_partitions() as u64);
        self.cell.set(self.status.clone());
    }
}
