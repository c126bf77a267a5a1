//! The scorer's driver over the simulated log: killed after any of its actions, twice, it leaves the scores and
//! alerts of a run that nobody killed, each once.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use evenkeel_codec::{decode_alert, decode_score, encode_row};
use evenkeel_model::{
    Alert, AlertAction, AlertSeverity, ClosedBy, FieldStats, Score, Topic, WindowRow, WindowSpan,
    partition_of,
};
use evenkeel_scorer::RuntimeChoice;
use evenkeel_scorer::live::{Action, Driver, Event, Input, ModelFiles, Options, Source, Stop};
use evenkeel_scoring::{AlertRule, Policy, Rule, ScoreAlert, Settings, Side, Wanted};
use evenkeel_seam::Worker;
use evenkeel_sim::log::{Record, SimLog, SimWorker, WorkerOptions};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

const NOW: i64 = 1_700_000_000_000;
const PARTITIONS: u32 = 2;
const ROWS: usize = 240;
const STREAMS: usize = 6;
/// Turns of the loop until a run must be done.
const TURNS_MAX: usize = 4_000;

/// What the model takes; a linear regression of six columns. Rows without a row before cannot be scored.
const COLUMNS: [&str; 6] = ["x.mean", "x.mean@1", "x.max", "count", "missing", "x.min"];

fn options(columns: &[String]) -> Options {
    let rule = AlertRule {
        name: "high".into(),
        pattern: "s/*".into(),
        size_ms: None,
        feature: "x.mean".parse().unwrap(),
        side: Side::Above,
        threshold: 0.6,
        hysteresis: 0.2,
        windows: 2,
        clear_windows: 1,
        severity: AlertSeverity::Warning,
    };
    let threshold = Rule::StreamQuantile { quantile: 0.7, window: 8, start: 10.0, scores_min: 3 };
    Options {
        settings: Arc::new(Settings {
            memory_ms: 40_000,
            refresh_ms: 5_000,
            series_max: 100,
            sizes_ms: vec![],
            rules: vec![rule],
            features: columns.iter().map(|name| name.parse().unwrap()).collect(),
            threshold,
            hysteresis: 1.0,
            score_alert: Some(ScoreAlert { rule: "score".into(), severity: AlertSeverity::Info }),
        }),
        columns: columns.to_vec(),
        of_events: false,
        writer: "w".into(),
        queue_max: 16,
        policy: Policy::Block,
        batch_max: 5,
        batch_wait_ms: 150,
        output_bytes_max: 1 << 20,
        drift_rows: 1,
    }
}

fn driver() -> Driver {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../models/cases/linear_regression.onnx");
    let wanted = Wanted { features: COLUMNS.map(str::to_owned).into(), ..Wanted::default() };
    let source = Source {
        path,
        name: "linear".into(),
        version: "1".into(),
        wanted,
        runtime: RuntimeChoice::default(),
    };
    let models = ModelFiles { primary: Some(source), ..ModelFiles::default() }.load().unwrap();
    Driver::new(options(&models.columns), models)
}

/// The row that comes `n`-th; now and then a stream is silent for long.
fn row(n: usize) -> WindowRow {
    let stream = n % STREAMS;
    let noise = (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    let x = noise as f64 / (1_u64 << 24) as f64;
    let stats = FieldStats {
        name: "x".into(),
        count: 3,
        mean: x,
        max: x + 0.5,
        min: x - 0.5,
        ..FieldStats::default()
    };
    let later = if n > 150 { 60_000 } else { 0 }; // everything before is forgotten
    WindowRow {
        stream_id: format!("s/{stream}"),
        span: WindowSpan { size_ms: 5_000, window_id: 1_000 + (n / STREAMS) as i64 },
        closed_by: ClosedBy::Watermark,
        max_ts: 0,
        first_arrival: 0,
        last_arrival: NOW + n as i64 * 300 + later - (n % 7) as i64 * 100,
        count: 3,
        seqs: vec![],
        dropped: vec![],
        stats: vec![stats],
        events: None,
    }
}

fn send(log: &SimLog, n: usize) {
    let row = row(n);
    let mut value = Vec::new();
    encode_row(&row, &mut value);
    let key = Some(row.stream_id.clone().into_bytes());
    let record = Record { timestamp_ms: NOW, key, value: Some(value), headers: vec![] };
    log.cluster().append(Topic::Windows, partition_of(&row.stream_id, PARTITIONS), record);
}

/// A process: gone when it is dropped, in whatever it was doing.
struct Process {
    worker: SimWorker,
    driver: Driver,
    actions: Vec<Action>,
}

impl Process {
    fn start(log: &SimLog, number: usize) -> Self {
        let transactional_id = format!("scorer-{number}");
        let options = WorkerOptions { topic: Topic::Windows, group: "scorer".into(), transactional_id };
        Self { worker: SimWorker::new(log, options), driver: driver(), actions: Vec::new() }
    }

    /// One turn. `left` = actions until it is killed; `false` = it was.
    fn turn(&mut self, log: &SimLog, tick: bool, left: &mut usize, seen: &mut Seen) -> bool {
        let (driver, actions) = (&mut self.driver, &mut self.actions);
        let polled = self.worker.poll(Duration::from_millis(100), &mut |input| {
            driver.apply(log.cluster().now_ms(), Input::Log(input), actions);
        });
        polled.unwrap();
        let now = log.cluster().now_ms() + 25;
        log.cluster().advance_to(now);
        driver.apply(now, Input::Turn, actions);
        if tick {
            driver.apply(now, Input::Tick, actions);
        }
        for action in self.actions.drain(..) {
            if *left == 0 {
                return false;
            }
            match action {
                Action::Log(action) => {
                    *left -= 1;
                    seen.actions += 1;
                    self.worker.perform(action).unwrap();
                }
                Action::Say(Event::Recovered { .. }) => seen.recovered += 1,
                Action::Say(Event::LogCut { .. }) => panic!("nothing was cut"),
                Action::Say(_) => {}
                Action::Stop(stop) => assert_eq!(stop, Stop::Drained),
            }
        }
        true
    }
}

#[derive(Default)]
struct Seen {
    actions: usize,
    recovered: usize,
}

/// Everything that is committed, partition by partition: scores, and alerts but for those said again.
type Said = (Vec<Score>, Vec<Alert>);

/// Plays all rows through processes that are killed after so many actions each; the last one is left alone.
fn play(kills: &[usize]) -> (Said, Seen) {
    let log = SimLog::new(PARTITIONS, NOW);
    let mut seen = Seen::default();
    let mut kills = kills.iter().copied();
    let mut left = kills.next().unwrap_or(usize::MAX);
    let (mut process, mut number, mut sent) = (Process::start(&log, 0), 0, 0);
    for turn in 0..TURNS_MAX {
        if turn % 3 == 0 && sent < ROWS {
            (sent..(sent + 7).min(ROWS)).for_each(|n| send(&log, n));
            sent = (sent + 7).min(ROWS);
        }
        if !process.turn(&log, turn % 4 == 3, &mut left, &mut seen) {
            number += 1;
            process = Process::start(&log, number);
            left = kills.next().unwrap_or(usize::MAX);
        }
        let consumed: u64 = process.driver.positions().map(|(_, at)| at).sum();
        let held = process.driver.positions().count() == PARTITIONS as usize;
        if sent == ROWS && held && consumed >= ROWS as u64 && process.driver.is_quiet() {
            return (said(&log), seen);
        }
    }
    panic!("not done after {TURNS_MAX} turns");
}

fn said(log: &SimLog) -> Said {
    let values = |topic| {
        let all = (0..PARTITIONS).flat_map(move |p| {
            log.cluster()
                .log(topic, p)
                .read(0, usize::MAX, true)
                .records
                .into_iter()
                .map(|(_, r)| r.value.clone())
        });
        all.flatten().collect::<Vec<_>>()
    };
    let scores = values(Topic::Scores).iter().map(|v| decode_score(v).unwrap()).collect();
    let alerts = values(Topic::Alerts).iter().map(|v| decode_alert(v).unwrap()).collect::<Vec<_>>();
    (scores, alerts.into_iter().filter(|a| a.action != AlertAction::Hold).collect())
}

/// Rules are judged when a row comes, scores a little later: only the order of one series and rule is told.
fn in_order_of_rules((scores, mut alerts): Said) -> Said {
    alerts.sort_by(|a, b| (&a.stream_id, &a.rule).cmp(&(&b.stream_id, &b.rule)));
    (scores, alerts)
}

#[test]
fn killed_after_any_action_it_says_the_same_once() {
    let (want, seen) = play(&[]);
    let want = in_order_of_rules(want);
    let of = |rule: &str, action| want.1.iter().filter(|a| a.rule == rule && a.action == action).count();
    assert!(want.0.len() > 200, "{} scores", want.0.len());
    assert!(want.0.iter().any(|s| s.threshold != Some(10.0) && s.prediction));
    for rule in ["high", "score"] {
        let counts = (of(rule, AlertAction::Raise), of(rule, AlertAction::Clear));
        assert!(counts.0 > 3 && counts.1 > 3, "{rule}: {counts:?}");
    }
    let mut recovered = 0;
    for at in 0..seen.actions {
        let (got, seen) = play(&[at, at % 13 + 3]);
        recovered += seen.recovered;
        assert_eq!(in_order_of_rules(got), want, "killed after {at} actions and again");
    }
    assert!(recovered > seen.actions, "{recovered} recoveries of partitions in {} runs", seen.actions);
}
