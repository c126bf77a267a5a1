//! The thin loop around the driver: wait for the log, apply, perform, tick.

use crate::driver::{Action, Driver, Input, Options};
use crate::event::{Event, Stop};
use crate::spans::Spans;
use crate::watch::{StatusCell, Watch};
use evenkeel_chassis::drain::Drain;
use evenkeel_chassis::metronome::{Metronome, ZeroInterval};
use evenkeel_seam::{Worker, WorkerError};
use evenkeel_telemetry::Emitter;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What a running worker listens to and shows.
#[derive(Debug, Clone)]
pub struct Control {
    /// Begins when the process is to leave.
    pub drain: Drain,
    /// Set when the input has ended for good (a file): windows close by `end`.
    pub end: Arc<AtomicBool>,
    /// How the worker stands.
    pub status: StatusCell,
    /// Logs, metrics and traces.
    pub emitter: Emitter,
    /// What the log is called in traces: `kafka`, or `evenkeel` for the embedded one.
    pub log_system: &'static str,
}

/// Why a worker ended otherwise than drained.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The log.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// A partition cannot be recovered with these settings.
    #[error("a partition cannot be recovered: {0}")]
    Refused(evenkeel_window::RecoverError),
    /// The log is shorter than recovery needs, and `cut-log = "refuse"`.
    #[error("{0}; set coalescer.cut-log = \"go-on\" to count what is gone as lost and go on")]
    LogCut(String),
    /// `interval` is zero.
    #[error(transparent)]
    Interval(#[from] ZeroInterval),
}

/// Longest wait for the log: how soon a drain or an end is noticed.
const WAIT_MAX: Duration = Duration::from_millis(50);

/// How often frames are looked for: the highest rate a gateway can ask for.
const FRAME_INTERVAL: Duration = Duration::from_millis(100);

/// Runs one worker on this thread until it is drained or fails. Bounded work per turn: one poll, at most one
/// tick, at most one round of frames.
pub fn run(worker: &mut dyn Worker, options: Options, control: &Control) -> Result<(), RunError> {
    let start = Instant::now();
    let interval = Duration::from_millis(options.settings.interval_ms.unsigned_abs());
    let mut metronome = Metronome::new(Duration::ZERO, interval)?;
    let mut frame_clock = Metronome::new(Duration::ZERO, FRAME_INTERVAL)?;
    let mut driver = Driver::new(options);
    let mut watch = Watch::new(control.emitter.clone(), control.status.clone());
    let mut spans = Spans::new(control.emitter.traced(), control.log_system);
    let mut actions = Vec::new();
    let (mut told_end, mut told_drain) = (false, false);
    loop {
        let mut deadline = metronome.deadline();
        if driver.is_watched() {
            deadline = deadline.min(frame_clock.deadline());
        }
        let wait = deadline.saturating_sub(start.elapsed()).min(WAIT_MAX);
        worker.poll(wait, &mut |input| {
            spans.hear(&input);
            watch.hear(&input);
            driver.apply(now_ms(), Input::Log(input), &mut actions);
        })?;
        if control.end.load(Ordering::Acquire) && !std::mem::replace(&mut told_end, true) {
            driver.apply(now_ms(), Input::End, &mut actions);
        }
        if control.drain.is_draining() && !std::mem::replace(&mut told_drain, true) {
            driver.apply(now_ms(), Input::Drain, &mut actions);
        }
        if let Some(stop) = perform(worker, &mut actions, &mut watch, &mut spans)? {
            return finish(worker, stop);
        }
        if let Some(tick) = metronome.tick(start.elapsed()) {
            let began = Instant::now();
            watch.merged(tick.merged);
            driver.apply(now_ms(), Input::Tick, &mut actions);
            let stop = perform(worker, &mut actions, &mut watch, &mut spans)?;
            watch.ticked(&driver, tick.jitter, began.elapsed());
            watch.sampled(driver.take_skew_ms(), worker.lag());
            if let Some(stop) = stop {
                return finish(worker, stop);
            }
        }
        if frame_clock.tick(start.elapsed()).is_some() && driver.is_watched() {
            driver.apply(now_ms(), Input::Frames, &mut actions);
            if let Some(stop) = perform(worker, &mut actions, &mut watch, &mut spans)? {
                return finish(worker, stop);
            }
        }
    }
}

fn perform(
    worker: &mut dyn Worker,
    actions: &mut Vec<Action>,
    watch: &mut Watch,
    spans: &mut Spans,
) -> Result<Option<Stop>, RunError> {
    let mut stop = None;
    for action in actions.drain(..) {
        match action {
            Action::Log(mut action) => {
                spans.send(&mut action);
                watch.send(&action);
                worker.perform(action)?;
            }
            Action::Say(event) => watch.say(&event),
            Action::Stop(why) => stop = Some(why),
        }
    }
    Ok(stop)
}

fn finish(worker: &mut dyn Worker, stop: Stop) -> Result<(), RunError> {
    let closed = worker.close(); // why it stops counts for more than how it left
    match stop {
        Stop::Drained => Ok(closed?),
        Stop::Refused(error) => Err(RunError::Refused(error)),
        Stop::LogCut(event) => Err(RunError::LogCut(cut_text(&event))),
    }
}

/// What a cut log is said to be.
fn cut_text(event: &Event) -> String {
    match event {
        Event::LogCut { topic, partition, needed, log_start, gone_ms } => {
            let gone = gone_ms.map_or(String::new(), |ms| format!("; {ms} ms of arrivals are gone"));
            format!(
                "the log is shorter than recovery needs: {topic}[{partition}] begins at offset {log_start}, \
                 needed is {needed}{gone}"
            )
        }
        other => format!("the log is shorter than recovery needs: {other:?}"),
    }
}

/// Milliseconds since the epoch.
fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
}
