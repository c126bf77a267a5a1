//! Counted sequence numbers as intervals: exact while they fit, fuzzy where two had to be joined.
//!
//! Keeps: "seq and duplicates" of docs/semantics.md. Bounded by `seq-intervals-max`; never a hash set.

use evenkeel_model::SeqRange;
use smallvec::SmallVec;

/// The seqs one window has counted: rising, disjoint intervals. Neighbours without a gap are one interval
/// as long as both are exact.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SeqSet {
    ranges: SmallVec<[SeqRange; 1]>,
}

/// What a set knows about a seq.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// Not counted.
    No,
    /// Counted.
    Exact,
    /// Inside an interval of which only some are counted.
    Fuzzy,
}

impl SeqSet {
    /// A set from the ranges of a stored row.
    pub fn from_ranges(ranges: &[SeqRange]) -> Self {
        Self { ranges: SmallVec::from_slice(ranges) }
    }

    /// The intervals, rising.
    pub fn ranges(&self) -> &[SeqRange] {
        &self.ranges
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        if self.ranges.spilled() { self.ranges.capacity() * size_of::<SeqRange>() } else { 0 }
    }

    /// What is known about `seq`.
    pub fn held(&self, seq: u64) -> Held {
        match self.ranges.last() {
            None => return Held::No,
            Some(last) if seq > last.hi => return Held::No,
            Some(_) => {}
        }
        let at = self.ranges.partition_point(|r| r.hi < seq);
        match self.ranges.get(at) {
            Some(r) if r.lo <= seq && r.is_exact() => Held::Exact,
            Some(r) if r.lo <= seq => Held::Fuzzy,
            _ => Held::No,
        }
    }

    /// Adds `seq`, which is not held. Past `intervals_max` the two nearest intervals are joined.
    pub fn add(&mut self, seq: u64, intervals_max: usize) {
        let at = self.ranges.partition_point(|r| r.hi < seq);
        let touches_left = at > 0 && self.ranges[at - 1].is_exact() && self.ranges[at - 1].hi + 1 == seq;
        let touches_right =
            self.ranges.get(at).is_some_and(|r| r.is_exact() && seq.checked_add(1) == Some(r.lo));
        match (touches_left, touches_right) {
            (true, true) => {
                let right = self.ranges.remove(at);
                let left = &mut self.ranges[at - 1];
                (left.hi, left.count) = (right.hi, left.count + right.count + 1);
            }
            (true, false) => {
                let left = &mut self.ranges[at - 1];
                (left.hi, left.count) = (seq, left.count + 1);
            }
            (false, true) => {
                let right = &mut self.ranges[at];
                (right.lo, right.count) = (seq, right.count + 1);
            }
            (false, false) => {
                self.ranges.insert(at, SeqRange { lo: seq, hi: seq, count: 1 });
                if self.ranges.len() > intervals_max {
                    self.join_nearest();
                }
            }
        }
    }

    /// Adds `lo ..= hi` in one step if all of them lie above everything held; says whether it did.
    pub fn add_above(&mut self, lo: u64, hi: u64, intervals_max: usize) -> bool {
        let count = (hi - lo).saturating_add(1);
        match self.ranges.last_mut() {
            Some(last) if lo <= last.hi => return false,
            Some(last) if last.hi + 1 == lo && last.is_exact() => {
                (last.hi, last.count) = (hi, last.count + count);
                return true;
            }
            _ => self.ranges.push(SeqRange { lo, hi, count }),
        }
        if self.ranges.len() > intervals_max {
            self.join_nearest();
        }
        true
    }

    /// Takes out `seq`, which was added: it is not counted any more. A fuzzy interval only knows that it
    /// counts one less.
    pub fn remove(&mut self, seq: u64, intervals_max: usize) {
        let at = self.ranges.partition_point(|r| r.hi < seq);
        let Some(range) = self.ranges.get_mut(at).filter(|r| r.lo <= seq) else { return };
        let exact = range.is_exact();
        range.count -= 1;
        if range.count == 0 {
            self.ranges.remove(at);
        } else if range.lo == seq {
            range.lo += 1;
        } else if range.hi == seq {
            range.hi -= 1;
        } else if exact {
            let right = SeqRange { lo: seq + 1, hi: range.hi, count: range.hi - seq };
            (range.hi, range.count) = (seq - 1, seq - range.lo);
            self.ranges.insert(at + 1, right);
            if self.ranges.len() > intervals_max {
                self.join_nearest();
            }
        }
    }

    fn join_nearest(&mut self) {
        let gap = |i: usize| self.ranges[i + 1].lo - self.ranges[i].hi;
        let Some(at) = (0..self.ranges.len() - 1).min_by_key(|&i| gap(i)) else { return };
        let right = self.ranges.remove(at + 1);
        let left = &mut self.ranges[at];
        (left.hi, left.count) = (right.hi, left.count + right.count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn past_the_cap_the_two_nearest_become_one_fuzzy_interval() {
        let mut set = SeqSet::default();
        for seq in [1, 10, 12, 30] {
            set.add(seq, 3);
        }
        let fuzzy = SeqRange { lo: 10, hi: 12, count: 2 };
        assert_eq!(set.ranges()[1], fuzzy);
        assert_eq!((set.held(11), set.held(10), set.held(30)), (Held::Fuzzy, Held::Fuzzy, Held::Exact));
        set.add(13, 4); // a fuzzy interval does not grow: its new neighbour is known exactly
        assert_eq!(set.held(13), Held::Exact);
    }

    #[test]
    fn the_ends_of_the_number_line_do_not_overflow() {
        let mut set = SeqSet::default();
        set.add(u64::MAX, 4);
        set.add(0, 4);
        set.add(u64::MAX - 1, 4);
        assert_eq!(set.ranges().len(), 2);
        assert!(!set.add_above(u64::MAX, u64::MAX, 4));
        assert_eq!(set.held(u64::MAX), Held::Exact);
    }

    #[test]
    fn a_seq_that_is_taken_out_can_come_again() {
        let mut set = SeqSet::default();
        set.add_above(1, 9, 4);
        for seq in [1, 9, 5, 7] {
            set.remove(seq, 4);
            assert_eq!(set.held(seq), Held::No);
        }
        assert_eq!(set.ranges().iter().map(|r| (r.lo, r.hi)).collect::<Vec<_>>(), [(2, 4), (6, 6), (8, 8)]);
        set.remove(6, 4);
        set.remove(3, 2); // three intervals are too many: 2 and 4 are nearest
        assert_eq!(set.ranges()[0], SeqRange { lo: 2, hi: 4, count: 2 });
        set.remove(4, 2);
        assert_eq!(set.ranges()[0], SeqRange { lo: 2, hi: 3, count: 1 });
        set.remove(8, 2);
        set.remove(2, 2);
        assert!(set.ranges().is_empty());
    }

    proptest! {
        /// Against a plain set: exact answers are right, counts add up, the cap holds.
        #[test]
        fn agrees_with_a_plain_set(
            steps in prop::collection::vec((0u64..80, 1u64..6), 1..120),
            cap in 2usize..9,
        ) {
            let (mut set, mut plain) = (SeqSet::default(), BTreeSet::new());
            for (lo, len) in steps {
                let run: Vec<u64> = (lo..lo + len).collect();
                if run.iter().all(|s| plain.last().is_none_or(|l| s > l)) && set.add_above(lo, lo + len - 1, cap) {
                    plain.extend(run);
                } else {
                    for seq in run {
                        match set.held(seq) {
                            Held::No => { prop_assert!(plain.insert(seq)); set.add(seq, cap); }
                            Held::Exact => prop_assert!(plain.contains(&seq)),
                            Held::Fuzzy => {}
                        }
                    }
                }
                prop_assert!(set.ranges().len() <= cap);
                prop_assert_eq!(set.ranges().iter().map(|r| r.count).sum::<u64>(), plain.len() as u64);
                prop_assert!(set.ranges().windows(2).all(|w| w[0].hi < w[1].lo));
                for r in set.ranges() {
                    let inside = plain.range(r.lo..=r.hi).count() as u64;
                    prop_assert_eq!(inside, r.count);
                }
            }
        }
    }
}
