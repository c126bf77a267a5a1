//! A run and its judgement.

use crate::checks::Seen;
use crate::evidence::evidence_of;
use crate::gateway::check_frames;
use crate::trace::Trace;
use crate::world::World;
use evenkeel_model::StoredRow;
use evenkeel_scenarios::{Body, Evidence, Reference, Rule, Scenario, Violation};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a run came to.
#[derive(Debug)]
pub struct Report {
    /// Broken rules; empty = the run passed.
    pub violations: Vec<Violation>,
    /// Faults injected.
    pub faults: u64,
    /// Rows published.
    pub rows: usize,
    /// Late records published.
    pub late: usize,
    /// Windows compared with the reference.
    pub compared: usize,
    /// Windows that could not be compared: too many diverted events. Listed, not hidden.
    pub undetermined: usize,
    /// What happened to the coalescers, how often.
    pub seen: Seen,
    /// Events admitted by the reference.
    pub admitted: usize,
    /// What happened.
    pub trace: Trace,
    /// Every published row, without what may depend on time.
    pub published: BTreeMap<String, String>,
    /// What the topics held at the end.
    pub evidence: Evidence,
    /// What the store held at the end.
    pub stored: Vec<StoredRow>,
    /// What it must hold.
    pub reference: Reference,
}

/// Runs a scenario and judges it.
pub fn run(scenario: &Scenario) -> Report {
    let mut world = World::new(&scenario.settings, scenario.start_ms);
    // A panic of a driver is a finding like any other: the seed and the story are worth more than the abort.
    let played = catch_unwind(AssertUnwindSafe(|| world.play(scenario)));
    if let Err(panic) = played {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
        world.checks.report(Rule::Panic, text);
    }
    let evidence = evidence_of(&world.log);
    world.checks.conclude(&evidence.published);
    let (frames, wrong) = check_frames(&world.log);
    world.checks.seen.frames = frames;
    wrong.into_iter().for_each(|what| world.checks.report(Rule::Recovery, what));
    let stored: Vec<_> = world.store.get().rows().cloned().collect();
    let finding = evidence.judge(&scenario.settings, stored.clone(), &BTreeSet::new());
    let mut violations = world.checks.found().to_vec();
    violations.extend(world.store.get().take_violations());
    violations.extend(finding.violations);
    let trace = std::mem::take(&mut world.log.cluster().trace);
    Report {
        violations,
        faults: world.faults,
        rows: finding.rows,
        late: finding.late,
        compared: finding.compared,
        undetermined: finding.undetermined.len(),
        seen: world.checks.seen,
        admitted: finding.reference.admitted(),
        trace,
        published: published_rows(&evidence),
        evidence,
        stored,
        reference: finding.reference,
    }
}

/// Rows by window, as text without max_ts (the stream's at sending) and the informative drops.
fn published_rows(evidence: &Evidence) -> BTreeMap<String, String> {
    let rows = evidence.published.iter().filter_map(|published| match &published.body {
        Body::Row(row) => {
            let mut row = row.clone();
            row.max_ts = 0;
            row.dropped.clear();
            Some((evenkeel_scenarios::name(&published.key()), format!("{row:?}")))
        }
        Body::Late(_) => None,
    });
    rows.collect()
}
