//! The thread that owns the way to the log.
//!
//! Owns: the `Appender` (its calls may block), the lanes in front of it, the clock they see, and the question what
//! time it is. Never: decides what leaves when (the lanes do); loses a ticket: each job gets exactly one answer,
//! unless the service is torn down around it.

use crate::clock::LogTime;
use crate::config::Config;
use crate::flush::FlushControl;
use crate::lanes::Lanes;
use crate::meters::FlushMeters;
use evenkeel_flush::{Caps, Policy};
use evenkeel_seam::{Ack, Appender, Outputs};
use evenkeel_telemetry::Metrics;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

/// One request's records.
#[derive(Debug)]
pub struct Job {
    /// The request, and the ticket.
    pub ticket: u64,
    /// What to append.
    pub records: Outputs,
    /// How many events the records hold: flush policies go by them.
    pub events: u32,
    /// Do not begin after this.
    pub give_up: Instant,
}

/// Longest wait for acks while new jobs may come: bounds how long a job waits for this thread. Well below a round
/// trip to a broker, because a lane may send while another send is in flight.
const ACKS_WAIT: Duration = Duration::from_micros(500);
/// How often the log's client is looked after while nothing is in flight.
const IDLE_WAIT: Duration = Duration::from_millis(200);

/// What the thread has to tell.
#[derive(Debug)]
pub enum Heard {
    /// A job's outcome.
    Ack(Ack),
    /// The log's clock, or why it is not known.
    Time(Result<LogTime, String>),
}

/// The question what time it is, from the loop to the thread.
pub struct TimeQuestion {
    /// Set by whoever asks.
    pub(crate) asked: Arc<AtomicBool>,
    /// This machine's clock, ms since the epoch.
    pub(crate) now_ms: Arc<dyn Fn() -> i64 + Send + Sync>,
}

impl TimeQuestion {
    /// Nobody asks.
    pub fn never() -> Self {
        Self { asked: Arc::default(), now_ms: Arc::new(|| 0) }
    }
}

/// What the lanes start with.
pub struct FlushSettings {
    pub(crate) policy: Policy,
    pub(crate) caps: Caps,
    /// As the driver's byte budget.
    pub(crate) bytes_max: u64,
    pub(crate) control: FlushControl,
    pub(crate) meters: FlushMeters,
}

impl FlushSettings {
    /// A policy that stays, before a log of its own: for measuring. `bytes_max` bounds what waits and flies.
    pub fn fixed(policy: Policy, bytes_max: u64, metrics: &Metrics) -> Self {
        let (caps, control) = (Caps::default(), FlushControl::default());
        Self { policy, caps, bytes_max, control, meters: FlushMeters::new(metrics) }
    }

    pub(crate) fn of(config: &Config, control: &FlushControl, metrics: &Metrics) -> Self {
        Self {
            policy: config.flush.policy(),
            caps: config.flush.caps(),
            bytes_max: config.in_flight_max.bytes(),
            control: control.clone(),
            meters: FlushMeters::new(metrics),
        }
    }
}

/// Appends until the sender of `jobs` is gone; `tell` gets one [`Ack`] per job.
pub fn append_loop(
    mut appender: Box<dyn Appender>,
    jobs: &Receiver<Job>,
    flush: FlushSettings,
    question: &TimeQuestion,
    tell: &mut dyn FnMut(Heard),
) {
    let FlushSettings { policy, caps, bytes_max, control, meters } = flush;
    let mut lanes = Lanes::new(policy, caps, bytes_max, Instant::now(), meters, appender.as_ref());
    let (mut acks, mut asked_ms, mut due) = (Vec::new(), None, None);
    loop {
        let first = match next_job(jobs, &lanes, due) {
            Ok(job) => job,
            // Nobody is left to hear an answer.
            Err(TryRecvError::Disconnected) => return,
            Err(TryRecvError::Empty) => None,
        };
        if let Some(wish) = control.wanted() {
            lanes.set(wish);
        }
        if control.draining() {
            lanes.drain();
        }
        let now = Instant::now();
        let mut told = |ack| tell(Heard::Ack(ack));
        // What came together is offered together, so that it can leave together.
        for job in first.into_iter().chain(jobs.try_iter()) {
            lanes.offer(now, job, appender.as_ref(), &mut told);
        }
        due = lanes.send(now, appender.as_mut(), &mut told);
        let wait = match due {
            _ if !lanes.awaits_acks() => Duration::ZERO,
            Some(due) => due.saturating_duration_since(Instant::now()).min(ACKS_WAIT),
            None => ACKS_WAIT,
        };
        appender.acks(wait, &mut acks);
        if !acks.is_empty() {
            lanes.heard(Instant::now(), acks.drain(..), &mut told);
            due = lanes.send(Instant::now(), appender.as_mut(), &mut told);
        }
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

/// The next job. While outcomes are due it does not wait, because the wait is for those.
fn next_job(jobs: &Receiver<Job>, lanes: &Lanes, due: Option<Instant>) -> Result<Option<Job>, TryRecvError> {
    if lanes.awaits_acks() && !lanes.is_stuck() {
        return match jobs.try_recv() {
            Ok(job) => Ok(Some(job)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(error) => Err(error),
        };
    }
    let until_due = due.map_or(IDLE_WAIT, |due| due.saturating_duration_since(Instant::now()));
    // A full log that does not wait must not make this thread spin.
    let wait = if lanes.is_stuck() { ACKS_WAIT } else { until_due.min(IDLE_WAIT) };
    match jobs.recv_timeout(wait) {
        Ok(job) => Ok(Some(job)),
        Err(RecvTimeoutError::Timeout) => Ok(None),
        Err(RecvTimeoutError::Disconnected) => Err(TryRecvError::Disconnected),
    }
}
