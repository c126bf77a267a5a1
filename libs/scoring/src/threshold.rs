//! From a score to a prediction, and to alerts that are raised and cleared.
//!
//! The state is a function of the (stream, score) pairs in their order, so a replay rebuilds it. A score is judged
//! by the threshold as it stood before that score: one outlier must not lift the bar it has to pass.

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
    /// A quantile of the last scores of all streams.
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

/// Whether an alert of a stream begins or ends with a score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It begins.
    Raise,
    /// It ends.
    Clear,
}

/// What a score means.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict {
    /// The threshold it was judged by.
    pub threshold: f64,
    /// Whether it reaches the threshold.
    pub passes: bool,
    /// Whether the stream's alert changed.
    pub change: Option<Change>,
}

/// Thresholds of a fleet. At most `streams-max` streams are remembered; past that the one whose last score is
/// longest ago is forgotten, and begins anew.
#[derive(Debug, Clone, PartialEq)]
pub struct Thresholds {
    rule: Rule,
    /// An alert ends only when a score falls below threshold − hysteresis.
    hysteresis: f64,
    streams_max: usize,
    fleet: Rolling,
    moving: f64,
    streams: BTreeMap<String, Stream>,
    /// Streams by the number of their last score.
    order: BTreeMap<u64, String>,
    judged: u64,
}

#[derive(Debug, Clone, PartialEq)]
struct Stream {
    scores: Option<Rolling>,
    alerting: bool,
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
    /// `hysteresis` below 0 counts as 0, `streams_max` below 1 as 1.
    pub fn new(rule: Rule, hysteresis: f64, streams_max: usize) -> Result<Self, RuleError> {
        rule.check()?;
        let window = if let Rule::FleetQuantile { window, .. } = rule { window } else { 1 };
        let moving = if let Rule::TargetRate { start, .. } = rule { start } else { 0.0 };
        Ok(Self {
            rule,
            hysteresis: hysteresis.max(0.0),
            streams_max: streams_max.max(1),
            fleet: Rolling::new(window),
            moving,
            streams: BTreeMap::new(),
            order: BTreeMap::new(),
            judged: 0,
        })
    }

    /// Judges a finite score and learns from it.
    pub fn judge(&mut self, stream: &str, score: f64) -> Verdict {
        self.judged += 1;
        let threshold = self.threshold(stream);
        let passes = score >= threshold;
        self.learn(passes, score);
        let below = score < threshold - self.hysteresis;
        let state = self.stream(stream);
        if let Some(scores) = &mut state.scores {
            scores.push(score);
        }
        let was = state.alerting;
        state.alerting = if was { !below } else { passes };
        let change = match (was, state.alerting) {
            (false, true) => Some(Change::Raise),
            (true, false) => Some(Change::Clear),
            _ => None,
        };
        Verdict { threshold, passes, change }
    }

    /// Streams that are remembered.
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    fn threshold(&self, stream: &str) -> f64 {
        match self.rule {
            Rule::Fixed { threshold } => threshold,
            Rule::TargetRate { .. } => self.moving,
            Rule::FleetQuantile { quantile, start, scores_min, .. } => {
                if self.fleet.len() < scores_min.max(1) { start } else { self.fleet.quantile(quantile) }
            }
            Rule::StreamQuantile { quantile, start, scores_min, .. } => {
                let scores = self.streams.get(stream).and_then(|s| s.scores.as_ref());
                scores.filter(|s| s.len() >= scores_min.max(1)).map_or(start, |s| s.quantile(quantile))
            }
        }
    }

    fn learn(&mut self, passes: bool, score: f64) {
        match self.rule {
            Rule::FleetQuantile { .. } => self.fleet.push(score),
            Rule::TargetRate { rate, step, .. } => {
                self.moving += step * (if passes { 1.0 } else { 0.0 } - rate);
            }
            Rule::Fixed { .. } | Rule::StreamQuantile { .. } => {}
        }
    }

    /// The stream's state, moved to the end of the order.
    fn stream(&mut self, stream: &str) -> &mut Stream {
        let judged = self.judged;
        if let Some(state) = self.streams.get_mut(stream) {
            self.order.remove(&std::mem::replace(&mut state.last, judged));
        } else if self.streams.len() >= self.streams_max
            && let Some((_, forgotten)) = self.order.pop_first()
        {
            self.streams.remove(&forgotten);
        }
        self.order.insert(judged, stream.to_owned());
        let scores = match self.rule {
            Rule::StreamQuantile { window, .. } => Some(window),
            _ => None,
        };
        let new = || Stream { scores: scores.map(Rolling::new), alerting: false, last: judged };
        self.streams.entry(stream.to_owned()).or_insert_with(new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fixed(hysteresis: f64) -> Thresholds {
        Thresholds::new(Rule::Fixed { threshold: 0.5 }, hysteresis, 10).unwrap()
    }

    #[test]
    fn a_score_that_reaches_the_threshold_passes() {
        let mut thresholds = fixed(0.0);
        assert!(thresholds.judge("a", 0.5).passes);
        assert!(!thresholds.judge("a", 0.499_999_999).passes);
    }

    #[test]
    fn an_alert_ends_only_below_the_hysteresis_and_each_stream_has_its_own() {
        let mut thresholds = fixed(0.1);
        let changes: Vec<_> = [0.6, 0.45, 0.55, 0.39, 0.39].map(|s| thresholds.judge("a", s).change).into();
        assert_eq!(changes, [Some(Change::Raise), None, None, Some(Change::Clear), None]);
        assert_eq!(thresholds.judge("b", 0.9).change, Some(Change::Raise));
    }

    #[test]
    fn a_stream_is_judged_by_its_own_past_and_not_by_the_score_itself() {
        let rule = Rule::StreamQuantile { quantile: 1.0, window: 3, start: 0.5, scores_min: 2 };
        let mut thresholds = Thresholds::new(rule, 0.0, 10).unwrap();
        let seen: Vec<f64> =
            [0.1, 0.2, 0.9, 0.3, 0.3, 0.3].map(|s| thresholds.judge("a", s).threshold).into();
        assert_eq!(seen, [0.5, 0.5, 0.2, 0.9, 0.9, 0.9]);
        assert_eq!(thresholds.judge("a", 0.3).threshold, 0.3, "0.9 left the window");
        assert_eq!(thresholds.judge("b", 0.3).threshold, 0.5);
    }

    #[test]
    fn a_fleet_quantile_is_over_all_streams() {
        let rule = Rule::FleetQuantile { quantile: 0.5, window: 100, start: 0.0, scores_min: 1 };
        let mut thresholds = Thresholds::new(rule, 0.0, 10).unwrap();
        thresholds.judge("a", 0.2);
        thresholds.judge("b", 0.4);
        assert!((thresholds.judge("c", 1.0).threshold - 0.3).abs() < 1e-12);
    }

    #[test]
    fn a_target_rate_is_met() {
        let rule = Rule::TargetRate { rate: 0.05, step: 0.01, start: 0.0 };
        let mut thresholds = Thresholds::new(rule, 0.0, 10).unwrap();
        let score = |n: u64| (n.wrapping_mul(2_654_435_761) % 1000) as f64 / 1000.0;
        let passed = (0..20_000).filter(|&n| thresholds.judge("a", score(n)).passes && n >= 10_000).count();
        assert!((passed as f64 / 10_000.0 - 0.05).abs() < 0.005, "{passed}");
    }

    #[test]
    fn streams_are_bounded_and_the_longest_quiet_one_goes() {
        let rule = Rule::StreamQuantile { quantile: 0.5, window: 4, start: 0.5, scores_min: 1 };
        let mut thresholds = Thresholds::new(rule, 0.0, 2).unwrap();
        for stream in ["a", "b", "a", "c"] {
            thresholds.judge(stream, 0.9);
        }
        assert_eq!(thresholds.streams(), 2);
        assert_eq!(thresholds.judge("a", 0.9).threshold, 0.9, "a spoke after b");
        assert_eq!(thresholds.judge("b", 0.9).threshold, 0.5, "b was forgotten");
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
        #[test]
        fn a_replay_rebuilds_the_state(
            scores in prop::collection::vec((0..5_u8, 0.0..1.0_f64), 0..120),
            which in 0..4_usize,
        ) {
            let rule = [
                Rule::Fixed { threshold: 0.5 },
                Rule::FleetQuantile { quantile: 0.9, window: 20, start: 0.5, scores_min: 5 },
                Rule::StreamQuantile { quantile: 0.9, window: 6, start: 0.5, scores_min: 3 },
                Rule::TargetRate { rate: 0.1, step: 0.05, start: 0.5 },
            ][which];
            let run = || {
                let mut thresholds = Thresholds::new(rule, 0.05, 3).unwrap();
                let verdicts: Vec<_> = scores.iter().map(|(s, x)| thresholds.judge(&s.to_string(), *x)).collect();
                (thresholds, verdicts)
            };
            prop_assert_eq!(run(), run());
            prop_assert!(run().0.streams() <= 3);
        }
    }
}
