//! The coalescer's driver, step by step: what it asks of the log, in which order, and what it never does.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use evenkeel_coalescer::{Action, Driver, Event, Input, Options, Records, Stop};
use evenkeel_codec::json::{Fields, Mapping, Path, TimeUnit};
use evenkeel_codec::{WindowRecord, decode_window_record, encode_batch};
use evenkeel_model::{EventBatch, FieldColumn, Topic};
use evenkeel_seam::{Commit, LogAction, LogInput, Outputs, Position, RecordRef, TxnResult};
use evenkeel_window::{RecoverError, Settings};

fn options() -> Options {
    Options {
        settings: Settings::default(),
        writer: "w-0".into(),
        rows_per_tick_max: 1000,
        memory_budget_bytes: 64 << 20,
        output_bytes_max: 1 << 20,
        refuse_cut_log: false,
        hash_seed: 7,
        records: Records::default(),
    }
}

struct Bench {
    driver: Driver,
    out: Vec<Action>,
}

impl Bench {
    fn new(options: Options) -> Self {
        Self { driver: Driver::new(options), out: Vec::new() }
    }

    fn apply(&mut self, input: Input<'_>) -> Vec<Action> {
        self.driver.apply(0, input, &mut self.out);
        std::mem::take(&mut self.out)
    }

    fn assign(&mut self, partition: u32, committed: Option<Position>) -> Vec<Action> {
        self.apply(Input::Log(LogInput::Assigned { partition, partitions: 1, committed }))
    }

    fn records(&mut self, topic: Topic, first_offset: u64, values: &[Vec<u8>]) -> Vec<Action> {
        let record = |(i, value): (usize, &'static [u8])| RecordRef {
            offset: first_offset + i as u64,
            timestamp_ms: 0,
            key: key_of(value),
            value: Some(value),
            headers: &[],
            original: None,
        };
        let values: Vec<&'static [u8]> = values.iter().map(|v| &*v.clone().leak()).collect();
        let records: Vec<RecordRef<'_>> = values.into_iter().enumerate().map(record).collect();
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
        commit_of(self.apply(Input::Tick))
    }

    /// Answers a commit as a log would; the actions that follow.
    fn committed(&mut self, commit: Commit) -> Vec<Action> {
        let metas = commit.positions.into_iter().map(|p| (p.partition, p.meta)).collect();
        let result = TxnResult::Committed(metas);
        self.apply(Input::Log(LogInput::TxnDone { result, outputs: commit.outputs }))
    }
}

fn commit_of(actions: Vec<Action>) -> Option<Commit> {
    actions.into_iter().find_map(|a| match a {
        Action::Log(LogAction::Commit(commit)) => Some(commit),
        _ => None,
    })
}

fn log_actions(actions: &[Action]) -> Vec<String> {
    let text = |a: &Action| match a {
        Action::Log(LogAction::Commit(_)) => Some("Commit".to_owned()),
        Action::Log(LogAction::Follow { .. }) => None, // see frames.rs
        Action::Log(action) => Some(format!("{action:?}")),
        Action::Stop(stop) => Some(format!("{stop:?}")),
        Action::Say(_) => None,
    };
    actions.iter().filter_map(text).collect()
}

/// Ten events, one a second from `ts`, of one stream.
fn batch(ts: i64, seq: u64) -> Vec<u8> {
    let batch = EventBatch {
        stream_id: "bowl/1".into(),
        arrival_ms: ts + 9_000,
        ts: (0..10).map(|i| ts + i * 1000).collect(),
        seq: (0..10).map(|i| seq + i).collect(),
        fields: vec![FieldColumn { name: "weight".into(), rows: vec![], values: vec![1.5; 10] }],
        ..EventBatch::default()
    };
    let mut bytes = Vec::new();
    encode_batch(&batch, &mut bytes);
    bytes
}

fn rows_in(outputs: &Outputs) -> usize {
    let is_row = |r: &&evenkeel_seam::OutRecord| {
        r.topic == Topic::Windows
            && matches!(decode_window_record(outputs.value(r).unwrap()), Ok(WindowRecord::Row(_)))
    };
    outputs.records().iter().filter(is_row).count()
}

/// The key of a record of `events`: its stream.
fn key_of(value: &[u8]) -> Option<&'static [u8]> {
    let mut batch = EventBatch::default();
    evenkeel_codec::decode_batch(value, &mut batch).ok()?;
    Some(batch.stream_id.leak().as_bytes())
}

#[test]
fn a_new_partition_starts_at_the_oldest_record_and_commits_what_it_consumed() {
    let mut bench = Bench::new(options());
    assert_eq!(log_actions(&bench.assign(0, None)), ["Start { partition: 0, from: None }"]);
    bench.records(Topic::Events, 0, &[batch(0, 1), batch(10_000, 11)]);
    let commit = bench.tick().unwrap();
    assert_eq!(rows_in(&commit.outputs), 3); // 5 s windows up to the watermark 17 s
    let position = &commit.positions[0];
    assert_eq!((position.offset, position.meta.as_ref().unwrap().replay_from), (2, 0));
    assert_eq!(position.meta.as_ref().unwrap().ledger.sizes[0].imbalance(), 0);
}

#[test]
fn one_transaction_at_a_time_and_its_offset_is_where_the_tick_stood() {
    let mut bench = Bench::new(options());
    bench.assign(0, None);
    bench.records(Topic::Events, 0, &[batch(0, 1)]);
    let commit = bench.tick().unwrap();
    bench.records(Topic::Events, 1, &[batch(10_000, 11)]); // consumed while the commit is in flight
    assert_eq!(commit.positions[0].offset, 1);
    let actions = bench.apply(Input::Tick);
    assert!(actions.iter().any(|a| matches!(a, Action::Say(Event::TickMerged))));
    assert!(commit_of(actions).is_none());
    bench.committed(commit);
    let next = bench.tick().unwrap();
    assert_eq!(next.positions[0].offset, 2);
    bench.committed(next);
    assert!(bench.tick().is_none(), "nothing to say: no transaction");
}

#[test]
fn recovery_reads_marks_then_windows_then_events_and_starts_at_the_offset() {
    let mut bench = Bench::new(options());
    bench.assign(0, None);
    bench.records(Topic::Events, 0, &[batch(0, 1), batch(10_000, 11)]);
    let commit = bench.tick().unwrap();
    let rows: Vec<Vec<u8>> =
        commit.outputs.records().iter().map(|r| commit.outputs.value(r).unwrap().to_vec()).collect();
    let mut position = commit.positions[0].clone();
    let meta = position.meta.as_mut().unwrap();
    (meta.windows_to, meta.marks_to) = (rows.len() as u64, 1);

    let mut next = Bench::new(options());
    let read = |topic, to, committed| {
        format!("Read {{ partition: 0, topic: {topic}, from: 0, to: {to}, committed_only: {committed} }}")
    };
    assert_eq!(log_actions(&next.assign(0, Some(position))), [read("Marks", 1, true)]);
    let done = |topic, next| Input::Log(LogInput::ReadDone { partition: 0, topic, log_start: 0, next });
    assert_eq!(log_actions(&next.apply(done(Topic::Marks, 1))), [read("Windows", 3, true)]);
    next.records(Topic::Windows, 0, &rows);
    assert_eq!(log_actions(&next.apply(done(Topic::Windows, 3))), [read("Events", 2, false)]);
    next.records(Topic::Events, 0, &[batch(0, 1), batch(10_000, 11)]);
    let actions = next.apply(done(Topic::Events, 2));
    assert_eq!(log_actions(&actions), ["Start { partition: 0, from: Some(2) }"]);
    let recovered = actions.iter().find_map(|a| match a {
        Action::Say(Event::Recovered { imbalances, records, .. }) => Some((imbalances.len(), *records)),
        _ => None,
    });
    assert_eq!(recovered, Some((0, 5))); // nothing differs from the commit
    let commit = next.tick().unwrap();
    assert_eq!((rows_in(&commit.outputs), commit.positions[0].meta.as_ref().unwrap().epoch), (0, 1)); // EK-WIN-1
}

#[test]
fn a_revocation_commits_first_and_releases_after_the_answer() {
    let mut bench = Bench::new(options());
    bench.assign(0, None);
    bench.records(Topic::Events, 0, &[batch(0, 1)]);
    let actions = bench.apply(Input::Log(LogInput::Revoking { partitions: vec![0], lost: false }));
    assert_eq!(log_actions(&actions), ["Commit"]);
    let after = bench.committed(commit_of(actions).unwrap());
    assert_eq!(log_actions(&after), ["Release { partition: 0 }"]);
    assert_eq!(bench.driver.cores().count(), 0);
}

#[test]
fn a_revocation_during_a_commit_waits_for_it_and_commits_once_more() {
    let mut bench = Bench::new(options());
    bench.assign(0, None);
    bench.records(Topic::Events, 0, &[batch(0, 1)]);
    let first = bench.tick().unwrap();
    bench.records(Topic::Events, 1, &[batch(10_000, 11)]);
    let actions = bench.apply(Input::Log(LogInput::Revoking { partitions: vec![0], lost: false }));
    assert!(log_actions(&actions).is_empty());
    let last = commit_of(bench.committed(first)).unwrap();
    assert_eq!(last.positions[0].offset, 2);
    assert_eq!(log_actions(&bench.committed(last)), ["Release { partition: 0 }"]);
}

#[test]
fn a_loss_commits_nothing_and_says_nothing_of_the_partition() {
    let mut bench = Bench::new(options());
    bench.assign(0, None);
    bench.records(Topic::Events, 0, &[b"garbage".to_vec(), batch(0, 1)]);
    let actions = bench.apply(Input::Log(LogInput::Revoking { partitions: vec![0], lost: true }));
    assert_eq!(log_actions(&actions), ["Release { partition: 0 }"]);
    assert!(bench.tick().is_none());
}

#[test]
fn a_partition_that_is_lost_while_it_leaves_is_released_once() {
    let mut bench = Bench::new(options());
    bench.assign(0, None);
    bench.records(Topic::Events, 0, &[batch(0, 1)]);
    let commit = bench.tick().unwrap();
    for _ in 0..2 {
        let actions = bench.apply(Input::Log(LogInput::Revoking { partitions: vec![0], lost: false }));
        assert!(log_actions(&actions).is_empty()); // the commit in flight comes first
    }
    let actions = bench.apply(Input::Log(LogInput::Revoking { partitions: vec![0], lost: true }));
    assert_eq!(log_actions(&actions), ["Release { partition: 0 }"]);
    assert!(log_actions(&bench.committed(commit)).iter().all(|a| !a.starts_with("Release")));
}

#[test]
fn an_abort_forgets_everything_until_assigned_again() {
    let mut bench = Bench::new(options());
    bench.assign(0, None);
    bench.records(Topic::Events, 0, &[batch(0, 1)]);
    let commit = bench.tick().unwrap();
    let result = TxnResult::Aborted { error: "timeout".into() };
    bench.apply(Input::Log(LogInput::TxnDone { result, outputs: commit.outputs }));
    assert_eq!(bench.driver.cores().count(), 0);
    assert_eq!(log_actions(&bench.assign(0, None)), ["Start { partition: 0, from: None }"]);
    bench.records(Topic::Events, 0, &[batch(0, 1)]);
    assert_eq!(bench.tick().unwrap().positions[0].offset, 1);
}

#[test]
fn a_poison_record_goes_to_dlq_with_its_bytes_and_does_not_stop_the_rest() {
    let mut bench = Bench::new(options());
    bench.assign(0, None);
    bench.records(Topic::Events, 40, &[b"\xc3\x01poison".to_vec(), batch(0, 1)]);
    let commit = bench.tick().unwrap();
    let dlq: Vec<_> = commit.outputs.records().iter().filter(|r| r.topic == Topic::Dlq).collect();
    assert_eq!(dlq.len(), 1);
    assert_eq!(commit.outputs.value(dlq[0]), Some(&b"\xc3\x01poison"[..]));
    let header = |name: &str| {
        let value = commit.outputs.headers(dlq[0]).find(|h| h.name == name).unwrap().value;
        String::from_utf8(value.to_vec()).unwrap()
    };
    assert_eq!(header("reason"), "malformed");
    assert_eq!((header("source-offset"), header("source-topic")), ("40".into(), "events".into()));
    let ledger = &commit.positions[0].meta.as_ref().unwrap().ledger.sizes[0];
    assert_eq!((ledger.consumed, ledger.imbalance()), (11, 0)); // EK-SUM-1: an undecodable record counts 1
}

#[test]
fn at_the_output_bound_consumption_pauses_until_the_next_tick() {
    let mut bench = Bench::new(Options { output_bytes_max: 1000, ..options() });
    bench.assign(0, None);
    let actions = bench.records(Topic::Events, 0, &[vec![b'x'; 2000]]);
    assert_eq!(log_actions(&actions), ["Pause { partition: 0 }"]);
    let actions = bench.apply(Input::Tick);
    assert_eq!(log_actions(&actions), ["Commit", "Resume { partition: 0 }"]);
}

#[test]
fn another_partition_count_is_refused_with_what_to_do() {
    let mut bench = Bench::new(options());
    bench.assign(0, None);
    bench.records(Topic::Events, 0, &[batch(0, 1)]);
    let position = bench.tick().unwrap().positions[0].clone();
    let mut next = Bench::new(options());
    let assigned = LogInput::Assigned { partition: 0, partitions: 2, committed: Some(position) };
    let actions = next.apply(Input::Log(assigned));
    let refused = RecoverError::PartitionCount { committed: 1, now: 2 };
    assert!(refused.to_string().contains("docs/operations.md"));
    assert!(matches!(&actions[..], [Action::Stop(Stop::Refused(e))] if *e == refused));
}

#[test]
fn a_topic_that_grows_while_it_is_consumed_is_refused_too() {
    let mut bench = Bench::new(options());
    bench.assign(0, None);
    let assigned = LogInput::Assigned { partition: 1, partitions: 2, committed: None };
    let actions = bench.apply(Input::Log(assigned));
    let refused = RecoverError::PartitionCount { committed: 1, now: 2 };
    assert!(matches!(&actions[..], [Action::Stop(Stop::Refused(e))] if *e == refused));
}

/// A foreign producer sets no arrival: the record's own timestamp stands for it, live as in a replay.
#[test]
fn an_event_without_arrival_arrived_when_its_record_says() {
    let mut bench = Bench::new(options());
    bench.assign(0, None);
    let mut unset = Vec::new();
    let foreign = EventBatch {
        stream_id: "bowl/1".into(),
        arrival_ms: evenkeel_codec::ARRIVAL_UNSET_MS,
        ts: vec![1_000],
        ..EventBatch::default()
    };
    encode_batch(&foreign, &mut unset);
    bench.records(Topic::Events, 0, &[unset]);
    let commit = bench.tick().unwrap();
    let ledger = &commit.positions[0].meta.as_ref().unwrap().ledger.sizes[0];
    assert_eq!((ledger.consumed, ledger.in_open), (1, 1), "{ledger:?}");
}

#[test]
fn a_log_shorter_than_recovery_needs_counts_what_is_gone_or_refuses() {
    for (refuse, before) in [(false, Some(2_000)), (true, None)] {
        let mut bench = Bench::new(options());
        bench.assign(0, None);
        bench.records(Topic::Events, 0, &[batch(0, 1), batch(10_000, 11)]);
        let mut position = bench.tick().unwrap().positions[0].clone();
        let meta = position.meta.as_mut().unwrap();
        meta.windows_to = 0;
        meta.log_clock_at_replay_from = before.unwrap_or(i64::MIN);
        let mut next = Bench::new(Options { refuse_cut_log: refuse, ..options() });
        next.assign(0, Some(position));
        next.records(Topic::Events, 1, &[batch(10_000, 11)]);
        let done = LogInput::ReadDone { partition: 0, topic: Topic::Events, log_start: 1, next: 2 };
        let actions = next.apply(Input::Log(done));
        let gone_ms = before.map(|ms| 19_000 - ms); // what is left arrived at 19 s
        let cut = Event::LogCut { topic: Topic::Events, partition: 0, needed: 0, log_start: 1, gone_ms };
        if refuse {
            assert!(matches!(&actions[..], [Action::Stop(Stop::LogCut(e))] if *e == cut));
            continue;
        }
        assert!(matches!(&actions[0], Action::Say(e) if *e == cut));
        let (_, core) = next.driver.cores().next().unwrap();
        assert_eq!(core.ledger().lost, 10); // of the 1 min window; the open 5 s window is whole
        assert!(core.ledger().sizes.iter().all(|s| s.imbalance() == 0)); // EK-SUM-1
    }
}

#[test]
fn a_new_size_begins_where_it_came_into_the_configuration() {
    let sized = |sizes: &[i64]| {
        let mut options = options();
        options.settings.classes[0].sizes_ms = sizes.to_vec();
        options
    };
    let mut bench = Bench::new(sized(&[60_000]));
    bench.assign(0, None);
    bench.records(Topic::Events, 0, &[batch(0, 1), batch(10_000, 11)]);
    let mut position = bench.tick().unwrap().positions[0].clone();
    let more = sized(&[30_000, 60_000]);
    for restart in 0..2 {
        let mut next = Bench::new(more.clone());
        next.assign(0, Some(position.clone()));
        let replayed: Vec<Vec<u8>> = (0..2 + restart).map(|n| batch(n * 10_000, n as u64 * 10 + 1)).collect();
        next.records(Topic::Events, 0, &replayed);
        let next_offset = replayed.len() as u64;
        let done = LogInput::ReadDone { partition: 0, topic: Topic::Events, log_start: 0, next: next_offset };
        let actions = next.apply(Input::Log(done));
        let imbalances = actions.iter().find_map(|a| match a {
            Action::Say(Event::Recovered { imbalances, .. }) => Some(imbalances.len()),
            _ => None,
        });
        assert_eq!(imbalances, Some(0), "restart {restart}");
        let (_, core) = next.driver.cores().next().unwrap();
        let fresh = core.ledger().sizes[0].clone();
        assert_eq!((fresh.size_ms, fresh.since, fresh.in_open), (30_000, 2, 10 * restart as u64));
        next.records(
            Topic::Events,
            next_offset,
            &[batch(20_000 + restart * 10_000, 21 + restart as u64 * 10)],
        );
        position = next.tick().unwrap().positions[0].clone();
        assert!(position.meta.as_ref().unwrap().ledger.sizes.iter().all(|s| s.imbalance() == 0)); // EK-SUM-1
    }
}

#[test]
fn a_drain_commits_releases_and_ends() {
    let mut bench = Bench::new(options());
    bench.assign(0, None);
    bench.records(Topic::Events, 0, &[batch(0, 1)]);
    let actions = bench.apply(Input::Drain);
    assert_eq!(log_actions(&actions), ["Commit"]);
    let after = bench.committed(commit_of(actions).unwrap());
    assert_eq!(log_actions(&after), ["Release { partition: 0 }", "Drained"]);
}

#[test]
fn an_ended_input_closes_every_window_and_then_is_quiet() {
    let mut bench = Bench::new(options());
    bench.assign(0, None);
    bench.records(Topic::Events, 0, &[batch(0, 1)]);
    bench.apply(Input::End);
    let commit = bench.tick().unwrap();
    assert_eq!(rows_in(&commit.outputs), 3); // two of 5 s, one of 1 min
    assert!(!bench.driver.is_quiet());
    bench.committed(commit);
    assert!(bench.driver.is_quiet());
}

/// A worker on another system's topic: JSON, times in seconds, no arrival but the record's own time.
fn foreign() -> Options {
    let mapping = Mapping {
        ts: Some(Path::of("at")),
        unit: TimeUnit::S,
        seq: Some(Path::of("n")),
        fields: Fields::Below(Path::of("body")),
        ..Mapping::default()
    };
    Options { records: Records::Json(mapping), ..options() }
}

fn foreign_records(bench: &mut Bench, values: &[&str]) -> Vec<Action> {
    let record = |(i, value): (usize, &'static str)| RecordRef {
        offset: i as u64,
        timestamp_ms: 20_000 + i as i64,
        key: Some(b"bowl/1"),
        value: Some(value.as_bytes()),
        headers: &[],
        original: None,
    };
    let values = values.iter().map(|value| &*String::from(*value).leak());
    let records: Vec<RecordRef<'_>> = values.enumerate().map(record).collect();
    let (topic, next) = (Topic::Events, records.len() as u64);
    bench.apply(Input::Log(LogInput::Records { partition: 0, topic, records: &records, next, at_end: true }))
}

#[test]
fn a_foreign_topic_is_windowed_by_its_mapping_and_recovered_alike() {
    let texts = [
        r#"{"at": 1, "n": 1, "body": {"weight": 40}}"#,
        r#"{"at": 2.5, "n": 2, "body": {"weight": 42.5}}"#,
        r#"{"at": 2.5, "n": 2, "body": {"weight": 42.5}}"#,
        r#"{"when": 3, "n": 3}"#,
        r#"{"at": 12, "n": 4, "body": {"weight": 41}}"#,
    ];
    let mut bench = Bench::new(foreign());
    bench.assign(0, None);
    let actions = foreign_records(&mut bench, &texts);
    let said = actions.iter().find_map(|a| match a {
        Action::Say(Event::Undecodable { offset, error, .. }) => Some((*offset, error.clone())),
        _ => None,
    });
    let (offset, why) = said.expect("the fourth record does not fit");
    assert!(offset == 3 && why.contains("coalescer.mapping") && why.contains("at is missing"), "{why}");
    let commit = bench.tick().unwrap();
    let row = commit.outputs.records().iter().find_map(|r| {
        let value = commit.outputs.value(r).filter(|_| r.topic == Topic::Windows)?;
        match decode_window_record(value) {
            Ok(WindowRecord::Row(row)) => Some(row),
            _ => None,
        }
    });
    let row = row.expect("the window of the first two events is closed");
    assert_eq!((row.stream_id.as_str(), row.count, row.first_arrival), ("bowl/1", 2, 20_000));
    assert_eq!((row.stats[0].name.as_str(), row.stats[0].sum), ("weight", 82.5));
    let mut position = commit.positions[0].clone();
    let meta = position.meta.as_mut().unwrap();
    assert_eq!((meta.ledger.sizes[0].consumed, meta.ledger.sizes[0].imbalance()), (5, 0));
    (meta.windows_to, meta.marks_to) = (0, 0);

    let mut next = Bench::new(foreign());
    next.assign(0, Some(position.clone()));
    let mut actions = foreign_records(&mut next, &texts);
    for (topic, end) in [(Topic::Marks, 0), (Topic::Windows, 0), (Topic::Events, position.offset)] {
        if topic == Topic::Events {
            actions.extend(foreign_records(&mut next, &texts));
        }
        let done = LogInput::ReadDone { partition: 0, topic, log_start: 0, next: end };
        actions.extend(next.apply(Input::Log(done)));
    }
    let recovered = actions.iter().any(|a| matches!(a, Action::Say(Event::Recovered { .. })));
    assert!(recovered, "{:?}", log_actions(&actions));
}
