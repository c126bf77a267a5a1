//! What a worker shows of itself: metrics, log lines, and a status for whoever waits for it.

use crate::driver::Driver;
use crate::event::Event;
use evenkeel_model::{ClosedBy, DropReason, Topic};
use evenkeel_seam::{Ledger, SizeLedger, behind};
use evenkeel_telemetry::names::coalescer as names;
use evenkeel_telemetry::{Counter, Emitter, Histogram, Latest, Share, event};
use evenkeel_window::{Counters, WatchCounters};
use std::collections::BTreeMap;
use std::time::Duration;

event! {
    /// A record of `events` could not be decoded.
    struct Undecodable<'a> WARN "coalescer.record.undecodable" "a record cannot be decoded; its bytes are in dlq" {
        values { partition: u32, offset: u64 }
        shown { error: &'a dyn std::fmt::Display }
        limit("", 10_000);
    }
}

event! {
    /// A partition is live again.
    struct Recovered INFO "coalescer.partition.recovered" "a partition is live again" {
        values { partition: u32, records: u64 }
        limit("", 0);
    }
}

event! {
    /// Rebuilt windows differ from the commit.
    struct Imbalanced ERROR "coalescer.recovery.imbalance" "rebuilt windows hold another number of events than was committed" {
        values { partition: u32, size_ms: i64, committed: u64, rebuilt: u64 }
        limit("", 0);
    }
}

event! {
    /// The log is shorter than recovery needs.
    struct LogCut ERROR "coalescer.log.cut" "the log no longer holds what recovery needs; what is gone counts as lost (raise the topic's retention above open-age-max)" {
        values { partition: u32, topic: &'static str, needed: u64, log_start: u64, gone_ms: i64 }
        limit("", 0);
    }
}

event! {
    /// A window size left the configuration.
    struct SizeRemoved WARN "coalescer.size.removed" "a window size left the configuration; its open windows are not written (docs/operations.md)" {
        values { partition: u32, size_ms: i64, events: u64 }
        limit("", 0);
    }
}

event! {
    /// A transaction was aborted.
    struct Aborted<'a> WARN "coalescer.transaction.aborted" "a transaction was aborted; its partitions recover" {
        values {}
        shown { error: &'a dyn std::fmt::Display }
        limit("", 1000);
        counts(names::COMMITS, ["aborted"], 1);
    }
}

event! {
    /// Consumption pauses until the next tick.
    struct Paused INFO "coalescer.paused" "outputs or memory are at their bound; consumption pauses until the next tick" {
        values {}
        limit("", 10_000);
    }
}

event! {
    /// Somebody else writes into the topic.
    struct InterestUnreadable<'a> WARN "coalescer.interest.unreadable" "a record of interest cannot be decoded; it is passed over" {
        values { partition: u32, offset: u64 }
        shown { error: &'a dyn std::fmt::Display }
        limit("", 10_000);
        counts(names::INTEREST_REFUSED, [], 1);
    }
}

/// How a worker stands, after its last tick.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Status {
    /// Partitions that are live.
    pub live: usize,
    /// Partitions in recovery.
    pub recovering: usize,
    /// Nothing is open, pending, waiting or in flight.
    pub quiet: bool,
    /// Streams with state.
    pub streams: u64,
    /// Streams of which only marks are left.
    pub quiet_streams: u64,
    /// Open and pending windows.
    pub windows: u64,
    /// Closed windows whose row has not left.
    pub pending: u64,
    /// How far the slowest stream is behind, ms.
    pub watermark_lag_ms: i64,
    /// Records that were not consumed yet.
    pub lag: u64,
    /// Accounted bytes in use, and allocated.
    pub used_bytes: u64,
    /// See `used_bytes`.
    pub allocated_bytes: u64,
    /// The budget, bytes.
    pub budget_bytes: u64,
    /// What the plan says of the streams held now, bytes.
    pub planned_bytes: u64,
    /// Ledgers of all partitions added up.
    pub ledger: Ledger,
    /// What does not add up in them, by size: absolute values, so that two faults do not hide each other.
    pub imbalance: BTreeMap<i64, u64>,
    /// Rows since the worker began, per size, by [`ClosedBy::index`].
    pub rows: BTreeMap<i64, [u64; ClosedBy::ALL.len()]>,
    /// Ticks, and ticks merged into others.
    pub ticks: u64,
    /// See `ticks`.
    pub ticks_merged: u64,
    /// How late the last tick began.
    pub jitter: Duration,
    /// The next offset per partition.
    pub positions: BTreeMap<u32, u64>,
    /// Records that could not be decoded.
    pub undecodable: u64,
    /// Streams that gateways look at, and how many may be.
    pub watched: u64,
    /// See `watched`.
    pub watched_limit: u64,
    /// Bytes kept for live frames; part of `used_bytes`.
    pub history_bytes: u64,
    /// Frames that are not known to have reached the log.
    pub frames_dropped: u64,
}

/// The status after the last tick, for others to look at.
pub type StatusCell = Latest<Status>;

/// Turns a driver's state into metrics.
#[derive(Debug)]
pub struct Watch {
    emitter: Emitter,
    share: Share,
    cell: StatusCell,
    seen: BTreeMap<u32, Seen>,
    status: Status,
    tick_duration: Histogram,
    tick_jitter: Histogram,
    rows_per_tick: Histogram,
    skew: Histogram,
    tick_merged: Counter,
}

/// What was exported of a partition's counters.
#[derive(Debug, Default)]
struct Seen {
    ledger: Ledger,
    counters: Counters,
    live: WatchCounters,
}

impl Watch {
    /// Watches a worker; the status goes to `cell`.
    pub fn new(emitter: Emitter, cell: StatusCell) -> Self {
        let metrics = emitter.metrics();
        Self {
            tick_duration: metrics.histogram(&names::TICK_DURATION, []),
            tick_jitter: metrics.histogram(&names::TICK_JITTER, []),
            rows_per_tick: metrics.histogram(&names::ROWS_PER_TICK, []),
            skew: metrics.histogram(&names::SKEW, []),
            tick_merged: metrics.counter(&names::TICK_MERGED, []),
            share: Share::new(metrics.clone()),
            emitter,
            cell,
            seen: BTreeMap::new(),
            status: Status::default(),
        }
    }

    /// Tells what happened.
    pub fn say(&mut self, event: &Event) {
        match event {
            Event::Recovered { partition, records, imbalances } => {
                Recovered { partition: *partition, records: *records }.emit(&self.emitter);
                for i in imbalances {
                    let (size_ms, committed, rebuilt) = (i.size_ms, i.committed, i.rebuilt);
                    Imbalanced { partition: *partition, size_ms, committed, rebuilt }.emit(&self.emitter);
                }
                self.seen.remove(partition);
            }
            Event::LogCut { topic, partition, needed, log_start, gone_ms } => {
                let (topic, partition, needed, log_start) = (topic.as_str(), *partition, *needed, *log_start);
                let gone_ms = gone_ms.unwrap_or(-1); // not known
                LogCut { partition, topic, needed, log_start, gone_ms }.emit(&self.emitter);
            }
            Event::SizeRemoved { partition, size_ms, events } => {
                let (partition, size_ms, events) = (*partition, *size_ms, *events);
                SizeRemoved { partition, size_ms, events }.emit(&self.emitter);
            }
            Event::Undecodable { partition, offset, error } => {
                self.status.undecodable += 1;
                Undecodable { partition: *partition, offset: *offset, error }.emit(&self.emitter);
            }
            Event::Ticked { rows, .. } => self.rows_per_tick.record(*rows as f64),
            Event::TickMerged => self.merged(1),
            Event::Aborted(error) => {
                self.seen.clear();
                Aborted { error }.emit(&self.emitter);
            }
            Event::Paused => Paused {}.emit(&self.emitter),
            Event::InterestUnreadable { partition, offset, error } => {
                let (partition, offset) = (*partition, *offset);
                InterestUnreadable { partition, offset, error }.emit(&self.emitter);
            }
            Event::FramesDropped(frames) => {
                self.status.frames_dropped += *frames as u64;
                self.emitter.metrics().counter(&names::FRAMES, ["dropped"]).add(*frames as u64);
            }
        }
    }

    /// Ticks that were overrun.
    pub fn merged(&mut self, ticks: u64) {
        self.status.ticks_merged += ticks;
        self.tick_merged.add(ticks);
    }

    /// After a tick that began `jitter` late and took `took`: exports what changed. `ends` of the log, by partition.
    pub fn ticked(&mut self, driver: &mut Driver, ends: &[(u32, u64)], jitter: Duration, took: Duration) {
        driver.skews.take().for_each(|ms| self.skew.record(ms as f64 / 1000.0));
        self.tick_jitter.record_duration(jitter);
        self.tick_duration.record_duration(took);
        let mut status = Status {
            recovering: driver.recovering(),
            quiet: driver.is_quiet(),
            budget_bytes: driver.budget_bytes() as u64,
            ticks: self.status.ticks + 1,
            ticks_merged: self.status.ticks_merged,
            rows: std::mem::take(&mut self.status.rows),
            undecodable: self.status.undecodable,
            frames_dropped: self.status.frames_dropped,
            jitter,
            ..Status::default()
        };
        for (partition, core) in driver.cores() {
            let (streams, quiet, windows) = core.sizes();
            status.live += 1;
            status.streams += streams as u64;
            status.quiet_streams += quiet as u64;
            status.windows += windows as u64;
            status.pending += core.pending() as u64;
            status.watermark_lag_ms = status.watermark_lag_ms.max(core.watermark_lag_ms());
            status.used_bytes += core.used_bytes() as u64;
            status.allocated_bytes += core.allocated_bytes() as u64;
            let (watched, history_bytes) = core.watched();
            status.watched += watched as u64;
            status.watched_limit += core.watched_max() as u64;
            status.history_bytes += history_bytes as u64;
            status.positions.insert(partition, core.position());
            add(&mut status.ledger, core.ledger());
            for size in &core.ledger().sizes {
                *status.imbalance.entry(size.size_ms).or_default() += size.imbalance().unsigned_abs();
            }
            let seen = self
                .seen
                .entry(partition)
                .or_insert_with(|| Seen { ledger: core.ledger_at_recovery().clone(), ..Seen::default() });
            export(&self.emitter, seen, core.ledger(), core.counters(), &mut status.rows);
            export_live(&self.emitter, &mut seen.live, core.watch_counters());
        }
        status.lag = behind(ends, &status.positions);
        status.planned_bytes = driver.planned_bytes(status.streams, status.quiet_streams);
        self.gauges(&status);
        self.cell.set(status.clone());
        self.status = status;
    }

    fn gauges(&mut self, status: &Status) {
        let share = &mut self.share;
        share.count(&names::STREAMS_ACTIVE, [], status.streams);
        share.count(&names::MARKS, [], status.quiet_streams);
        share.count(&names::WINDOWS_OPEN, [], status.windows);
        share.count(&names::WINDOWS_PENDING, [], status.pending);
        share.highest(&names::WATERMARK_LAG, [], status.watermark_lag_ms as f64 / 1000.0);
        share.count(&names::CONSUMER_LAG, [Topic::Events.as_str()], status.lag);
        share.count(&names::MEMORY_USED, ["state"], status.used_bytes);
        share.count(&names::MEMORY_USED, ["history"], status.history_bytes);
        share.count(&names::WATCHED, [], status.watched);
        share.count(&names::WATCHED_LIMIT, [], status.watched_limit);
        share.count(&names::MEMORY_USED, ["allocated"], status.allocated_bytes);
        share.count(&names::MEMORY_PLANNED, [], status.planned_bytes);
        share.count(&names::MEMORY_BUDGET, [], status.budget_bytes);
        share.count(&names::PARTITIONS, ["live"], status.live as u64);
        share.count(&names::PARTITIONS, ["recovering"], status.recovering as u64);
        share.count(&names::LOST, [], status.ledger.lost);
        for (size_ms, imbalance) in &status.imbalance {
            share.count(&names::LEDGER_IMBALANCE, [&size_ms.to_string()], *imbalance);
        }
    }
}

/// Adds one partition's ledger.
fn add(sum: &mut Ledger, ledger: &Ledger) {
    sum.lost += ledger.lost;
    for size in &ledger.sizes {
        let at = match sum.sizes.binary_search_by_key(&size.size_ms, |s| s.size_ms) {
            Ok(at) => at,
            Err(at) => {
                sum.sizes.insert(at, SizeLedger { size_ms: size.size_ms, ..SizeLedger::default() });
                at
            }
        };
        let into = &mut sum.sizes[at];
        into.consumed += size.consumed;
        into.in_rows += size.in_rows;
        into.in_open += size.in_open;
        for (sum, n) in into.reasons.iter_mut().zip(size.reasons) {
            *sum += n;
        }
    }
}

/// Adds what changed since the last export to the counters.
fn export(
    emitter: &Emitter,
    seen: &mut Seen,
    ledger: &Ledger,
    counters: &Counters,
    rows: &mut BTreeMap<i64, [u64; ClosedBy::ALL.len()]>,
) {
    let metrics = emitter.metrics();
    for (at, size) in ledger.sizes.iter().enumerate() {
        let old = seen.ledger.sizes.iter().find(|s| s.size_ms == size.size_ms).cloned().unwrap_or_default();
        let name = size.size_ms.to_string();
        let counted = (size.in_rows + size.in_open).saturating_sub(old.in_rows + old.in_open);
        metrics.counter(&names::EVENTS, ["counted", &name]).add(counted);
        for reason in DropReason::ALL {
            let n = size.reasons[reason.index()].saturating_sub(old.reasons[reason.index()]);
            metrics.counter(&names::EVENTS, [reason.as_str(), &name]).add(n);
        }
        let by_size = rows.entry(size.size_ms).or_default();
        for closed_by in ClosedBy::ALL {
            let now = counters.rows.get(at).map_or(0, |r| r[closed_by.index()]);
            let old = seen.counters.rows.get(at).map_or(0, |r| r[closed_by.index()]);
            by_size[closed_by.index()] += now - old;
            metrics.counter(&names::WINDOWS_CLOSED, [closed_by.as_str(), &name]).add(now - old);
        }
    }
    metrics.counter(&names::LATE_RECORDS, []).add(counters.late_records - seen.counters.late_records);
    seen.ledger = ledger.clone();
    seen.counters = counters.clone();
}

/// The same for live frames.
fn export_live(emitter: &Emitter, seen: &mut WatchCounters, now: WatchCounters) {
    let metrics = emitter.metrics();
    let old = std::mem::replace(seen, now);
    metrics.counter(&names::FRAMES, ["made"]).add(now.frames - old.frames);
    metrics.counter(&names::INTEREST_REFUSED, []).add(now.refused - old.refused);
    metrics.counter(&names::HISTORY_DROPPED, []).add(now.points_dropped - old.points_dropped);
}
