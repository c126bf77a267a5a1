//! The broker side of the simulated log: virtual time, what is due when, topics, groups, faults.
//!
//! Owns: the only clock of a simulation. Never: a thread, a real clock, randomness of its own. Everything
//! happens in the order of (time, number); two runs of the same calls are the same run.

use super::group::{Group, MemberId};
use super::partition::{PartitionLog, Record, TxnId};
use super::txn::{Committed, Txn};
use crate::trace::Trace;
use evenkeel_model::Topic;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Number of a client process, never used again.
pub type ClientId = u64;

/// How the log misbehaves from now on.
#[derive(Debug, Clone)]
pub struct Faults {
    /// Nothing is fetched, appended or decided before this time, ms.
    pub down_until_ms: i64,
    /// The next transaction that would commit is aborted instead.
    pub abort_next: bool,
    /// Commit markers reach a topic so much after the decision, ms.
    pub marker_lag_ms: BTreeMap<Topic, i64>,
    /// Markers reach the committed offsets so much after the decision, ms.
    pub offsets_lag_ms: i64,
    /// Most records of one delivery; 0 = none.
    pub fetch_max: usize,
    /// The next append fails after half of its records landed.
    pub append_fails: bool,
}

/// How long things take, ms. Small and all different, so that orders are decided by the model and not by
/// ties.
pub mod timing {
    /// From `Commit` to its records lying in the log.
    pub const WRITE_MS: i64 = 7;
    /// From there to the decision.
    pub const DECIDE_MS: i64 = 11;
    /// From the decision to the answer.
    pub const ANSWER_MS: i64 = 5;
    /// From an append to its acknowledgement.
    pub const APPEND_MS: i64 = 3;
    /// A transaction open for longer is aborted by the log, and its producer fenced.
    pub const TXN_TIMEOUT_MS: i64 = 10_000;
    /// A member that gives no sign of life for longer is thrown out.
    pub const SESSION_MS: i64 = 6_000;
    /// Unstable offsets for longer: the writer found in the metadata is fenced.
    pub const UNSTABLE_MS: i64 = 1_000;
    /// A fetch that finds nothing is answered after so long.
    pub const FETCH_WAIT_MS: i64 = 100;
}

/// What is due at a time.
#[derive(Debug, Clone)]
pub(super) enum Due {
    Write(TxnId),
    Decide(TxnId),
    Answer(TxnId),
    Timeout(TxnId),
    MarkTopic { txn: TxnId, topic: Topic, partition: u32 },
    MarkOffsets(TxnId),
    Expire { client: ClientId, member: MemberId, group: String },
    Append { client: ClientId, ticket: u64 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Alive,
    FrozenUntil(i64),
    Dead,
}

/// The broker side. Reached through [`SimLog`].
#[derive(Debug)]
pub struct Cluster {
    now_ms: i64,
    due: BTreeMap<(i64, u64), Due>,
    numbers: u64,
    partitions: u32,
    logs: BTreeMap<(Topic, u32), PartitionLog>,
    groups: BTreeMap<String, Group>,
    clients: BTreeMap<ClientId, Life>,
    pub(super) epochs: BTreeMap<String, u64>,
    pub(super) txns: BTreeMap<TxnId, Txn>,
    pub(super) committed: Vec<Committed>,
    pub(super) appends: BTreeMap<(ClientId, u64), super::appender::Pending>,
    /// Faults from now on.
    pub faults: Faults,
    /// What happened.
    pub trace: Trace,
}

/// A handle to the simulated log. Cheap to clone; single-threaded use is deterministic.
#[derive(Debug, Clone)]
pub struct SimLog {
    cluster: Arc<Mutex<Cluster>>,
}

impl SimLog {
    /// An empty log with so many partitions per topic, at a virtual time.
    pub fn new(partitions: u32, now_ms: i64) -> Self {
        let faults = Faults {
            down_until_ms: i64::MIN,
            abort_next: false,
            marker_lag_ms: BTreeMap::new(),
            offsets_lag_ms: 0,
            fetch_max: 500,
            append_fails: false,
        };
        let cluster = Cluster {
            now_ms,
            due: BTreeMap::new(),
            numbers: 0,
            partitions,
            logs: BTreeMap::new(),
            groups: BTreeMap::new(),
            clients: BTreeMap::new(),
            epochs: BTreeMap::new(),
            txns: BTreeMap::new(),
            committed: Vec::new(),
            appends: BTreeMap::new(),
            faults,
            trace: Trace::default(),
        };
        Self { cluster: Arc::new(Mutex::new(cluster)) }
    }

    /// The broker side, for as long as the guard lives.
    pub fn cluster(&self) -> MutexGuard<'_, Cluster> {
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cluster {
    /// Virtual time, ms since the epoch.
    pub fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// Partitions of every topic.
    pub fn partitions(&self) -> u32 {
        self.partitions
    }

    /// Whether the log is away.
    pub fn is_down(&self) -> bool {
        self.now_ms < self.faults.down_until_ms
    }

    /// One partition of a topic.
    pub fn log(&mut self, topic: Topic, partition: u32) -> &mut PartitionLog {
        self.logs.entry((topic, partition)).or_default()
    }

    /// A consumer group.
    pub fn group(&mut self, name: &str) -> &mut Group {
        let partitions = self.partitions;
        self.groups.entry(name.to_owned()).or_insert_with(|| Group::new(partitions))
    }

    /// Puts a record on a topic at once, as a producer outside of any transaction.
    pub fn append(&mut self, topic: Topic, partition: u32, record: Record) -> u64 {
        self.log(topic, partition).append(None, record)
    }

    /// Lets time pass up to `to_ms`, and everything that is due happen in its order. While the log is down
    /// nothing happens; it catches up afterwards.
    pub fn advance_to(&mut self, to_ms: i64) {
        while let Some((&(at, number), _)) = self.due.first_key_value() {
            let at_ms = at.max(self.faults.down_until_ms).max(self.now_ms);
            if at_ms > to_ms {
                break;
            }
            self.now_ms = at_ms;
            if let Some(due) = self.due.remove(&(at, number)) {
                self.happen(due);
            }
        }
        self.now_ms = self.now_ms.max(to_ms);
    }

    /// When the next thing is due, ms.
    pub fn next_due_ms(&self) -> Option<i64> {
        self.due.first_key_value().map(|((at, _), _)| (*at).max(self.faults.down_until_ms))
    }

    /// A client process starts.
    pub(super) fn start_client(&mut self) -> ClientId {
        let client = self.number();
        self.clients.insert(client, Life::Alive);
        client
    }

    /// A client process is gone. What it had sent stays sent; its member is noticed missing later.
    pub(super) fn crash_client(&mut self, client: ClientId, member: Option<(String, MemberId)>) {
        self.clients.insert(client, Life::Dead);
        if let Some((group, member)) = member {
            self.later(timing::SESSION_MS, Due::Expire { client, member, group });
        }
    }

    /// A client process stands still until a time, and is thrown out of its group if that takes too long.
    pub(super) fn freeze_client(
        &mut self,
        client: ClientId,
        until_ms: i64,
        member: Option<(String, MemberId)>,
    ) {
        self.clients.insert(client, Life::FrozenUntil(until_ms));
        if let Some((group, member)) = member {
            self.later(timing::SESSION_MS, Due::Expire { client, member, group });
        }
    }

    /// A number never given before.
    pub(super) fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub(super) fn later(&mut self, in_ms: i64, due: Due) {
        let number = self.number();
        self.due.insert((self.now_ms + in_ms, number), due);
    }

    /// When a client can act again: now, later, or never.
    pub(super) fn client_acts_in_ms(&self, client: ClientId) -> Option<i64> {
        match self.clients.get(&client) {
            Some(Life::Alive) => Some(0),
            Some(Life::FrozenUntil(until)) => Some((until - self.now_ms).max(0)),
            Some(Life::Dead) | None => None,
        }
    }

    /// A process has done or said something.
    pub fn note_of(&mut self, name: &str, what: &str) {
        self.note(format_args!("{name}: {what}"));
    }

    pub(super) fn note(&mut self, what: std::fmt::Arguments<'_>) {
        self.trace.line(self.now_ms, what);
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::Write(txn) => self.write(txn),
            Due::Decide(txn) => self.decide(txn),
            Due::Answer(txn) => self.answer(txn),
            Due::Timeout(txn) => self.timeout(txn),
            Due::MarkTopic { txn, topic, partition } => self.mark_topic(txn, topic, partition),
            Due::MarkOffsets(txn) => self.mark_offsets(txn),
            Due::Expire { client, member, group } => self.expire(client, member, &group),
            Due::Append { client, ticket } => self.land(client, ticket),
        }
    }

    /// A member without a sign of life is thrown out; one that went on in time is not.
    fn expire(&mut self, client: ClientId, member: MemberId, group: &str) {
        if self.client_acts_in_ms(client) != Some(0) && self.group(group).has(member) {
            self.note(format_args!("group {group}: member {member} is thrown out"));
            self.group(group).remove(member);
        }
    }
}
