//! What is checked while a run goes on, from the outside of the drivers.
//!
//! Keeps an eye on: recovery (what was rebuilt equals what was committed), the live clock (an outage moves
//! nothing), the bound of the replay (nothing open or pending past open-age-max while there is room).

use crate::bounded::{Bounded, Tick};
use crate::log::SimLog;
use evenkeel_coalescer::Driver;
use evenkeel_scenarios::{Published, Rule, Settings, Violation};
use evenkeel_seam::Outputs;
use evenkeel_window::{Core, Imbalance};
use std::collections::{BTreeMap, BTreeSet};

/// The checks of one run.
#[derive(Debug)]
pub struct Checks {
    settings: Settings,
    /// How far each partition's live clock may have come, ms.
    allowed: BTreeMap<u32, i64>,
    bounded: Bounded,
    found: Vec<Violation>,
    /// Virtual time, ms: when something is found.
    pub now_ms: i64,
    /// What the run exercised.
    pub seen: Seen,
}

/// How often what happened: a sweep that saw too little of something proved nothing about it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// Partitions recovered.
    pub recoveries: u64,
    /// Recoveries that a rebalance interrupted.
    pub interrupted: u64,
    /// Transactions aborted under a living worker.
    pub aborted: u64,
    /// Workers fenced by a newer one of their name or by an heir.
    pub fenced: u64,
    /// Workers that lost partitions without being asked (zombies that woke up).
    pub lost: u64,
    /// Live frames that reached the log.
    pub frames: u64,
}

/// Violations kept per run: the first ones tell the story.
const FOUND_MAX: usize = 200;

impl Checks {
    /// Nothing seen yet.
    pub fn new(settings: &Settings) -> Self {
        Self {
            settings: settings.clone(),
            allowed: BTreeMap::new(),
            bounded: Bounded::default(),
            found: Vec::new(),
            now_ms: 0,
            seen: Seen::default(),
        }
    }

    /// A rule was broken.
    pub fn report(&mut self, rule: Rule, what: impl Into<String>) {
        if self.found.len() < FOUND_MAX {
            let what = format!("at {:.3}: {}", self.now_ms as f64 / 1_000.0, what.into());
            self.found.push(Violation::new(rule, what));
        }
    }

    /// What was found.
    pub fn found(&self) -> &[Violation] {
        &self.found
    }

    /// A partition is live again: everything is as its last commit says.
    pub fn recovered(
        &mut self,
        log: &SimLog,
        group: &str,
        partition: u32,
        core: Option<&Core>,
        differs: &[Imbalance],
    ) {
        self.seen.recoveries += 1;
        for Imbalance { size_ms, committed, rebuilt } in differs {
            let what =
                format!("partition {partition}, size {size_ms}: in_open {committed}, rebuilt {rebuilt}");
            self.report(Rule::Recovery, what);
        }
        let committed = log.cluster().group(group).position(partition).ok().flatten();
        let (Some(core), Some(position)) = (core, committed) else { return };
        let Some(was) = position.meta else { return };
        let (offset, is) = core.meta();
        let live = was.live_clock.max(was.log_clock);
        let pairs = [
            ("offset", position.offset as i64, offset as i64),
            ("replay_from", was.replay_from as i64, is.replay_from as i64),
            ("log clock at replay_from", was.log_clock_at_replay_from, is.log_clock_at_replay_from),
            ("log clock", was.log_clock, is.log_clock),
            ("live clock", live, is.live_clock),
            ("floor", was.floor, is.floor),
        ];
        for (name, was, is) in pairs {
            if was != is {
                let what = format!("partition {partition} at {offset}: {name} was {was}, is {is}");
                self.report(Rule::Recovery, what);
            }
        }
    }

    /// A tick ran: `at_end` are the partitions that saw the end of the log since the last one, `outputs`
    /// what the tick's transaction says, `rows` how many rows it sent.
    pub fn ticked(
        &mut self,
        log: &SimLog,
        driver: &Driver,
        at_end: &BTreeSet<u32>,
        rows: usize,
        outputs: Option<&Outputs>,
    ) {
        for (partition, core) in driver.cores() {
            let (log_clock, live) = core.clocks();
            let step = if at_end.contains(&partition) { self.settings.interval_ms } else { 0 };
            let allowed = self.allowed.entry(partition).or_insert(i64::MIN);
            *allowed = log_clock.max(*allowed).saturating_add(step);
            if live > *allowed {
                let what = format!("partition {partition}: the live clock went to {live}, at most {allowed}");
                *allowed = live;
                self.report(Rule::Outage, what);
            }
            let (offset, meta) = core.meta();
            let tick = Tick { partition, offset, live, rows, outputs };
            let found = self.bounded.look(log, &self.settings, &tick, &meta);
            found.into_iter().for_each(|what| self.report(Rule::Bounded, what));
        }
    }

    /// The run is over: what could not be told while it went on.
    pub fn conclude(&mut self, published: &[Published]) {
        let found = self.bounded.conclude(published, self.settings.open_age_max_ms);
        found.into_iter().for_each(|what| self.report(Rule::Bounded, what));
    }
}
