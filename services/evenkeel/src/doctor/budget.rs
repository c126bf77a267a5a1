//! Findings about the configuration by itself: against the memory there is, the plan, and its own other half.

use super::facts::{Budget, Part, Trouble};
use super::{Told, Weight};
use crate::human::{bytes, count};
use evenkeel_chassis::exit::Exit;
use evenkeel_plan::PROCESS_BYTES;

/// Everything that may be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// A service would refuse what it is given.
    Refused { service: &'static str, trouble: Trouble },
    /// The state alone may grow past the limit.
    OverLimit { budget: u64, limit: u64 },
    /// State and buffers together may.
    Tight { sum: u64, limit: u64 },
    /// The fleet that was announced does not fit the process.
    PlanOverLimit { streams: u64, resident: u64, limit: u64 },
    /// Ingest may hold more than the limit.
    InFlightOverLimit { in_flight: u64, limit: u64 },
    /// Nobody said how large the fleet is.
    NotAnnounced,
    /// More workers than partitions.
    IdleWorkers { key: &'static str, workers: u32, partitions: u32 },
    /// Rows that the store has no table for.
    HomelessSize { size_ms: u64 },
    /// Rows that the scorer waits for in vain.
    UnmadeSize { size_ms: u64 },
}

/// Judges what the services that were asked for need.
pub fn judge(facts: &Budget) -> Vec<Finding> {
    let asked = |part: Part| facts.parts.contains(&part);
    let refused =
        facts.refused.iter().map(|(service, trouble)| Finding::Refused { service, trouble: trouble.clone() });
    let mut findings: Vec<Finding> = refused.collect();
    if asked(Part::Coalescer) {
        judge_coalescer(facts, &mut findings);
    }
    if let Some(limit) = facts.limit.filter(|_| asked(Part::Ingest))
        && facts.in_flight + PROCESS_BYTES > limit
    {
        findings.push(Finding::InFlightOverLimit { in_flight: facts.in_flight, limit });
    }
    if asked(Part::Coalescer) && asked(Part::Sink) {
        findings.extend(facts.homeless_sizes.iter().map(|size| Finding::HomelessSize { size_ms: *size }));
    }
    if asked(Part::Scorer) {
        findings.extend(idle_workers(facts, "scorer.live.workers", facts.scorer_workers));
        findings.extend(facts.unmade_sizes.iter().map(|size| Finding::UnmadeSize { size_ms: *size }));
    }
    findings
}

fn judge_coalescer(facts: &Budget, findings: &mut Vec<Finding>) {
    let (streams, resident) = (facts.streams, facts.resident);
    if let (Some(limit), Some(budget)) = (facts.limit, facts.budget) {
        let sum = budget + facts.buffers + PROCESS_BYTES;
        match () {
            () if budget + PROCESS_BYTES > limit => findings.push(Finding::OverLimit { budget, limit }),
            () if sum > limit => findings.push(Finding::Tight { sum, limit }),
            () => {}
        }
    }
    match facts.limit {
        _ if streams == 0 => findings.push(Finding::NotAnnounced),
        Some(limit) if resident > limit => {
            findings.push(Finding::PlanOverLimit { streams, resident, limit });
        }
        _ => {}
    }
    findings.extend(idle_workers(facts, "coalescer.workers", facts.workers));
}

/// The topics that services share out among their workers have as many partitions as `events`.
fn idle_workers(facts: &Budget, key: &'static str, workers: u32) -> Option<Finding> {
    let partitions = facts.partitions.filter(|partitions| workers > *partitions)?;
    Some(Finding::IdleWorkers { key, workers, partitions })
}

/// What was seen.
pub fn seen(facts: &Budget) -> String {
    let known = |n: Option<u64>| n.map_or("unknown".to_owned(), bytes);
    format!(
        "memory: limit {}, coalescer's budget {}, {} worker(s)",
        known(facts.limit),
        known(facts.budget),
        facts.workers
    )
}

impl Finding {
    /// In words.
    pub fn told(&self) -> Told {
        let usage = |kind| (kind, Weight::Error(Exit::Usage));
        let ((kind, weight), place, why, remedy) = match self {
            Self::Refused { service, trouble } => {
                return Told::of_failure("config", trouble.exit, service, &trouble.message);
            }
            Self::OverLimit { budget, limit } => (
                usage("budget-over-limit"),
                "coalescer.memory-budget",
                format!(
                    "{} and the program itself are more than the limit of {}",
                    bytes(*budget),
                    bytes(*limit)
                ),
                "set it to a share such as \"60%\", or raise the limit",
            ),
            Self::Tight { sum, limit } => (
                ("memory-tight", Weight::Warning),
                "coalescer.memory-budget",
                format!(
                    "state, buffers of the clients and the program may come to {}, the limit is {}",
                    bytes(*sum),
                    bytes(*limit)
                ),
                "lower memory-budget, kafka.limits.fetch-memory or coalescer.workers, or raise the limit",
            ),
            Self::PlanOverLimit { streams, resident, limit } => (
                ("plan-over-limit", Weight::Warning),
                "coalescer.streams-expected",
                format!(
                    "{} streams need {} in all, the limit is {}",
                    count(*streams),
                    bytes(*resident),
                    bytes(*limit)
                ),
                "more memory or more instances; `evenkeel plan` has the sum",
            ),
            Self::InFlightOverLimit { in_flight, limit } => (
                usage("in-flight-over-limit"),
                "ingest.in-flight-max",
                format!("{} may be in flight, the limit is {}", bytes(*in_flight), bytes(*limit)),
                "lower it, or raise the limit",
            ),
            Self::NotAnnounced => (
                ("not-announced", Weight::Note),
                "coalescer.streams-expected",
                "it is 0, so nothing checks that the fleet fits the budget".into(),
                "set it to the streams of one instance; `evenkeel plan` shows what they cost",
            ),
            Self::IdleWorkers { key, workers, partitions } => (
                ("idle-workers", Weight::Note),
                *key,
                format!(
                    "{workers} workers, and their topic has {partitions} partitions: the others have nothing to do"
                ),
                "set workers to at most the partitions per instance",
            ),
            Self::HomelessSize { size_ms } => (
                ("homeless-size", Weight::Error(Exit::Refused)),
                "cql.tables",
                format!("the coalescer makes windows of {size_ms} ms, and the store has no table for them"),
                "add the size to cql.tables and run `evenkeel cql migrate`, or take it out of coalescer.sizes",
            ),
            Self::UnmadeSize { size_ms } => (
                ("unmade-size", Weight::Warning),
                "scorer.live.sizes",
                format!("the scorer looks at windows of {size_ms} ms, and the coalescer makes none"),
                "add the size to coalescer.sizes, or take it out of scorer.live and its rules",
            ),
        };
        Told { kind, weight, place: place.to_owned(), why, remedy: remedy.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::trial::{Trial, try_all};
    use super::*;

    const MIB: u64 = 1 << 20;

    fn healthy() -> Budget {
        Budget {
            parts: Part::ALL.to_vec(),
            refused: Vec::new(),
            limit: Some(1000 * MIB),
            budget: Some(600 * MIB),
            buffers: 128 * MIB,
            in_flight: 256 * MIB,
            streams: 10_000,
            resident: 500 * MIB,
            workers: 2,
            scorer_workers: 2,
            partitions: Some(12),
            homeless_sizes: Vec::new(),
            unmade_sizes: Vec::new(),
        }
    }

    fn trouble(exit: Exit) -> Trouble {
        Trouble { exit, message: "in-flight-max is too small; make it larger".into() }
    }

    #[test]
    fn every_kind_has_a_cause_and_health_has_none() {
        let trials: [Trial<Budget>; 12] = [
            ("config", |b| b.refused.push(("ingest", trouble(Exit::Usage)))),
            ("config", |b| b.refused.push(("scorer", trouble(Exit::Refused)))),
            ("budget-over-limit", |b| b.budget = Some(961 * MIB)),
            ("memory-tight", |b| b.buffers = 361 * MIB),
            ("plan-over-limit", |b| b.resident = 1001 * MIB),
            ("in-flight-over-limit", |b| b.in_flight = 961 * MIB),
            ("not-announced", |b| b.streams = 0),
            ("not-announced", |b| (b.streams, b.resident) = (0, 2000 * MIB)),
            ("idle-workers", |b| b.workers = 13),
            ("idle-workers", |b| b.scorer_workers = 13),
            ("homeless-size", |b| b.homeless_sizes.push(10_000)),
            ("unmade-size", |b| b.unmade_sizes.push(10_000)),
        ];
        let told = |facts: &Budget| judge(facts).iter().map(Finding::told).collect();
        let kinds = [
            "config",
            "budget-over-limit",
            "memory-tight",
            "plan-over-limit",
            "in-flight-over-limit",
            "not-announced",
            "idle-workers",
            "homeless-size",
            "unmade-size",
        ];
        try_all(healthy, told, &trials, &kinds);
    }

    #[test]
    fn a_refusal_has_the_exit_code_of_the_service_that_refuses() {
        let mut facts = healthy();
        facts.refused = vec![("ingest", trouble(Exit::Usage)), ("scorer", trouble(Exit::Refused))];
        let weights: Vec<Weight> = judge(&facts).iter().map(|finding| finding.told().weight).collect();
        assert_eq!(weights, [Weight::Error(Exit::Usage), Weight::Error(Exit::Refused)]);
    }

    #[test]
    fn at_the_limit_it_fits_and_what_is_unknown_is_no_finding() {
        let exact = |change: fn(&mut Budget)| {
            let mut facts = healthy();
            change(&mut facts);
            judge(&facts)
        };
        assert_eq!(exact(|b| b.buffers = 360 * MIB), []);
        assert_eq!(exact(|b| (b.budget, b.buffers) = (Some(960 * MIB), 0)), []);
        assert_eq!(exact(|b| (b.limit, b.partitions, b.workers) = (None, None, 99)), []);
        // Only who is asked about has needs.
        assert_eq!(exact(|b| (b.parts, b.in_flight, b.streams) = (vec![Part::Sink], 961 * MIB, 0)), []);
        assert_eq!(exact(|b| (b.parts, b.homeless_sizes) = (vec![Part::Coalescer], vec![10_000])), []);
        assert_eq!(exact(|b| (b.parts, b.unmade_sizes) = (vec![Part::Sink], vec![10_000])), []);
        assert_eq!(exact(|b| (b.parts, b.scorer_workers) = (vec![Part::Sink], 99)), []);
        assert_eq!(seen(&healthy()), "memory: limit 1.0 GiB, coalescer's budget 600.0 MiB, 2 worker(s)");
    }
}
