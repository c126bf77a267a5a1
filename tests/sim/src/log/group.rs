//! One consumer group: members, who owns which partition, committed offsets.
//!
//! Cooperative: a rebalance takes from a member only what it must give away, and the others keep working.
//! A partition has a new owner only after its old one has released it or was thrown out.

use super::partition::TxnId;
use evenkeel_seam::Position;
use std::collections::{BTreeMap, BTreeSet};

/// Number of a member, never used again: a process that rejoins is a new member.
pub type MemberId = u64;

/// What the group tells a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// These partitions are its own from here on.
    Gained(Vec<u32>),
    /// These partitions are to be released.
    GiveUp(Vec<u32>),
}

#[derive(Debug, Default)]
struct Member {
    owned: BTreeSet<u32>,
    target: BTreeSet<u32>,
    asked_back: BTreeSet<u32>,
    notices: Vec<Notice>,
}

/// One consumer group.
#[derive(Debug)]
pub struct Group {
    partitions: u32,
    members: BTreeMap<MemberId, Member>,
    committed: BTreeMap<u32, (u64, Option<String>)>,
    /// Offsets of transactions whose marker has not reached the group yet.
    pending: BTreeMap<TxnId, Vec<(u32, u64, Option<String>)>>,
}

impl Group {
    /// A group without members over so many partitions.
    pub fn new(partitions: u32) -> Self {
        Self { partitions, members: BTreeMap::new(), committed: BTreeMap::new(), pending: BTreeMap::new() }
    }

    /// A member joins.
    pub fn join(&mut self, id: MemberId) {
        self.members.insert(id, Member::default());
        self.rebalance();
    }

    /// A member leaves or is thrown out; what it owned is free at once.
    pub fn remove(&mut self, id: MemberId) {
        if self.members.remove(&id).is_some() {
            self.rebalance();
        }
    }

    /// Whether it is (still) a member.
    pub fn has(&self, id: MemberId) -> bool {
        self.members.contains_key(&id)
    }

    /// Whether the member owns the partition, be it about to give it up.
    pub fn owns(&self, id: MemberId, partition: u32) -> bool {
        self.members.get(&id).is_some_and(|member| member.owned.contains(&partition))
    }

    /// What there is to tell a member since the last call.
    pub fn notices(&mut self, id: MemberId) -> Vec<Notice> {
        self.members.get_mut(&id).map(|member| std::mem::take(&mut member.notices)).unwrap_or_default()
    }

    /// A member gives a partition up.
    pub fn release(&mut self, id: MemberId, partition: u32) {
        if let Some(member) = self.members.get_mut(&id) {
            member.owned.remove(&partition);
            member.asked_back.remove(&partition);
        }
        self.settle();
    }

    /// Offsets of a transaction that is not over yet: whoever asks for stable offsets waits.
    pub fn hold(&mut self, txn: TxnId, positions: Vec<(u32, u64, Option<String>)>) {
        self.pending.insert(txn, positions);
    }

    /// The transaction's outcome reaches the group.
    pub fn mark(&mut self, txn: TxnId, committed: bool) {
        for (partition, offset, meta) in self.pending.remove(&txn).unwrap_or_default() {
            if committed {
                self.committed.insert(partition, (offset, meta));
            }
        }
    }

    /// Whether a transaction without outcome holds an offset of the partition.
    pub fn is_unstable(&self, partition: u32) -> bool {
        self.pending.values().flatten().any(|(p, _, _)| *p == partition)
    }

    /// The committed offset and metadata text.
    pub fn committed(&self, partition: u32) -> Option<&(u64, Option<String>)> {
        self.committed.get(&partition)
    }

    /// The committed place, with its metadata read; the error is the reason it cannot be.
    pub fn position(&self, partition: u32) -> Result<Option<Position>, String> {
        let Some((offset, text)) = self.committed.get(&partition) else { return Ok(None) };
        let meta = match text {
            Some(text) => Some(evenkeel_seam::CommitMeta::decode(text).map_err(|error| error.to_string())?),
            None => None,
        };
        Ok(Some(Position { partition, offset: *offset, meta }))
    }

    /// New targets: as even as can be, everybody keeps what it may keep.
    fn rebalance(&mut self) {
        let count = self.members.len();
        if count == 0 {
            return;
        }
        let (each, more) = (self.partitions as usize / count, self.partitions as usize % count);
        let mut free: BTreeSet<u32> = (0..self.partitions).collect();
        for (i, member) in self.members.values_mut().enumerate() {
            let quota = each + usize::from(i < more);
            let kept = member.owned.iter().copied().filter(|p| free.contains(p)).take(quota);
            member.target = kept.collect();
            member.target.iter().for_each(|p| {
                free.remove(p);
            });
        }
        for (i, member) in self.members.values_mut().enumerate() {
            while member.target.len() < each + usize::from(i < more) {
                let Some(partition) = free.pop_first() else { break };
                member.target.insert(partition);
            }
        }
        for member in self.members.values_mut() {
            let back: Vec<u32> = (member.owned.difference(&member.target).copied())
                .filter(|p| !member.asked_back.contains(p))
                .collect();
            member.asked_back.extend(&back);
            if !back.is_empty() {
                member.notices.push(Notice::GiveUp(back));
            }
        }
        self.settle();
    }

    /// Gives free partitions to those that are to have them.
    fn settle(&mut self) {
        let owned: BTreeSet<u32> = self.members.values().flat_map(|m| m.owned.iter().copied()).collect();
        for member in self.members.values_mut() {
            let gained: Vec<u32> = member.target.iter().copied().filter(|p| !owned.contains(p)).collect();
            member.owned.extend(&gained);
            if !gained.is_empty() {
                member.notices.push(Notice::Gained(gained));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newcomer_waits_for_the_release_and_the_others_keep_theirs() {
        let mut group = Group::new(3);
        group.join(1);
        assert_eq!(group.notices(1), [Notice::Gained(vec![0, 1, 2])]);
        group.join(2);
        assert_eq!(group.notices(1), [Notice::GiveUp(vec![2])]);
        assert_eq!(group.notices(2), []);
        assert!(group.owns(1, 2), "until it releases");
        group.release(1, 2);
        assert_eq!(group.notices(2), [Notice::Gained(vec![2])]);
        group.remove(1);
        assert_eq!(group.notices(2), [Notice::Gained(vec![0, 1])]);
        assert!(!group.has(1));
    }

    #[test]
    fn offsets_are_unstable_until_the_marker_is_there() {
        let mut group = Group::new(1);
        group.hold(7, vec![(0, 5, None)]);
        assert!(group.is_unstable(0) && group.committed(0).is_none());
        group.mark(7, true);
        assert!(!group.is_unstable(0));
        assert_eq!(group.committed(0), Some(&(5, None)));
        group.hold(8, vec![(0, 9, None)]);
        group.mark(8, false);
        assert_eq!(group.committed(0), Some(&(5, None)));
    }
}
