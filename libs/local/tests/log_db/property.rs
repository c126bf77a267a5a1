//! Any interleaving of appends, commits, aborts, deaths, reopenings, retention and reads leaves in the log
//! what it leaves in the model.

use crate::machine::{Entry, Machine};
use crate::model::Model;
use evenkeel_local::{LocalOptions, Retention, TopicRetention};
use evenkeel_model::Topic;
use evenkeel_seam::{CommitMeta, Outputs, Position, TxnResult};
use proptest::prelude::*;
use rusqlite::Connection;
use std::path::Path;

const PARTITIONS: u32 = 2;
/// Limit of `events` by bytes.
const EVENTS_MAX_BYTES: u64 = 120;

/// A record: topic, partition, key, value.
type Draft = (Topic, u32, Entry);

#[derive(Debug, Clone)]
enum Step {
    /// Tickets that are on their way together.
    Append(Vec<Vec<Draft>>),
    /// Appends and a commit on their way together.
    Commit { before: Vec<Draft>, outputs: Vec<Draft>, positions: Vec<(u32, u64, Option<u64>)> },
    /// The same while another program holds the file.
    Abort { outputs: Vec<Draft>, positions: Vec<(u32, u64, Option<u64>)> },
    /// The process ends and starts again.
    Reopen,
    /// The worker dies.
    Death,
    /// Records are removed by order.
    Cut { topic: Topic, partition: u32, before: u64 },
    /// Retention by bytes.
    TrimBytes,
    /// Retention by age, when everything is too old.
    TrimAge,
    /// A stretch is read.
    Read { topic: Topic, partition: u32, from: u64, to: u64 },
}

fn topic() -> impl Strategy<Value = Topic> {
    prop::sample::select(Topic::ALL.to_vec())
}

fn entry() -> impl Strategy<Value = Entry> {
    let key = prop::option::of(prop::sample::select(vec![b"a".to_vec(), b"b".to_vec(), b"c".to_vec()]));
    let value = prop::option::weighted(0.9, prop::collection::vec(any::<u8>(), 0..20));
    // A record without value has a key.
    (key, value).prop_map(|(key, value)| match (key, value) {
        (None, None) => (Some(b"a".to_vec()), None),
        entry => entry,
    })
}

fn drafts() -> impl Strategy<Value = Vec<Draft>> {
    prop::collection::vec((topic(), 0..PARTITIONS, entry()), 0..5)
}

/// Offsets may go back: what is committed is the worker's business.
fn positions() -> impl Strategy<Value = Vec<(u32, u64, Option<u64>)>> {
    let one = (0..PARTITIONS, 0u64..12, prop::option::of(0u64..12));
    prop::collection::vec(one, 0..3).prop_map(|mut all| {
        all.sort_unstable();
        all.dedup_by_key(|(partition, ..)| *partition);
        all
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop::collection::vec(drafts(), 1..4).prop_map(Step::Append),
        4 => (drafts(), drafts(), positions())
            .prop_map(|(before, outputs, positions)| Step::Commit { before, outputs, positions }),
        1 => (drafts(), positions()).prop_map(|(outputs, positions)| Step::Abort { outputs, positions }),
        1 => Just(Step::Reopen),
        1 => Just(Step::Death),
        2 => (topic(), 0..PARTITIONS, 0u64..12)
            .prop_map(|(topic, partition, before)| Step::Cut { topic, partition, before }),
        2 => Just(Step::TrimBytes),
        1 => Just(Step::TrimAge),
        3 => (topic(), 0..PARTITIONS, 0u64..14, 0u64..14)
            .prop_map(|(topic, partition, from, to)| Step::Read { topic, partition, from, to }),
    ]
}

fn options() -> LocalOptions {
    let age = Some(1_000);
    LocalOptions {
        partitions: Some(PARTITIONS),
        busy_wait_ms: 1,
        fetch_records_max: 3, // reads of several chunks
        retention: Retention {
            events: TopicRetention { age_ms: age, bytes: Some(EVENTS_MAX_BYTES) },
            windows: TopicRetention { age_ms: age, bytes: None },
            dlq: TopicRetention::default(),
            interest: TopicRetention::default(),
            frames: TopicRetention::default(),
            scores: TopicRetention::default(),
            alerts: TopicRetention::default(),
            ..Retention::default()
        },
        ..LocalOptions::default()
    }
}

fn outputs_of(drafts: &[Draft]) -> Outputs {
    let mut outputs = Outputs::new();
    drafts.iter().for_each(|(topic, partition, entry)| Machine::put(&mut outputs, *topic, *partition, entry));
    outputs
}

fn positions_of(all: &[(u32, u64, Option<u64>)]) -> Vec<Position> {
    let meta = |from| CommitMeta { replay_from: from, windows_from: from / 2, ..CommitMeta::default() };
    let one = |(partition, offset, from): &(u32, u64, Option<u64>)| Position {
        partition: *partition,
        offset: *offset,
        meta: from.map(meta),
    };
    all.iter().map(one).collect()
}

/// A wall clock, ms, at which no record is old, and one at which each is.
const EARLY_MS: i64 = 0;
const LATE_MS: i64 = i64::MAX / 2;

struct Run<'d> {
    dir: &'d Path,
    machine: Option<Machine>,
    model: Model,
}

impl Run<'_> {
    fn machine(&mut self) -> &mut Machine {
        self.machine.as_mut().unwrap()
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Append(tickets) => {
                let all: Vec<Outputs> = tickets.iter().map(|drafts| outputs_of(drafts)).collect();
                for outputs in &all {
                    self.machine().submit(outputs);
                }
                let acks = self.machine().acks(all.len());
                assert!(acks.iter().all(|ack| ack.result.is_ok()), "{acks:?}");
                all.iter().for_each(|outputs| self.model.append(outputs));
            }
            Step::Commit { before, outputs, positions } => {
                let (before, outputs) = (outputs_of(before), outputs_of(outputs));
                self.machine().submit(&before);
                self.machine().begin(outputs.clone(), positions_of(positions));
                self.machine().acks(1);
                self.model.append(&before);
                let want = self.model.commit(&outputs, positions_of(positions));
                assert_eq!(self.machine().outcome(), TxnResult::Committed(want));
            }
            Step::Abort { outputs, positions } => self.abort(outputs_of(outputs), positions_of(positions)),
            Step::Reopen => {
                self.machine = None;
                self.machine = Some(Machine::open(self.dir, options()));
                self.check_committed();
            }
            Step::Death => {
                self.machine().replace_worker();
                self.check_committed();
            }
            Step::Cut { topic, partition, before } => {
                self.machine().local.trim_before(*topic, *partition, *before).unwrap();
                self.model.cut(*topic, *partition, *before);
            }
            Step::TrimBytes => self.trim(EARLY_MS),
            Step::TrimAge => self.trim(LATE_MS),
            Step::Read { topic, partition, from, to } => {
                let got = self.machine().read(*topic, *partition, *from, *to);
                assert_eq!(got, self.model.read(*topic, *partition, *from, *to));
            }
        }
    }

    fn abort(&mut self, outputs: Outputs, positions: Vec<Position>) {
        let intruder = Connection::open(self.dir.join("log.db")).unwrap();
        intruder.execute_batch("BEGIN IMMEDIATE").unwrap();
        self.machine().begin(outputs.clone(), positions);
        let result = self.machine().outcome();
        assert!(matches!(result, TxnResult::Aborted { .. }), "{result:?}");
        self.machine().submit(&outputs);
        assert!(self.machine().acks(1)[0].result.is_err(), "nor is anything acknowledged");
        drop(intruder);
        self.check_committed();
    }

    /// Retention chooses which partition gives; the model judges the choice and follows it.
    fn trim(&mut self, now_ms: i64) {
        self.machine().local.trim_due(now_ms).unwrap();
        for topic in [Topic::Events, Topic::Windows] {
            let limit = if topic == Topic::Events { EVENTS_MAX_BYTES } else { u64::MAX };
            let before = self.model.bytes(topic);
            let mut can_give = false;
            for partition in 0..PARTITIONS {
                let start = self.machine().read(topic, partition, 0, 0).log_start;
                let needed = self.model.needed(topic, partition);
                let known = self.model.partition(topic, partition);
                let until = needed.unwrap_or(u64::MAX).clamp(known.log_start, known.next);
                assert!(known.log_start <= start && start <= until, "{topic}[{partition}]: {start} {until}");
                if now_ms == LATE_MS {
                    assert_eq!(start, until, "{topic}[{partition}]: all that nobody needs is too old");
                } else if before <= limit {
                    assert_eq!(start, known.log_start, "{topic}[{partition}]: there was room");
                }
                can_give |= known.records.range(start..until).next().is_some();
                self.model.cut(topic, partition, start);
            }
            let bytes = self.model.bytes(topic);
            assert!(bytes <= limit || !can_give, "{topic}: {bytes} bytes are left, the limit is {limit}");
        }
    }

    fn check_committed(&mut self) {
        let committed = self.machine().committed.clone();
        for partition in 0..PARTITIONS {
            assert_eq!(committed[&partition], self.model.committed.get(&partition).cloned());
        }
    }

    fn check_all(&mut self) {
        for topic in Topic::ALL.iter().copied() {
            for partition in 0..PARTITIONS {
                let got = self.machine().read_all(topic, partition);
                let end = self.model.partition(topic, partition).next;
                assert_eq!(got, self.model.read(topic, partition, 0, end), "{topic}[{partition}]");
                assert_eq!(self.machine().local.end(topic, partition), end);
            }
        }
    }
}

proptest! {
    // A case opens files, several times.
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 4))]

    #[test]
    fn the_log_holds_what_the_model_holds(steps in prop::collection::vec(step(), 1..25)) {
        let dir = tempfile::tempdir().unwrap();
        let machine = Some(Machine::open(dir.path(), options()));
        let mut run = Run { dir: dir.path(), machine, model: Model::default() };
        for step in &steps {
            run.take(step);
        }
        run.check_all();
        run.take(&Step::Reopen);
        run.check_all();
    }
}
