//! Histories over the real drivers: the same seeds in every run (fresh ones are `cargo sim`'s part), the
//! named ones, a crash at every action boundary; and that a run repeats itself to the letter.

use evenkeel_scenarios::{Rng, Scenario, Service, Step, Timeline, catalogue, history};
use evenkeel_sim::{Totals, examine, run, scenario_of};

/// EK-WIN-1, EK-WIN-2, EK-SUM-1, EK-LATE-0, EK-LATE-1 over random histories and misfortune.
#[test]
fn random_histories_break_no_rule_and_are_not_idle() {
    let mut totals = Totals::default();
    for seed in 0..100 {
        let findings = examine(seed, &mut totals);
        assert!(findings.is_empty(), "cargo sim --show {seed}: {findings:#?}");
    }
    assert!(
        totals.rows > 1_000 && totals.late > 300 && totals.faults > 5_000 && totals.twins >= 30,
        "{totals}"
    );
    let seen = totals.seen;
    assert!(
        seen.recoveries > 500
            && seen.interrupted > 10
            && seen.aborted > 50
            && seen.fenced > 5
            && seen.lost > 5
            && seen.frames > 5_000,
        "{totals}"
    );
}

#[test]
fn one_seed_twice_is_one_story() {
    for seed in [1, 2, 3] {
        let (a, b) = (run(&scenario_of(seed)), run(&scenario_of(seed)));
        assert!(a.trace.lines().len() > 100);
        assert_eq!(a.trace.lines(), b.trace.lines());
        assert_eq!(a.trace.hash(), b.trace.hash());
        assert_ne!(a.trace.hash(), run(&scenario_of(seed + 10)).trace.hash());
    }
}

#[test]
fn named_histories_come_out_exact_without_and_with_misfortune() {
    for scenario in catalogue::all() {
        assert_passes(&scenario);
        for seed in 0..2 {
            assert_passes(&with_trouble(&scenario, seed));
        }
    }
}

/// The misfortune of a random history laid over the data of a named one.
fn with_trouble(scenario: &Scenario, seed: u64) -> Scenario {
    let mut line = Timeline::default();
    let mut now = 0;
    for step in &scenario.steps {
        match step {
            Step::Advance { ms } => now += ms,
            step => line.at(now, step.clone()),
        }
    }
    history::trouble(&mut Rng::new(seed), &mut line);
    let name = format!("{}, trouble {seed}", scenario.name);
    Scenario { name, steps: line.into_steps(), ..scenario.clone() }
}

/// Every service, every boundary: the process dies just before its n-th action and comes back.
#[test]
fn a_crash_at_every_action_boundary_changes_nothing() {
    let mut calm = scenario_of(3);
    calm.steps.retain(|step| matches!(step, Step::Send { .. } | Step::Replay { .. } | Step::Advance { .. }));
    let untouched = run(&calm);
    assert!(untouched.violations.is_empty(), "{:#?}", untouched.violations);
    for service in [Service::Coalescer, Service::Sink] {
        for after_actions in 1..120 {
            let mut scenario = calm.clone();
            scenario.name = format!("{service:?} dies before action {after_actions}");
            scenario.steps.insert(1, Step::Kill { service, worker: 0, after_actions });
            restart_every_second(&mut scenario, service);
            let report = run(&scenario);
            assert!(report.violations.is_empty(), "{}: {:#?}", scenario.name, report.violations);
            assert_eq!(report.published, untouched.published, "{}", scenario.name);
        }
    }
}

fn restart_every_second(scenario: &mut Scenario, service: Service) {
    let mut steps = Vec::new();
    for step in scenario.steps.drain(..) {
        let wait = matches!(step, Step::Advance { .. });
        steps.push(step);
        if wait {
            steps.push(Step::Restart { service, worker: 0 });
        }
    }
    scenario.steps = steps;
}

fn assert_passes(scenario: &Scenario) {
    let report = run(scenario);
    let first = &report.violations[..report.violations.len().min(5)];
    assert!(first.is_empty(), "{}: {} findings, {first:#?}", scenario.name, report.violations.len());
    assert!(report.rows > 0 && report.compared > 0 && report.undetermined == 0, "{}", scenario.name);
}

/// As a world with real parts plays them: sooner over, at another time, closed by the log. What made a history
/// worth naming is still there.
#[test]
fn a_history_at_another_pace_and_time_breaks_no_rule() {
    for scenario in catalogue::all() {
        let start_ms = scenario.start_ms + 123_456_789;
        let (scenario, open) = scenario.faster(4).starting_at(start_ms).with_last_events();
        assert_passes(&scenario);
        assert!(!open.is_empty());
    }
    for pace in [1, 2, 4] {
        let scenario = catalogue::below_the_floor().faster(pace);
        let start_ms = scenario.aligned_start(1_795_000_000_000, 60_000);
        let report = run(&scenario.starting_at(start_ms).with_last_events().0);
        assert_eq!((report.late, &report.violations[..]), (4, &[][..]), "{pace} times faster");
    }
}
