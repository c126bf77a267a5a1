//! The bounded queue in front of a writer thread.
//! Owns: jobs that wait, their bytes, the two conditions. Never: touches a file.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Jobs in order, bounded by number and bytes. One consumer, many producers.
pub(crate) struct JobQueue<J> {
    state: Mutex<State<J>>,
    filled: Condvar,
    drained: Condvar,
    bytes_max: usize,
    jobs_max: usize,
}

struct State<J> {
    jobs: VecDeque<(J, usize)>,
    bytes: usize,
    closed: bool,
}

/// Why a job was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    Full,
    Closed,
}

/// What the consumer found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    Jobs,
    /// Nothing until the given time.
    Idle,
    /// Closed and empty: no job will come any more.
    Closed,
}

impl<J> JobQueue<J> {
    pub fn new(jobs_max: usize, bytes_max: usize) -> Self {
        Self {
            state: Mutex::new(State { jobs: VecDeque::new(), bytes: 0, closed: false }),
            filled: Condvar::new(),
            drained: Condvar::new(),
            bytes_max,
            jobs_max,
        }
    }

    /// Takes the job unless the queue is at its bound. A job larger than the bound fits an empty queue.
    pub fn push(&self, job: J, bytes: usize) -> Result<(), Refusal> {
        let mut state = self.lock();
        match state.closed || self.room(&state, bytes) {
            true => self.put(&mut state, job, bytes),
            false => Err(Refusal::Full),
        }
    }

    /// Whether `push` of so many bytes would find room now.
    pub fn has_room(&self, bytes: usize) -> bool {
        let state = self.lock();
        state.closed || self.room(&state, bytes)
    }

    /// Takes the job also above the bound. For jobs that are bounded elsewhere: one commit per worker.
    pub fn push_over(&self, job: J, bytes: usize) -> Result<(), Refusal> {
        self.put(&mut self.lock(), job, bytes)
    }

    /// Waits for room, then takes the job.
    pub fn push_wait(&self, job: J, bytes: usize) -> Result<(), Refusal> {
        let mut state = self.lock();
        while !self.room(&state, bytes) && !state.closed {
            state = self.drained.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        self.put(&mut state, job, bytes)
    }

    /// Moves waiting jobs to `out`, up to `bytes_max` (at least one); waits for the first until `until`.
    pub fn take(&self, bytes_max: usize, until: Instant, out: &mut Vec<J>) -> Taken {
        let mut state = self.lock();
        while state.jobs.is_empty() {
            if state.closed {
                return Taken::Closed;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Taken::Idle;
            }
            state = self.filled.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let mut taken = 0;
        while let Some(&(_, bytes)) = state.jobs.front() {
            if taken > 0 && taken + bytes > bytes_max {
                break;
            }
            taken += bytes;
            out.extend(state.jobs.pop_front().map(|(job, _)| job));
        }
        state.bytes -= taken;
        self.drained.notify_all();
        Taken::Jobs
    }

    /// Takes no more jobs; those that wait are still handed out.
    pub fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_all();
        self.drained.notify_all();
    }

    /// Jobs and bytes that wait.
    #[cfg(test)]
    pub fn depth(&self) -> (usize, usize) {
        let state = self.lock();
        (state.jobs.len(), state.bytes)
    }

    fn room(&self, state: &State<J>, bytes: usize) -> bool {
        state.jobs.is_empty() || (state.jobs.len() < self.jobs_max && state.bytes + bytes <= self.bytes_max)
    }

    fn put(&self, state: &mut State<J>, job: J, bytes: usize) -> Result<(), Refusal> {
        if state.closed {
            return Err(Refusal::Closed);
        }
        state.jobs.push_back((job, bytes));
        state.bytes += bytes;
        self.filled.notify_one();
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State<J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_hold_and_order_is_kept() {
        let queue = JobQueue::new(3, 100);
        let now = Instant::now();
        let mut out = Vec::new();
        assert_eq!(queue.take(1, now, &mut out), Taken::Idle);
        queue.push(1, 500).unwrap(); // larger than the bound, but alone
        assert_eq!(queue.push(2, 1), Err(Refusal::Full));
        queue.push_over(2, 1).unwrap();
        assert_eq!(queue.take(50, now, &mut out), Taken::Jobs);
        assert_eq!((out.as_slice(), queue.depth()), (&[1][..], (1, 1)));
        queue.push(3, 1).unwrap();
        queue.push(4, 1).unwrap();
        assert_eq!(queue.push(5, 1), Err(Refusal::Full)); // three jobs
        queue.close();
        assert_eq!(queue.push(6, 1), Err(Refusal::Closed));
        assert_eq!(queue.take(usize::MAX, now, &mut out), Taken::Jobs);
        assert_eq!(queue.take(usize::MAX, now, &mut out), Taken::Closed);
        assert_eq!((out, queue.depth()), (vec![1, 2, 3, 4], (0, 0)));
    }
}
