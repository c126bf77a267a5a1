//! Makes a failing scenario short: steps are left out, in ever smaller pieces, while it still fails.

use evenkeel_scenarios::{Rule, Scenario, Step};

/// The shortest scenario found that still breaks `rule`, within a number of runs.
pub fn shrink(scenario: &Scenario, rule: Rule, runs_max: usize) -> Scenario {
    let mut best = scenario.clone();
    let mut runs = 0;
    let mut piece = best.steps.len().div_ceil(2);
    while piece > 0 {
        let mut at = 0;
        while at < best.steps.len() && runs < runs_max {
            let mut steps = best.steps.clone();
            let gone: Vec<Step> = steps.drain(at..(at + piece).min(best.steps.len())).collect();
            if let Some(ms) = passed_ms(&gone).filter(|_| gone.len() > 1 || !is_wait(&gone[0])) {
                steps.insert(at, Step::Advance { ms }); // what goes takes its time with it otherwise
            }
            let candidate = Scenario { steps: joined(steps), ..best.clone() };
            runs += 1;
            match candidate.steps.len() < best.steps.len() && breaks(&candidate, rule) {
                true => best = candidate,
                false => at += piece,
            }
        }
        piece = if piece == 1 || runs >= runs_max { 0 } else { piece.div_ceil(2) };
    }
    best
}

fn breaks(scenario: &Scenario, rule: Rule) -> bool {
    crate::run(scenario).violations.iter().any(|violation| violation.rule == rule)
}

fn is_wait(step: &Step) -> bool {
    matches!(step, Step::Advance { .. })
}

fn passed_ms(steps: &[Step]) -> Option<i64> {
    let passed = |step: &Step| match step {
        Step::Advance { ms } => Some(*ms),
        _ => None,
    };
    let all: i64 = steps.iter().filter_map(passed).sum();
    (all > 0).then_some(all)
}

/// Neighbouring waits are one.
fn joined(steps: Vec<Step>) -> Vec<Step> {
    let mut out: Vec<Step> = Vec::with_capacity(steps.len());
    for step in steps {
        match (out.last_mut(), step) {
            (Some(Step::Advance { ms }), Step::Advance { ms: more }) => *ms += more,
            (_, step) => out.push(step),
        }
    }
    out
}
