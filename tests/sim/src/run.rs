//! A run and its judgement.

use crate::checks::Seen;
use crate::evidence::Evidence;
use crate::trace::Trace;
use crate::world::World;
use evenkeel_model::DropReason;
use evenkeel_scenarios::{
    Body, LedgerWatch, Reference, Rule, Scenario, Settings, Violation, check_origin, check_published, judge,
};
use std::collections::BTreeMap;
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
}

/// Runs a scenario and judges it.
pub fn run(scenario: &Scenario) -> Report {
    let mut world = World::new(&scenario.settings);
    // A panic of a driver is a finding like any other: the seed and the story are worth more than the abort.
    let played = catch_unwind(AssertUnwindSafe(|| world.play(scenario)));
    if let Err(panic) = played {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
        world.checks.report(Rule::Panic, text);
    }
    let evidence = Evidence::of(&world.log);
    let reference = Reference::of(&scenario.settings, evidence.events.iter().cloned());
    world.checks.conclude(&evidence.published);
    let mut violations = world.checks.found().to_vec();
    violations.extend(world.store.get().take_violations());
    violations.extend(evidence.unreadable.iter().map(|what| Violation::new(Rule::Late1, what.clone())));
    violations.extend(check_published(&scenario.settings, &reference, &evidence.published));
    violations.extend(check_refused(&scenario.settings, &evidence, &reference));
    let mut watch = LedgerWatch::default();
    for commit in &evidence.commits {
        violations.extend(watch.commit(commit, &reference));
    }
    let stored: Vec<_> = world.store.get().rows().cloned().collect();
    violations.extend(check_origin(&stored, &evidence.published));
    let verdict = judge(stored, &evidence.diverted, &reference);
    violations.extend(verdict.violations);
    let rows = evidence.published.iter().filter(|p| matches!(p.body, Body::Row(_))).count();
    if rows == 0 {
        violations.push(Violation::new(Rule::Floor, "no window was closed"));
    }
    let trace = std::mem::take(&mut world.log.cluster().trace);
    Report {
        violations,
        faults: world.faults,
        rows,
        late: evidence.published.len() - rows,
        compared: verdict.compared,
        undetermined: verdict.undetermined.len(),
        seen: world.checks.seen,
        admitted: reference.admitted(),
        trace,
        published: published_rows(&evidence),
    }
}

/// Nothing is dropped silently: what admission refuses is in `dlq`, exactly once.
fn check_refused(settings: &Settings, evidence: &Evidence, reference: &Reference) -> Vec<Violation> {
    let mut found = Vec::new();
    for partition in 0..settings.partitions {
        for reason in [DropReason::Malformed, DropReason::Misrouted, DropReason::Future, DropReason::TooOld] {
            let size_ms = settings.classes.last().map_or(1, |class| class.sizes_ms[0]);
            let want = reference.tally(partition, size_ms, u64::MAX).refused[reason.index()];
            let got = evidence.refused.get(&(partition, reason)).copied().unwrap_or(0);
            if got != want {
                let what = format!("partition {partition}: {got} events in dlq as {reason}, expected {want}");
                found.push(Violation::new(Rule::Sum1, what));
            }
        }
    }
    found
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
