//! The asynchronous mode: rows arrive, wait in the bounded queue, and workers score them truly in parallel.
//!
//! Owns: the threads, the lock around the queue. Never: a rule about dropping (libs/scoring's queue has it). The
//! producer never scores, so a slow model drops rows instead of slowing their arrival; a row that fails is an
//! outcome like any other, so nothing waits for it.

use evenkeel_scoring::{
    Arrivals, Binding, Frame, Memory, Model, Offer, Policy, Queue, QueueCounts, ScoreError,
};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How rows arrive and are served.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// Rows to replay.
    pub rows: usize,
    /// Mean gap between arrivals, ms.
    pub jitter_ms: f64,
    /// The seed of the gaps.
    pub seed: u64,
    /// Rows that may wait.
    pub queue_max: usize,
    /// What a full queue does.
    pub policy: Policy,
    /// Threads that score.
    pub workers: usize,
}

/// A row that was taken from the queue.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    /// Which row, from 0.
    pub row: usize,
    /// When it was done, s since the Unix epoch.
    pub timestamp: f64,
    /// From ingest to completion, ms.
    pub latency_ms: f64,
    /// Its score, or why there is none.
    pub score: Result<f64, ScoreError>,
}

/// What went wrong beside rows.
#[derive(Debug)]
pub enum PoolError<E> {
    /// The outcomes could not be taken.
    Taking(E),
    /// A thread panicked.
    Panicked(&'static str),
}

struct Job {
    row: usize,
    ingested: Instant,
}

struct State {
    queue: Queue<Job>,
    /// No more rows come.
    ended: bool,
}

struct Shared {
    state: Mutex<State>,
    /// A row waits, or no more come.
    ready: Condvar,
    /// There is room again.
    room: Condvar,
    /// The run is given up: the outcomes cannot be taken, or a worker panicked.
    given_up: AtomicBool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_up(&self) {
        self.given_up.store(true, Ordering::Release);
        self.lock().ended = true;
        self.ready.notify_all();
        self.room.notify_all();
    }
}

/// Gives the run up when a thread unwinds, so that nobody waits for it.
struct Watched<'a>(&'a Shared);

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.give_up();
        }
    }
}

/// Seconds since the Unix epoch.
pub fn unix_seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}

/// Replays rows; `each` gets every row that was taken, in the order of completion. Returns the queue's counters.
pub fn score_through_queue<E>(
    model: &Model,
    binding: &Binding,
    frame: &Frame,
    pace: Pace,
    mut each: impl FnMut(Scored) -> Result<(), E>,
) -> Result<QueueCounts, PoolError<E>> {
    let shared = Shared {
        state: Mutex::new(State { queue: Queue::new(pace.queue_max, pace.policy), ended: false }),
        ready: Condvar::new(),
        room: Condvar::new(),
        given_up: AtomicBool::new(false),
    };
    let workers = pace.workers.max(1);
    // Outcomes that may wait for `each`; past that workers wait, and the queue before them fills.
    let (sender, outcomes) = sync_channel(4 * workers);
    let taken = std::thread::scope(|scope| {
        let producer = scope.spawn(|| produce(&shared, pace));
        let scoring: Vec<_> = (0..workers)
            .map(|_| {
                let (sender, shared) = (sender.clone(), &shared);
                scope.spawn(move || work(shared, model, binding, frame, &sender))
            })
            .collect();
        drop(sender);
        let mut taken = Ok(());
        for outcome in outcomes {
            if let Err(error) = each(outcome) {
                taken = Err(PoolError::Taking(error));
                shared.give_up();
                break; // the channel ends here; workers that send find nobody and stop
            }
        }
        let panicked = |name, ended: bool| if ended { Ok(()) } else { Err(PoolError::Panicked(name)) };
        let produced = panicked("producing", producer.join().is_ok());
        // Every one is joined before any is judged: a panic that nobody took would unwind the scope.
        let scored: Vec<bool> = scoring.into_iter().map(|worker| worker.join().is_ok()).collect();
        let scored = scored.into_iter().all(|ended| ended);
        taken.and(produced).and(panicked("scoring", scored))
    });
    taken.map(|()| shared.lock().queue.counts())
}

/// Rows arrive on an absolute schedule, so that a late wake-up does not shift the rows after it.
fn produce(shared: &Shared, pace: Pace) {
    let _watched = Watched(shared);
    let mut arrivals = Arrivals::new(pace.jitter_ms, pace.seed);
    let began = Instant::now();
    let mut at_ms = 0.0;
    for row in 0..pace.rows {
        at_ms += arrivals.gap_ms();
        let due = began + Duration::from_secs_f64(at_ms / 1000.0);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let mut job = Job { row, ingested: Instant::now() };
        let mut state = shared.lock();
        while let Offer::Full(refused) = state.queue.offer(job) {
            job = refused;
            state = shared.room.wait(state).unwrap_or_else(PoisonError::into_inner);
            if shared.given_up.load(Ordering::Acquire) {
                return;
            }
        }
        drop(state);
        shared.ready.notify_one();
        if shared.given_up.load(Ordering::Acquire) {
            return;
        }
    }
    shared.lock().ended = true;
    shared.ready.notify_all();
}

fn work(shared: &Shared, model: &Model, binding: &Binding, frame: &Frame, outcomes: &SyncSender<Scored>) {
    let _watched = Watched(shared);
    let mut memory = Memory::default();
    while let Some(job) = next(shared) {
        let began = Instant::now();
        let score = model.score(binding, frame, job.row, &mut memory);
        let left = Duration::from_micros(model.service_us()).saturating_sub(began.elapsed());
        if !left.is_zero() {
            std::thread::sleep(left);
        }
        let latency_ms = job.ingested.elapsed().as_secs_f64() * 1000.0;
        let outcome = Scored { row: job.row, timestamp: unix_seconds(), latency_ms, score };
        if outcomes.send(outcome).is_err() {
            return;
        }
    }
}

fn next(shared: &Shared) -> Option<Job> {
    let mut state = shared.lock();
    loop {
        if shared.given_up.load(Ordering::Acquire) {
            return None;
        }
        if let Some(job) = state.queue.take() {
            drop(state);
            shared.room.notify_one();
            return Some(job);
        }
        if state.ended {
            return None;
        }
        state = shared.ready.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
}
