//! The thread that owns the way to the log.
//!
//! Owns: the `Appender` (its calls may block), the records waiting for room in its queue, in order, and the
//! question what time it is. Never:
//! begins an append nobody waits for any more; loses a ticket: each job gets exactly one answer, unless the
//! service is torn down around it.

use crate::clock::LogTime;
use evenkeel_seam::{Ack, AppendError, Appender, Outputs};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

/// One request's records.
#[derive(Debug)]
pub(crate) struct Job {
    /// The request, and the ticket.
    pub(crate) ticket: u64,
    pub(crate) records: Outputs,
    /// Do not begin after this.
    pub(crate) give_up: Instant,
}

/// Longest wait for acks while new jobs may come: bounds how long a job waits for this thread.
const ACKS_WAIT: Duration = Duration::from_millis(2);
/// How often the log's client is looked after while nothing is in flight.
const IDLE_WAIT: Duration = Duration::from_millis(200);

/// What the thread has to tell.
#[derive(Debug)]
pub(crate) enum Heard {
    /// A job's outcome.
    Ack(Ack),
    /// The log's clock, or why it is not known.
    Time(Result<LogTime, String>),
}

/// The question what time it is, from the loop to the thread.
pub(crate) struct TimeQuestion {
    /// Set by whoever asks.
    pub(crate) asked: Arc<AtomicBool>,
    /// This machine's clock, ms since the epoch.
    pub(crate) now_ms: Arc<dyn Fn() -> i64 + Send + Sync>,
}

/// Appends until the sender of `jobs` is gone; `tell` gets one [`Ack`] per job.
pub(crate) fn append_loop(
    mut appender: Box<dyn Appender>,
    jobs: &Receiver<Job>,
    question: &TimeQuestion,
    tell: &mut dyn FnMut(Heard),
) {
    let mut lane = Lane { waiting: VecDeque::new(), in_flight: 0, acks: Vec::new() };
    let mut asked_ms = None;
    loop {
        if lane.waiting.is_empty() && lane.in_flight == 0 {
            match jobs.recv_timeout(IDLE_WAIT) {
                Ok(job) => lane.waiting.push_back(job),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
        loop {
            match jobs.try_recv() {
                Ok(job) => lane.waiting.push_back(job),
                Err(TryRecvError::Empty) => break,
                // Nobody is left to hear an answer.
                Err(TryRecvError::Disconnected) => return,
            }
        }
        lane.append(appender.as_mut(), tell);
        lane.collect(appender.as_mut(), tell);
        if question.asked.swap(false, Ordering::AcqRel) {
            asked_ms = Some((question.now_ms)());
            appender.ask_time();
        }
        if let Some(asked) = asked_ms
            && let Some(answer) = appender.time()
        {
            asked_ms = None;
            let heard_ms = (question.now_ms)();
            tell(Heard::Time(answer.map(|log_ms| LogTime { asked_ms: asked, heard_ms, log_ms })));
        }
    }
}

struct Lane {
    // Bounded by the driver: every job here is charged to the byte budget.
    waiting: VecDeque<Job>,
    in_flight: usize,
    acks: Vec<Ack>,
}

impl Lane {
    /// Hands jobs to the log until it has no room. A full queue is waited out until the job's time is up:
    /// bursts pass, an outage ends in a refusal.
    fn append(&mut self, appender: &mut dyn Appender, tell: &mut dyn FnMut(Heard)) {
        let now = Instant::now();
        while let Some(job) = self.waiting.front() {
            let refused = match job.give_up <= now {
                true => Some(AppendError::Failed("the log had no room in time".into())),
                false => match appender.append(&job.records, job.ticket) {
                    Ok(()) => {
                        self.in_flight += 1;
                        None
                    }
                    Err(AppendError::Full) => return,
                    Err(error @ AppendError::Failed(_)) => Some(error),
                },
            };
            if let Some(error) = refused {
                tell(Heard::Ack(Ack { ticket: job.ticket, result: Err(error) }));
            }
            self.waiting.pop_front();
        }
    }

    fn collect(&mut self, appender: &mut dyn Appender, tell: &mut dyn FnMut(Heard)) {
        let wait = if self.in_flight == 0 && self.waiting.is_empty() { Duration::ZERO } else { ACKS_WAIT };
        let begun = Instant::now();
        appender.acks(wait, &mut self.acks);
        if self.acks.is_empty() && !self.waiting.is_empty() && begun.elapsed() < wait {
            // A full log that does not wait must not make this thread spin.
            std::thread::park_timeout(wait);
        }
        for ack in self.acks.drain(..) {
            self.in_flight = self.in_flight.saturating_sub(1);
            tell(Heard::Ack(ack));
        }
    }
}
