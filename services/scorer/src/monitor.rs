//! The one lock of the asynchronous mode: the queue, who waits for what, and what time it is.
//!
//! Owns: every wait of the pool's threads. Never: a rule about dropping (libs/scoring's queue has it). All waits
//! go through here, so that a virtual clock knows when every thread waits: only then does it move, straight to
//! the first moment that somebody sleeps for. A test of the real threads then has exact times and no sleep.

use evenkeel_scoring::{Offer, Policy, Queue, QueueCounts};
use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What the threads take the time from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// The machine's.
    Wall,
    /// One that starts at 0 and moves when every thread waits. Work takes no time but what a model says.
    Virtual,
}

/// A row in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Job {
    /// Which row, from 0.
    pub row: usize,
    /// When it arrived, µs since the start.
    pub arrived_us: u64,
}

/// Threads that wait for one thing. Whoever wakes one counts it as running at once, not when it gets the lock:
/// a virtual clock must not move in between.
#[derive(Debug, Default)]
struct Waiting {
    asleep: usize,
    /// Woken, but not yet on its way.
    woken: usize,
}

#[derive(Debug)]
struct State {
    queue: Queue<Job>,
    /// No more rows come.
    ended: bool,
    /// The run is given up: the outcomes cannot be taken, or a thread panicked.
    given_up: bool,
    /// Threads that do not wait.
    running: usize,
    for_row: Waiting,
    for_room: Waiting,
    /// The virtual time, µs.
    now_us: u64,
    /// Who sleeps in virtual time: until when, which thread. At one moment the lower thread wakes first.
    sleepers: BTreeSet<(u64, usize)>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Monitor {
    state: Mutex<State>,
    /// A row waits, or no more come.
    row: Condvar,
    /// There is room again.
    room: Condvar,
    /// The virtual clock moved.
    moved: Condvar,
    clock: Clock,
    began: Instant,
}

impl Monitor {
    /// For this many threads, each of which is running and will [`Monitor::leave`].
    pub fn new(queue_max: usize, policy: Policy, clock: Clock, threads: usize) -> Self {
        let state = State {
            queue: Queue::new(queue_max, policy),
            ended: false,
            given_up: false,
            running: threads,
            for_row: Waiting::default(),
            for_room: Waiting::default(),
            now_us: 0,
            sleepers: BTreeSet::new(),
        };
        let condvar = Condvar::new;
        let (row, room, moved) = (condvar(), condvar(), condvar());
        Self { state: Mutex::new(state), row, room, moved, clock, began: Instant::now() }
    }

    /// µs since the start.
    pub fn now_us(&self) -> u64 {
        match self.clock {
            Clock::Wall => u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX),
            Clock::Virtual => self.lock().now_us,
        }
    }

    /// The thread `me` goes on at this moment.
    pub fn sleep_until(&self, me: usize, at_us: u64) {
        if self.clock == Clock::Wall {
            return std::thread::sleep(Duration::from_micros(at_us.saturating_sub(self.now_us())));
        }
        let mut state = self.lock();
        if at_us <= state.now_us {
            return;
        }
        state.sleepers.insert((at_us, me));
        self.rest(&mut state);
        while state.sleepers.contains(&(at_us, me)) {
            state = self.moved.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A row arrives. Where the policy is to wait for room, this does. False once the run is given up.
    pub fn put(&self, mut job: Job) -> bool {
        let mut state = self.lock();
        while !state.given_up {
            let Offer::Full(refused) = state.queue.offer(job) else {
                wake(&mut state, &self.row, |state| &mut state.for_row);
                return true;
            };
            job = refused;
            state = self.wait(state, &self.room, |state| &mut state.for_room);
        }
        false
    }

    /// The next row; none once no more come, or the run is given up.
    pub fn take(&self) -> Option<Job> {
        let mut state = self.lock();
        while !state.given_up {
            if let Some(job) = state.queue.take() {
                wake(&mut state, &self.room, |state| &mut state.for_room);
                return Some(job);
            }
            if state.ended {
                break;
            }
            state = self.wait(state, &self.row, |state| &mut state.for_row);
        }
        None
    }

    /// No more rows come.
    pub fn end(&self) {
        let mut state = self.lock();
        state.ended = true;
        while wake(&mut state, &self.row, |state| &mut state.for_row) {}
    }

    /// Nobody waits any more, and nothing more is taken.
    pub fn give_up(&self) {
        self.lock().given_up = true;
        self.end();
        let mut state = self.lock();
        while wake(&mut state, &self.room, |state| &mut state.for_room) {}
    }

    /// A thread is through.
    pub fn leave(&self) {
        self.rest(&mut self.lock());
    }

    /// What became of the rows.
    pub fn counts(&self) -> QueueCounts {
        self.lock().queue.counts()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(
        &self,
        mut state: MutexGuard<'a, State>,
        until: &Condvar,
        which: fn(&mut State) -> &mut Waiting,
    ) -> MutexGuard<'a, State> {
        which(&mut state).asleep += 1;
        self.rest(&mut state);
        while which(&mut state).woken == 0 {
            state = until.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        which(&mut state).woken -= 1;
        state
    }

    /// One thread less runs; when it was the last, the virtual clock moves to the first sleeper.
    fn rest(&self, state: &mut State) {
        state.running -= 1;
        if state.running == 0
            && let Some((at_us, _)) = state.sleepers.pop_first()
        {
            state.now_us = at_us;
            state.running = 1;
            self.moved.notify_all();
        }
    }
}

/// Wakes one that waits, if one does.
fn wake(state: &mut State, condvar: &Condvar, which: fn(&mut State) -> &mut Waiting) -> bool {
    let waiting = which(state);
    let any = waiting.asleep > 0;
    if any {
        waiting.asleep -= 1;
        waiting.woken += 1;
        state.running += 1;
        condvar.notify_one();
    }
    any
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::sync::Arc;
    use std::sync::mpsc::channel;

    /// Who arrives after the run was given up finds nobody who would make room.
    #[test]
    fn nobody_waits_for_room_in_a_run_that_was_given_up() {
        let monitor = Arc::new(Monitor::new(1, Policy::Block, Clock::Wall, 1));
        assert!(monitor.put(Job { row: 0, arrived_us: 0 }));
        monitor.give_up();
        let (sender, put) = channel();
        std::thread::spawn(move || sender.send(monitor.put(Job { row: 1, arrived_us: 0 })));
        assert_eq!(put.recv_timeout(Duration::from_secs(60)), Ok(false));
    }
}
