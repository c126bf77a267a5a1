//! What is remembered of the windows of each series: the values that features need, and the alerts that stand.
//!
//! A series is a stream and a window size. A row counts while the clock stands at most `memory` beyond where it
//! stood when the row came; a series without such a row is forgotten, and so is the one whose newest row is
//! longest ago when there are more than `series-max`. All of it follows from the rows of the last `memory` alone,
//! so reading them again brings it back.
//! Owns: the bound, the order of forgetting. Never: what a value means.

use crate::feature::{Feature, LAG_MAX, Of};
use evenkeel_model::{WindowRow, WindowSpan};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// A stream and a window size, ms.
pub type SeriesKey = (Arc<str>, i64);

/// Where the value of a feature lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// Among the remembered values; `None` = the gap before the window.
    at: Option<usize>,
    lag: usize,
}

/// An alert that stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// Which rule: its place in the configuration; one past the last = the alert of scores.
    pub rule: usize,
    /// First ms of the window (or time of the event) that raised it.
    pub since: i64,
    /// First ms of that window.
    pub t_start: i64,
    /// What that window said.
    pub value: f64,
    /// What it was compared with.
    pub threshold: f64,
    /// Names the last record about it.
    pub said: u64,
}

/// One row of a series.
#[derive(Debug, Clone, PartialEq)]
struct Kept {
    clock: i64,
    span: WindowSpan,
    values: Box<[f64]>,
}

/// One series.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Newest first.
    rows: VecDeque<Kept>,
    /// When the newest row came, by the clock.
    clock: i64,
    order: u64,
    /// Rows that wait for their score.
    pub waiting: u32,
    /// Alerts that stand, in the order in which they were raised.
    pub standing: Vec<Standing>,
}

/// All series of a partition.
#[derive(Debug, Clone, PartialEq)]
pub struct Past {
    wanted: Vec<Of>,
    reach: usize,
    series_max: usize,
    series: BTreeMap<SeriesKey, Series>,
    /// Series by the number of their newest row.
    order: BTreeMap<u64, SeriesKey>,
    pushed: u64,
}

impl Past {
    /// Remembers what `features` need, looked at up to `rows` rows back; at most `series_max` series, at least 1.
    pub fn new<'f>(features: impl Iterator<Item = (&'f Feature, usize)>, series_max: usize) -> Self {
        let (mut wanted, mut reach) = (Vec::new(), 0);
        for (feature, rows) in features {
            let gap = usize::from(feature.of == Of::Gap);
            reach = reach.max(feature.lag + gap + rows.min(LAG_MAX));
            if feature.of != Of::Gap && !wanted.contains(&feature.of) {
                wanted.push(feature.of.clone());
            }
        }
        Self {
            wanted,
            reach: reach + 1,
            series_max: series_max.max(1),
            series: BTreeMap::new(),
            order: BTreeMap::new(),
            pushed: 0,
        }
    }

    /// Where a feature lies; `None` if it is not remembered.
    pub fn slot(&self, feature: &Feature) -> Option<Slot> {
        let gap = feature.of == Of::Gap;
        let at = self.wanted.iter().position(|of| *of == feature.of);
        let reached = feature.lag + usize::from(gap) < self.reach;
        (reached && (gap || at.is_some())).then_some(Slot { at, lag: feature.lag })
    }

    /// Series that are remembered.
    pub fn len(&self) -> usize {
        self.series.len()
    }

    /// One series.
    pub fn get_mut(&mut self, key: &SeriesKey) -> Option<&mut Series> {
        self.series.get_mut(key)
    }

    /// The series to be forgotten before a row of `key` can come, the one that is silent longest first; `horizon` =
    /// the clock before which all is forgotten. `None` = there is room.
    pub fn leaves(&self, key: &SeriesKey, horizon: i64) -> Option<&SeriesKey> {
        let (_, first) = self.order.first_key_value()?;
        let silent = self.series.get(first).is_some_and(|series| series.clock < horizon);
        let full = self.series.len() >= self.series_max && !self.series.contains_key(key);
        (silent || full).then_some(first)
    }

    /// Takes a series out.
    pub fn remove(&mut self, key: &SeriesKey) -> Option<Series> {
        let series = self.series.remove(key)?;
        self.order.remove(&series.order);
        Some(series)
    }

    /// The next row of a series, when the clock stands at `clock`. There must be room ([`Past::leaves`]).
    pub fn push(&mut self, key: &SeriesKey, row: &WindowRow, clock: i64) -> &mut Series {
        self.pushed += 1;
        let (order, reach) = (self.pushed, self.reach);
        let new = || Series { rows: VecDeque::new(), clock, order, waiting: 0, standing: Vec::new() };
        let series = self.series.entry(key.clone()).or_insert_with(new);
        self.order.remove(&std::mem::replace(&mut series.order, order));
        self.order.insert(order, key.clone());
        series.clock = clock;
        if series.rows.len() == reach {
            series.rows.pop_back();
        }
        let values = self.wanted.iter().map(|of| of.value(row)).collect();
        series.rows.push_front(Kept { clock, span: row.span, values });
        series
    }
}

impl Series {
    /// A feature as it was `back` rows ago; NaN where row or field is not there, or came before `horizon`.
    pub fn value(&self, slot: Slot, back: usize, horizon: i64) -> f64 {
        let row = |at: usize| self.rows.get(at).filter(|row| row.clock >= horizon);
        let Some(window) = row(back + slot.lag) else { return f64::NAN };
        match (slot.at, row(back + slot.lag + 1)) {
            (Some(at), _) => window.values[at],
            (None, Some(before)) => window.span.t_start().saturating_sub(before.span.t_end()) as f64,
            (None, None) => f64::NAN,
        }
    }

    /// The standing alert of a rule.
    pub fn standing(&self, rule: usize) -> Option<&Standing> {
        self.standing.iter().find(|s| s.rule == rule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_model::{ClosedBy, FieldStats};

    fn row(window_id: i64, mean: f64) -> WindowRow {
        let weight = FieldStats {
            name: "scale.weight".into(),
            count: 4,
            mean,
            m2: 16.0,
            sum: 4.0 * mean,
            ..FieldStats::default()
        };
        WindowRow {
            stream_id: "bowl/7".into(),
            span: WindowSpan { size_ms: 5_000, window_id },
            closed_by: ClosedBy::Watermark,
            max_ts: 0,
            first_arrival: 0,
            last_arrival: 0,
            count: 4,
            seqs: Vec::new(),
            dropped: Vec::new(),
            stats: vec![weight],
            events: None,
        }
    }

    fn past_of(names: &[&str], rows: usize) -> (Past, Vec<Slot>) {
        let features: Vec<Feature> = names.iter().map(|name| name.parse().unwrap()).collect();
        let past = Past::new(features.iter().map(|f| (f, rows)), 2);
        let slots = features.iter().map(|f| past.slot(f).unwrap()).collect();
        (past, slots)
    }

    fn key(name: &str) -> SeriesKey {
        (name.into(), 5_000)
    }

    #[test]
    fn features_of_this_window_of_earlier_ones_and_between_them() {
        let names = [
            "scale.weight.mean",
            "scale.weight.std",
            "scale.weight.mean@1",
            "gap_ms",
            "gap_ms@1",
            "count",
            "lid.max",
        ];
        let (mut past, slots) = past_of(&names, 0);
        let mut values = |window_id, mean, clock, horizon| {
            let series = past.push(&key("a"), &row(window_id, mean), clock);
            slots.iter().map(|slot| series.value(*slot, 0, horizon)).collect::<Vec<_>>()
        };
        let first = values(10, 400.0, 1, 0);
        assert_eq!((first[0], first[1], first[5]), (400.0, 2.0, 4.0));
        assert!(first[2].is_nan() && first[3].is_nan() && first[6].is_nan());
        values(11, 410.0, 2, 0);
        let third = values(14, 420.0, 3, 0);
        assert_eq!((third[0], third[2], third[3], third[4]), (420.0, 410.0, 10_000.0, 0.0));
        let aged = values(15, 430.0, 9, 9);
        assert!(aged[0] == 430.0 && aged[2].is_nan() && aged[3].is_nan(), "{aged:?}");
        assert_eq!(past.series[&key("a")].rows.len(), 3, "no further back than a feature reaches");
    }

    #[test]
    fn what_no_feature_asked_for_is_not_there() {
        let (past, _) = past_of(&["weight.mean", "count@3"], 0);
        let slot = |name: &str| past.slot(&name.parse().unwrap());
        assert!(slot("weight.mean@3").is_some() && slot("gap_ms@2").is_some());
        assert!(slot("weight.max").is_none() && slot("count@4").is_none() && slot("gap_ms@3").is_none());
    }

    #[test]
    fn the_longest_silent_series_leaves_when_there_is_no_room_or_it_is_too_old() {
        let (mut past, _) = past_of(&["count"], 0);
        past.push(&key("a"), &row(1, 0.0), 10);
        past.push(&key("b"), &row(1, 0.0), 20);
        past.push(&key("a"), &row(2, 0.0), 30);
        assert_eq!(past.leaves(&key("a"), 20), None);
        assert_eq!(past.leaves(&key("a"), 21), Some(&key("b")), "too old");
        assert_eq!(past.leaves(&key("c"), 0), Some(&key("b")), "no room");
        assert!(past.remove(&key("b")).is_some());
        assert_eq!(past.leaves(&key("c"), 30), None);
        assert_eq!(past.leaves(&key("a"), 31), Some(&key("a")), "a series may leave and come back");
    }
}
