//! The sink's driver over the topic scores of the simulated log: killed after any of its actions, with a write of
//! unknown outcome, it leaves each score in the store, once.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use evenkeel_codec::encode_score;
use evenkeel_model::{Score, ScoredEvent, StoredScore, Topic, WindowSpan, partition_of};
use evenkeel_scenarios::Unknown;
use evenkeel_seam::{Rows, Worker};
use evenkeel_sim::log::{Record, SimLog, SimWorker, WorkerOptions};
use evenkeel_sim::store::{SimRows, SimStore};
use evenkeel_sink::{Action, Driver, Input, Options};
use std::time::Duration;

const NOW: i64 = 1_700_000_000_000;
const PARTITIONS: u32 = 2;
const SCORES: usize = 60;
/// Turns of the loop until a run must be done.
const TURNS_MAX: usize = 3_000;

/// The score that comes `n`-th: of windows and of their events, also two events at one time, and of a shadow.
fn score(n: usize) -> Score {
    Score {
        stream_id: format!("s/{}", n % 5),
        span: WindowSpan { size_ms: 5_000, window_id: (n / 20) as i64 },
        event: (n % 20 >= 10).then_some(ScoredEvent { ts: 7, seq: None }),
        model: "m".into(),
        version: "1".into(),
        shadow: (5..10).contains(&(n % 20)),
        score: n as f64,
        threshold: None,
        prediction: false,
        last_arrival: NOW,
    }
}

/// A process: gone when it is dropped, in whatever it was doing.
struct Process {
    worker: SimWorker,
    rows: SimRows,
    driver: Driver,
    actions: Vec<Action>,
}

impl Process {
    fn start(log: &SimLog, store: &SimStore, number: usize) -> Self {
        let transactional_id = format!("sink-scores-{number}");
        let options = WorkerOptions { topic: Topic::Scores, group: "sink-scores".into(), transactional_id };
        let driver = Driver::new(Options { in_flight_max: 8, seq_intervals_max: 8, retry_ms: 100 });
        Self { worker: SimWorker::new(log, options), rows: store.connect(), driver, actions: Vec::new() }
    }

    /// One turn. `left` = actions until it is killed; `false` = it was.
    fn turn(&mut self, log: &SimLog, tick: bool, left: &mut usize, seen: &mut usize) -> bool {
        let (driver, actions) = (&mut self.driver, &mut self.actions);
        let polled = self.worker.poll(Duration::from_millis(20), &mut |input| {
            driver.apply(log.cluster().now_ms(), Input::Log(input), actions);
        });
        polled.unwrap();
        let now = log.cluster().now_ms() + 25;
        log.cluster().advance_to(now);
        let mut done = Vec::new();
        self.rows.done(Duration::from_millis(25), &mut done);
        for (id, result) in done {
            driver.apply(now, Input::Row(id, result), actions);
        }
        if tick {
            driver.apply(now, Input::Tick, actions);
        }
        for action in self.actions.drain(..) {
            if *left == 0 {
                return false;
            }
            match action {
                Action::Log(action) => self.worker.perform(action).unwrap(),
                Action::Row(id, action) => self.rows.submit(id, action),
                Action::Say(_) => continue,
                Action::Drained => panic!("nobody asked it to leave"),
            }
            *left -= 1;
            *seen += 1;
        }
        true
    }
}

/// Stores all scores through processes that are killed after so many actions each; the last one is left alone. What is
/// stored then, and how many actions there were.
fn play(kills: &[usize], unknown: Option<(u32, Unknown)>) -> (Vec<StoredScore>, usize) {
    let (log, store) = (SimLog::new(PARTITIONS, NOW), SimStore::new(NOW));
    for n in 0..SCORES {
        let (score, mut value) = (score(n), Vec::new());
        encode_score(&score, &mut value);
        let key = Some(score.stream_id.clone().into_bytes());
        let record = Record { timestamp_ms: NOW, key, value: Some(value), headers: vec![] };
        log.cluster().append(Topic::Scores, partition_of(&score.stream_id, PARTITIONS), record);
    }
    store.get().faults.unknown = unknown.map(|(after, outcome)| (after, outcome, false));
    let mut kills = kills.iter().copied();
    let mut left = kills.next().unwrap_or(usize::MAX);
    let (mut process, mut number, mut seen) = (Process::start(&log, &store, 0), 0, 0);
    for turn in 0..TURNS_MAX {
        if !process.turn(&log, turn % 4 == 3, &mut left, &mut seen) {
            number += 1;
            process = Process::start(&log, &store, number);
            left = kills.next().unwrap_or(usize::MAX);
        }
        let consumed: u64 = process.driver.positions().map(|(_, at)| at).sum();
        if consumed == SCORES as u64 && process.driver.is_quiet() && store.get().is_quiet() {
            return (store.get().scores().cloned().collect(), seen);
        }
    }
    panic!("not done after {TURNS_MAX} turns");
}

#[test]
fn killed_after_any_action_it_stores_each_score_once() {
    let (want, actions) = play(&[], None);
    let mut stored: Vec<f64> = want.iter().map(|stored| stored.score.score).collect();
    stored.sort_unstable_by(f64::total_cmp);
    assert!(stored.iter().copied().eq((0..SCORES).map(|n| n as f64)), "{stored:?}");
    for at in 0..actions {
        let outcome = [Unknown::Applied, Unknown::Lost, Unknown::Delayed][at % 3];
        let (got, _) = play(&[at, at % 7 + 3], Some((at as u32 % 50, outcome)));
        assert_eq!(got, want, "killed after {at} actions and again; one write {outcome:?}");
    }
}
