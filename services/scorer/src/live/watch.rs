//! What a worker shows of itself: metrics, log lines, and a status for whoever waits for it.

use crate::live::driver::{Counts, Driver};
use crate::live::event::Event;
use crate::live::models::{ModelError, Role};
use evenkeel_model::{AlertAction, Topic};
use evenkeel_seam::behind;
use evenkeel_telemetry::names::scorer as names;
use evenkeel_telemetry::{Counter, Emitter, Histogram, Latest, Share, event};
use std::collections::BTreeMap;

event! {
    /// A partition is live again.
    struct Recovered INFO "scorer.partition.recovered" "a partition is live again" {
        values { partition: u32, records: u64 }
        limit("", 0);
    }
}

event! {
    /// The log is shorter than what is remembered.
    struct LogCut ERROR "scorer.log.cut" "the log no longer holds all that is remembered; lags, thresholds and alerts may differ from what they were (raise the topic's retention above scorer.live.memory)" {
        values { partition: u32, topic: &'static str, needed: u64, log_start: u64 }
        limit("", 0);
    }
}

event! {
    /// A record of `windows` could not be decoded.
    struct Undecodable<'a> WARN "scorer.record.undecodable" "a record cannot be decoded and is passed over; the sink puts it into dlq" {
        values { partition: u32, offset: u64 }
        shown { error: &'a dyn std::fmt::Display }
        limit("", 10_000);
    }
}

event! {
    /// A record of `windows` lies in the wrong partition.
    struct Misrouted WARN "scorer.record.misrouted" "a record lies in a partition that is not its stream's and is passed over (who else writes to this topic?)" {
        values { partition: u32, offset: u64 }
        limit("", 10_000);
    }
}

event! {
    /// A row that the model cannot score.
    struct Unscorable<'a> WARN "scorer.row.unscorable" "a row cannot be scored" {
        values {}
        shown { error: &'a dyn std::fmt::Display }
        limit("", 10_000);
    }
}

event! {
    /// A new version of a model counts.
    struct Reloaded<'a> INFO "scorer.model.reloaded" "a new version of a model counts from the next row on" {
        values { shadow: bool }
        shown { name: &'a dyn std::fmt::Display, version: &'a dyn std::fmt::Display }
        limit("", 0);
        counts(names::RELOADS, ["loaded"], 1);
    }
}

event! {
    /// A new version of a model cannot be used.
    struct ReloadRefused<'a> ERROR "scorer.model.refused" "a new version of a model cannot be used, the old one goes on; features that are not remembered need a restart" {
        values { shadow: bool }
        shown { error: &'a dyn std::fmt::Display }
        limit("", 0);
        counts(names::RELOADS, ["refused"], 1);
    }
}

event! {
    /// A transaction was aborted.
    struct Aborted<'a> WARN "scorer.transaction.aborted" "a transaction was aborted; its partitions recover" {
        values {}
        shown { error: &'a dyn std::fmt::Display }
        limit("", 1000);
        counts(names::COMMITS, ["aborted"], 1);
    }
}

event! {
    /// Consumption pauses until the next tick.
    struct Paused INFO "scorer.paused" "outputs are at their bound; consumption pauses until the next tick" {
        values {}
        limit("", 10_000);
    }
}

/// How a worker stands, after its last tick.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Status {
    /// Everything consumed is scored and committed.
    pub quiet: bool,
    /// What became of rows.
    pub counts: Counts,
    /// Alerts raised, and cleared.
    pub raised: u64,
    /// See `raised`.
    pub cleared: u64,
    /// Alerts that stand.
    pub standing: u64,
    /// The next offset per partition of `windows`.
    pub positions: BTreeMap<u32, u64>,
}

/// The status after the last tick, for others to look at.
pub type StatusCell = Latest<Status>;

/// Turns a driver's events into metrics.
#[derive(Debug)]
pub struct Watch {
    emitter: Emitter,
    share: Share,
    cell: StatusCell,
    status: Status,
    latency: Histogram,
    queue_duration: Histogram,
    batches: Counter,
    committed: Counter,
}

impl Watch {
    /// Watches a worker; the status goes to `cell`.
    pub fn new(emitter: Emitter, cell: StatusCell) -> Self {
        let metrics = emitter.metrics();
        Self {
            latency: metrics.histogram(&names::LATENCY, []),
            queue_duration: metrics.histogram(&names::QUEUE_DURATION, []),
            batches: metrics.counter(&names::BATCHES, []),
            committed: metrics.counter(&names::COMMITS, ["committed"]),
            share: Share::new(metrics.clone()),
            emitter,
            cell,
            status: Status::default(),
        }
    }

    /// Tells what happened. `now_ms`: the wall clock, for the age of scores.
    pub fn say(&mut self, now_ms: i64, event: &Event) {
        match event {
            Event::Recovered { partition, records } => {
                Recovered { partition: *partition, records: *records }.emit(&self.emitter);
            }
            Event::LogCut { topic, partition, needed, log_start } => {
                let (topic, partition, needed, log_start) = (topic.as_str(), *partition, *needed, *log_start);
                LogCut { partition, topic, needed, log_start }.emit(&self.emitter);
            }
            Event::Undecodable { partition, offset, error } => {
                Undecodable { partition: *partition, offset: *offset, error }.emit(&self.emitter);
            }
            Event::Misrouted { partition, offset } => {
                Misrouted { partition: *partition, offset: *offset }.emit(&self.emitter);
            }
            Event::Unscorable { error } => Unscorable { error }.emit(&self.emitter),
            Event::Batch { waited_ms, .. } => {
                self.batches.add(1);
                waited_ms.iter().for_each(|ms| self.queue_duration.record(*ms as f64 / 1000.0));
            }
            Event::Committed { arrivals } => {
                self.committed.add(1);
                arrivals.iter().for_each(|at| self.latency.record((now_ms - at) as f64 / 1000.0));
            }
            Event::Alert(action, severity) => {
                self.status.raised += u64::from(*action == AlertAction::Raise);
                self.status.cleared += u64::from(*action == AlertAction::Clear);
                let labels = [action.as_str(), severity.as_str()];
                self.emitter.metrics().counter(&names::ALERTS, labels).add(1);
            }
            Event::Drift(features) => {
                features.iter().for_each(|(name, psi)| self.share.highest(&names::DRIFT, [name], *psi));
            }
            Event::TickMerged => {}
            Event::Aborted(error) => Aborted { error }.emit(&self.emitter),
            Event::Paused => Paused {}.emit(&self.emitter),
        }
    }

    /// A new version of a model came.
    pub fn reloaded(&self, role: Role, outcome: Result<(&str, &str), &ModelError>) {
        let shadow = role == Role::Shadow;
        match outcome {
            Ok((name, version)) => {
                Reloaded { shadow, name: &name, version: &version }.emit(&self.emitter);
            }
            Err(error) => ReloadRefused { shadow, error }.emit(&self.emitter),
        }
    }

    /// After a tick. `ends` of the log, by partition.
    pub fn ticked(&mut self, driver: &Driver, ends: &[(u32, u64)]) {
        let (before, now) = (self.status.counts, driver.counts());
        let metrics = self.emitter.metrics();
        for (outcome, before, now) in [
            ("scored", before.scored, now.scored),
            ("dropped", before.dropped, now.dropped),
            ("error", before.errors, now.errors),
            ("without_events", before.without_events, now.without_events),
            ("late", before.late, now.late),
            ("refused", before.refused, now.refused),
        ] {
            metrics.counter(&names::ROWS, [outcome]).add(now - before);
        }
        let (mut live, mut series, mut standing) = (0, 0, 0);
        for (_, core) in driver.cores() {
            let sizes = core.sizes();
            (live, series, standing) = (live + 1, series + sizes.0 as u64, standing + sizes.1 as u64);
        }
        let (depth, limit) = driver.queue();
        let share = &mut self.share;
        share.count(&names::QUEUE_DEPTH, [], depth as u64);
        share.count(&names::QUEUE_LIMIT, [], limit as u64);
        share.count(&names::SERIES, [], series);
        share.count(&names::SERIES_LIMIT, [], live * driver.series_max() as u64);
        share.count(&names::ALERTS_STANDING, [], standing);
        share.count(&names::PARTITIONS, ["live"], live);
        share.count(&names::PARTITIONS, ["recovering"], driver.recovering() as u64);
        self.status.quiet = driver.is_quiet();
        self.status.counts = now;
        self.status.standing = standing;
        self.status.positions = driver.positions().collect();
        let lag = behind(ends, &self.status.positions);
        self.share.count(&names::CONSUMER_LAG, [Topic::Windows.as_str()], lag);
        self.cell.set(self.status.clone());
    }
}
