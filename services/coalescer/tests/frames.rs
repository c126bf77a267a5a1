//! Live frames by the driver: when gateways are heard, when frames leave, and that no commit waits for one.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use evenkeel_coalescer::{Action, Driver, Event, Input, Options, Records};
use evenkeel_codec::{decode_frame, encode_batch, encode_interest};
use evenkeel_model::{EventBatch, FieldColumn, Frame, FrameFlag, FrameKind, Interest, Topic, Want};
use evenkeel_seam::{Commit, LogAction, LogInput, Outputs, Position, RecordRef, TxnResult};
use evenkeel_window::{Settings, WatchSettings};

const NOW: i64 = 1_700_000_000_000;

struct Bench {
    driver: Driver,
    now: i64,
    /// The next record's offset.
    next: u64,
    /// The last commit's positions.
    committed: Vec<Position>,
}

impl Bench {
    fn new(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::default();
        change(&mut settings);
        let options = Options {
            settings,
            writer: "w-0".into(),
            rows_per_tick_max: 1000,
            memory_budget_bytes: 64 << 20,
            output_bytes_max: 1 << 20,
            refuse_cut_log: false,
            hash_seed: 7,
            records: Records::default(),
        };
        Self { driver: Driver::new(options), now: NOW, next: 0, committed: Vec::new() }
    }

    /// A bench whose partition 0 is live, committed and watched by a gateway at partition 3 of frames.
    fn watched() -> Self {
        let mut bench = Self::new(|_| ());
        bench.assign(None);
        bench.send("a", 1);
        let commit = bench.tick().unwrap();
        bench.done(commit);
        bench.look("a");
        bench
    }

    fn apply(&mut self, input: Input<'_>) -> Vec<Action> {
        let mut out = Vec::new();
        self.driver.apply(self.now, input, &mut out);
        out
    }

    fn assign(&mut self, committed: Option<Position>) -> Vec<Action> {
        self.apply(Input::Log(LogInput::Assigned { partition: 0, partitions: 1, committed }))
    }

    fn record(&mut self, topic: Topic, key: &str, value: &[u8]) -> Vec<Action> {
        let (key, value) = (Some(key.as_bytes()), Some(value));
        let offset = self.next;
        self.next += 1;
        let next = self.next;
        let records = [RecordRef { offset, timestamp_ms: self.now, key, value, ..RecordRef::default() }];
        self.apply(Input::Log(LogInput::Records {
            partition: 0,
            topic,
            records: &records,
            next,
            at_end: true,
        }))
    }

    fn send(&mut self, stream_id: &str, seq: u64) {
        let batch = EventBatch {
            stream_id: stream_id.into(),
            arrival_ms: self.now,
            ts: vec![self.now],
            seq: vec![seq],
            fields: vec![FieldColumn { name: "x".into(), rows: vec![], values: vec![seq as f64] }],
            ..EventBatch::default()
        };
        let mut value = Vec::new();
        encode_batch(&batch, &mut value);
        self.record(Topic::Events, stream_id, &value);
    }

    fn look(&mut self, stream_id: &str) -> Vec<Action> {
        let want = |kind| Want { kind, size_ms: 0, hz: 10.0 };
        let interest = Interest {
            stream_id: stream_id.into(),
            gateway: "g".into(),
            partition: 3,
            wants: vec![want(FrameKind::Telemetry), want(FrameKind::Status)],
            expires_at_ms: self.now + 15_000,
        };
        let mut value = Vec::new();
        encode_interest(&interest, &mut value);
        self.record(Topic::Interest, stream_id, &value)
    }

    fn tick(&mut self) -> Option<Commit> {
        let actions = self.apply(Input::Tick);
        actions.into_iter().find_map(|action| match action {
            Action::Log(LogAction::Commit(commit)) => Some(commit),
            _ => None,
        })
    }

    fn done(&mut self, commit: Commit) {
        self.committed = commit.positions.clone();
        let metas = commit.positions.into_iter().map(|p| (p.partition, p.meta)).collect();
        let result = TxnResult::Committed(metas);
        self.apply(Input::Log(LogInput::TxnDone { result, outputs: commit.outputs }));
    }

    /// A round of frames; what is sent.
    fn frames(&mut self) -> Option<Outputs> {
        let mut actions = self.apply(Input::Frames);
        match actions.pop() {
            Some(Action::Log(LogAction::Send(outputs))) if actions.is_empty() => Some(outputs),
            None => None,
            other => panic!("{other:?} after {actions:?}"),
        }
    }

    fn sent(&mut self, mut outputs: Outputs, dropped: usize) -> Vec<Action> {
        outputs.clear();
        self.apply(Input::Log(LogInput::Sent { outputs, dropped }))
    }
}

fn frames_in(outputs: &Outputs) -> Vec<Frame> {
    let frame = |record: &evenkeel_seam::OutRecord| {
        assert_eq!((record.topic, record.partition), (Topic::Frames, 3));
        let frame = decode_frame(outputs.value(record).unwrap()).unwrap();
        assert_eq!(outputs.key(record), Some(frame.stream_id.as_bytes()));
        frame
    };
    outputs.records().iter().map(frame).collect()
}

fn follows(actions: &[Action]) -> bool {
    actions.iter().any(|action| {
        matches!(action, Action::Log(LogAction::Follow { partition: 0, topic: Topic::Interest, tail: 1.. }))
    })
}

#[test]
fn interest_is_followed_once_a_partition_is_live_and_only_then() {
    let mut bench = Bench::new(|_| ());
    assert!(follows(&bench.assign(None)));
    bench.send("a", 1);
    let commit = bench.tick().unwrap();
    let position = commit.positions[0].clone();
    // The next owner recovers first.
    let mut heir = Bench::new(|_| ());
    let actions = heir.assign(Some(position));
    assert!(!follows(&actions), "{actions:?}");
    heir.look("a");
    assert!(!heir.driver.is_watched(), "a replay shows nothing");
    let read = LogInput::ReadDone { partition: 0, topic: Topic::Events, log_start: 0, next: u64::MAX };
    assert!(follows(&heir.apply(Input::Log(read))));
    let mut nobody = Bench::new(|s| s.watch = WatchSettings { streams_max: 0, ..s.watch });
    assert!(!follows(&nobody.assign(None)));
}

#[test]
fn frames_leave_beside_the_transactions() {
    let mut bench = Bench::watched();
    let outputs = bench.frames().unwrap();
    let frames = frames_in(&outputs);
    assert_eq!(frames.iter().map(|f| f.kind).collect::<Vec<_>>(), [FrameKind::Telemetry, FrameKind::Status]);
    assert_eq!((frames[0].source.as_str(), frames[0].epoch, frames[0].ts_ms), ("w-0", 0, NOW));
    assert!(frames[0].flags.contains(&FrameFlag::Live));
    // While the send is on its way, ticks commit as ever.
    bench.now += 1_000;
    bench.send("a", 2);
    let commit = bench.tick().unwrap();
    assert!(commit.outputs.records().iter().all(|record| record.topic != Topic::Frames));
    bench.sent(outputs, 0);
    // And with a commit in flight frames leave.
    assert!(bench.frames().is_some());
    bench.done(commit);
}

#[test]
fn one_send_at_a_time_and_then_the_newest() {
    let mut bench = Bench::watched();
    let outputs = bench.frames().unwrap();
    for seq in 2..30 {
        bench.now += 100;
        bench.send("a", seq);
        assert!(bench.frames().is_none());
    }
    assert!(matches!(bench.sent(outputs, 2)[..], [Action::Say(Event::FramesDropped(2))]));
    let frames = frames_in(&bench.frames().unwrap());
    assert_eq!((frames.len(), frames[1].last_ts), (2, Some(bench.now)), "one of each kind");
    assert_eq!(frames[0].series[0].values.last(), Some(&29.0));
}

#[test]
fn what_is_unchanged_or_not_watched_sends_nothing() {
    let mut bench = Bench::watched();
    let outputs = bench.frames().unwrap();
    bench.sent(outputs, 0);
    bench.now += 100;
    bench.send("b", 1);
    assert!(bench.frames().is_none());
    bench.now += 15_000;
    assert!(bench.frames().is_none() && !bench.driver.is_watched(), "it has expired");
}

#[test]
fn an_unreadable_interest_is_said_and_passed_over() {
    let mut bench = Bench::watched();
    let actions = bench.record(Topic::Interest, "a", b"nonsense");
    assert!(matches!(&actions[..], [Action::Say(Event::InterestUnreadable { partition: 0, .. })]));
    assert!(bench.frames().is_some());
}

#[test]
fn after_an_abort_the_next_epoch_shows_frames_and_only_once_it_is_committed() {
    let mut bench = Bench::watched();
    let outputs = bench.frames().unwrap();
    bench.now += 1_000;
    bench.send("a", 2);
    let commit = bench.tick().unwrap();
    let committed = bench.committed[0].clone();
    let result = TxnResult::Aborted { error: "test".into() };
    bench.apply(Input::Log(LogInput::TxnDone { result, outputs: commit.outputs }));
    assert!(!bench.driver.is_watched());
    bench.assign(Some(committed));
    let read = LogInput::ReadDone { partition: 0, topic: Topic::Events, log_start: 0, next: u64::MAX };
    bench.apply(Input::Log(read));
    bench.look("a");
    bench.sent(outputs, 0); // of the core that is gone
    assert!(bench.frames().is_none());
    let commit = bench.tick().unwrap();
    assert!(bench.frames().is_none(), "not before its outcome is known");
    bench.done(commit);
    assert_eq!(frames_in(&bench.frames().unwrap())[0].epoch, 1);
}

#[test]
fn a_send_is_bounded_and_the_rest_comes_next() {
    let mut bench = Bench::watched();
    for stream in 0..200 {
        bench.look(&format!("stream-{stream}"));
    }
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..100 {
        let Some(outputs) = bench.frames() else { break };
        assert!(outputs.bytes() < (1 << 20) + (1 << 18));
        seen.extend(frames_in(&outputs).into_iter().map(|f| (f.stream_id, f.kind)));
        bench.sent(outputs, 0);
    }
    assert_eq!(seen.len(), 2 * 201);
}
