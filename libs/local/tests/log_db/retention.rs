//! What leaves the log and what does not: by bytes, by age, by compaction; offsets stay.

use crate::machine::{Entry, Machine};
use evenkeel_local::{LocalOptions, Retention, TopicRetention};
use evenkeel_model::Topic;
use evenkeel_seam::{CommitMeta, Outputs, Position, TxnResult};
use std::time::{SystemTime, UNIX_EPOCH};

const AGE_MS: i64 = 3_600_000;
/// A wall clock at which everything is too old.
const LATE_MS: i64 = i64::MAX / 2;

fn machine(dir: &tempfile::TempDir, retention: Retention) -> Machine {
    Machine::open(dir.path(), LocalOptions { partitions: Some(1), retention, ..LocalOptions::default() })
}

/// A limit for `events` and `windows` alike.
fn both(limit: TopicRetention) -> Retention {
    Retention { events: limit, windows: limit, ..Retention::default() }
}

fn records(topic: Topic, numbers: std::ops::Range<u32>, bytes: usize) -> Outputs {
    let mut outputs = Outputs::new();
    for n in numbers {
        let entry: Entry = (None, Some(format!("{n:>bytes$}").into_bytes()));
        Machine::put(&mut outputs, topic, 0, &entry);
    }
    outputs
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

fn offsets(machine: &mut Machine, topic: Topic) -> (u64, Vec<u64>) {
    let all = machine.read_all(topic, 0);
    (all.log_start, all.records.into_keys().collect())
}

fn at(offset: u64, replay_from: u64, windows_from: u64) -> Position {
    let meta = CommitMeta { replay_from, windows_from, ..CommitMeta::default() };
    Position { partition: 0, offset, meta: Some(meta) }
}

#[test]
fn by_bytes_the_oldest_go_and_offsets_stay() {
    let dir = tempfile::tempdir().unwrap();
    let limit = TopicRetention { age_ms: None, bytes: Some(1_000) };
    let mut machine = machine(&dir, both(limit));
    machine.append(&records(Topic::Events, 0..25, 100));
    assert_eq!(machine.local.trim_due(LATE_MS).unwrap(), 15);
    assert_eq!(offsets(&mut machine, Topic::Events), (15, (15..25).collect()));
    machine.append(&records(Topic::Events, 25..26, 1));
    assert_eq!(machine.local.trim_due(LATE_MS).unwrap(), 1, "one byte too many");
    assert_eq!(offsets(&mut machine, Topic::Events), (16, (16..26).collect()));
    drop(machine);
    let mut machine = self::machine(&dir, both(limit));
    assert_eq!(offsets(&mut machine, Topic::Events), (16, (16..26).collect()), "also after a restart");
    assert_eq!(machine.local.trim_due(LATE_MS).unwrap(), 0, "the bytes are known again");
}

#[test]
fn by_age_only_what_is_too_old_goes() {
    let dir = tempfile::tempdir().unwrap();
    let mut machine = machine(&dir, both(TopicRetention { age_ms: Some(AGE_MS), bytes: None }));
    let before = now_ms();
    machine.append(&records(Topic::Events, 0..2_500, 10)); // several chunks
    assert_eq!(machine.local.trim_due(before + AGE_MS).unwrap(), 0, "none is older than that");
    assert_eq!(machine.local.trim_due(now_ms() + AGE_MS + 1).unwrap(), 2_500);
    assert_eq!(offsets(&mut machine, Topic::Events), (2_500, vec![]));
    machine.append(&records(Topic::Events, 0..1, 10));
    assert_eq!(offsets(&mut machine, Topic::Events), (2_500, vec![2_500]), "numbering goes on");
}

#[test]
fn nothing_that_a_committed_position_needs_goes() {
    let dir = tempfile::tempdir().unwrap();
    let tight = TopicRetention { age_ms: Some(AGE_MS), bytes: Some(1) };
    let mut machine = machine(&dir, both(tight));
    machine.append(&records(Topic::Events, 0..50, 10));
    machine.begin(records(Topic::Windows, 0..20, 10), vec![at(40, 30, 12)]);
    assert!(matches!(machine.outcome(), TxnResult::Committed(_)));
    machine.commit_as("sink", Topic::Windows, vec![Position { partition: 0, offset: 15, meta: None }]);
    machine.local.trim_due(LATE_MS).unwrap();
    assert_eq!(offsets(&mut machine, Topic::Events).0, 30, "replay_from, below the offset");
    assert_eq!(offsets(&mut machine, Topic::Windows).0, 12, "windows_from, below the sink's offset");
    // The way back moves on; now the sink is the slowest.
    machine.begin(Outputs::new(), vec![at(45, 45, 19)]);
    assert!(matches!(machine.outcome(), TxnResult::Committed(_)));
    machine.local.trim_due(LATE_MS).unwrap();
    assert_eq!(offsets(&mut machine, Topic::Events).0, 45);
    assert_eq!(offsets(&mut machine, Topic::Windows).0, 15);
    machine.local.forget_group("sink").unwrap();
    machine.local.trim_due(LATE_MS).unwrap();
    assert_eq!(offsets(&mut machine, Topic::Windows).0, 19, "a group that is gone holds nothing");
}

#[test]
fn without_protection_the_limits_are_hard() {
    let dir = tempfile::tempdir().unwrap();
    let limit = TopicRetention { age_ms: None, bytes: Some(100) };
    let mut machine = machine(&dir, Retention { protect_unread: false, ..both(limit) });
    machine.append(&records(Topic::Events, 0..50, 10));
    machine.begin(Outputs::new(), vec![at(5, 2, 0)]);
    assert!(matches!(machine.outcome(), TxnResult::Committed(_)));
    machine.local.trim_due(LATE_MS).unwrap();
    assert_eq!(offsets(&mut machine, Topic::Events), (40, (40..50).collect()));
    machine.replace_worker();
    assert_eq!(machine.committed[&0], Some(at(5, 2, 0)), "the position stays; the gap is recovery's to see");
}

#[test]
fn compaction_keeps_the_newest_mark_of_each_key_and_nothing_else_changes() {
    let dir = tempfile::tempdir().unwrap();
    let mut machine = machine(&dir, Retention::default());
    let mut outputs = Outputs::new();
    for n in 0..30u32 {
        let key = Some(format!("stream-{}", n % 7).into_bytes());
        for topic in [Topic::Marks, Topic::Windows] {
            Machine::put(&mut outputs, topic, 0, &(key.clone(), Some(n.to_string().into_bytes())));
        }
    }
    machine.append(&outputs);
    let tombstone: Entry = (Some(b"stream-0".to_vec()), None);
    let mut outputs = Outputs::new();
    Machine::put(&mut outputs, Topic::Marks, 0, &tombstone);
    Machine::put(&mut outputs, Topic::Marks, 0, &(None, Some(b"without a key".to_vec())));
    machine.append(&outputs);
    for _ in 0..2 {
        let marks = machine.read_all(Topic::Marks, 0);
        assert_eq!((marks.log_start, marks.next), (0, 32));
        // 28 was the newest of stream-0, the tombstone at 30 replaced it.
        assert_eq!(marks.records.keys().copied().collect::<Vec<_>>(), [23, 24, 25, 26, 27, 29, 30, 31]);
        assert_eq!(marks.records[&30], tombstone);
        assert_eq!(machine.read_all(Topic::Windows, 0).records.len(), 30, "other topics are not compacted");
        drop(machine);
        machine = self::machine(&dir, Retention::default());
    }
}

#[test]
fn a_cut_through_compacted_marks_is_known_at_once_and_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut machine = machine(&dir, Retention::default());
    let mut outputs = Outputs::new();
    for n in 0..6u8 {
        Machine::put(&mut outputs, Topic::Marks, 0, &(Some(b"one".to_vec()), Some(vec![n])));
    }
    machine.append(&outputs);
    // Only offset 5 is left; the cut removes no record and moves the start all the same.
    assert_eq!(machine.local.trim_before(Topic::Marks, 0, 3).unwrap(), 0);
    assert_eq!(offsets(&mut machine, Topic::Marks), (3, vec![5]));
    drop(machine);
    let mut machine = self::machine(&dir, Retention::default());
    assert_eq!(offsets(&mut machine, Topic::Marks), (3, vec![5]));
}
