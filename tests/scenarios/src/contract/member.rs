//! One worker under test: everything it was told, kept and checked; waits for what a case expects.

use super::log::{Log, PARTITIONS, Who};
use super::must;
use super::told::{Seen, Told, note};
use super::watch::Watch;
use evenkeel_model::Topic;
use evenkeel_seam::{Commit, CommitMeta, LogAction, Outputs, Position, TxnResult, Worker as _, WorkerError};
use std::time::Duration;

/// No case takes near as long, ms.
pub(super) const DEADLINE_MS: i64 = 60_000;
const POLL: Duration = Duration::from_millis(50);

/// A worker and what it heard.
pub struct Member<L: Log> {
    /// The worker under test. Actions go through [`Member::act`].
    pub worker: L::Worker,
    /// Everything it was told.
    pub told: Vec<Told>,
    /// Outputs of the next commit.
    pub outputs: Outputs,
    writer: String,
    clock: Box<dyn Fn() -> i64>,
    watch: Watch,
    /// How far `wait_for` has looked.
    seen: usize,
}

impl<L: Log> Member<L> {
    /// Joins.
    pub fn join(log: &mut L, who: Who<'_>) -> Self {
        Self {
            worker: log.join(who),
            told: Vec::new(),
            outputs: Outputs::new(),
            writer: log.writer(who),
            clock: log.clock(),
            watch: Watch::new(who.topic),
            seen: 0,
        }
    }

    /// Polls once, checks what is told, keeps it.
    pub fn poll(&mut self) -> Result<(), WorkerError> {
        let (watch, told) = (&mut self.watch, &mut self.told);
        self.worker.poll(POLL, &mut |input| {
            watch.check(&input);
            note(told, input);
        })
    }

    /// Polls for a while of the log's time.
    pub fn listen(&mut self, for_ms: i64) {
        let until = (self.clock)() + for_ms;
        while (self.clock)() < until {
            must("poll", self.poll());
        }
    }

    /// Polls until something not looked at before fits.
    #[track_caller]
    pub fn wait_for<T>(&mut self, what: &str, fits: impl Fn(&Told) -> Option<T>) -> T {
        let deadline = (self.clock)() + DEADLINE_MS;
        loop {
            while self.seen < self.told.len() {
                self.seen += 1;
                if let Some(found) = fits(&self.told[self.seen - 1]) {
                    return found;
                }
            }
            assert!((self.clock)() < deadline, "no {what} in time; told: {:#?}", newest(&self.told));
            must(what, self.poll());
        }
    }

    /// Polls until the worker stops; says why.
    #[track_caller]
    pub fn stop(&mut self) -> WorkerError {
        let deadline = (self.clock)() + DEADLINE_MS;
        loop {
            if let Err(error) = self.poll() {
                return error;
            }
            assert!((self.clock)() < deadline, "it goes on; told: {:#?}", newest(&self.told));
        }
    }

    /// The next assignment.
    #[track_caller]
    pub fn assigned(&mut self) -> (u32, Option<Position>) {
        self.wait_for("assignment", |told| match told {
            Told::Assigned { partition, committed, .. } => Some((*partition, committed.clone())),
            _ => None,
        })
    }

    /// The next [`PARTITIONS`] assignments, by partition: where each was committed.
    #[track_caller]
    pub fn all_assigned(&mut self) -> Vec<Option<Position>> {
        let mut all: Vec<_> = (0..PARTITIONS).map(|_| self.assigned()).collect();
        all.sort_by_key(|(partition, _)| *partition);
        assert!(all.iter().map(|(p, _)| *p).eq(0..PARTITIONS), "not every partition once: {all:?}");
        all.into_iter().map(|(_, committed)| committed).collect()
    }

    /// Takes all partitions and starts each where it was committed.
    #[track_caller]
    pub fn start_all(&mut self) {
        for (partition, committed) in (0..).zip(self.all_assigned()) {
            self.start(partition, committed.map(|c| c.offset));
        }
    }

    /// The next record's text.
    #[track_caller]
    pub fn text(&mut self) -> String {
        self.wait_for("record", |told| match told {
            Told::Record(seen) => Some(seen.text()),
            _ => None,
        })
    }

    /// The next end of a flowing partition.
    #[track_caller]
    pub fn end_of(&mut self, of: u32) -> u64 {
        self.wait_for("end of the log", |told| match told {
            Told::End { partition, next, .. } if *partition == of => Some(*next),
            _ => None,
        })
    }

    /// The next outcome.
    #[track_caller]
    pub fn done(&mut self) -> TxnResult {
        self.wait_for("outcome", |told| match told {
            Told::Done(result) => Some(result.clone()),
            _ => None,
        })
    }

    /// The next end of a read: partition, topic, log start, position.
    #[track_caller]
    pub fn read_done(&mut self) -> (u32, Topic, u64, u64) {
        self.wait_for("end of a read", |told| match told {
            Told::ReadDone { partition, topic, log_start, next } => {
                Some((*partition, *topic, *log_start, *next))
            }
            _ => None,
        })
    }

    /// Performs an action that must be taken.
    #[track_caller]
    pub fn act(&mut self, action: LogAction) {
        must("perform", self.attempt(action));
    }

    /// Performs an action.
    pub fn attempt(&mut self, action: LogAction) -> Result<(), WorkerError> {
        self.watch.act(&action);
        self.worker.perform(action)
    }

    /// Starts a partition.
    #[track_caller]
    pub fn start(&mut self, partition: u32, from: Option<u64>) {
        self.act(LogAction::Start { partition, from });
    }

    /// Begins a read of committed records.
    #[track_caller]
    pub fn read(&mut self, partition: u32, topic: Topic, from: u64, to: u64) {
        self.act(LogAction::Read { partition, topic, from, to, committed_only: true });
    }

    /// Follows a topic.
    #[track_caller]
    pub fn follow(&mut self, partition: u32, topic: Topic, tail: u64) {
        self.act(LogAction::Follow { partition, topic, tail });
    }

    /// Sends records outside every transaction; how many were dropped.
    #[track_caller]
    pub fn sent(&mut self, outputs: Outputs) -> usize {
        self.act(LogAction::Send(outputs));
        self.wait_for("outcome of a send", |told| match told {
            Told::Sent(dropped) => Some(*dropped),
            _ => None,
        })
    }

    /// Adds a row to the next commit.
    pub fn row(&mut self, partition: u32, text: &str) {
        put(&mut self.outputs, Topic::Windows, partition, "s", text);
    }

    /// Metadata as a driver of this worker would write it.
    pub fn meta(&self, replay_from: u64) -> CommitMeta {
        let writer = self.writer.clone();
        CommitMeta { replay_from, floor: -5, partitions: PARTITIONS, epoch: 3, writer, ..Default::default() }
    }

    /// A position with metadata.
    pub fn at(&self, partition: u32, offset: u64) -> Position {
        Position { partition, offset, meta: Some(self.meta(offset)) }
    }

    /// Begins a commit of the outputs with these positions.
    #[track_caller]
    pub fn commit(&mut self, positions: Vec<Position>) {
        let outputs = std::mem::take(&mut self.outputs);
        self.act(LogAction::Commit(Commit { outputs, positions }));
    }

    /// The same; it must succeed. Returns the metadata as written.
    #[track_caller]
    pub fn committed(&mut self, positions: Vec<Position>) -> Vec<(u32, Option<CommitMeta>)> {
        self.commit(positions);
        match self.done() {
            TxnResult::Committed(written) => written,
            TxnResult::Aborted { error } => panic!("aborted: {error}"),
        }
    }

    /// Releases every partition that it holds and leaves in good order.
    #[track_caller]
    pub fn leave(&mut self) {
        for partition in self.holds() {
            self.act(LogAction::Release { partition });
        }
        must("close", self.worker.close());
    }

    /// The partitions it was assigned last and that did not leave since.
    pub fn holds(&self) -> Vec<u32> {
        let mut held = std::collections::BTreeSet::new();
        for told in &self.told {
            match told {
                Told::Assigned { partition, .. } => drop(held.insert(*partition)),
                Told::Revoking { partitions, .. } => held.retain(|p| !partitions.contains(p)),
                Told::Done(TxnResult::Aborted { .. }) => held.clear(),
                _ => {}
            }
        }
        held.into_iter().collect()
    }

    /// Every record it was told of a topic's partition.
    pub fn records(&self, topic: Topic, partition: u32) -> Vec<&Seen> {
        let mut all = Vec::new();
        for told in &self.told {
            match told {
                Told::Record(seen) if (seen.topic, seen.partition) == (topic, partition) => all.push(seen),
                _ => {}
            }
        }
        all
    }

    /// Their texts.
    pub fn texts(&self, topic: Topic, partition: u32) -> Vec<String> {
        self.records(topic, partition).into_iter().map(Seen::text).collect()
    }

    /// Whether it was told to give partitions up; which.
    pub fn leaving(&self) -> Vec<u32> {
        let leaving = |told: &Told| match told {
            Told::Revoking { partitions, .. } => partitions.clone(),
            _ => Vec::new(),
        };
        self.told.iter().flat_map(leaving).collect()
    }
}

/// Polls two workers in turn until `done` says so.
#[track_caller]
pub fn both<L: Log>(
    a: &mut Member<L>,
    b: &mut Member<L>,
    what: &str,
    mut done: impl FnMut(&mut Member<L>, &mut Member<L>) -> bool,
) {
    let deadline = (a.clock)() + DEADLINE_MS;
    while !done(a, b) {
        let (told_a, told_b) = (newest(&a.told), newest(&b.told));
        assert!((a.clock)() < deadline, "no {what} in time; a: {told_a:#?}\nb: {told_b:#?}");
        must(what, a.poll());
        must(what, b.poll());
    }
}

/// As much as a reader of a failure wants to see.
fn newest(told: &[Told]) -> &[Told] {
    &told[told.len().saturating_sub(30)..]
}

/// Adds a record with a key.
pub(super) fn put(outputs: &mut Outputs, topic: Topic, partition: u32, key: &str, text: &str) {
    outputs.push(topic, partition, Some(key.as_bytes()), &[], |buf| buf.extend_from_slice(text.as_bytes()));
}
