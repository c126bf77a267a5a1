//! One consumer group within the process: who owns which partition, and how a partition changes hands.
//! Owns: members, owners, the hand-over. Never: a lock, a clock, a record.
//!
//! A partition goes to its next owner only when nobody owns it and no transaction of its last owner is
//! running: so the committed position that the next owner reads is final. A member number is given once and
//! never again: it is the generation that fences, a member that is no longer listed can commit nothing.
//!
//! ```text
//! target ≠ owner ─► Revoking told ─► (Commit) ─► Release ─► owner = target ─► Assigned told
//! Release unasked ─► (target ≠ owner, or the member leaves) ─► owner = target ─► Assigned told
//! member gone ─► (its running transaction ends) ─► owner = target ─► Assigned told
//! ```

use std::collections::{BTreeMap, BTreeSet};

/// The state of one group on one topic.
#[derive(Debug)]
pub(crate) struct Group {
    members: BTreeSet<u64>,
    slots: Vec<Slot>,
}

/// One partition as the group sees it.
#[derive(Debug, Clone, Default)]
struct Slot {
    owner: Option<u64>,
    target: Option<u64>,
    /// The owner knows that it owns it.
    assigned: bool,
    /// The owner knows that it must give it up.
    revoking: bool,
    /// The owner gave it up unasked (it drains): its own until somebody else is to have it.
    given_up: bool,
    /// A transaction with this partition's position is running.
    committing: bool,
}

/// What a member has to be told.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct News {
    pub assigned: Vec<u32>,
    pub revoking: Vec<u32>,
}

impl Group {
    pub fn new(partitions: u32) -> Self {
        Self { members: BTreeSet::new(), slots: vec![Slot::default(); partitions as usize] }
    }

    pub fn join(&mut self, member: u64) {
        self.members.insert(member);
        self.rebalance();
    }

    /// Takes a member out, in good order or not. Its partitions go on to the others.
    pub fn leave(&mut self, member: u64) {
        if !self.members.remove(&member) {
            return;
        }
        for slot in self.slots.iter_mut().filter(|s| s.owner == Some(member)) {
            slot.vacate();
        }
        self.rebalance();
    }

    #[cfg(test)]
    pub fn has(&self, member: u64) -> bool {
        self.members.contains(&member)
    }

    #[cfg(test)]
    pub fn owner(&self, partition: u32) -> Option<u64> {
        self.slots.get(partition as usize)?.owner
    }

    /// Whether the member owns the partition and was told so.
    pub fn holds(&self, member: u64, partition: u32) -> bool {
        let slot = self.slots.get(partition as usize);
        slot.is_some_and(|s| s.owner == Some(member) && s.assigned)
    }

    /// Whether `take_news` would find something.
    pub fn has_news(&self, member: u64) -> bool {
        self.slots.iter().any(|s| s.owner == Some(member) && (s.must_assign() || s.must_revoke(member)))
    }

    /// What the member has to be told; it counts as told.
    pub fn take_news(&mut self, member: u64) -> News {
        let mut news = News::default();
        for (p, slot) in self.slots.iter_mut().enumerate().filter(|(_, s)| s.owner == Some(member)) {
            if slot.must_revoke(member) {
                slot.revoking = true;
                news.revoking.push(p as u32);
            } else if slot.must_assign() {
                slot.assigned = true;
                news.assigned.push(p as u32);
            }
        }
        news
    }

    /// The member gives the partition up. Does nothing if it does not own it. It does not come back to the
    /// same member: another one gets it, now or when this one leaves.
    pub fn release(&mut self, member: u64, partition: u32) {
        if let Some(slot) = self.slots.get_mut(partition as usize).filter(|s| s.owner == Some(member)) {
            match slot.revoking {
                true => slot.vacate(),
                false => (slot.given_up, slot.assigned) = (true, true), // nor is it told of it any more
            }
        }
        self.settle();
    }

    /// After an aborted transaction: the member's partitions are assigned anew, except those that leave.
    pub fn assign_anew(&mut self, member: u64) {
        let stays = |s: &&mut Slot| s.owner == Some(member) && !s.revoking && !s.given_up;
        for slot in self.slots.iter_mut().filter(stays) {
            slot.assigned = false;
        }
        self.settle();
    }

    /// Marks the start or end of a transaction that carries this partition's position.
    pub fn set_committing(&mut self, partition: u32, committing: bool) {
        if let Some(slot) = self.slots.get_mut(partition as usize) {
            slot.committing = committing;
        }
        self.settle();
    }

    /// Gives every partition a target: numbers differ by at most one, and a partition stays where it is if
    /// that allows.
    fn rebalance(&mut self) {
        let mut held: BTreeMap<u64, usize> = self.members.iter().map(|m| (*m, 0)).collect();
        for slot in &mut self.slots {
            slot.target = slot.owner.or(slot.target).filter(|m| held.contains_key(m));
            if let Some(n) = slot.target.as_ref().and_then(|m| held.get_mut(m)) {
                *n += 1;
            }
        }
        let quotas = quotas(&held, self.slots.len());
        for slot in self.slots.iter_mut().rev() {
            let over = |m: &u64| held[m] > quotas[m];
            if let Some(member) = slot.target.filter(over) {
                slot.target = None;
                held.entry(member).and_modify(|n| *n -= 1);
            }
        }
        for slot in self.slots.iter_mut().filter(|s| s.target.is_none()) {
            slot.target = quotas.iter().find(|(m, quota)| held[m] < **quota).map(|(m, _)| *m);
            if let Some(n) = slot.target.as_ref().and_then(|m| held.get_mut(m)) {
                *n += 1;
            }
        }
        self.settle();
    }

    /// Hands free partitions to their targets.
    fn settle(&mut self) {
        for slot in &mut self.slots {
            // Nobody has to be asked: it never knew, or it wants it no more.
            if slot.owner.is_some() && (!slot.assigned || slot.given_up) && slot.owner != slot.target {
                slot.vacate();
            }
            if slot.owner.is_none() && !slot.committing {
                slot.owner = slot.target;
            }
        }
    }
}

impl Slot {
    fn must_assign(&self) -> bool {
        !self.assigned
    }

    fn must_revoke(&self, member: u64) -> bool {
        self.assigned && !self.revoking && self.target != Some(member)
    }

    fn vacate(&mut self) {
        (self.owner, self.assigned, self.revoking, self.given_up) = (None, false, false, false);
    }
}

/// How many partitions each member may hold: the spare ones go to those that hold most.
fn quotas(held: &BTreeMap<u64, usize>, partitions: usize) -> BTreeMap<u64, usize> {
    let members = held.len().max(1);
    let mut by_held: Vec<(u64, usize)> = held.iter().map(|(m, n)| (*m, *n)).collect();
    by_held.sort_by_key(|(m, n)| (std::cmp::Reverse(*n), *m));
    let quota = |i: usize| partitions / members + usize::from(i < partitions % members);
    by_held.into_iter().enumerate().map(|(i, (m, _))| (m, quota(i))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn news(assigned: &[u32], revoking: &[u32]) -> News {
        News { assigned: assigned.to_vec(), revoking: revoking.to_vec() }
    }

    #[test]
    fn a_second_member_takes_half_after_release() {
        let mut group = Group::new(4);
        group.join(1);
        assert_eq!(group.take_news(1), news(&[0, 1, 2, 3], &[]));
        group.join(2);
        assert_eq!(group.take_news(2), News::default());
        assert_eq!(group.take_news(1), news(&[], &[2, 3]));
        assert!(!group.has_news(1));
        group.release(1, 3);
        assert_eq!(group.take_news(2), news(&[3], &[]));
        assert!(group.holds(1, 2) && !group.holds(1, 3) && group.holds(2, 3));
    }

    #[test]
    fn a_dead_members_partition_waits_for_its_running_transaction() {
        let mut group = Group::new(1);
        group.join(1);
        group.take_news(1);
        group.set_committing(0, true);
        group.join(2);
        group.leave(1);
        assert_eq!(group.take_news(2), News::default());
        group.set_committing(0, false);
        assert_eq!(group.take_news(2), news(&[0], &[]));
    }

    #[test]
    fn a_partition_wanted_back_before_release_is_assigned_after_it() {
        let mut group = Group::new(2);
        group.join(1);
        group.take_news(1);
        group.join(2);
        assert_eq!(group.take_news(1).revoking, [1]);
        group.leave(2);
        assert_eq!(group.take_news(1), News::default());
        group.release(1, 1);
        assert_eq!(group.take_news(1), news(&[1], &[]));
    }

    #[test]
    fn a_partition_given_up_unasked_does_not_come_back_to_the_same_member() {
        let mut group = Group::new(2);
        group.join(1);
        group.take_news(1);
        group.release(1, 1);
        group.assign_anew(1);
        assert_eq!(group.take_news(1), news(&[0], &[]), "not after an abort either");
        group.join(2);
        assert_eq!(group.take_news(1), News::default(), "nothing to be asked for");
        assert_eq!(group.take_news(2), news(&[1], &[]));
    }

    proptest! {
        #[test]
        fn whatever_happens_it_settles_balanced_and_nobody_shares(
            partitions in 1u32..9,
            steps in prop::collection::vec((0u8..5, 1u64..5, 0u32..9), 0..60),
        ) {
            let mut group = Group::new(partitions);
            let mut knows: BTreeMap<u64, BTreeSet<u32>> = BTreeMap::new();
            let hear = |group: &mut Group, knows: &mut BTreeMap<u64, BTreeSet<u32>>, m: u64| {
                let news = group.take_news(m);
                for p in news.assigned {
                    for (other, held) in knows.iter() {
                        assert!(*other == m || !held.contains(&p), "{p} has two owners");
                    }
                    knows.entry(m).or_default().insert(p);
                }
                news.revoking
            };
            for (what, m, p) in steps {
                match what {
                    0 => group.join(m),
                    1 => { group.leave(m); knows.remove(&m); }
                    2 if group.has(m) => { hear(&mut group, &mut knows, m); }
                    3 if group.has(m) => {
                        if group.holds(m, p) { knows.entry(m).or_default().remove(&p); }
                        group.release(m, p);
                    }
                    _ => {
                        group.assign_anew(m);
                        let leaving = |p: &u32| group.slots[*p as usize].revoking;
                        knows.entry(m).or_default().retain(leaving);
                    }
                }
            }
            let members: Vec<u64> = group.members.iter().copied().collect();
            for _ in 0..4 {
                for m in &members {
                    hear(&mut group, &mut knows, *m);
                    for p in 0..partitions {
                        if group.slots[p as usize].revoking && group.owner(p) == Some(*m) {
                            knows.entry(*m).or_default().remove(&p);
                            group.release(*m, p);
                        }
                    }
                }
            }
            let counts: Vec<usize> =
                members.iter().map(|m| (0..partitions).filter(|p| group.holds(*m, *p)).count()).collect();
            if !members.is_empty() {
                prop_assert_eq!(counts.iter().sum::<usize>(), partitions as usize);
                prop_assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1);
            }
        }
    }
}
