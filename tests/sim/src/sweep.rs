//! Many seeds: each examined, the sums kept. A sweep has floors, too: it must have closed windows, merged
//! late events, recovered partitions and injected faults, or it proved nothing.

use crate::checks::Seen;
use crate::run::{Report, run};
use evenkeel_scenarios::{Rule, Scenario, Step, Violation, history};
use std::collections::BTreeMap;
use std::fmt;

/// Sums over the runs of a sweep.
#[derive(Debug, Default)]
pub struct Totals {
    /// Histories run.
    pub histories: u64,
    /// Histories with a finding.
    pub failed: u64,
    /// Rows published.
    pub rows: u64,
    /// Late records published.
    pub late: u64,
    /// Faults injected.
    pub faults: u64,
    /// What happened to the coalescers, how often.
    pub seen: Seen,
    /// Windows compared with the reference.
    pub compared: u64,
    /// Windows not compared, too many diverted events: the listed skips.
    pub undetermined: u64,
    /// Histories run a second time without misfortune, to compare the rows.
    pub twins: u64,
    /// Findings by rule.
    pub by_rule: BTreeMap<Rule, u64>,
}

/// Every so many seeds, windows close by functions of the log only, and the rows must not depend on what
/// crashed.
const TWIN_EVERY: u64 = 3;

/// The scenario that a seed names here.
pub fn scenario_of(seed: u64) -> Scenario {
    let mut scenario = history::scenario(seed);
    if seed.is_multiple_of(TWIN_EVERY) {
        scenario.settings = scenario.settings.without_facts();
    }
    scenario
}

/// Runs the history of a seed and judges it.
pub fn examine(seed: u64, totals: &mut Totals) -> Vec<Violation> {
    let scenario = scenario_of(seed);
    let report = run(&scenario);
    totals.add(&report);
    let mut findings = report.violations.clone();
    if report.faults == 0 {
        findings.push(Violation::new(Rule::Floor, "no fault was injected"));
    }
    if !scenario.settings.facts {
        totals.twins += 1;
        findings.extend(compare(&report, &run(&calm(&scenario))));
    }
    totals.failed += u64::from(!findings.is_empty());
    for rule in findings.iter().map(|violation| violation.rule).collect::<std::collections::BTreeSet<_>>() {
        *totals.by_rule.entry(rule).or_default() += 1;
    }
    findings
}

/// The same scenario without any misfortune: what is sent, and when, stays.
fn calm(scenario: &Scenario) -> Scenario {
    let stays = |step: &&Step| {
        let data = matches!(step, Step::Skew { .. } | Step::Garble { .. } | Step::Misroute(_));
        data || !step.is_fault()
    };
    Scenario { steps: scenario.steps.iter().filter(stays).cloned().collect(), ..scenario.clone() }
}

/// Without facts, rows are a function of the log: crashes change nothing.
fn compare(report: &Report, calm: &Report) -> Vec<Violation> {
    let mut found = Vec::new();
    for (key, row) in &report.published {
        let other = calm.published.get(key).map_or("no row", String::as_str);
        if other != row {
            found.push(Violation::new(Rule::Crashes, format!("{key}: {row}, without crashes {other}")));
        }
    }
    let only_calm = calm.published.keys().filter(|key| !report.published.contains_key(*key));
    found.extend(only_calm.map(|key| Violation::new(Rule::Crashes, format!("{key}: only without crashes"))));
    found
}

impl Totals {
    fn add(&mut self, report: &Report) {
        self.histories += 1;
        self.rows += report.rows as u64;
        self.late += report.late as u64;
        self.faults += report.faults;
        self.seen.recoveries += report.seen.recoveries;
        self.seen.interrupted += report.seen.interrupted;
        self.seen.aborted += report.seen.aborted;
        self.seen.fenced += report.seen.fenced;
        self.seen.lost += report.seen.lost;
        self.seen.frames += report.seen.frames;
        self.compared += report.compared as u64;
        self.undetermined += report.undetermined as u64;
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} histories, {} failed: {} rows, {} late records, {} windows compared with the reference, \
             {} histories compared with a run without faults",
            self.histories, self.failed, self.rows, self.late, self.compared, self.twins
        )?;
        let Seen { recoveries, interrupted, aborted, fenced, lost, frames } = self.seen;
        writeln!(
            f,
            "{} faults; {recoveries} recoveries, {interrupted} of them interrupted by a rebalance; {aborted} \
             transactions aborted, {fenced} workers fenced, {lost} times a worker woke up to find its partitions gone",
            self.faults
        )?;
        write!(
            f,
            "{frames} live frames; skipped: {} windows with too many diverted events",
            self.undetermined
        )?;
        for (rule, count) in &self.by_rule {
            write!(f, "\n{:>6}  {}", count, rule.id())?;
        }
        Ok(())
    }
}
