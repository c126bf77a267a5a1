//! The asynchronous mode: rows arrive, wait in the bounded queue, and workers score them truly in parallel.
//!
//! Owns: the threads. Never: a wait (`monitor` has them all). The producer never scores, so a slow model drops
//! rows instead of slowing their arrival; a row that fails is an outcome like any other, so nothing waits for it.

use crate::monitor::{Clock, Job, Monitor};
use evenkeel_scoring::{Arrivals, Binding, Frame, Memory, Model, Policy, QueueCounts, ScoreError};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{SystemTime, UNIX_EPOCH};

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
    /// What they take the time from.
    pub clock: Clock,
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

/// Takes a thread out of the monitor when it ends; when it unwinds, the run is given up, so that nobody waits for it.
struct Present<'a>(&'a Monitor);

impl Drop for Present<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.give_up();
        }
        self.0.leave();
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
    let workers = pace.workers.max(1);
    let monitor = Monitor::new(pace.queue_max, pace.policy, pace.clock, workers + 1);
    // Outcomes that may wait for `each`; past that workers wait, and the queue before them fills.
    let (sender, outcomes) = sync_channel(4 * workers);
    let taken = std::thread::scope(|scope| {
        let producer = scope.spawn(|| produce(&monitor, pace));
        let scoring: Vec<_> = (0..workers)
            .map(|me| {
                let (sender, monitor) = (sender.clone(), &monitor);
                scope.spawn(move || work(me, monitor, model, binding, frame, &sender))
            })
            .collect();
        drop(sender);
        let mut taken = Ok(());
        for outcome in outcomes {
            if let Err(error) = each(outcome) {
                taken = Err(PoolError::Taking(error));
                monitor.give_up();
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
    taken.map(|()| monitor.counts())
}

/// Rows arrive on an absolute schedule, so that a late wake-up does not shift the rows after it.
fn produce(monitor: &Monitor, pace: Pace) {
    let _present = Present(monitor);
    let mut arrivals = Arrivals::new(pace.jitter_ms, pace.seed);
    let mut at_ms = 0.0;
    for row in 0..pace.rows {
        at_ms += arrivals.gap_ms();
        monitor.sleep_until(pace.workers.max(1), (at_ms * 1000.0) as u64);
        if !monitor.put(Job { row, arrived_us: monitor.now_us() }) {
            return;
        }
    }
    monitor.end();
}

fn work(
    me: usize,
    monitor: &Monitor,
    model: &Model,
    binding: &Binding,
    frame: &Frame,
    outcomes: &SyncSender<Scored>,
) {
    let _present = Present(monitor);
    let mut memory = Memory::default();
    while let Some(job) = monitor.take() {
        let began_us = monitor.now_us();
        let score = model.score(binding, frame, job.row, &mut memory);
        if model.service_us() > 0 {
            monitor.sleep_until(me, began_us + model.service_us());
        }
        let latency_ms = monitor.now_us().saturating_sub(job.arrived_us) as f64 / 1000.0;
        let outcome = Scored { row: job.row, timestamp: unix_seconds(), latency_ms, score };
        if outcomes.send(outcome).is_err() {
            return;
        }
    }
}
