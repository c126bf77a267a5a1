//! One data directory and the one worker on it, driven step by step; every step waits for its outcome.

use evenkeel_local::{Local, LocalAppender, LocalOptions, LocalWorker};
use evenkeel_model::Topic;
use evenkeel_seam::{
    Ack, Appender, Commit, LogAction, LogInput, Outputs, Position, TxnResult, Worker, WorkerError,
};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

/// No step takes near as long.
const DEADLINE: Duration = Duration::from_secs(60);
const WAIT: Duration = Duration::from_millis(20);

/// Key and value of a record.
pub type Entry = (Option<Vec<u8>>, Option<Vec<u8>>);

/// What a read brought: the first offset that is kept, the position reached, the records by offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    pub log_start: u64,
    pub next: u64,
    pub records: BTreeMap<u64, Entry>,
}

/// The open directory. The worker consumes `events` in the group `coalescer` and holds every partition.
pub struct Machine {
    pub local: Local,
    appender: LocalAppender,
    worker: LocalWorker,
    /// As of the last assignment.
    pub committed: BTreeMap<u32, Option<Position>>,
    tickets: u64,
}

impl Machine {
    pub fn open(dir: &Path, options: LocalOptions) -> Self {
        let local = Local::open(dir, options).unwrap();
        let appender = local.appender();
        let worker = local.worker("coalescer", Topic::Events).unwrap();
        let mut machine = Self { local, appender, worker, committed: BTreeMap::new(), tickets: 0 };
        machine.assigned();
        machine
    }

    /// Hands a record's parts to the arena.
    pub fn put(outputs: &mut Outputs, topic: Topic, partition: u32, (key, value): &Entry) {
        match (key, value) {
            (Some(key), None) => outputs.push_tombstone(topic, partition, key),
            (key, value) => {
                let value = value.as_deref().unwrap_or_default();
                outputs.push(topic, partition, key.as_deref(), &[], |buf| buf.extend_from_slice(value));
            }
        }
    }

    /// Sends an append off.
    pub fn submit(&mut self, records: &Outputs) -> u64 {
        self.tickets += 1;
        self.appender.append(records, self.tickets).unwrap();
        self.tickets
    }

    /// Waits for so many outcomes.
    pub fn acks(&mut self, n: usize) -> Vec<Ack> {
        let (mut out, deadline) = (Vec::new(), Instant::now() + DEADLINE);
        while out.len() < n {
            assert!(Instant::now() < deadline, "{out:?}, {n} wanted");
            self.appender.acks(WAIT, &mut out);
        }
        out
    }

    /// Appends and waits until it is durable.
    pub fn append(&mut self, records: &Outputs) {
        self.submit(records);
        let acks = self.acks(1);
        assert_eq!(acks[0].result, Ok(()));
    }

    /// Sends a commit off.
    pub fn begin(&mut self, outputs: Outputs, positions: Vec<Position>) {
        self.worker.perform(LogAction::Commit(Commit { outputs, positions })).unwrap();
    }

    /// Its outcome; after an abort with the new assignment in `committed`.
    pub fn outcome(&mut self) -> TxnResult {
        let result = self.wait("outcome", |input| match input {
            LogInput::TxnDone { result, .. } => Some(result),
            _ => None,
        });
        if matches!(result, TxnResult::Aborted { .. }) {
            self.assigned();
        }
        result
    }

    /// The whole of a partition.
    pub fn read_all(&mut self, topic: Topic, partition: u32) -> Stretch {
        self.read(topic, partition, 0, self.local.end(topic, partition))
    }

    /// A recovery read.
    pub fn read(&mut self, topic: Topic, partition: u32, from: u64, to: u64) -> Stretch {
        let read = LogAction::Read { partition, topic, from, to, committed_only: true };
        self.worker.perform(read).unwrap();
        let mut records = BTreeMap::new();
        let (log_start, next) = self.wait("end of a read", |input| match input {
            LogInput::Records { records: some, .. } => {
                let entry = |r: &evenkeel_seam::RecordRef<'_>| {
                    (r.offset, (r.key.map(<[u8]>::to_vec), r.value.map(<[u8]>::to_vec)))
                };
                records.extend(some.iter().map(entry));
                None
            }
            LogInput::ReadDone { log_start, next, .. } => Some((log_start, next)),
            _ => None,
        });
        Stretch { log_start, next, records }
    }

    /// The worker dies and another one takes its place.
    pub fn replace_worker(&mut self) {
        self.worker = self.local.worker("coalescer", Topic::Events).unwrap();
        self.assigned();
    }

    /// Moves another group's position, as a sink does.
    pub fn commit_as(&self, group: &str, topic: Topic, positions: Vec<Position>) {
        let mut worker = self.local.worker(group, topic).unwrap();
        let partitions = self.local.partitions() as usize;
        let mut assigned = 0;
        until(&mut worker, "assignment", |input| {
            assigned += usize::from(matches!(input, LogInput::Assigned { .. }));
            (assigned == partitions).then_some(())
        });
        worker.perform(LogAction::Commit(Commit { outputs: Outputs::new(), positions })).unwrap();
        until(&mut worker, "outcome", |input| matches!(input, LogInput::TxnDone { .. }).then_some(()));
    }

    fn assigned(&mut self) {
        let partitions = self.local.partitions() as usize;
        let mut committed = BTreeMap::new();
        self.wait("assignment", |input| {
            if let LogInput::Assigned { partition, committed: position, .. } = input {
                committed.insert(partition, position);
            }
            (committed.len() == partitions).then_some(())
        });
        self.committed = committed;
    }

    fn wait<T>(&mut self, what: &str, fits: impl FnMut(LogInput<'_>) -> Option<T>) -> T {
        until(&mut self.worker, what, fits)
    }
}

/// Polls until something told fits; whatever else is told goes by.
fn until<T>(worker: &mut LocalWorker, what: &str, mut fits: impl FnMut(LogInput<'_>) -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    let mut found = None;
    while found.is_none() {
        assert!(Instant::now() < deadline, "no {what} in time");
        let polled: Result<(), WorkerError> = worker.poll(WAIT, &mut |input| {
            if found.is_none() {
                found = fits(input);
            }
        });
        polled.unwrap();
    }
    found.unwrap()
}
