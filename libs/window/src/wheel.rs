//! When to look at a stream again: buckets of the live clock, corrected lazily.
//!
//! A stream is visited once per timeout, not once per event: an event does not touch the wheel, the visit
//! finds out and comes back later. So a tick costs O(due), and feeding costs nothing.

use std::collections::BTreeMap;

/// Streams by the live time of their next visit.
#[derive(Debug)]
pub struct Wheel {
    bucket_ms: i64,
    buckets: BTreeMap<i64, Vec<u32>>,
    entries: usize,
}

impl Wheel {
    /// Buckets of `bucket_ms` (the tick interval).
    pub fn new(bucket_ms: i64) -> Self {
        Self { bucket_ms, buckets: BTreeMap::new(), entries: 0 }
    }

    /// Puts a stream in the bucket that is due at or after `at`; the bucket's time, to be kept with the
    /// stream: an entry counts only if it equals it.
    pub fn schedule(&mut self, slot: u32, at: i64) -> i64 {
        let bucket =
            at.saturating_add(self.bucket_ms - 1).div_euclid(self.bucket_ms).saturating_mul(self.bucket_ms);
        self.buckets.entry(bucket).or_default().push(slot);
        self.entries += 1;
        bucket
    }

    /// Takes the earliest bucket that is due at `now`.
    pub fn take_due(&mut self, now: i64) -> Option<(i64, Vec<u32>)> {
        if *self.buckets.first_key_value()?.0 > now {
            return None;
        }
        self.take_first()
    }

    /// Takes the earliest bucket.
    pub fn take_first(&mut self) -> Option<(i64, Vec<u32>)> {
        let (at, slots) = self.buckets.pop_first()?;
        self.entries -= slots.len();
        Some((at, slots))
    }

    /// Bytes allocated, about: growth by doubling leaves up to half of a bucket empty.
    pub fn allocated_bytes(&self) -> usize {
        self.buckets.values().map(|b| b.capacity() * 4 + 40).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_come_due_in_order_and_never_early() {
        let mut wheel = Wheel::new(10);
        assert_eq!((wheel.schedule(1, 25), wheel.schedule(2, 30), wheel.schedule(3, -5)), (30, 30, 0));
        assert_eq!(wheel.take_due(-1), None);
        assert_eq!(wheel.take_due(29), Some((0, vec![3])));
        assert_eq!(wheel.take_due(29), None);
        assert_eq!(wheel.take_due(30), Some((30, vec![1, 2])));
        assert_eq!(wheel.take_first(), None);
    }
}
