//! The driver of the scorer of windows, input by input: queue and policies, batches, models that change, commits.

use evenkeel_codec::{decode_alert, decode_score, encode_late, encode_row};
use evenkeel_model::{
    Alert, AlertAction, AlertSeverity, ClosedBy, EventBatch, FieldColumn, FieldStats, LateRecord, Score,
    ScoredEvent, Topic, WindowRow, WindowSpan, partition_of,
};
use evenkeel_scorer::live::{Action, Driver, Event, Input, Loaded, Models, Options, Role, Stop};
use evenkeel_scoring::{AlertRule, Model, Policy, Rule, ScoreAlert, Settings, Side, Timed};
use evenkeel_seam::{Commit, LogAction, LogInput, Outputs, Position, RecordRef, TxnResult};
use std::sync::Arc;

fn settings() -> Settings {
    Settings {
        memory_ms: 60_000,
        refresh_ms: 10_000,
        series_max: 10,
        sizes_ms: vec![5_000],
        rules: vec![AlertRule {
            name: "high".into(),
            pattern: "*".into(),
            size_ms: None,
            feature: "x.mean".parse().unwrap(),
            side: Side::Above,
            threshold: 5.0,
            hysteresis: 0.0,
            windows: 1,
            clear_windows: 1,
            severity: AlertSeverity::Warning,
        }],
        features: vec!["x.mean".parse().unwrap()],
        threshold: Rule::Fixed { threshold: 0.5 },
        hysteresis: 0.0,
        score_alert: Some(ScoreAlert { rule: "score".into(), severity: AlertSeverity::Info }),
    }
}

fn options(policy: Policy) -> Options {
    Options {
        settings: Arc::new(settings()),
        columns: vec!["x.mean".into()],
        of_events: false,
        writer: "w".into(),
        queue_max: 4,
        policy,
        batch_max: 3,
        batch_wait_ms: 10,
        output_bytes_max: 1 << 20,
        drift_rows: 1_000,
    }
}

/// A model that gives every row this score.
fn constant(version: &str, score: f64) -> Loaded {
    let model = Model::Timed(Timed { service_us: 0, score, fails_at: None });
    Loaded::of("m".into(), version.into(), model, &["x.mean".to_owned()]).unwrap()
}

fn models(score: f64) -> Models {
    Models { columns: vec!["x.mean".into()], primary: Some(constant("1", score)), ..Models::default() }
}

fn row(stream: &str, window_id: i64, mean: f64) -> WindowRow {
    WindowRow {
        stream_id: stream.into(),
        span: WindowSpan { size_ms: 5_000, window_id },
        closed_by: ClosedBy::Watermark,
        max_ts: 0,
        first_arrival: 0,
        last_arrival: window_id * 5_000 + 5_100,
        count: 1,
        seqs: vec![],
        dropped: vec![],
        stats: vec![FieldStats { name: "x".into(), count: 1, mean, ..FieldStats::default() }],
        events: None,
    }
}

/// A driver with one partition that flows, and everything it did.
struct Bench {
    driver: Driver,
    now: i64,
    next: u64,
    out: Vec<Action>,
    commit: Option<Commit>,
}

impl Bench {
    fn new(options: Options, models: Models) -> Self {
        let driver = Driver::new(options, models);
        let mut bench = Self { driver, now: 1_000, next: 0, out: Vec::new(), commit: None };
        bench.apply(Input::Log(LogInput::Assigned { partition: 0, partitions: 1, committed: None }));
        assert!(matches!(bench.out[..], [Action::Log(LogAction::Start { partition: 0, from: None })]));
        bench
    }

    fn apply(&mut self, input: Input<'_>) {
        self.driver.apply(self.now, input, &mut self.out);
        let commit = self.out.iter().position(|a| matches!(a, Action::Log(LogAction::Commit(_))));
        if let Some(at) = commit
            && let Action::Log(LogAction::Commit(commit)) = self.out.remove(at)
        {
            assert!(self.commit.is_none(), "one commit at a time");
            self.commit = Some(commit);
        }
    }

    fn values(&mut self, values: &[Vec<u8>]) {
        let record = |(n, value)| RecordRef { offset: n as u64, value: Some(value), ..RecordRef::default() };
        let first = self.next as usize;
        let records: Vec<RecordRef<'_>> =
            values.iter().map(Vec::as_slice).enumerate().map(|(n, v)| record((first + n, v))).collect();
        self.next += values.len() as u64;
        let (topic, next) = (Topic::Windows, self.next);
        let input = LogInput::Records { partition: 0, topic, records: &records, next, at_end: true };
        self.driver.apply(self.now, Input::Log(input), &mut self.out);
    }

    fn rows(&mut self, rows: &[WindowRow]) {
        let encoded = |row: &WindowRow| {
            let mut value = Vec::new();
            encode_row(row, &mut value);
            value
        };
        self.values(&rows.iter().map(encoded).collect::<Vec<_>>());
    }

    /// Ticks, takes the commit and says that it is through.
    fn commits(&mut self) -> (Vec<Score>, Vec<Alert>, Vec<Position>) {
        self.apply(Input::Tick);
        let Some(Commit { outputs, mut positions }) = self.commit.take() else { return Default::default() };
        let of = |topic| outputs.records().iter().filter(move |r| r.topic == topic);
        let scores = of(Topic::Scores).map(|r| decode_score(outputs.value(r).unwrap()).unwrap()).collect();
        let alerts = of(Topic::Alerts).map(|r| decode_alert(outputs.value(r).unwrap()).unwrap()).collect();
        let ends: Vec<u64> = [Topic::Scores, Topic::Alerts].map(|topic| of(topic).count() as u64).into();
        for position in &mut positions {
            let scorer = position.meta.as_mut().unwrap().scorer.as_mut().unwrap();
            (scorer.scores_to, scorer.alerts_to) = (scorer.scores_to + ends[0], scorer.alerts_to + ends[1]);
        }
        let metas = positions.iter().map(|p| (p.partition, p.meta.clone())).collect();
        let result = TxnResult::Committed(metas);
        self.apply(Input::Log(LogInput::TxnDone { result, outputs: Outputs::new() }));
        (scores, alerts, positions)
    }
}

fn windows(scores: &[Score]) -> Vec<i64> {
    scores.iter().map(|score| score.span.window_id).collect()
}

#[test]
fn a_batch_waits_for_others_but_not_for_long_and_a_commit_waits_for_it() {
    let mut bench = Bench::new(options(Policy::Block), models(0.25));
    bench.rows(&[row("a", 1, 0.0), row("b", 1, 0.0)]);
    assert_eq!((bench.driver.queue().0, bench.driver.due_ms()), (2, Some(1_010)));
    bench.now = 1_009;
    bench.apply(Input::Turn);
    assert_eq!(bench.driver.queue().0, 2);
    bench.now = 1_010;
    bench.apply(Input::Turn);
    assert_eq!(bench.driver.queue().0, 0, "its time is up");
    bench.rows(&[row("a", 2, 0.0), row("b", 2, 0.0), row("c", 2, 0.0), row("d", 2, 0.0)]);
    assert_eq!(bench.driver.queue().0, 1, "three at once");
    let (scores, alerts, positions) = bench.commits();
    assert_eq!((windows(&scores), alerts.len()), (vec![1, 1, 2, 2, 2, 2], 0));
    assert_eq!(positions[0].offset, 6, "no offset passes a row without its score");
    assert!(scores.iter().all(|s| s.threshold == Some(0.5) && !s.prediction && s.version == "1"));
    assert!(bench.driver.is_quiet());
}

#[test]
fn each_policy_at_a_full_queue() {
    let six: Vec<WindowRow> = (1..=6).map(|n| row("a", n, 9.0)).collect();
    for (policy, want, dropped) in [
        (Policy::Block, vec![1, 2, 3, 4, 5, 6], 0),
        (Policy::DropNew, vec![1, 2, 3, 4], 2),
        (Policy::DropOldest, vec![3, 4, 5, 6], 2),
    ] {
        let mut bench = Bench::new(options(policy), models(0.25));
        bench.rows(&six);
        let (scores, alerts, positions) = bench.commits();
        assert_eq!((windows(&scores), bench.driver.counts().dropped), (want, dropped), "{policy:?}");
        // Six windows are longer than what an alert is said again after.
        let said: Vec<_> = alerts.iter().map(|a| (a.rule.as_str(), a.action)).collect();
        let want = [("high", AlertAction::Raise), ("high", AlertAction::Hold)];
        assert_eq!((&said[..], positions[0].offset), (&want[..], 6), "rules judge what the model does not");
    }
}

#[test]
fn a_new_version_counts_from_the_next_row_on_and_a_shadow_raises_nothing() {
    let mut models = models(0.25);
    models.shadow = Some(constant("shadow", 0.9));
    let mut bench = Bench::new(options(Policy::Block), models);
    bench.rows(&[row("a", 1, 0.0)]);
    bench.apply(Input::Model(Role::Primary, constant("2", 0.75)));
    bench.rows(&[row("a", 2, 0.0)]);
    let (scores, alerts, _) = bench.commits();
    let said: Vec<_> = scores.iter().map(|s| (s.version.as_str(), s.score, s.shadow, s.prediction)).collect();
    let shadow = ("shadow", 0.9, true, false);
    assert_eq!(said, [("1", 0.25, false, false), shadow, ("2", 0.75, false, true), shadow]);
    assert!(scores.iter().all(|s| s.shadow == s.threshold.is_none()));
    let said: Vec<_> =
        alerts.iter().map(|a| (a.rule.as_str(), a.action, a.id.as_str(), a.field.as_str())).collect();
    assert_eq!(said, [("score", AlertAction::Raise, "score/5000/10000", "score")]);
}

#[test]
fn rules_need_no_model_and_look_only_at_their_sizes() {
    let mut bench = Bench::new(options(Policy::Block), Models::default());
    let minute = WindowRow { span: WindowSpan { size_ms: 60_000, window_id: 1 }, ..row("a", 1, 9.0) };
    bench.rows(&[minute, row("a", 1, 5.5), row("a", 2, 9.0), row("a", 3, 5.0)]);
    let (scores, alerts, _) = bench.commits();
    let said: Vec<_> = alerts.iter().map(|a| (a.action, a.value, a.threshold, a.t_start, a.since)).collect();
    assert!(scores.is_empty());
    assert_eq!(
        said,
        [(AlertAction::Raise, 5.5, 5.0, 5_000, 5_000), (AlertAction::Clear, 5.0, 5.0, 15_000, 5_000)]
    );
    assert_eq!(bench.driver.counts().rows, 3);
}

#[test]
fn a_model_of_events_scores_each_event_that_the_row_carries() {
    let options = Options { of_events: true, columns: vec!["x".into()], ..options(Policy::Block) };
    let model = Model::Timed(Timed { service_us: 0, score: 0.1, fails_at: Some(1) });
    let primary = Loaded::of("m".into(), "1".into(), model, &["x".to_owned()]).unwrap();
    let models = Models { columns: vec!["x".into()], primary: Some(primary), ..Models::default() };
    let mut bench = Bench::new(options, models);
    let events = EventBatch {
        stream_id: "a".into(),
        ts: vec![5_001, 5_002, 5_003],
        seq: vec![7, 8, 9],
        fields: vec![FieldColumn { name: "x".into(), rows: vec![0, 2], values: vec![1.0, 3.0] }],
        ..EventBatch::default()
    };
    bench.rows(&[row("a", 1, 0.0), WindowRow { events: Some(events), ..row("a", 2, 0.0) }]);
    let (scores, _, _) = bench.commits();
    let said: Vec<_> = scores.iter().map(|s| s.event.unwrap()).collect();
    let event = |ts, seq| ScoredEvent { ts, seq: Some(seq) };
    assert_eq!(said, [event(5_001, 7), event(5_003, 9)], "the second cannot be scored");
    let counts = bench.driver.counts();
    assert_eq!((counts.scored, counts.errors, counts.without_events), (2, 1, 1));
}

#[test]
fn late_records_strangers_and_garbage_change_nothing_and_are_counted() {
    let mut bench = Bench::new(options(Policy::Block), models(0.9));
    let events = EventBatch { stream_id: "a".into(), ts: vec![1], ..EventBatch::default() };
    let late = LateRecord { size_ms: 5_000, window_id: 0, arrivals: vec![1], events };
    let mut value = Vec::new();
    encode_late(&late, &mut value);
    bench.values(&[value, b"{}".to_vec()]);
    let (scores, alerts, positions) = bench.commits();
    assert_eq!((scores.len(), alerts.len(), positions[0].offset), (0, 0, 2));
    let counts = bench.driver.counts();
    assert_eq!((counts.late, counts.refused, counts.rows), (1, 1, 0));
    // Of two partitions, one row lies in the wrong one.
    let mut driver = Driver::new(options(Policy::Block), models(0.9));
    let mut out = Vec::new();
    let assigned = LogInput::Assigned { partition: 0, partitions: 2, committed: None };
    driver.apply(0, Input::Log(assigned), &mut out);
    let stranger = (0..).map(|n| format!("s/{n}")).find(|s| partition_of(s, 2) == 1).unwrap();
    let mut value = Vec::new();
    encode_row(&row(&stranger, 1, 9.0), &mut value);
    let records = [RecordRef { value: Some(&value), ..RecordRef::default() }];
    let topic = Topic::Windows;
    let input = LogInput::Records { partition: 0, topic, records: &records, next: 1, at_end: true };
    driver.apply(0, Input::Log(input), &mut out);
    assert!(matches!(out.last(), Some(Action::Say(Event::Misrouted { partition: 0, offset: 0 }))));
}

#[test]
fn another_number_of_partitions_is_refused() {
    let mut bench = Bench::new(options(Policy::Block), models(0.9));
    bench.rows(&[row("a", 1, 0.0)]);
    let (_, _, positions) = bench.commits();
    let mut driver = Driver::new(options(Policy::Block), models(0.9));
    let mut out = Vec::new();
    let committed = Some(positions[0].clone());
    driver.apply(0, Input::Log(LogInput::Assigned { partition: 0, partitions: 3, committed }), &mut out);
    assert!(matches!(out[..], [Action::Stop(Stop::Partitions { committed: 1, now: 3 })]));
}

#[test]
fn an_aborted_transaction_forgets_and_a_drain_commits_first() {
    let mut bench = Bench::new(options(Policy::Block), models(0.9));
    bench.rows(&[row("a", 1, 9.0)]);
    bench.apply(Input::Tick);
    bench.commit = None;
    bench.rows(&[row("a", 2, 9.0)]); // consumed while the commit is in flight
    let result = TxnResult::Aborted { error: "as the test wants it".into() };
    bench.apply(Input::Log(LogInput::TxnDone { result, outputs: Outputs::new() }));
    assert_eq!(bench.driver.positions().count(), 0);
    bench.next = 0;
    bench.apply(Input::Log(LogInput::Assigned { partition: 0, partitions: 1, committed: None }));
    bench.rows(&[row("a", 1, 9.0), row("a", 2, 9.0)]);
    bench.out.clear();
    bench.apply(Input::Drain);
    let commit = bench.commit.take().expect("a last commit");
    assert_eq!((commit.positions[0].offset, commit.outputs.len()), (2, 4), "two scores, two raises");
    assert!(!bench.out.iter().any(|a| matches!(a, Action::Stop(_))), "not before its outcome");
    let metas = commit.positions.iter().map(|p| (p.partition, p.meta.clone())).collect();
    let result = TxnResult::Committed(metas);
    bench.apply(Input::Log(LogInput::TxnDone { result, outputs: Outputs::new() }));
    let left = |a: &Action| matches!(a, Action::Log(LogAction::Release { partition: 0 }));
    assert!(bench.out.iter().any(left));
    assert!(matches!(bench.out.last(), Some(Action::Stop(Stop::Drained))));
}
