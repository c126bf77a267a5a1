//! The queue before a number of workers, in virtual time: when each item would start and end, and which are
//! dropped. What `plan`s ask, and what the threads of a real run are compared with.
//!
//! Times are µs since any fixed moment. At one moment workers become free before items arrive.

use crate::queue::{Offer, Policy, Queue};

/// What became of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It found the queue full, or was the oldest in it.
    Dropped,
    /// It was scored.
    Done {
        /// When it was let into the queue, µs. Later than its arrival only where the producer had to wait.
        entered_us: u64,
        /// When a worker took it, µs.
        started_us: u64,
        /// When the worker was done, µs.
        ended_us: u64,
    },
}

/// A queue and its workers.
#[derive(Debug)]
pub struct Line {
    /// Item and when it was let in.
    queue: Queue<(usize, u64)>,
    /// When each worker is free.
    free_us: Vec<u64>,
    now_us: u64,
    fates: Vec<Option<Fate>>,
}

impl Line {
    /// A line of `workers` workers, at least one.
    pub fn new(queue_max: usize, policy: Policy, workers: usize) -> Self {
        Self {
            queue: Queue::new(queue_max, policy),
            free_us: vec![0; workers.max(1)],
            now_us: 0,
            fates: Vec::new(),
        }
    }

    /// The next item arrives; `service_us(n)` is how long item `n` takes. Returns when the producer can go on.
    pub fn arrive(&mut self, at_us: u64, service_us: &dyn Fn(usize) -> u64) -> u64 {
        self.advance(at_us.max(self.now_us), service_us);
        let item = self.fates.len();
        self.fates.push(None);
        loop {
            match self.queue.offer((item, self.now_us)) {
                Offer::Queued => break,
                Offer::Dropped(_) => {
                    self.fates[item] = Some(Fate::Dropped);
                    break;
                }
                Offer::Replaced((oldest, _)) => {
                    self.fates[oldest] = Some(Fate::Dropped);
                    break;
                }
                // A worker must become free first: there is at least one, and it works.
                Offer::Full(_) => self.advance(self.first_free(), service_us),
            }
        }
        self.advance(self.now_us, service_us);
        self.now_us
    }

    /// No more items come: the rest is scored.
    pub fn finish(mut self, service_us: &dyn Fn(usize) -> u64) -> Vec<Fate> {
        self.advance(u64::MAX, service_us);
        self.fates.into_iter().map(|fate| fate.unwrap_or(Fate::Dropped)).collect()
    }

    fn first_free(&self) -> u64 {
        self.free_us.iter().copied().min().unwrap_or(0)
    }

    /// Workers take what waits, up to this moment.
    fn advance(&mut self, to_us: u64, service_us: &dyn Fn(usize) -> u64) {
        while self.first_free() <= to_us {
            let Some((item, entered_us)) = self.queue.take() else { break };
            let started_us = self.first_free().max(entered_us);
            let ended_us = started_us.saturating_add(service_us(item));
            if let Some(worker) = self.free_us.iter_mut().min() {
                *worker = ended_us;
            }
            self.fates[item] = Some(Fate::Done { entered_us, started_us, ended_us });
        }
        self.now_us = to_us;
    }
}

/// What becomes of items that arrive at `arrivals_us` (rising).
pub fn simulate(
    arrivals_us: &[u64],
    service_us: &dyn Fn(usize) -> u64,
    queue_max: usize,
    policy: Policy,
    workers: usize,
) -> Vec<Fate> {
    let mut line = Line::new(queue_max, policy, workers);
    for &at_us in arrivals_us {
        line.arrive(at_us, service_us);
    }
    line.finish(service_us)
}
