//! From a score to a prediction.
//!
//! The state is a function of the scores of the last while, so reading these again rebuilds it. A score is judged
//! by the threshold as it stood before that score: one outlier must not lift the bar it has to pass.

use crate::past::SeriesKey;
use crate::rolling::Rolling;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Where the threshold comes from.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields, tag = "rule")]
pub enum Rule {
    /// Always the same.
    Fixed {
        /// The threshold.
        threshold: f64,
    },
    /// A quantile of the last scores of all streams of a partition: a sample of the fleet, as partitions are by hash.
    FleetQuantile {
        /// Which quantile, 0 to 1.
        quantile: f64,
        /// Of how many scores.
        window: usize,
        /// The threshold until there are `scores-min` scores.
        start: f64,
        /// Scores before the quantile counts.
        scores_min: usize,
    },
    /// A quantile of the last scores of the same stream.
    StreamQuantile {
        /// Which quantile, 0 to 1.
        quantile: f64,
        /// Of how many scores per stream.
        window: usize,
        /// The threshold until the stream has `scores-min` scores.
        start: f64,
        /// Scores before the quantile counts.
        scores_min: usize,
    },
    /// Moves until this share of scores passes: up by `step · (1 − rate)` after one that passed, down by
    /// `step · rate` after one that did not (Robbins and Monro 1951).
    TargetRate {
        /// The share of scores that should pass, 0 to 1.
        rate: f64,
        /// How fast it moves, in units of the score.
        step: f64,
        /// Where it begins.
        start: f64,
    },
}

/// A rule that makes no sense.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{name} is {value}; {want}")]
pub struct RuleError {
    name: &'static str,
    value: f64,
    want: &'static str,
}

/// What a score means.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict {
    /// The threshold it was judged by.
    pub threshold: f64,
    /// Whether it reaches the threshold.
    pub passes: bool,
    /// Whether it falls below threshold − hysteresis: an alert ends only then.
    pub clears: bool,
}

/// Thresholds of a fleet. At most `series-max` series are remembered; past that the one whose last score is
/// longest ago is forgotten, and begins anew. A score is forgotten with its age: whoever learns the scores that came
/// since the horizon has the same thresholds, but for a target rate's, which is one number ([`Thresholds::moving`]).
#[derive(Debug, Clone, PartialEq)]
pub struct Thresholds {
    rule: Rule,
    /// An alert ends only when a score falls below threshold − hysteresis.
    hysteresis: f64,
    series_max: usize,
    fleet: Rolling,
    moving: f64,
    series: BTreeMap<SeriesKey, Scores>,
    /// Series by the number of their last score.
    order: BTreeMap<u64, SeriesKey>,
    judged: u64,
}

#[derive(Debug, Clone, PartialEq)]
struct Scores {
    scores: Rolling,
    clock: i64,
    last: u64,
}

impl Rule {
    fn check(&self) -> Result<(), RuleError> {
        let share = |name, value: f64| match (0.0..=1.0).contains(&value) {
            true => Ok(()),
            false => Err(RuleError { name, value, want: "it must be from 0 to 1" }),
        };
        match *self {
            Self::Fixed { threshold } if threshold.is_nan() => {
                Err(RuleError { name: "threshold", value: threshold, want: "it must be a number" })
            }
            Self::Fixed { .. } => Ok(()),
            Self::FleetQuantile { quantile, .. } | Self::StreamQuantile { quantile, .. } => {
                share("quantile", quantile)
            }
            Self::TargetRate { rate, step, .. } if step > 0.0 && step.is_finite() => share("rate", rate),
            Self::TargetRate { step, .. } => {
                Err(RuleError { name: "step", value: step, want: "it must be above 0" })
            }
        }
    }
}

impl Thresholds {
    /// `hysteresis` below 0 counts as 0, `series_max` below 1 as 1.
    pub fn new(rule: Rule, hysteresis: f64, series_max: usize) -> Result<Self, RuleError> {
        rule.check()?;
        let window = if let Rule::FleetQuantile { window, .. } = rule { window } else { 1 };
        let moving = if let Rule::TargetRate { start, .. } = rule { start } else { 0.0 };
        Ok(Self {
            rule,
            hysteresis: hysteresis.max(0.0),
            series_max: series_max.max(1),
            fleet: Rolling::new(window),
            moving,
            series: BTreeMap::new(),
            order: BTreeMap::new(),
            judged: 0,
        })
    }

    /// Judges a finite score that came at `clock`, and learns from it. What came before `horizon` is forgotten.
    pub fn judge(&mut self, key: &SeriesKey, score: f64, clock: i64, horizon: i64) -> Verdict {
        self.forget(key, horizon);
        let threshold = self.threshold(key);
        let passes = score >= threshold;
        if let Rule::TargetRate { rate, step, .. } = self.rule {
            self.moving += step * (if passes { 1.0 } else { 0.0 } - rate);
        }
        self.remember(key, score, clock);
        Verdict { threshold, passes, clears: score < threshold - self.hysteresis }
    }

    /// Learns a score that was judged already.
    pub fn learn(&mut self, key: &SeriesKey, score: f64, clock: i64, horizon: i64) {
        self.forget(key, horizon);
        self.remember(key, score, clock);
    }

    /// Whether thresholds remember scores: else there is nothing to learn again.
    pub fn remembers(&self) -> bool {
        matches!(self.rule, Rule::FleetQuantile { .. } | Rule::StreamQuantile { .. })
    }

    /// The threshold that every score moves, if it is such a rule.
    pub fn moving(&self) -> Option<f64> {
        matches!(self.rule, Rule::TargetRate { .. }).then_some(self.moving)
    }

    /// Goes on from a threshold that scores have moved.
    pub fn move_to(&mut self, moving: f64) {
        if moving.is_finite() {
            self.moving = moving;
        }
    }

    /// Series that are remembered.
    pub fn series(&self) -> usize {
        self.series.len()
    }

    fn threshold(&self, key: &SeriesKey) -> f64 {
        match self.rule {
            Rule::Fixed { threshold } => threshold,
            Rule::TargetRate { .. } => self.moving,
            Rule::FleetQuantile { quantile, start, scores_min, .. } => {
                if self.fleet.len() < scores_min.max(1) { start } else { self.fleet.quantile(quantile) }
            }
            Rule::StreamQuantile { quantile, start, scores_min, .. } => {
                let scores = self.series.get(key).map(|s| &s.scores);
                scores.filter(|s| s.len() >= scores_min.max(1)).map_or(start, |s| s.quantile(quantile))
            }
        }
    }

    /// Of the fleet, of this series, and every series whose last score is too old.
    fn forget(&mut self, key: &SeriesKey, horizon: i64) {
        self.fleet.forget(horizon);
        if let Some(series) = self.series.get_mut(key) {
            series.scores.forget(horizon);
        }
        while let Some(first) = self.order.first_entry() {
            let old = self.series.get(first.get()).is_none_or(|series| series.clock < horizon);
            if !old {
                break;
            }
            self.series.remove(&first.remove());
        }
    }

    fn remember(&mut self, key: &SeriesKey, score: f64, clock: i64) {
        let window = match self.rule {
            Rule::Fixed { .. } | Rule::TargetRate { .. } => return,
            Rule::FleetQuantile { .. } => return self.fleet.push(clock, score),
            Rule::StreamQuantile { window, .. } => window,
        };
        self.judged += 1;
        let judged = self.judged;
        if let Some(series) = self.series.get_mut(key) {
            self.order.remove(&std::mem::replace(&mut series.last, judged));
        } else if self.series.len() >= self.series_max
            && let Some((_, forgotten)) = self.order.pop_first()
        {
            self.series.remove(&forgotten);
        }
        self.order.insert(judged, key.clone());
        let new = || Scores { scores: Rolling::new(window), clock, last: judged };
        let series = self.series.entry(key.clone()).or_insert_with(new);
        series.clock = clock;
        series.scores.push(clock, score);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn judge(thresholds: &mut Thresholds, stream: &str, score: f64) -> Verdict {
        thresholds.judge(&(stream.into(), 5_000), score, 0, 0)
    }

    #[test]
    fn a_score_that_reaches_the_threshold_passes_and_clears_only_below_the_hysteresis() {
        let mut thresholds = Thresholds::new(Rule::Fixed { threshold: 0.5 }, 0.1, 10).unwrap();
        let verdicts = [0.5, 0.499_999_999, 0.4, 0.399].map(|s| judge(&mut thresholds, "a", s));
        assert_eq!(
            verdicts.map(|v| (v.passes, v.clears)),
            [(true, false), (false, false), (false, false), (false, true)]
        );
    }

    #[test]
    fn a_stream_is_judged_by_its_own_past_and_not_by_the_score_itself() {
        let rule = Rule::StreamQuantile { quantile: 1.0, window: 3, start: 0.5, scores_min: 2 };
        let mut thresholds = Thresholds::new(rule, 0.0, 10).unwrap();
        let seen: Vec<f64> =
            [0.1, 0.2, 0.9, 0.3, 0.3, 0.3].map(|s| judge(&mut thresholds, "a", s).threshold).into();
        assert_eq!(seen, [0.5, 0.5, 0.2, 0.9, 0.9, 0.9]);
        assert_eq!(judge(&mut thresholds, "a", 0.3).threshold, 0.3, "0.9 left the window");
        assert_eq!(judge(&mut thresholds, "b", 0.3).threshold, 0.5);
    }

    #[test]
    fn a_fleet_quantile_is_over_all_streams() {
        let rule = Rule::FleetQuantile { quantile: 0.5, window: 100, start: 0.0, scores_min: 1 };
        let mut thresholds = Thresholds::new(rule, 0.0, 10).unwrap();
        judge(&mut thresholds, "a", 0.2);
        judge(&mut thresholds, "b", 0.4);
        assert!((judge(&mut thresholds, "c", 1.0).threshold - 0.3).abs() < 1e-12);
    }

    #[test]
    fn a_target_rate_is_met() {
        let rule = Rule::TargetRate { rate: 0.05, step: 0.01, start: 0.0 };
        let mut thresholds = Thresholds::new(rule, 0.0, 10).unwrap();
        let score = |n: u64| (n.wrapping_mul(2_654_435_761) % 1000) as f64 / 1000.0;
        let passed = (0..20_000).filter(|&n| judge(&mut thresholds, "a", score(n)).passes && n >= 10_000);
        let passed = passed.count();
        assert!((passed as f64 / 10_000.0 - 0.05).abs() < 0.005, "{passed}");
    }

    #[test]
    fn series_are_bounded_and_the_longest_quiet_one_goes() {
        let rule = Rule::StreamQuantile { quantile: 0.5, window: 4, start: 0.5, scores_min: 1 };
        let mut thresholds = Thresholds::new(rule, 0.0, 2).unwrap();
        for stream in ["a", "b", "a", "c"] {
            judge(&mut thresholds, stream, 0.9);
        }
        assert_eq!(thresholds.series(), 2);
        assert_eq!(judge(&mut thresholds, "a", 0.9).threshold, 0.9, "a spoke after b");
        assert_eq!(judge(&mut thresholds, "b", 0.9).threshold, 0.5, "b was forgotten");
    }

    #[test]
    fn rules_that_make_no_sense_are_refused() {
        let refused = |rule| Thresholds::new(rule, 0.0, 1).unwrap_err().to_string();
        assert_eq!(
            refused(Rule::TargetRate { rate: 1.5, step: 0.1, start: 0.0 }),
            "rate is 1.5; it must be from 0 to 1"
        );
        assert!(refused(Rule::TargetRate { rate: 0.5, step: 0.0, start: 0.0 }).starts_with("step is 0"));
        assert!(refused(Rule::Fixed { threshold: f64::NAN }).starts_with("threshold is NaN"));
    }

    proptest! {
        /// Whoever learns what came since the horizon, and the number that moves, judges the rest alike.
        #[test]
        fn the_scores_since_the_horizon_rebuild_the_state(
            scores in prop::collection::vec((0..5_u8, 0.0..1.0_f64, 0..4_i64), 1..120),
            which in 0..4_usize,
            memory in 1..60_i64,
            cut in any::<prop::sample::Index>(),
        ) {
            let rule = [
                Rule::Fixed { threshold: 0.5 },
                Rule::FleetQuantile { quantile: 0.9, window: 20, start: 0.5, scores_min: 5 },
                Rule::StreamQuantile { quantile: 0.9, window: 6, start: 0.5, scores_min: 3 },
                Rule::TargetRate { rate: 0.1, step: 0.05, start: 0.5 },
            ][which];
            let steps = scores.iter().scan(0, |clock, (stream, score, step)| {
                *clock += step;
                let key: SeriesKey = (stream.to_string().into(), 5_000);
                Some((key, *score, *clock))
            });
            let steps: Vec<(SeriesKey, f64, i64)> = steps.collect();
            let cut = cut.index(steps.len());
            let mut whole = Thresholds::new(rule, 0.05, 3).unwrap();
            let judge = |t: &mut Thresholds, (key, score, clock): &(SeriesKey, f64, i64)| {
                t.judge(key, *score, *clock, clock - memory)
            };
            steps[..=cut].iter().for_each(|step| { judge(&mut whole, step); });
            let mut again = Thresholds::new(rule, 0.05, 3).unwrap();
            let horizon = steps[cut].2 - memory;
            for (key, score, clock) in steps[..=cut].iter().filter(|(_, _, clock)| *clock >= horizon) {
                again.learn(key, *score, *clock, clock - memory);
            }
            if let Some(moving) = whole.moving() {
                again.move_to(moving);
            }
            for step in &steps[cut + 1..] {
                prop_assert_eq!(judge(&mut again, step), judge(&mut whole, step));
            }
            prop_assert!(whole.series() <= 3);
        }
    }
}
