//! The partitions a worker holds, and where each is between "ours" and "gone".
//!
//! ```text
//! LookUp ─► Recovering ─► Flowing          (an aborted transaction leads back to LookUp)
//!    └──────────┴────────────┴─► leaving, until `Release`
//! ```
//! Owns: phases and the pending revocation. Never: talks to the broker.

use crate::at_end::EndWatch;
use std::collections::{BTreeMap, BTreeSet};

/// Where a partition is.
#[derive(Debug)]
pub(crate) enum Phase {
    /// Its committed offset is being looked up; the answer must carry this ticket.
    LookUp { ticket: u64 },
    /// The driver was told and recovers; nothing flows.
    Recovering,
    /// Assigned in the client, records flow.
    Flowing { next: u64, end: EndWatch },
}

/// One partition.
#[derive(Debug)]
pub(crate) struct Held {
    pub phase: Phase,
    /// The driver wants no records of it.
    pub paused: bool,
    /// The client was told so, too.
    pub paused_in_client: bool,
    /// Being revoked: nothing more is handed over.
    pub leaving: bool,
}

/// A revocation the group waits for.
#[derive(Debug)]
pub(crate) struct Revocation {
    /// Not yet released.
    waiting: BTreeSet<u32>,
    /// Released, to be unassigned in the client when all are.
    to_unassign: Vec<u32>,
}

/// All partitions of a worker.
#[derive(Debug, Default)]
pub(crate) struct HeldPartitions {
    pub held: BTreeMap<u32, Held>,
    pub revocation: Option<Revocation>,
    tickets: u64,
}

/// What a release asks the client to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Released {
    /// Nothing yet: others of the same revocation are not released.
    Waits,
    /// Unassign these now, even when there is none: it ends the revocation.
    Unassign(Vec<u32>),
}

impl HeldPartitions {
    /// These partitions (new ones, or all that stay after an abort) are to be looked up. Returns each with
    /// its ticket.
    pub fn look_up(&mut self, partitions: &[u32]) -> Vec<(u32, u64)> {
        let mut asked = Vec::with_capacity(partitions.len());
        for &partition in partitions {
            self.tickets += 1;
            let ticket = self.tickets;
            let phase = Phase::LookUp { ticket };
            let held = self.held.entry(partition);
            held.and_modify(|h| h.phase = Phase::LookUp { ticket }).or_insert(Held {
                phase,
                paused: false,
                paused_in_client: false,
                leaving: false,
            });
            asked.push((partition, ticket));
        }
        asked
    }

    /// The lookup was answered. Whether the answer is still wanted.
    pub fn looked_up(&mut self, partition: u32, ticket: u64) -> bool {
        match self.held.get_mut(&partition) {
            Some(held) if matches!(held.phase, Phase::LookUp { ticket: t } if t == ticket) => {
                held.phase = Phase::Recovering;
                !held.leaving
            }
            _ => false,
        }
    }

    /// A revocation begins. Returns those of its partitions that are held.
    pub fn revoke(&mut self, partitions: &[u32]) -> Vec<u32> {
        let mut leaving = Vec::new();
        for partition in partitions {
            if let Some(held) = self.held.get_mut(partition) {
                held.leaving = true;
                leaving.push(*partition);
            }
        }
        let waiting = leaving.iter().copied().collect();
        self.revocation = Some(Revocation { waiting, to_unassign: Vec::new() });
        leaving
    }

    /// Lets a partition go.
    pub fn release(&mut self, partition: u32) -> Released {
        let flowing = match self.held.remove(&partition) {
            Some(Held { phase: Phase::Flowing { .. }, .. }) => Some(partition),
            _ => None,
        };
        let Some(revocation) = self.revocation.as_mut() else {
            return Released::Unassign(flowing.into_iter().collect());
        };
        if !revocation.waiting.remove(&partition) {
            return Released::Unassign(flowing.into_iter().collect());
        }
        revocation.to_unassign.extend(flowing);
        match revocation.waiting.is_empty() {
            false => Released::Waits,
            true => {
                let all = std::mem::take(&mut revocation.to_unassign);
                self.revocation = None;
                Released::Unassign(all)
            }
        }
    }

    /// The partitions that stay, and those of them that flow.
    pub fn staying(&self) -> (Vec<u32>, Vec<u32>) {
        let staying = self.held.iter().filter(|(_, h)| !h.leaving);
        let flowing = staying.clone().filter(|(_, h)| matches!(h.phase, Phase::Flowing { .. }));
        (staying.map(|(p, _)| *p).collect(), flowing.map(|(p, _)| *p).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flowing(held: &mut HeldPartitions, partition: u32) {
        let asked = held.look_up(&[partition]);
        assert!(held.looked_up(partition, asked[0].1));
        held.held.get_mut(&partition).unwrap().phase = Phase::Flowing { next: 0, end: EndWatch::default() };
    }

    #[test]
    fn a_revocation_ends_with_its_last_release_and_unassigns_what_flowed() {
        let mut held = HeldPartitions::default();
        flowing(&mut held, 1);
        flowing(&mut held, 2);
        held.look_up(&[3]);
        assert_eq!(held.revoke(&[1, 3, 9]), vec![1, 3]);
        assert_eq!(held.release(1), Released::Waits);
        assert_eq!(held.release(3), Released::Unassign(vec![1]));
        assert!(held.revocation.is_none());
        assert_eq!(held.release(2), Released::Unassign(vec![2]));
    }

    #[test]
    fn an_answer_of_an_earlier_lookup_is_not_taken() {
        let mut held = HeldPartitions::default();
        let first = held.look_up(&[4]);
        let second = held.look_up(&[4]);
        assert!(!held.looked_up(4, first[0].1));
        assert!(held.looked_up(4, second[0].1));
        assert!(!held.looked_up(4, second[0].1), "once");
        held.look_up(&[5]);
        held.revoke(&[5]);
        assert_eq!(held.staying(), (vec![4], vec![]));
    }
}
