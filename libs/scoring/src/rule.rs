//! Alerts without a model: a feature of a class of streams above or below a threshold, with hysteresis.
//!
//! Whether a rule holds follows from the last few rows of a series and from whether its alert stands; so both are
//! read back after a crash and nothing else is kept.

use crate::feature::{Feature, LAG_MAX};
use crate::past::{Series, Slot};
use evenkeel_model::AlertSeverity;

/// On which side of its threshold a value is a reason for an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Above it.
    Above,
    /// Below it.
    Below,
}

/// One rule.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertRule {
    /// Its name, 1 to 128 bytes.
    pub name: String,
    /// Which streams: a pattern in which `*` stands for any text.
    pub pattern: String,
    /// Which window size, ms; `None` = each.
    pub size_ms: Option<i64>,
    /// What it looks at.
    pub feature: Feature,
    /// On which side of the threshold it raises.
    pub side: Side,
    /// The threshold.
    pub threshold: f64,
    /// How far back beyond the threshold a value must be to clear, at least 0.
    pub hysteresis: f64,
    /// How many windows in a row raise it, 1 to 64.
    pub windows: usize,
    /// How many windows in a row clear it, 1 to 64.
    pub clear_windows: usize,
    /// How bad it is.
    pub severity: AlertSeverity,
}

/// A rule that makes no sense.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("rule {rule:?}: {key} is {value}; {want}")]
pub struct AlertRuleError {
    /// The rule.
    pub rule: String,
    /// The value's name.
    pub key: &'static str,
    /// The value.
    pub value: String,
    /// What it may be.
    pub want: &'static str,
}

/// What the newest row of a series means for a rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Finding {
    /// Raise it, at this value.
    Raise(f64),
    /// Clear it, at this value.
    Clear(f64),
}

impl AlertRule {
    /// Checks the values.
    pub fn check(&self) -> Result<(), AlertRuleError> {
        let refuse = |key, value: String, want| {
            let rule = self.name.clone();
            Err(AlertRuleError { rule, key, value, want })
        };
        let name_max = evenkeel_model::limits::SCORE_NAME_BYTES_MAX;
        if !(1..=name_max).contains(&self.name.len()) {
            return refuse("name", self.name.len().to_string(), "it must have 1 to 128 bytes");
        }
        if !self.threshold.is_finite() {
            return refuse("above or below", self.threshold.to_string(), "it must be a number");
        }
        if !self.hysteresis.is_finite() || self.hysteresis < 0.0 {
            return refuse("hysteresis", self.hysteresis.to_string(), "it must be 0 or more");
        }
        for (key, rows) in [("windows", self.windows), ("clear-windows", self.clear_windows)] {
            if !(1..=LAG_MAX).contains(&rows) {
                return refuse(key, rows.to_string(), "it must be from 1 to 64");
            }
        }
        Ok(())
    }

    /// How many rows before the newest it looks at.
    pub fn rows_back(&self) -> usize {
        self.windows.max(self.clear_windows) - 1
    }

    /// Whether it looks at a series.
    pub fn covers(&self, stream_id: &str, size_ms: i64) -> bool {
        self.size_ms.is_none_or(|size| size == size_ms) && evenkeel_model::fits(&self.pattern, stream_id)
    }

    /// What the newest row of a series means, given whether the alert `stands`. A row without the field, or of
    /// before `horizon`, says nothing, and interrupts a run of windows.
    pub fn judge(&self, series: &Series, slot: Slot, horizon: i64, stands: bool) -> Option<Finding> {
        let newest = series.value(slot, 0, horizon);
        let run = |rows: usize, holds: &dyn Fn(f64) -> bool| {
            (0..rows).all(|back| holds(series.value(slot, back, horizon)))
        };
        let raised = |value: f64| match self.side {
            Side::Above => value > self.threshold,
            Side::Below => value < self.threshold,
        };
        let cleared = |value: f64| match self.side {
            Side::Above => value <= self.threshold - self.hysteresis,
            Side::Below => value >= self.threshold + self.hysteresis,
        };
        match stands {
            false if run(self.windows, &raised) => Some(Finding::Raise(newest)),
            true if run(self.clear_windows, &cleared) => Some(Finding::Clear(newest)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::past::Past;
    use evenkeel_model::{ClosedBy, FieldStats, WindowRow, WindowSpan};

    fn rule() -> AlertRule {
        AlertRule {
            name: "hot".into(),
            pattern: "oven/*".into(),
            size_ms: Some(5_000),
            feature: "t.max".parse().unwrap(),
            side: Side::Above,
            threshold: 90.0,
            hysteresis: 5.0,
            windows: 2,
            clear_windows: 1,
            severity: AlertSeverity::Warning,
        }
    }

    /// Feeds the values (NaN = the row has no such field) and says what each row meant.
    fn findings(rule: &AlertRule, values: &[f64]) -> String {
        let mut past = Past::new([(&rule.feature, rule.rows_back())].into_iter(), 1);
        let slot = past.slot(&rule.feature).unwrap();
        let mut stands = false;
        let mut said = String::new();
        for (n, value) in values.iter().enumerate() {
            let stats = FieldStats { name: "t".into(), count: 1, max: *value, ..FieldStats::default() };
            let row = WindowRow {
                stream_id: "oven/1".into(),
                span: WindowSpan { size_ms: 5_000, window_id: n as i64 },
                closed_by: ClosedBy::Watermark,
                max_ts: 0,
                first_arrival: 0,
                last_arrival: 0,
                count: 1,
                seqs: vec![],
                dropped: vec![],
                stats: if value.is_nan() { vec![] } else { vec![stats] },
                events: None,
            };
            let series = past.push(&("oven/1".into(), 5_000), &row, n as i64);
            said.push(match rule.judge(series, slot, 0, stands) {
                Some(Finding::Raise(seen)) if seen == *value => 'r',
                Some(Finding::Clear(seen)) if seen == *value => 'c',
                None => '.',
                other => panic!("{other:?}"),
            });
            stands = match said.as_bytes()[n] {
                b'r' => true,
                b'c' => false,
                _ => stands,
            };
        }
        said
    }

    #[test]
    fn it_raises_after_its_windows_and_clears_beyond_the_hysteresis() {
        assert_eq!(findings(&rule(), &[91.0, 90.0, 91.0, 95.0, 88.0, 85.1, 85.0, 91.0]), "...r..c.");
        assert_eq!(findings(&rule(), &[91.0, f64::NAN, 91.0, 91.0, f64::NAN]), "...r.", "a gap interrupts");
        let below = AlertRule { side: Side::Below, windows: 1, clear_windows: 2, ..rule() };
        assert_eq!(findings(&below, &[90.0, 89.0, 95.0, 94.0, 95.0, 96.0]), ".r...c");
    }

    #[test]
    fn it_covers_its_class_and_size() {
        let rule = rule();
        assert!(rule.covers("oven/1", 5_000));
        assert!(!rule.covers("oven/1", 60_000) && !rule.covers("bowl/1", 5_000));
    }

    #[test]
    fn nonsense_says_what_would_be() {
        let refused = |change: fn(&mut AlertRule)| {
            let mut rule = rule();
            change(&mut rule);
            rule.check().unwrap_err().to_string()
        };
        assert_eq!(refused(|r| r.windows = 0), "rule \"hot\": windows is 0; it must be from 1 to 64");
        assert!(refused(|r| r.hysteresis = -1.0).contains("hysteresis is -1"));
        assert!(refused(|r| r.threshold = f64::NAN).contains("above or below is NaN"));
        assert!(refused(|r| r.name = String::new()).contains("1 to 128 bytes"));
    }
}
