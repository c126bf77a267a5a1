//! The bounded queue in front of the workers, and what happens to an item that finds it full.
//!
//! What a worker is scoring has left the queue and does not count in its limit. Source C.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// What a full queue does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// The new item is dropped: what waits longest is scored first. Source C's.
    DropNew,
    /// The oldest item is dropped: what is scored is fresh.
    DropOldest,
    /// The producer waits: nothing is dropped, the source must bear it.
    Block,
}

/// What became of an offered item.
#[derive(Debug, PartialEq, Eq)]
pub enum Offer<T> {
    /// It waits.
    Queued,
    /// It was dropped.
    Dropped(T),
    /// It waits, and the oldest one was dropped.
    Replaced(T),
    /// There is no room and nothing is dropped: offer it again after a [`Queue::take`].
    Full(T),
}

/// Counters of a queue. `produced = taken + dropped + waiting`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueCounts {
    /// Items offered; one that found [`Offer::Full`] counts when it gets in.
    pub produced: u64,
    /// Items dropped, new or old.
    pub dropped: u64,
    /// Items taken out.
    pub taken: u64,
    /// The most that ever waited.
    pub depth_max: usize,
}

/// A queue of at most `limit` items.
#[derive(Debug)]
pub struct Queue<T> {
    items: VecDeque<T>,
    limit: usize,
    policy: Policy,
    counts: QueueCounts,
}

impl<T> Queue<T> {
    /// A queue of `limit` items, at least one.
    pub fn new(limit: usize, policy: Policy) -> Self {
        Self { items: VecDeque::new(), limit: limit.max(1), policy, counts: QueueCounts::default() }
    }

    /// Offers an item.
    pub fn offer(&mut self, item: T) -> Offer<T> {
        let oldest = if self.items.len() < self.limit {
            None
        } else {
            match self.policy {
                Policy::Block => return Offer::Full(item),
                Policy::DropNew => {
                    self.counts.produced += 1;
                    self.counts.dropped += 1;
                    return Offer::Dropped(item);
                }
                Policy::DropOldest => self.items.pop_front(),
            }
        };
        self.items.push_back(item);
        self.counts.produced += 1;
        self.counts.depth_max = self.counts.depth_max.max(self.items.len());
        match oldest {
            None => Offer::Queued,
            Some(oldest) => {
                self.counts.dropped += 1;
                Offer::Replaced(oldest)
            }
        }
    }

    /// The item that waits longest.
    pub fn take(&mut self) -> Option<T> {
        let item = self.items.pop_front();
        self.counts.taken += u64::from(item.is_some());
        item
    }

    /// The item that waits longest, left where it is.
    pub fn first(&self) -> Option<&T> {
        self.items.front()
    }

    /// Takes items back: they count as never offered.
    pub fn withdraw(&mut self, which: impl Fn(&T) -> bool) {
        let before = self.items.len();
        self.items.retain(|item| !which(item));
        self.counts.produced -= (before - self.items.len()) as u64;
    }

    /// Items that wait.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The most that may wait.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// The counters.
    pub fn counts(&self) -> QueueCounts {
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn full(policy: Policy) -> Queue<u32> {
        let mut queue = Queue::new(2, policy);
        assert_eq!([queue.offer(1), queue.offer(2)], [Offer::Queued, Offer::Queued]);
        queue
    }

    #[test]
    fn each_policy_at_the_limit() {
        let mut queue = full(Policy::DropNew);
        assert_eq!(queue.offer(3), Offer::Dropped(3));
        assert_eq!([queue.take(), queue.take(), queue.take()], [Some(1), Some(2), None]);
        let mut queue = full(Policy::DropOldest);
        assert_eq!(queue.offer(3), Offer::Replaced(1));
        assert_eq!([queue.take(), queue.take()], [Some(2), Some(3)]);
        let mut queue = full(Policy::Block);
        assert_eq!(queue.offer(3), Offer::Full(3));
        assert_eq!(queue.counts().produced, 2, "what did not get in was not produced yet");
        queue.take();
        assert_eq!(queue.offer(3), Offer::Queued);
        assert_eq!(queue.counts().dropped, 0);
    }

    #[test]
    fn what_is_taken_back_was_never_offered() {
        let mut queue = full(Policy::Block);
        queue.withdraw(|item| *item == 1);
        assert_eq!((queue.first(), queue.counts().produced), (Some(&2), 1));
    }

    proptest! {
        #[test]
        fn nothing_is_lost_uncounted(
            limit in 0..6_usize,
            policy in prop::sample::select(vec![Policy::DropNew, Policy::DropOldest, Policy::Block]),
            steps in prop::collection::vec(any::<bool>(), 0..200),
        ) {
            let mut queue = Queue::new(limit, policy);
            for (n, offer) in steps.into_iter().enumerate() {
                if offer { queue.offer(n); } else { queue.take(); }
                let counts = queue.counts();
                prop_assert_eq!(counts.produced, counts.taken + counts.dropped + queue.len() as u64);
                prop_assert!(queue.len() <= queue.limit() && counts.depth_max <= limit.max(1));
            }
        }
    }
}
