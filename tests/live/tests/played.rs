//! The scenarios of tests/scenarios over the real binary, a real Kafka and a real CQL server: every named
//! history, and fresh random ones with their misfortune. The judge is the simulator's, and the simulator plays
//! the same.
//! Proves, live: EK-WIN-1, EK-WIN-2, EK-SUM-1, EK-LATE-0, EK-LATE-1 across kill -9 of each service, rebalances,
//! frozen processes, a frozen broker, and a store that is away, slow, or leaves open what became of a write.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use anyhow::{Context, ensure};
use evenkeel_live::parts::cassandra::Cassandra;
use evenkeel_live::player::compare::compare;
use evenkeel_live::player::{Parts, Played, play};
use evenkeel_scenarios::{Scenario, Service, Step, Timeline, catalogue, history};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Histories take minutes of their devices' time: they are played so many times faster, with every setting
/// scaled alike. Those whose outcome hangs on a second of arrival, and those with dense misfortune, not as much.
const MUCH_FASTER: i64 = 4;
const FASTER: i64 = 2;
/// Random histories per run.
const SEEDS: u64 = 3;
/// Faults of random histories begin until then, ms of the history's time.
const TROUBLE_MS: i64 = 100_000;
/// Repeats a run.
const SEED: &str = "EVENKEEL_SEED";
/// Plays only the scenarios whose names contain this.
const ONLY: &str = "EVENKEEL_PLAY";

/// All that share their settings at once, over one to three workers that are killed meanwhile.
fn named() -> anyhow::Result<(Scenario, Scenario)> {
    let alone = catalogue::below_the_floor();
    let mut others = catalogue::all();
    others.retain(|scenario| scenario.name != alone.name);
    let count = others.len();
    let together = Scenario::together(&format!("{count} named histories at once"), others);
    let mut line = Timeline::default();
    let (coalescer, sink) = (Service::Coalescer, Service::Sink);
    line.at(15_000, Step::Rebalance { service: coalescer, workers: 3 });
    line.at(25_000, Step::Rebalance { service: sink, workers: 2 });
    line.at(80_000, Step::Rebalance { service: coalescer, workers: 2 });
    line.at(100_000, Step::Rebalance { service: sink, workers: 1 });
    for (at, service, worker) in [
        (35_000, coalescer, 0),
        (45_000, sink, 1),
        (60_000, coalescer, 2),
        (90_000, coalescer, 1),
        (95_000, sink, 0),
    ] {
        line.at(at, Step::Kill { service, worker, after_actions: 1 });
        line.at(at + 4_000, Step::Restart { service, worker });
    }
    Ok((together.context("a history")?.with(line).faster(MUCH_FASTER), alone.faster(FASTER)))
}

fn random(seed: u64) -> Scenario {
    history::scenario(seed).calm_after(TROUBLE_MS).faster(FASTER)
}

/// Plays, judges, and compares with the simulator.
fn examine(parts: &Parts, scenario: Scenario) -> anyhow::Result<Played> {
    let name = scenario.name.clone();
    let played = play(parts, scenario).with_context(|| name.clone())?;
    eprintln!("{played}");
    let first = &played.finding.violations[..played.finding.violations.len().min(8)];
    ensure!(first.is_empty(), "{name}: {first:#?}");
    let simulated = evenkeel_sim::run(&played.scenario);
    ensure!(simulated.violations.is_empty(), "{name}, simulated: {:#?}", simulated.violations);
    let compared = compare(&played, &simulated);
    eprintln!("{name}: {compared}");
    let first = &compared.differences[..compared.differences.len().min(5)];
    ensure!(first.is_empty(), "{name}: {first:#?}");
    ensure!(compared.windows > 0 && compared.counts > 0, "{name}: nothing to compare");
    Ok(played)
}

#[test]
fn scenarios_over_real_parts_come_out_as_the_simulators() -> anyhow::Result<()> {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let seed = std::env::var(SEED).map_or(Ok(clock), |text| text.parse())?;
    eprintln!("{SEED}={seed} repeats the {SEEDS} random histories");
    let store = Arc::new(Cassandra::find()?);
    // A random history's frozen broker is not to hold up the named ones, some of which hang on a second.
    let (calm, rough) = (Parts::beside(&store)?, Parts::beside(&store)?);
    let (together, alone) = named()?;
    let mut plays = vec![(&calm, together), (&calm, alone)];
    plays.extend((0..SEEDS).map(|nth| (&rough, random(seed + nth))));
    let only = std::env::var(ONLY).unwrap_or_default();
    plays.retain(|(_, scenario)| scenario.name.contains(&only));
    let outcomes: Vec<anyhow::Result<Played>> = std::thread::scope(|scope| {
        let plays: Vec<_> = plays
            .into_iter()
            .map(|(parts, scenario)| scope.spawn(move || examine(parts, scenario)))
            .collect();
        plays.into_iter().map(|play| play.join().unwrap()).collect()
    });
    let failed: Vec<String> =
        outcomes.iter().filter_map(|outcome| Some(format!("{:#}", outcome.as_ref().err()?))).collect();
    ensure!(failed.is_empty(), "{SEED}={seed} repeats it: {}", failed.join("\n\n"));
    let played: Vec<Played> = outcomes.into_iter().flatten().collect();
    let total = |of: fn(&Played) -> u32| played.iter().map(of).sum::<u32>();
    for (what, count) in [
        ("kill -9 of ingest", total(|p| p.counts.kills[0])),
        ("kill -9 of a coalescer", total(|p| p.counts.kills[1])),
        ("kill -9 of a sink", total(|p| p.counts.kills[2])),
        ("drains", total(|p| p.counts.drains)),
        ("late records", total(|p| p.finding.late as u32)),
        ("recovered partitions", total(|p| p.recovered as u32)),
    ] {
        ensure!(
            count >= 3 || !only.is_empty(),
            "only {count}: {what}; this run proved too little ({SEED}={seed})"
        );
    }
    Ok(())
}
