//! How far devices' clocks and their way here are behind: a sample for a histogram.

use evenkeel_model::EventBatch;

/// One record in so many is looked at: figures must cost nothing.
const EVERY: u32 = 64;
/// Between two ticks at most so many are kept.
const KEPT_MAX: usize = 1024;

/// Arrival minus the newest event time of records since the last tick, ms.
#[derive(Debug, Default)]
pub(crate) struct Skews {
    seen: u32,
    kept: Vec<i64>,
}

impl Skews {
    /// A record was read into `batch`.
    #[inline]
    pub(crate) fn look(&mut self, batch: &EventBatch) {
        let at = self.seen;
        self.seen = at.wrapping_add(1);
        if at.is_multiple_of(EVERY)
            && self.kept.len() < KEPT_MAX
            && let Some(newest) = batch.ts.iter().max()
        {
            self.kept.push(batch.arrival_ms.saturating_sub(*newest));
        }
    }

    /// What was kept; it begins anew.
    pub(crate) fn take(&mut self) -> impl Iterator<Item = i64> {
        self.kept.drain(..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_record_in_many_is_kept_and_no_more_than_the_bound() {
        let mut skews = Skews::default();
        let batch = EventBatch { arrival_ms: 100, ts: vec![70, 90, 80], ..EventBatch::default() };
        (0..10 * EVERY).for_each(|_| skews.look(&batch));
        assert_eq!(skews.take().collect::<Vec<_>>(), [10; 10]);
        let none = EventBatch { ts: Vec::new(), ..batch.clone() };
        (0..EVERY).for_each(|_| skews.look(&none));
        assert_eq!(skews.take().count(), 0);
        (0..EVERY * 2000).for_each(|_| skews.look(&batch));
        assert_eq!(skews.take().count(), KEPT_MAX);
    }
}
