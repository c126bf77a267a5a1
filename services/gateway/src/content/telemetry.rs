//! `device/{id}/telemetry`: points of the last minutes, and the windows that are still filling.
//!
//! A frame of the log says all that is known from its `from_ms` on, so it replaces the points from there. Where the
//! frames before it did not reach so far, something may be missing between: the topic is `partial` until that place
//! has left the span. Bounds: the span, and [`POINTS_MAX`] per field; the oldest go.

use super::shape::{OpenWindow, Series, Stats, TelemetryState, Wire};
use super::{Head, Origin};
use evenkeel_fanout::Format;
use evenkeel_model::{Frame, FrameStats, FrameWindow, StoredRow};
use std::collections::{BTreeMap, VecDeque};

/// Most points of a field.
pub(crate) const POINTS_MAX: usize = 4096;
/// Most fields.
const FIELDS_MAX: usize = 64;
/// Changes whose start is remembered: who is further behind is sent everything.
const CHANGES_MAX: usize = 32;

/// Points of a field, by rising time.
#[derive(Debug, Default)]
struct Points {
    t: Vec<i64>,
    v: Vec<f64>,
}

impl Points {
    fn cut_from(&mut self, from_ms: i64) {
        let keep = self.t.partition_point(|t| *t < from_ms);
        self.t.truncate(keep);
        self.v.truncate(keep);
    }

    fn cut_before(&mut self, from_ms: i64) {
        let old = self.t.partition_point(|t| *t < from_ms).max(self.t.len().saturating_sub(POINTS_MAX));
        self.t.drain(..old);
        self.v.drain(..old);
    }
}

/// The content of one topic.
#[derive(Debug)]
pub(crate) struct Telemetry {
    pub(crate) head: Head,
    origin: Origin,
    span_ms: i64,
    series: BTreeMap<String, Points>,
    from_ms: i64,
    to_ms: i64,
    open: Vec<FrameWindow>,
    /// Points may be missing just before this time.
    hole_ms: Option<i64>,
    /// By version: from where on it changed the points.
    changes: VecDeque<(u32, i64)>,
}

impl Telemetry {
    pub(crate) fn new(span_ms: i64) -> Self {
        Self {
            head: Head::default(),
            origin: Origin::default(),
            span_ms,
            series: BTreeMap::new(),
            from_ms: 0,
            to_ms: -1,
            open: Vec::new(),
            hole_ms: None,
            changes: VecDeque::new(),
        }
    }

    fn is_empty(&self) -> bool {
        self.to_ms < self.from_ms
    }

    /// A frame of the log, to be published as `version`; `false` = it is old.
    pub(crate) fn frame(&mut self, frame: &Frame, version: u32) -> bool {
        if !self.origin.takes(frame.epoch, frame.seq) {
            return false;
        }
        let covers = frame.to_ms >= frame.from_ms;
        if covers {
            if !self.is_empty() && frame.from_ms > self.to_ms.saturating_add(1) {
                self.hole_ms = Some(frame.from_ms);
            }
            if self.is_empty() || frame.from_ms < self.from_ms {
                self.from_ms = frame.from_ms;
            }
            self.series.values_mut().for_each(|points| points.cut_from(frame.from_ms));
            for of in &frame.series {
                self.append(&of.name, of.ts.iter().copied().zip(of.values.iter().copied()));
            }
            self.to_ms = frame.to_ms;
            self.trim();
        }
        self.open.clone_from(&frame.windows);
        self.head = Head {
            ts_ms: frame.ts_ms,
            source: frame.source.clone(),
            watermark: frame.watermark,
            alerting: self.head.alerting,
            ..Head::default()
        };
        super::status::take_flags(&mut self.head, &frame.flags);
        self.head.partial |= self.hole_ms.is_some();
        self.changed(version, if covers { frame.from_ms } else { i64::MAX });
        true
    }

    /// Rows of the store, oldest first, to be published as `version`. Never over what the log said.
    pub(crate) fn history(&mut self, rows: &[StoredRow], now_ms: i64, version: u32) -> bool {
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return false };
        let live_from = if self.is_empty() { i64::MAX } else { self.from_ms };
        let mut old = std::mem::take(&mut self.series);
        for row in rows.iter().filter(|row| row.row.span.t_end() <= live_from) {
            for stats in &row.row.stats {
                let mut points = vec![(stats.first_ts, stats.first)];
                if stats.last_ts > stats.first_ts {
                    points.push((stats.last_ts, stats.last));
                }
                self.append(&stats.name, points.into_iter());
            }
        }
        for (name, points) in &mut old {
            self.append(name, points.t.drain(..).zip(points.v.drain(..)));
        }
        let idle = self.is_empty();
        if idle {
            (self.from_ms, self.to_ms) = (first.row.span.t_start(), last.row.max_ts);
            self.head = Head {
                ts_ms: now_ms,
                source: "store".to_owned(),
                watermark: Some(last.row.span.t_end()),
                stale: true,
                alerting: self.head.alerting,
                ..Head::default()
            };
        } else if first.row.span.t_start() < self.from_ms {
            if last.row.span.t_end() < self.from_ms {
                self.hole_ms = Some(self.from_ms);
                self.head.partial = true;
            }
            self.from_ms = first.row.span.t_start();
        }
        self.trim();
        self.changed(version, self.from_ms);
        true
    }

    fn append(&mut self, name: &str, points: impl Iterator<Item = (i64, f64)>) {
        if !self.series.contains_key(name) {
            if self.series.len() >= FIELDS_MAX {
                return;
            }
            self.series.insert(name.to_owned(), Points::default());
        }
        let Some(held) = self.series.get_mut(name) else { return };
        for (t, v) in points.filter(|(_, v)| v.is_finite()) {
            if held.t.last().is_none_or(|last| *last <= t) {
                held.t.push(t);
                held.v.push(v);
            }
        }
    }

    fn trim(&mut self) {
        self.from_ms = self.from_ms.max(self.to_ms.saturating_sub(self.span_ms));
        let from_ms = self.from_ms;
        self.series.values_mut().for_each(|points| points.cut_before(from_ms));
        self.series.retain(|_, points| !points.t.is_empty());
        self.hole_ms = self.hole_ms.filter(|hole| *hole > from_ms);
    }

    fn changed(&mut self, version: u32, from_ms: i64) {
        if self.changes.len() == CHANGES_MAX {
            self.changes.pop_front();
        }
        self.changes.push_back((version, from_ms));
    }

    /// A flag changed, nothing else.
    pub(crate) fn touched(&mut self, version: u32) {
        self.changed(version, i64::MAX);
    }

    /// From where on a receiver of version `since` needs the points.
    fn needed_from(&self, version: u32, since: Option<u32>) -> i64 {
        let Some(since) = since else { return self.from_ms };
        let behind = version.wrapping_sub(since) as usize;
        if behind > self.changes.len() {
            return self.from_ms;
        }
        let changed = self.changes.iter().rev().take(behind).map(|(_, from_ms)| *from_ms).min();
        changed.unwrap_or(i64::MAX).clamp(self.from_ms, self.to_ms.saturating_add(1).max(self.from_ms))
    }

    pub(crate) fn encode(&self, at: (&str, u32), since: Option<u32>, format: Format, out: &mut Vec<u8>) {
        let from_ms = self.needed_from(at.1, since);
        let series = self.series.iter().filter_map(|(name, points)| {
            let start = points.t.partition_point(|t| *t < from_ms);
            let part = Series { t: &points.t[start..], v: &points.v[start..] };
            (!part.t.is_empty() || since.is_none()).then_some((name.as_str(), part))
        });
        let state = TelemetryState {
            from_ms,
            to_ms: self.to_ms,
            series: series.collect(),
            open: self.open.iter().filter(|window| window.closed_by.is_none()).map(open).collect(),
        };
        crate::protocol::write::encode(format, &Wire::of(&self.head, at, state), out);
    }
}

fn open(window: &FrameWindow) -> OpenWindow<'_> {
    let stats = window.stats.iter().map(|stats| (stats.name.as_str(), stats_of(stats)));
    OpenWindow {
        size_ms: window.size_ms,
        t_start: window.t_start,
        count: window.count,
        stats: stats.collect(),
    }
}

pub(super) fn stats_of(stats: &FrameStats) -> Stats {
    Stats { count: stats.count, min: stats.min, max: stats.max, mean: stats.mean, last: stats.last }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_model::{FrameKind, Series as ModelSeries};
    use proptest::prelude::*;
    use serde_json::Value;

    fn frame(seq: u64, from_ms: i64, points: &[(i64, f64)]) -> Frame {
        let mut frame = Frame::empty(FrameKind::Telemetry, 0);
        (frame.epoch, frame.seq, frame.from_ms) = (1, seq, from_ms);
        frame.to_ms = points.last().map_or(from_ms - 1, |(t, _)| *t);
        let (ts, values) = points.iter().copied().unzip();
        frame.series = vec![ModelSeries { name: "x".into(), ts, values }];
        frame
    }

    fn state(telemetry: &Telemetry, version: u32, since: Option<u32>) -> Value {
        let mut out = Vec::new();
        telemetry.encode(("e", version), since, Format::Json, &mut out);
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn a_frame_replaces_the_points_it_covers_and_a_hole_is_told() {
        let mut telemetry = Telemetry::new(1000);
        assert!(telemetry.frame(&frame(1, 0, &[(0, 1.0), (50, 2.0)]), 1));
        assert!(telemetry.frame(&frame(2, 50, &[(50, 3.0), (90, 4.0)]), 2));
        assert!(!telemetry.frame(&frame(2, 0, &[(0, 9.0)]), 3), "old");
        let whole = state(&telemetry, 2, None);
        assert_eq!(whole["state"]["series"]["x"]["v"], serde_json::json!([1.0, 3.0, 4.0]));
        assert_eq!(whole["flags"], serde_json::json!([]));
        let mut binary = Vec::new();
        telemetry.encode(("e", 2), None, Format::Cbor, &mut binary);
        assert_eq!(
            cbor4ii::serde::from_slice::<Value>(&binary).unwrap(),
            whole,
            "a missing watermark is null"
        );
        let part = state(&telemetry, 2, Some(1));
        assert_eq!(
            (&part["state"]["from_ms"], &part["state"]["series"]["x"]["t"]),
            (&50.into(), &serde_json::json!([50, 90]))
        );
        telemetry.frame(&frame(9, 500, &[(500, 5.0)]), 3);
        assert_eq!(state(&telemetry, 3, Some(2))["flags"], serde_json::json!(["partial"]));
        telemetry.frame(&frame(10, 501, &[(1600, 6.0)]), 4);
        assert_eq!(state(&telemetry, 4, Some(3))["flags"], serde_json::json!([]), "it has left the span");
    }

    proptest! {
        /// A receiver that replaces from `from_ms` on has, after each fragment, what the gateway holds from there.
        #[test]
        fn whoever_replaces_from_from_ms_has_what_is_held(
            steps in prop::collection::vec((0i64..60, 0i64..40, 1usize..4), 1..60),
            reads in prop::collection::vec(any::<bool>(), 60),
        ) {
            let mut telemetry = Telemetry::new(200);
            let (mut version, mut now) = (0u32, 0i64);
            let (mut mine, mut seen) = (Vec::<(i64, f64)>::new(), None);
            for (n, (back, ahead, count)) in steps.iter().enumerate() {
                let from = (now - back).max(0);
                now = now.max(from) + ahead;
                let points: Vec<(i64, f64)> = (0..*count)
                    .map(|k| from + (now - from) * k as i64 / *count as i64)
                    .map(|t| (t, f64::from(version) + t as f64 / 1e6))
                    .collect();
                let mut one = frame(n as u64, from, &points);
                one.to_ms = now;
                version += 1;
                telemetry.frame(&one, version);
                if !reads[n] {
                    continue;
                }
                let frame = state(&telemetry, version, seen);
                seen = Some(version);
                let state = &frame["state"];
                let from_ms = state["from_ms"].as_i64().unwrap();
                mine.retain(|(t, _)| *t < from_ms);
                let list = |name: &str| state["series"]["x"][name].as_array().cloned().unwrap_or_default();
                let news = list("t").into_iter().zip(list("v"));
                mine.extend(news.map(|(t, v)| (t.as_i64().unwrap(), v.as_f64().unwrap())));
                let held = telemetry.series.get("x");
                let held: Vec<(i64, f64)> = held.map_or(vec![], |p| p.t.iter().copied().zip(p.v.iter().copied()).collect());
                let mine_held: Vec<(i64, f64)> = mine.iter().copied().filter(|(t, _)| *t >= telemetry.from_ms).collect();
                prop_assert_eq!(mine_held, held);
            }
        }
    }
}
