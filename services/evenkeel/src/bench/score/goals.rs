//! What scoring is to reach beside Python, and whether it did.

use super::{BATCH, LINEAR, MODELS, Medians, OURS, RUNTIME, SCIKIT, STREAM};
use crate::bench::report::Goal;

/// Row by row, times the rows per second of the pipeline in Python.
const TIMES_SCIKIT: f64 = 300.0;
/// All at once, times the rows per CPU second of onnxruntime.
const TIMES_RUNTIME: f64 = 1.0;

/// The linear model is what source C's pipeline is; trees are compared with onnxruntime too.
pub(super) fn goals(medians: &Medians) -> Vec<Goal> {
    let mut goals = Vec::new();
    let ratio = |of: [(&'static str, &'static str, &'static str); 2]| {
        let [ours, other] = of.map(|place| medians.get(&place).map_or(0.0, |run| run.rate));
        if other > 0.0 { ours / other } else { 0.0 }
    };
    let times = ratio([(LINEAR, STREAM, OURS), (LINEAR, STREAM, SCIKIT)]);
    goals.push(Goal::at_least("linear, row by row: times pandas and scikit-learn", times, TIMES_SCIKIT));
    for model in MODELS {
        let times = ratio([(model, BATCH, OURS), (model, BATCH, RUNTIME)]);
        goals.push(Goal::at_least(format!("{model}, all at once: times onnxruntime"), times, TIMES_RUNTIME));
    }
    goals
}

#[cfg(test)]
mod tests {
    use super::super::{Median, TREE};
    use super::*;

    #[test]
    fn each_goal_compares_the_right_two() {
        let run = |rate| Median { rate, p99_us: 1.0 };
        let mut medians = Medians::from([
            ((LINEAR, STREAM, OURS), run(900.0)),
            ((LINEAR, STREAM, SCIKIT), run(3.0)),
            ((LINEAR, BATCH, OURS), run(20.0)),
            ((LINEAR, BATCH, RUNTIME), run(10.0)),
            ((TREE, BATCH, OURS), run(5.0)),
            ((TREE, BATCH, RUNTIME), run(10.0)),
        ]);
        let met: Vec<(f64, bool)> = goals(&medians).iter().map(|goal| (goal.value, goal.met)).collect();
        assert_eq!(met, [(300.0, true), (2.0, true), (0.5, false)]);
        medians.remove(&(LINEAR, STREAM, SCIKIT));
        assert!(!goals(&medians)[0].met, "what was not measured is not met");
    }
}
