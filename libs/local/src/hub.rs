//! What writer, workers and readers of one log share: where each partition ends, the groups, outcomes of
//! transactions, and the one condition on which everybody waits.
//! Owns: the lock around these. Never: holds the lock over file access.

use crate::address::topic_code;
use crate::group::{Group, News};
use evenkeel_model::Topic;
use evenkeel_seam::{CommitMeta, Outputs};
use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// A group consumes one topic.
pub(crate) type GroupKey = (String, Topic);

/// What of a partition is in the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Extent {
    /// First offset that is kept.
    pub log_start: u64,
    /// Offset of the next record.
    pub next: u64,
    /// Keys, values and headers of the kept records.
    pub bytes: u64,
}

/// The extents of all partitions of all topics.
#[derive(Debug, Clone)]
pub(crate) struct Extents {
    partitions: u32,
    all: Vec<Extent>,
}

impl Extents {
    pub fn new(partitions: u32) -> Self {
        let count = partitions as usize * Topic::ALL.len();
        Self { partitions, all: vec![Extent::default(); count] }
    }

    pub fn partitions(&self) -> u32 {
        self.partitions
    }

    pub fn get(&self, topic: Topic, partition: u32) -> Option<Extent> {
        self.all.get(self.index(topic, partition)?).copied()
    }

    pub fn get_mut(&mut self, topic: Topic, partition: u32) -> Option<&mut Extent> {
        let index = self.index(topic, partition)?;
        self.all.get_mut(index)
    }

    fn index(&self, topic: Topic, partition: u32) -> Option<usize> {
        let base = usize::from(topic_code(topic)) * self.partitions as usize;
        (partition < self.partitions).then_some(base + partition as usize)
    }
}

/// The outcome of a worker's transaction, as the writer hands it over.
#[derive(Debug)]
pub(crate) enum TxnReply {
    Committed { metas: Vec<(u32, Option<CommitMeta>)>, outputs: Outputs },
    Aborted { error: String, outputs: Outputs },
    Fenced(String),
    Failed(String),
}

/// What a worker finds when it asks.
#[derive(Debug, Default)]
pub(crate) struct MemberNews {
    pub reply: Option<TxnReply>,
    pub group: News,
}

/// A partition that a waiting worker watches: wake it when the log goes beyond `position`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Watch {
    pub partition: u32,
    pub position: u64,
}

/// The member is not in its group any more.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Expelled;

pub(crate) struct Hub {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    extents: Extents,
    groups: BTreeMap<GroupKey, Group>,
    members: BTreeMap<u64, Member>,
    last_member: u64,
}

struct Member {
    key: GroupKey,
    reply: Option<TxnReply>,
}

impl Hub {
    pub fn new(extents: Extents) -> Self {
        let state = State { extents, groups: BTreeMap::new(), members: BTreeMap::new(), last_member: 0 };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    pub fn extents(&self) -> Extents {
        self.lock().extents.clone()
    }

    pub fn extent(&self, topic: Topic, partition: u32) -> Extent {
        self.lock().extents.get(topic, partition).unwrap_or_default()
    }

    /// New records are visible from here on: everybody who waits looks again.
    pub fn publish(&self, extents: Extents) {
        self.lock().extents = extents;
        self.changed.notify_all();
    }

    pub fn join(&self, key: GroupKey) -> u64 {
        let mut state = self.lock();
        state.last_member += 1;
        let member = state.last_member;
        let partitions = state.extents.partitions();
        state.groups.entry(key.clone()).or_insert_with(|| Group::new(partitions)).join(member);
        state.members.insert(member, Member { key, reply: None });
        self.changed.notify_all();
        member
    }

    /// Takes a member out, whatever it does at the moment.
    pub fn leave(&self, member: u64) {
        let mut state = self.lock();
        if let Some(Member { key, .. }) = state.members.remove(&member)
            && let Some(group) = state.groups.get_mut(&key)
        {
            group.leave(member); // the group stays: a running transaction of the member may still end
        }
        self.changed.notify_all();
    }

    pub fn release(&self, member: u64, partition: u32) {
        self.with_group(member, |group| group.release(member, partition));
    }

    pub fn assign_anew(&self, member: u64) {
        self.with_group(member, |group| group.assign_anew(member));
    }

    /// Whether the member may commit these partitions; if so they are held until [`Hub::end_commit`].
    pub fn begin_commit(&self, member: u64, partitions: &[u32]) -> Result<(), String> {
        let mut state = self.lock();
        let key = state.members.get(&member).map(|m| m.key.clone()).ok_or("it left the group")?;
        let group = state.groups.get_mut(&key).ok_or("its group is gone")?;
        if let Some(p) = partitions.iter().find(|p| !group.holds(member, **p)) {
            return Err(format!("partition {p} belongs to another worker"));
        }
        partitions.iter().for_each(|p| group.set_committing(*p, true));
        Ok(())
    }

    /// The transaction is over; `reply` goes to the member if it still lives.
    pub fn end_commit(&self, key: &GroupKey, member: u64, partitions: &[u32], reply: TxnReply) {
        let mut state = self.lock();
        if let Some(group) = state.groups.get_mut(key) {
            partitions.iter().for_each(|p| group.set_committing(*p, false));
        }
        if let Some(member) = state.members.get_mut(&member) {
            member.reply = Some(reply);
        }
        self.changed.notify_all();
    }

    pub fn take_news(&self, member: u64) -> Result<MemberNews, Expelled> {
        let mut state = self.lock();
        let State { groups, members, .. } = &mut *state;
        let entry = members.get_mut(&member).ok_or(Expelled)?;
        let reply = entry.reply.take();
        let group = match (&reply, groups.get_mut(&entry.key)) {
            // The worker reads an outcome before anything that follows from it.
            (None, Some(group)) => group.take_news(member),
            _ => News::default(),
        };
        Ok(MemberNews { reply, group })
    }

    /// Waits until `deadline`, news for the member, or records beyond a watched position.
    pub fn wait(&self, member: u64, topic: Topic, watched: &[Watch], deadline: Instant) {
        let mut state = self.lock();
        loop {
            let more = |w: &Watch| state.extents.get(topic, w.partition).is_some_and(|e| e.next > w.position);
            if state.has_news(member) || watched.iter().any(more) {
                return;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until `deadline` or records beyond a watched position of any topic.
    pub fn wait_beyond(&self, watched: &[(Topic, Watch)], deadline: Instant) {
        let mut state = self.lock();
        loop {
            let more = |(topic, w): &(Topic, Watch)| {
                state.extents.get(*topic, w.partition).is_some_and(|e| e.next > w.position)
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if watched.iter().any(more) || left.is_zero() {
                return;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn with_group(&self, member: u64, act: impl FnOnce(&mut Group)) {
        let mut state = self.lock();
        let State { groups, members, .. } = &mut *state;
        if let Some(group) = members.get(&member).and_then(|m| groups.get_mut(&m.key)) {
            act(group);
        }
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn has_news(&self, member: u64) -> bool {
        let Some(entry) = self.members.get(&member) else { return true };
        entry.reply.is_some() || self.groups.get(&entry.key).is_some_and(|g| g.has_news(member))
    }
}
