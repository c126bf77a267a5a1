//! The sink's driver, step by step: order per key, commits behind what is settled, `dlq` before a row that
//! lost events to it, a store that is away.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use evenkeel_codec::{encode_late, encode_row, encode_score};
use evenkeel_model::{
    ClosedBy, EventBatch, LateRecord, Score, ScoredEvent, SeqRange, StoredRow, StoredScore, Topic, WindowRow,
    WindowSpan,
};
use evenkeel_seam::{Commit, LogAction, LogInput, Position, RecordRef, RowAction, RowResult, TxnResult};
use evenkeel_sink::{Action, Driver, Event, Input, Options};

const SPAN: WindowSpan = WindowSpan { size_ms: 5_000, window_id: 0 };

fn row(stream: &str) -> WindowRow {
    WindowRow {
        stream_id: stream.into(),
        span: SPAN,
        closed_by: ClosedBy::Watermark,
        max_ts: 9_000,
        first_arrival: 1,
        last_arrival: 2,
        count: 2,
        seqs: vec![SeqRange { lo: 1, hi: 4, count: 2 }],
        dropped: vec![],
        stats: vec![],
        events: None,
    }
}

fn late(stream: &str, seqs: &[u64]) -> LateRecord {
    let events = EventBatch {
        stream_id: stream.into(),
        arrival_ms: 7,
        ts: vec![100; seqs.len()],
        seq: seqs.to_vec(),
        ..EventBatch::default()
    };
    LateRecord { size_ms: SPAN.size_ms, window_id: 0, arrivals: vec![7; seqs.len()], events }
}

fn row_bytes(stream: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_row(&row(stream), &mut bytes);
    bytes
}

fn late_bytes(stream: &str, seqs: &[u64]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_late(&late(stream, seqs), &mut bytes);
    bytes
}

struct Bench {
    driver: Driver,
    now_ms: i64,
}

impl Bench {
    fn new(in_flight_max: usize) -> Self {
        let options = Options { in_flight_max, seq_intervals_max: 8, retry_ms: 100 };
        let mut bench = Self { driver: Driver::new(options), now_ms: 0 };
        let committed = Some(Position { partition: 0, offset: 10, meta: None });
        let actions = bench.apply(Input::Log(LogInput::Assigned { partition: 0, partitions: 1, committed }));
        assert!(matches!(&actions[..], [Action::Log(LogAction::Start { partition: 0, from: Some(10) })]));
        bench
    }

    fn apply(&mut self, input: Input<'_>) -> Vec<Action> {
        let mut out = Vec::new();
        self.driver.apply(self.now_ms, input, &mut out);
        out
    }

    fn records(&mut self, first_offset: u64, values: &[Vec<u8>]) -> Vec<Action> {
        self.records_of(Topic::Windows, first_offset, values)
    }

    fn records_of(&mut self, topic: Topic, first_offset: u64, values: &[Vec<u8>]) -> Vec<Action> {
        let record = |(i, value): (usize, &&'static [u8])| RecordRef {
            offset: first_offset + i as u64,
            timestamp_ms: 0,
            key: None,
            value: Some(value),
            headers: &[],
            original: None,
        };
        let values: Vec<&'static [u8]> = values.iter().map(|v| &*v.clone().leak()).collect();
        let records: Vec<RecordRef<'_>> = values.iter().enumerate().map(record).collect();
        let next = first_offset + records.len() as u64;
        self.apply(Input::Log(LogInput::Records {
            partition: 0,
            topic,
            records: &records,
            next,
            at_end: true,
        }))
    }

    fn tick(&mut self) -> Option<Commit> {
        self.apply(Input::Tick).into_iter().find_map(|a| match a {
            Action::Log(LogAction::Commit(commit)) => Some(commit),
            _ => None,
        })
    }

    fn committed(&mut self, commit: Commit) -> Vec<Action> {
        let result = TxnResult::Committed(commit.positions.iter().map(|p| (p.partition, None)).collect());
        self.apply(Input::Log(LogInput::TxnDone { result, outputs: commit.outputs }))
    }
}

fn asked(actions: &[Action]) -> Vec<(u64, RowAction)> {
    let row = |a: &Action| match a {
        Action::Row(id, action) => Some((*id, action.clone())),
        _ => None,
    };
    actions.iter().filter_map(row).collect()
}

fn written(actions: &[Action]) -> (u64, StoredRow) {
    match &asked(actions)[..] {
        [(id, RowAction::Write(row))] => (*id, (**row).clone()),
        other => panic!("one write, got {other:?}"),
    }
}

#[test]
fn a_late_record_waits_for_its_row_and_other_keys_do_not() {
    let mut bench = Bench::new(100);
    let actions = bench.records(10, &[row_bytes("a"), late_bytes("a", &[9]), row_bytes("b")]);
    let first = asked(&actions);
    assert!(matches!(&first[..], [(_, RowAction::Write(a)), (_, RowAction::Write(b))]
        if a.row.stream_id == "a" && b.row.stream_id == "b"));
    let read = asked(&bench.apply(Input::Row(first[0].0, RowResult::Written)));
    let [(id, RowAction::Read(key))] = &read[..] else { panic!("{read:?}") };
    assert_eq!((key.stream_id.as_str(), key.span), ("a", SPAN));
    let stored = StoredRow { row: row("a"), revision: 0, late_offset: -1 };
    let (id, merged) = written(&bench.apply(Input::Row(*id, RowResult::Read(Some(Box::new(stored))))));
    assert_eq!((merged.revision, merged.late_offset, merged.row.count), (1, 11, 3)); // EK-LATE-1
    bench.apply(Input::Row(id, RowResult::Written));
    let commit = bench.tick().unwrap();
    assert_eq!(commit.positions[0].offset, 12, "b, at 12, is not settled");
    bench.apply(Input::Row(first[1].0, RowResult::Written));
    bench.committed(commit);
    assert_eq!(bench.tick().unwrap().positions[0].offset, 13);
}

#[test]
fn overflow_is_in_dlq_before_the_row_that_lost_it_is_written() {
    let mut bench = Bench::new(100);
    let read = asked(&bench.records(10, &[late_bytes("a", &[2, 9])]));
    let stored = StoredRow { row: row("a"), revision: 0, late_offset: -1 };
    let actions = bench.apply(Input::Row(read[0].0, RowResult::Read(Some(Box::new(stored)))));
    assert!(asked(&actions).is_empty(), "no write before the commit that holds the dlq record");
    let commit = bench.tick().unwrap();
    assert_eq!((commit.positions[0].offset, commit.outputs.len()), (10, 1));
    let dlq = &commit.outputs.records()[0];
    assert_eq!(dlq.topic, Topic::Dlq);
    let (id, merged) = written(&bench.committed(commit));
    assert_eq!((merged.revision, merged.row.count), (1, 3));
    bench.apply(Input::Row(id, RowResult::Written));
    assert_eq!(bench.tick().unwrap().positions[0].offset, 11);
}

#[test]
fn a_store_that_is_away_is_asked_again_and_consumption_pauses() {
    let mut bench = Bench::new(2);
    let actions = bench.records(10, &[row_bytes("a"), row_bytes("b"), row_bytes("c")]);
    assert!(actions.iter().any(|a| matches!(a, Action::Log(LogAction::Pause { partition: 0 }))));
    let ids: Vec<u64> = asked(&actions).iter().map(|(id, _)| *id).collect();
    for id in &ids {
        let away = RowResult::Unavailable("no host".into());
        let actions = bench.apply(Input::Row(*id, away));
        assert!(matches!(&actions[..], [Action::Say(Event::Unavailable(_))]));
    }
    assert!(bench.tick().is_none());
    bench.now_ms = 100;
    let again = asked(&bench.apply(Input::Tick));
    assert_eq!(again.len(), 3);
    let mut resumed = false;
    for (id, _) in again {
        let actions = bench.apply(Input::Row(id, RowResult::Written));
        resumed |= actions.iter().any(|a| matches!(a, Action::Log(LogAction::Resume { partition: 0 })));
    }
    assert!(resumed);
    assert_eq!(bench.tick().unwrap().positions[0].offset, 13);
}

#[test]
fn a_row_refused_for_ever_goes_to_dlq_and_blocks_nobody() {
    let mut bench = Bench::new(100);
    let ids = asked(&bench.records(10, &[row_bytes("a"), b"poison".to_vec(), late_bytes("b", &[1])]));
    bench.apply(Input::Row(ids[0].0, RowResult::Refused("too large".into())));
    let write = bench.apply(Input::Row(ids[1].0, RowResult::Read(None)));
    let (id, born) = written(&write);
    assert_eq!((born.row.closed_by, born.revision), (ClosedBy::Late, 1));
    bench.apply(Input::Row(id, RowResult::Expired));
    let commit = bench.tick().unwrap();
    assert_eq!((commit.positions[0].offset, commit.outputs.len()), (13, 2));
    let reasons: Vec<Vec<u8>> = commit
        .outputs
        .records()
        .iter()
        .map(|r| commit.outputs.headers(r).find(|h| h.name == "reason").unwrap().value.to_vec())
        .collect();
    assert_eq!(reasons, [b"malformed".to_vec(), b"refused".to_vec()]);
}

#[test]
fn a_revocation_commits_what_is_settled_and_forgets_the_rest() {
    let mut bench = Bench::new(100);
    let ids = asked(&bench.records(10, &[row_bytes("a"), row_bytes("b")]));
    bench.apply(Input::Row(ids[0].0, RowResult::Written));
    let actions = bench.apply(Input::Log(LogInput::Revoking { partitions: vec![0], lost: false }));
    let [Action::Log(LogAction::Commit(_))] = &actions[..] else { panic!("{actions:?}") };
    let Some(Action::Log(LogAction::Commit(commit))) = actions.into_iter().next() else { unreachable!() };
    assert_eq!(commit.positions[0].offset, 11);
    let after = bench.committed(commit);
    assert!(matches!(&after[..], [Action::Log(LogAction::Release { partition: 0 })]));
    assert!(bench.apply(Input::Row(ids[1].0, RowResult::Written)).is_empty());
}

#[test]
fn overflow_alone_holds_its_key_until_it_is_in_dlq() {
    let mut bench = Bench::new(100);
    let read = asked(&bench.records(10, &[late_bytes("a", &[2]), late_bytes("a", &[9])]));
    let stored = StoredRow { row: row("a"), revision: 0, late_offset: -1 };
    let found = RowResult::Read(Some(Box::new(stored)));
    // A later record that was written now would move late_offset past this one: its repetition would say nothing.
    assert!(asked(&bench.apply(Input::Row(read[0].0, found))).is_empty());
    let commit = bench.tick().unwrap();
    assert_eq!((commit.positions[0].offset, commit.outputs.len()), (10, 1));
    let next = asked(&bench.committed(commit));
    assert!(matches!(&next[..], [(_, RowAction::Read(_))])); // EK-LATE-1
}

/// Somebody else wrote into the topic: a stream with two lanes would have no order.
#[test]
fn a_row_in_another_streams_partition_goes_to_dlq_and_blocks_nobody() {
    let of = |partition| {
        let mut ids = (0..).map(|n| format!("s/{n}"));
        ids.find(|id| evenkeel_model::partition_of(id, 2) == partition).unwrap()
    };
    let (ours, theirs) = (of(0), of(1));
    let mut bench = Bench::new(100);
    bench.apply(Input::Log(LogInput::Assigned { partition: 0, partitions: 2, committed: None }));
    let actions = bench.records(0, &[row_bytes(&theirs), row_bytes(&ours)]);
    assert!(matches!(actions[0], Action::Say(Event::Misrouted { partition: 0, offset: 0 })));
    let [(id, RowAction::Write(row))] = &asked(&actions)[..] else { panic!("{actions:?}") };
    assert_eq!(row.row.stream_id, ours);
    bench.apply(Input::Row(*id, RowResult::Written));
    let commit = bench.tick().unwrap();
    assert_eq!(commit.positions[0].offset, 2);
    let refused = &commit.outputs.records()[0];
    assert_eq!((refused.topic, commit.outputs.value(refused)), (Topic::Dlq, Some(&row_bytes(&theirs)[..])));
    let reason = commit.outputs.headers(refused).find(|h| h.name == "reason").unwrap().value;
    assert_eq!(reason, b"misrouted");
}

#[test]
fn scores_are_written_and_an_offset_waits_for_them() {
    let of = |event| Score {
        stream_id: "a".into(),
        span: SPAN,
        event,
        model: "m".into(),
        version: "1".into(),
        shadow: false,
        score: 0.5,
        threshold: None,
        prediction: false,
        last_arrival: 1,
    };
    let bytes = |score: &Score| {
        let mut bytes = Vec::new();
        encode_score(score, &mut bytes);
        bytes
    };
    let (window, event) = (of(None), of(Some(ScoredEvent { ts: 100, seq: None })));
    let mut bench = Bench::new(100);
    let values = [bytes(&event), bytes(&event), bytes(&window), row_bytes("a")];
    let mut stored = Vec::new();
    let mut actions = bench.records_of(Topic::Scores, 10, &values);
    let undecodable = |a: &Action| matches!(a, Action::Say(Event::Undecodable { offset: 13, .. }));
    assert!(actions.iter().any(undecodable), "a row is no score");
    while let [(id, RowAction::Score(score))] = &asked(&actions)[..] {
        assert_eq!(bench.driver.in_work(), 3 - stored.len());
        stored.push((**score).clone());
        actions = bench.apply(Input::Row(*id, RowResult::Written)); // one by one: they are of one window
        assert!(actions.iter().any(|a| matches!(a, Action::Say(Event::ScoreStored))));
    }
    // Two events at one time, without seq, are two scores; a window has one, wherever its record lies.
    let places: Vec<i64> = stored.iter().map(|s: &StoredScore| s.place).collect();
    assert_eq!((places, &stored[2].score), (vec![10, 11, StoredScore::OF_WINDOW], &window));
    let commit = bench.tick().unwrap();
    assert_eq!(commit.positions[0].offset, 14);
    let [dead] = commit.outputs.records() else { panic!("{:?}", commit.outputs) };
    let mut headers = commit.outputs.headers(dead);
    let source = headers.find(|h| h.name == "source-topic").unwrap().value.to_vec();
    assert_eq!((dead.topic, source), (Topic::Dlq, b"scores".to_vec()));
}
