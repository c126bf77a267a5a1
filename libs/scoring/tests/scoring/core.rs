//! A core that crashes between commits, against a plain reading of the rules that never does.

use evenkeel_model::{
    Alert, AlertAction, AlertCause, AlertSeverity, ClosedBy, FieldStats, Score, WindowRow, WindowSpan,
};
use evenkeel_scoring::{AlertRule, Came, Core, Output, Rule, ScoreAlert, SeriesKey, Settings, Side};
use proptest::prelude::*;
use std::collections::VecDeque;
use std::sync::Arc;

/// One window of one of a few streams.
#[derive(Debug, Clone)]
struct Step {
    stream: u8,
    /// Windows since the stream's last.
    after: i64,
    value: f64,
    /// Arrival after the largest so far, ms; may be behind it.
    later: i64,
    /// A commit after it, or a crash.
    then: u8,
}

const SIZE_MS: i64 = 5_000;
/// A row with this value has no score.
const UNSCORABLE: f64 = 7.0;

fn rule(windows: usize) -> AlertRule {
    AlertRule {
        name: "high".into(),
        pattern: "*".into(),
        size_ms: None,
        feature: "x.mean".parse().unwrap(),
        side: Side::Above,
        threshold: 5.0,
        hysteresis: 2.0,
        windows,
        clear_windows: 1,
        severity: AlertSeverity::Warning,
    }
}

fn settings(threshold: Rule, memory_ms: i64, series_max: usize, windows: usize) -> Arc<Settings> {
    Arc::new(Settings {
        memory_ms,
        refresh_ms: memory_ms / 3,
        series_max,
        sizes_ms: vec![],
        rules: vec![rule(windows)],
        features: ["x.mean", "x.mean@1", "gap_ms"].map(|f| f.parse().unwrap()).into(),
        threshold,
        hysteresis: 1.0,
        score_alert: Some(ScoreAlert { rule: "score".into(), severity: AlertSeverity::Critical }),
    })
}

fn rows(steps: &[Step]) -> Vec<WindowRow> {
    let (mut ids, mut arrival) = ([0_i64; 8], 1_000);
    steps
        .iter()
        .map(|step| {
            let id = &mut ids[usize::from(step.stream)];
            *id += step.after;
            arrival += step.later;
            let x = FieldStats { name: "x".into(), count: 1, mean: step.value, ..FieldStats::default() };
            WindowRow {
                stream_id: format!("s/{}", step.stream),
                span: WindowSpan { size_ms: SIZE_MS, window_id: *id },
                closed_by: ClosedBy::Watermark,
                max_ts: 0,
                first_arrival: 0,
                last_arrival: arrival,
                count: 1,
                seqs: vec![],
                dropped: vec![],
                stats: if step.value < 1.0 { vec![] } else { vec![x] },
                events: None,
            }
        })
        .collect()
}

/// What stands for a model: the sum of the features that are there.
fn model(values: &[f64]) -> Option<f64> {
    let sum = values.iter().filter(|v| !v.is_nan()).map(|v| v.min(10.0)).sum::<f64>();
    Some(sum).filter(|_| values[0] != UNSCORABLE)
}

/// `scores` and `alerts`, as committed.
#[derive(Debug, Default, PartialEq)]
struct Topics {
    scores: Vec<Score>,
    alerts: Vec<Alert>,
}

/// The core under test: rows in, scores late, commits and crashes as the steps say.
fn crashing(settings: &Arc<Settings>, rows: &[WindowRow], steps: &[Step]) -> Topics {
    let mut topics = Topics::default();
    let mut waiting: VecDeque<(usize, SeriesKey, Box<[f64]>)> = VecDeque::new();
    let mut filling = Topics::default();
    let mut core = Core::new(settings).unwrap();
    let (mut at, mut committed, mut crashes) = (0, None, 0);
    while at < rows.len() {
        let row = &rows[at];
        let key: SeriesKey = (row.stream_id.as_str().into(), SIZE_MS);
        while !core.make_room(&key, row.last_arrival, &mut |o| take(&mut filling, o)) {
            score_all(&mut core, rows, &mut waiting, &mut filling);
        }
        core.feed(at as u64, &key, row, &mut |o| take(&mut filling, o));
        waiting.push_back((at, key.clone(), core.values(&key)));
        core.wait(&key, 1);
        if steps[at].then.is_multiple_of(3) {
            score_all(&mut core, rows, &mut waiting, &mut filling);
        }
        at += 1;
        if steps[at - 1].then > 200 && crashes < 20 {
            crashes += 1;
            (waiting, filling) = (VecDeque::new(), Topics::default());
            (at, core) = recovered(settings, rows, committed, &topics, &mut filling);
        } else if steps[at - 1].then > 120 {
            score_all(&mut core, rows, &mut waiting, &mut filling);
            core.hold(&mut |o| take(&mut filling, o));
            core.begin_commit();
            committed = Some((at, core.way_back(at as u64)));
            topics.scores.append(&mut filling.scores);
            topics.alerts.append(&mut filling.alerts);
            core.committed(topics.scores.len() as u64, topics.alerts.len() as u64);
        }
    }
    score_all(&mut core, rows, &mut waiting, &mut filling);
    topics.scores.append(&mut filling.scores);
    topics.alerts.append(&mut filling.alerts);
    topics
}

fn recovered(
    settings: &Arc<Settings>,
    rows: &[WindowRow],
    committed: Option<(usize, evenkeel_scoring::WayBack)>,
    topics: &Topics,
    filling: &mut Topics,
) -> (usize, Core) {
    let Some((at, back)) = committed else { return (0, Core::new(settings).unwrap()) };
    let ends = (topics.scores.len() as u64, topics.alerts.len() as u64);
    let mut core = Core::recover(settings, &back, ends).unwrap();
    for (n, alert) in topics.alerts.iter().enumerate().skip(back.alerts_from as usize) {
        core.replay_alert(n as u64, alert);
    }
    for (n, score) in topics.scores.iter().enumerate().skip(back.scores.0 as usize) {
        core.replay_score(n as u64, score);
    }
    for (n, row) in rows[..at].iter().enumerate().skip(back.windows.0 as usize) {
        core.replay_row(n as u64, row);
    }
    core.finish(&mut |o| take(filling, o));
    (at, core)
}

fn take(filling: &mut Topics, output: Output<'_>) {
    match output {
        Output::Score(score) => filling.scores.push(score.clone()),
        Output::Alert(alert) => filling.alerts.push(alert.clone()),
    }
}

fn score_all(
    core: &mut Core,
    rows: &[WindowRow],
    waiting: &mut VecDeque<(usize, SeriesKey, Box<[f64]>)>,
    filling: &mut Topics,
) {
    for (at, key, values) in waiting.drain(..) {
        let (row, model_of) = (&rows[at], ("m", "1"));
        match model(&values) {
            None => core.gave_up(&key),
            Some(score) => core.scored(
                &Came {
                    key: &key,
                    span: row.span,
                    event: None,
                    last_arrival: row.last_arrival,
                    model: model_of,
                    score,
                },
                &mut |o| take(filling, o),
            ),
        }
    }
}

/// A series as the plain reading keeps it: everything since it was last forgotten.
#[derive(Debug, Default)]
struct Plain {
    stream: String,
    rows: Vec<(i64, WindowRow)>,
    high: Option<i64>,
    score: Option<i64>,
}

/// The plain reading: row by row, scored at once, no commit, no crash.
struct Reading<'s> {
    settings: &'s Settings,
    /// The longest silent first.
    series: Vec<Plain>,
    /// Scores that are remembered.
    judged: Vec<(i64, String, f64)>,
    /// Streams with scores, the longest silent first.
    recent: Vec<String>,
    clock: i64,
    score_clock: i64,
    moving: f64,
    /// (stream, window, score, threshold)
    scores: Vec<(String, i64, f64, f64)>,
    /// Stream, rule, action, cause, start.
    alerts: Vec<String>,
}

impl<'s> Reading<'s> {
    fn of(settings: &'s Settings, rows: &[WindowRow]) -> Self {
        let mut reading = Self {
            settings,
            series: vec![],
            judged: vec![],
            recent: vec![],
            clock: i64::MIN,
            score_clock: i64::MIN,
            moving: 5.0,
            scores: vec![],
            alerts: vec![],
        };
        rows.iter().for_each(|row| reading.row(row));
        reading
    }

    fn row(&mut self, row: &WindowRow) {
        self.clock = self.clock.max(row.last_arrival);
        let horizon = self.clock - self.settings.memory_ms;
        self.forget(&row.stream_id, horizon);
        let at = self.series.iter().position(|s| s.stream == row.stream_id);
        let mut own = at.map_or_else(Plain::default, |at| self.series.remove(at));
        own.stream.clone_from(&row.stream_id);
        own.rows.push((self.clock, row.clone()));
        let kept: Vec<&WindowRow> =
            own.rows.iter().filter(|(at, _)| *at >= horizon).map(|(_, r)| r).collect();
        let back = |n: usize| kept.len().checked_sub(n + 1).map(|at| kept[at]);
        let mean = |n: usize| back(n).and_then(|r| r.stats.first()).map_or(f64::NAN, |s| s.mean);
        let start = row.span.t_start();
        let gap = back(1).map_or(f64::NAN, |before| (start - before.span.t_end()) as f64);
        let score = model(&[mean(0), mean(1), gap]);
        if own.high.is_none() && (0..self.settings.rules[0].windows).all(|n| mean(n) > 5.0) {
            own.high = Some(start);
            self.alerts.push(format!("{} high raise value {start}", row.stream_id));
        } else if own.high.is_some() && mean(0) <= 3.0 {
            self.alerts.push(format!("{} high clear value {}", row.stream_id, own.high.take().unwrap()));
        }
        if let Some(score) = score {
            self.score(row, score, &mut own);
        }
        self.series.push(own);
    }

    /// Makes room for a stream's row.
    fn forget(&mut self, stream: &str, horizon: i64) {
        let mut known = self.series.iter().any(|s| s.stream == stream);
        let old = |s: &Plain| s.rows.last().is_none_or(|(at, _)| *at < horizon);
        let max = self.settings.series_max;
        while self.series.first().is_some_and(|s| old(s) || (!known && self.series.len() >= max)) {
            let gone = self.series.remove(0);
            known &= gone.stream != stream;
            let stood = [("high", gone.high), ("score", gone.score)];
            for (rule, since) in stood.into_iter().filter_map(|(rule, since)| Some((rule, since?))) {
                self.alerts.push(format!("{} {rule} clear silent {since}", gone.stream));
            }
        }
    }

    fn score(&mut self, row: &WindowRow, score: f64, own: &mut Plain) {
        let stream = &row.stream_id;
        self.score_clock = self.score_clock.max(row.last_arrival);
        let horizon = self.score_clock - self.settings.memory_ms;
        self.judged.retain(|(at, ..)| *at >= horizon);
        self.recent.retain(|stream| self.judged.iter().any(|(_, s, _)| s == stream));
        let threshold = self.threshold(stream);
        let passes = score >= threshold;
        if let Rule::TargetRate { rate, step, .. } = self.settings.threshold {
            self.moving += step * (if passes { 1.0 } else { 0.0 } - rate);
        }
        self.scores.push((stream.clone(), row.span.window_id, score, threshold));
        let by_stream = matches!(self.settings.threshold, Rule::StreamQuantile { .. });
        if by_stream && !self.recent.contains(stream) && self.recent.len() >= self.settings.series_max {
            let forgotten = self.recent.remove(0);
            self.judged.retain(|(_, s, _)| *s != forgotten);
        }
        self.recent.retain(|s| s != stream);
        self.recent.push(stream.clone());
        self.judged.push((self.score_clock, stream.clone(), score));
        let start = row.span.t_start();
        if own.score.is_none() && passes {
            own.score = Some(start);
            self.alerts.push(format!("{stream} score raise value {start}"));
        } else if own.score.is_some() && score < threshold - self.settings.hysteresis {
            self.alerts.push(format!("{stream} score clear value {}", own.score.take().unwrap()));
        }
    }

    fn threshold(&self, stream: &str) -> f64 {
        let quantile = |of: Option<&str>, (window, scores_min): (usize, usize), start: f64, q: f64| {
            let all = self.judged.iter().filter(|(_, s, _)| of.is_none_or(|of| of == s)).map(|(.., x)| *x);
            let mut last: Vec<f64> = all.collect();
            last.drain(..last.len().saturating_sub(window));
            last.sort_by(f64::total_cmp);
            if last.len() < scores_min { start } else { evenkeel_scoring::quantile(&last, q) }
        };
        match self.settings.threshold {
            Rule::Fixed { threshold } => threshold,
            Rule::TargetRate { .. } => self.moving,
            Rule::FleetQuantile { quantile: q, window, start, scores_min } => {
                quantile(None, (window, scores_min), start, q)
            }
            Rule::StreamQuantile { quantile: q, window, start, scores_min } => {
                quantile(Some(stream), (window, scores_min), start, q)
            }
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let later = prop_oneof![8 => -50..200_i64, 1 => 2_000..9_000_i64];
    let step = (0..6_u8, 1..4_i64, 0..11_u8, later, any::<u8>());
    let step = step.prop_map(|(stream, after, value, later, then)| Step {
        stream,
        after,
        value: f64::from(value),
        later,
        then,
    });
    prop::collection::vec(step, 1..150)
}

fn thresholds() -> impl Strategy<Value = Rule> {
    prop_oneof![
        Just(Rule::Fixed { threshold: 9.0 }),
        Just(Rule::FleetQuantile { quantile: 0.8, window: 20, start: 9.0, scores_min: 4 }),
        Just(Rule::StreamQuantile { quantile: 0.8, window: 5, start: 9.0, scores_min: 2 }),
        Just(Rule::TargetRate { rate: 0.2, step: 0.7, start: 5.0 }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]
    #[test]
    fn crashes_change_no_score_and_no_alert(
        steps in steps(),
        threshold in thresholds(),
        memory_ms in 500..6_000_i64,
        series_max in 1..7_usize,
        windows in 1..4_usize,
    ) {
        let settings = settings(threshold, memory_ms, series_max, windows);
        let rows = rows(&steps);
        let topics = crashing(&settings, &rows, &steps);
        let Reading { scores, alerts, .. } = Reading::of(&settings, &rows);
        let said: Vec<_> = topics.scores.iter().map(|s| {
            (s.stream_id.clone(), s.span.window_id, s.score, s.threshold.unwrap())
        }).collect();
        prop_assert_eq!(said, scores);
        // The order of one series and rule is the order of its windows; a score may come after the next rows' rules.
        let by_rule = |mut all: Vec<String>| { all.sort_by_key(|a| a.split(' ').take(2).collect::<Vec<_>>().join(" ")); all };
        let said = topics.alerts.iter().filter(|a| a.action != AlertAction::Hold);
        let said = said.map(|a| format!("{} {} {} {} {}", a.stream_id, a.rule, a.action, a.cause, a.since));
        prop_assert_eq!(by_rule(said.collect()), by_rule(alerts));
    }
}

/// A rule that left the configuration, or no longer covers a stream, ends its alerts; what stands goes on standing.
#[test]
fn what_stands_of_a_rule_that_is_gone_is_cleared() {
    let with = settings(Rule::Fixed { threshold: 1e9 }, 60_000, 10, 1);
    let step = Step { stream: 1, after: 1, value: 9.0, later: 10, then: 150 };
    let rows = rows(&[step.clone(), step.clone()]);
    let topics = crashing(&with, &rows[..1], &[step]);
    assert_eq!(topics.alerts.len(), 1);
    let mut core = Core::new(&with).unwrap();
    let mut filling = Topics::default();
    core.feed(0, &("s/1".into(), SIZE_MS), &rows[0], &mut |o| take(&mut filling, o));
    core.begin_commit();
    let back = Some((1, core.way_back(1)));
    let ends = |settings: &Arc<Settings>| {
        let mut filling = Topics::default();
        recovered(settings, &rows, back, &topics, &mut filling);
        filling.alerts.iter().map(|a| (a.action, a.cause, a.id.clone())).collect::<Vec<_>>()
    };
    assert_eq!(ends(&with), []);
    let id = topics.alerts[0].id.clone();
    let gone = Arc::new(Settings { rules: vec![], ..(*with).clone() });
    assert_eq!(ends(&gone), [(AlertAction::Clear, AlertCause::Removed, id.clone())]);
    let elsewhere = AlertRule { pattern: "t/*".into(), ..rule(1) };
    let elsewhere = Arc::new(Settings { rules: vec![elsewhere], ..(*with).clone() });
    assert_eq!(ends(&elsewhere), [(AlertAction::Clear, AlertCause::Removed, id)]);
}

/// Whoever reads `alerts` for as long as the refresh hears of everything that stands.
#[test]
fn a_standing_alert_is_said_again() {
    let settings = settings(Rule::Fixed { threshold: 1e9 }, 3_000, 10, 1);
    let step = |later| Step { stream: 1, after: 1, value: 9.0, later, then: 150 };
    let steps: Vec<Step> = (0..40).map(|_| step(100)).collect();
    let topics = crashing(&settings, &rows(&steps), &steps);
    let actions: Vec<_> = topics.alerts.iter().map(|a| (a.action, a.since)).collect();
    assert_eq!(actions[0].0, AlertAction::Raise);
    assert_eq!(actions.len(), 1 + 3, "every 1100 ms of 3900 ms: {actions:?}");
    assert!(actions[1..].iter().all(|said| *said == (AlertAction::Hold, actions[0].1)));
}
