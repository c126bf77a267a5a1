//! Random scenarios: a few devices of random kinds, and random misfortune of the services meanwhile.
//! Everything follows from the seed.

use crate::device::{Kind, play};
use crate::rng::Rng;
use crate::sample::{Sample, batch_of};
use crate::settings::Settings;
use crate::step::{START_MS, Scenario, Service, Step, Timeline, Unknown};

/// How long the devices send, ms.
const TRAFFIC_MS: i64 = 70_000;
/// How long things go wrong, ms. Afterwards the run is left alone until it comes to rest.
const TROUBLE_MS: i64 = 190_000;

/// The scenario of a seed.
pub fn scenario(seed: u64) -> Scenario {
    let rng = Rng::new(seed);
    let settings = Settings::small(&mut rng.fork(1));
    let mut line = Timeline::default();
    traffic(&mut rng.fork(2), settings.partitions, &mut line);
    trouble(&mut rng.fork(3), &mut line);
    Scenario { name: format!("seed {seed}"), settings, start_ms: START_MS, steps: line.into_steps() }
}

/// Two to four devices of random kinds (short-lived ones come in fours), foreign producers, and now and
/// then ingest's clock off for a moment.
pub fn traffic(rng: &mut Rng, partitions: u32, line: &mut Timeline) {
    let (mut uid, mut names) = (0, 0);
    for _ in 0..rng.between(2, 4) {
        let kind = rng.pick(Kind::ALL);
        for _ in 0..if kind == Kind::Short { 4 } else { 1 } {
            play(kind, &format!("dev/{names}"), TRAFFIC_MS, rng, &mut uid, line);
            names += 1;
        }
    }
    for _ in 0..rng.between(0, 4) {
        let at = rng.between(0, TRAFFIC_MS);
        line.at(at, Step::Skew { by_ms: rng.pick(&[-6_000, -9_000, 2_000]) });
        line.at(at + rng.between(100, 1_500), Step::Skew { by_ms: 0 });
    }
    if rng.chance(20) {
        line.at(rng.between(0, TRAFFIC_MS), Step::Garble { stream_id: "dev/0".into() });
    }
    if rng.chance(20) && partitions > 1 {
        let at = rng.between(0, TRAFFIC_MS);
        let sample = Sample { ts: START_MS + at, seq: Some(1), uid: 9_000_000 };
        line.at(at, Step::Misroute(batch_of("dev/1", &[sample])));
    }
}

/// What happens to the services, second by second.
pub fn trouble(rng: &mut Rng, line: &mut Timeline) {
    let mut now = 0;
    while now < TROUBLE_MS {
        let at = now + rng.between(0, 999);
        log_trouble(rng, at, line);
        coalescer_trouble(rng, at, line);
        sink_trouble(rng, at, line);
        now += 1_000;
    }
    let outage = rng.between(20_000, 150_000); // then the sink meets a backlog
    line.at(outage, Step::StoreDown { for_ms: 40_000 });
}

fn log_trouble(rng: &mut Rng, at: i64, line: &mut Timeline) {
    if rng.chance(8) {
        line.at(at, Step::BrokerDown { for_ms: rng.pick(&[300, 1_000, 4_000]) });
    }
    if rng.chance(35) {
        let mut lag = || rng.pick(&[0, 0, 200, 1_000, 2_000, 5_000]);
        let (windows_ms, marks_ms, offsets_ms) = (lag(), lag(), lag());
        line.at(at, Step::MarkerLag { windows_ms, marks_ms, offsets_ms });
    }
    if rng.chance(30) {
        line.at(at, Step::FetchMax { records: rng.pick(&[0, 1, 2, 4, 100, 100]) });
    }
    if rng.chance(4) {
        line.at(at, Step::AbortNext);
    }
    if rng.chance(5) {
        line.at(at, Step::Compact);
    }
}

fn coalescer_trouble(rng: &mut Rng, at: i64, line: &mut Timeline) {
    let (service, worker) = (Service::Coalescer, rng.index(3));
    if rng.chance(8) {
        let after_actions = rng.pick(&[0, 1, 1, 2, 3, 4, 6]);
        line.at(at, Step::Kill { service, worker, after_actions });
        let back = at + rng.pick(&[100, 1_000, 1_000, 4_000, 12_000]);
        line.at(back, Step::Restart { service, worker });
    }
    if rng.chance(3) {
        line.at(at, Step::Freeze { service, worker, for_ms: rng.pick(&[1_500, 4_000, 9_000, 20_000]) });
    }
    if rng.chance(3) {
        line.at(at, Step::Rebalance { service, workers: rng.pick(&[1, 2, 3]) });
    }
}

fn sink_trouble(rng: &mut Rng, at: i64, line: &mut Timeline) {
    let (service, worker) = (Service::Sink, rng.index(2));
    if rng.chance(3) {
        line.at(at, Step::Rebalance { service, workers: rng.pick(&[1, 2]) });
    }
    if rng.chance(4) {
        line.at(at, Step::Kill { service, worker, after_actions: rng.pick(&[0, 1, 2, 5]) });
        line.at(at + rng.pick(&[100, 1_000, 3_000]), Step::Restart { service, worker });
    }
    if rng.chance(3) {
        line.at(at, Step::Freeze { service, worker, for_ms: rng.pick(&[2_000, 8_000]) });
    }
    if rng.chance(25) {
        let outcome = rng.pick(&[Unknown::Applied, Unknown::Lost, Unknown::Delayed, Unknown::Delayed]);
        line.at(at, Step::StoreUnknown { write: rng.index(3) as u32, outcome, kills: rng.chance(60) });
        (0..2).for_each(|worker| line.at(at + 1_500, Step::Restart { service, worker }));
    }
    if rng.chance(5) {
        line.at(at, Step::StoreSlow { for_ms: 2_000, delay_ms: rng.pick(&[50, 700]) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_names_one_scenario_and_scenarios_are_not_boring() {
        assert_eq!(scenario(5), scenario(5));
        assert_ne!(scenario(5).steps, scenario(6).steps);
        for seed in 0..50 {
            let scenario = scenario(seed);
            let sends = scenario.steps.iter().filter(|s| matches!(s, Step::Send { .. })).count();
            let faults = scenario.steps.iter().filter(|s| s.is_fault()).count();
            assert!(sends >= 8 && faults >= 20, "seed {seed}: {sends} batches, {faults} faults");
        }
    }
}
