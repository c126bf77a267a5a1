//! The thin loop around the driver: wait for the log and the store, apply, perform, tick.

use crate::driver::{Action, Driver, Input, Options};
use crate::spans::Spans;
use crate::watch::{StatusCell, Watch};
use evenkeel_chassis::drain::Drain;
use evenkeel_chassis::metronome::{Metronome, ZeroInterval};
use evenkeel_model::Topic;
use evenkeel_seam::{Rows, Worker, WorkerError};
use evenkeel_telemetry::Emitter;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What a running worker listens to and shows.
#[derive(Debug, Clone)]
pub struct Control {
    /// Begins when the process is to leave.
    pub drain: Drain,
    /// How the worker stands.
    pub status: StatusCell,
    /// Logs, metrics and traces.
    pub emitter: Emitter,
    /// What is consumed: windows, or scores.
    pub topic: Topic,
    /// What the log is called in traces: `kafka`, or `evenkeel` for the embedded one.
    pub log_system: &'static str,
    /// What the store is called in traces: `cassandra`, or `sqlite` for the embedded one.
    pub store_system: &'static str,
}

/// Why a worker ended otherwise than drained.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The log.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// `interval` is zero.
    #[error(transparent)]
    Interval(#[from] ZeroInterval),
}

/// Longest wait for the log when nothing is in work.
const WAIT_MAX: Duration = Duration::from_millis(50);
/// Longest wait for the store while something is.
const STORE_WAIT_MAX: Duration = Duration::from_millis(5);

/// Runs one worker on this thread until it is drained or fails.
pub fn run(
    worker: &mut dyn Worker,
    rows: &mut dyn Rows,
    options: Options,
    interval: Duration,
    control: &Control,
) -> Result<(), RunError> {
    let start = Instant::now();
    let mut metronome = Metronome::new(Duration::ZERO, interval)?;
    let mut driver = Driver::new(options);
    let mut watch = Watch::new(control.emitter.clone(), control.status.clone(), control.topic);
    let mut spans =
        Spans::new(control.emitter.traced(), control.log_system, control.store_system, control.topic);
    let (mut actions, mut done) = (Vec::new(), Vec::new());
    let mut told_drain = false;
    loop {
        let until_tick = metronome.deadline().saturating_sub(start.elapsed());
        let busy = driver.in_work() > 0;
        let wait = if busy { Duration::ZERO } else { until_tick.min(WAIT_MAX) };
        worker.poll(wait, &mut |input| {
            spans.hear(&input);
            driver.apply(now_ms(), Input::Log(input), &mut actions);
        })?;
        if perform(worker, rows, &mut actions, &mut watch, &mut spans)? {
            return Ok(worker.close()?);
        }
        rows.done(if busy { STORE_WAIT_MAX } else { Duration::ZERO }, &mut done);
        for (id, result) in done.drain(..) {
            watch.done(id, &result);
            driver.apply(now_ms(), Input::Row(id, result), &mut actions);
        }
        if control.drain.is_draining() && !std::mem::replace(&mut told_drain, true) {
            driver.apply(now_ms(), Input::Drain, &mut actions);
        }
        if metronome.tick(start.elapsed()).is_some() {
            driver.apply(now_ms(), Input::Tick, &mut actions);
            watch.ticked(&driver);
            watch.lag(worker.lag());
        }
        if perform(worker, rows, &mut actions, &mut watch, &mut spans)? {
            return Ok(worker.close()?);
        }
    }
}

fn perform(
    worker: &mut dyn Worker,
    rows: &mut dyn Rows,
    actions: &mut Vec<Action>,
    watch: &mut Watch,
    spans: &mut Spans,
) -> Result<bool, WorkerError> {
    let mut drained = false;
    for action in actions.drain(..) {
        match action {
            Action::Log(action) => {
                spans.send(&action);
                worker.perform(action)?;
            }
            Action::Row(id, action) => {
                spans.write(&action);
                watch.submit(id, &action);
                rows.submit(id, action);
            }
            Action::Say(event) => watch.say(now_ms(), &event),
            Action::Drained => drained = true,
        }
    }
    Ok(drained)
}

/// Milliseconds since the epoch.
fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
}
