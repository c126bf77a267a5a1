//! The thin loop around the driver: wait for the log, apply, perform, tick; look for new models now and then.

use crate::live::driver::{Action, Driver, Input, Options};
use crate::live::event::Stop;
use crate::live::models::{ModelFiles, Models, Reloader};
use crate::live::watch::{StatusCell, Watch};
use evenkeel_chassis::drain::Drain;
use evenkeel_chassis::metronome::{Metronome, ZeroInterval};
use evenkeel_seam::{Worker, WorkerError};
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
    /// Time between commits.
    pub interval: Duration,
    /// The files of the models, and how often they are looked at; `None` = never.
    pub reload: Option<(ModelFiles, Duration)>,
}

/// Why a worker ended otherwise than drained.
#[derive(Debug, thiserror::Error)]
pub enum LiveRunError {
    /// The log.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// `interval` is zero.
    #[error(transparent)]
    Interval(#[from] ZeroInterval),
    /// The topic has another number of partitions than before.
    #[error(
        "windows has {now} partitions, the last commit was made with {committed}: streams have moved, and what was \
         remembered of them is elsewhere (docs/operations.md)"
    )]
    Partitions {
        /// Then.
        committed: u32,
        /// Now.
        now: u32,
    },
}

/// Longest wait for the log: how soon a drain is noticed.
const WAIT_MAX: Duration = Duration::from_millis(50);

/// Runs one worker on this thread until it is drained or fails. Bounded work per turn: one poll, one batch, at most
/// one tick.
pub fn run(
    worker: &mut dyn Worker,
    options: Options,
    models: Models,
    control: &Control,
) -> Result<(), LiveRunError> {
    let start = Instant::now();
    let mut metronome = Metronome::new(Duration::ZERO, control.interval)?;
    let reload = control.reload.as_ref().filter(|(_, every)| !every.is_zero());
    let mut reload =
        reload.map(|(files, every)| (Reloader::new(files, &models.columns), *every, start + *every));
    let mut driver = Driver::new(options, models);
    let mut watch = Watch::new(control.emitter.clone(), control.status.clone());
    let mut actions = Vec::new();
    let mut told_drain = false;
    loop {
        let until_tick = metronome.deadline().saturating_sub(start.elapsed());
        worker.poll(until_tick.min(wait(&driver)), &mut |input| {
            driver.apply(now_ms(), Input::Log(input), &mut actions);
        })?;
        driver.apply(now_ms(), Input::Turn, &mut actions);
        if let Some((reloader, every, next)) = reload.as_mut().filter(|(.., next)| Instant::now() >= *next) {
            *next = Instant::now() + *every;
            reloader.look(&mut |role, outcome| {
                watch.reloaded(role, outcome.as_ref().map(|m| (m.name.as_str(), m.version.as_str())));
                if let Ok(model) = outcome {
                    driver.apply(now_ms(), Input::Model(role, model), &mut actions);
                }
            });
        }
        if control.drain.is_draining() && !std::mem::replace(&mut told_drain, true) {
            driver.apply(now_ms(), Input::Drain, &mut actions);
        }
        if metronome.tick(start.elapsed()).is_some() {
            driver.apply(now_ms(), Input::Tick, &mut actions);
            watch.ticked(&driver);
            watch.lag(worker.lag());
        }
        if let Some(stop) = perform(worker, &mut actions, &mut watch)? {
            watch.ticked(&driver);
            let closed = worker.close(); // why it stops counts for more than how it left
            return match stop {
                Stop::Drained => Ok(closed?),
                Stop::Partitions { committed, now } => Err(LiveRunError::Partitions { committed, now }),
            };
        }
    }
}

/// Until rows that wait are due.
fn wait(driver: &Driver) -> Duration {
    let left = driver.due_ms().map(|due| due.saturating_sub(now_ms()).max(0).unsigned_abs());
    left.map_or(WAIT_MAX, |ms| Duration::from_millis(ms).min(WAIT_MAX))
}

fn perform(
    worker: &mut dyn Worker,
    actions: &mut Vec<Action>,
    watch: &mut Watch,
) -> Result<Option<Stop>, WorkerError> {
    let mut stop = None;
    for action in actions.drain(..) {
        match action {
            Action::Log(action) => worker.perform(action)?,
            Action::Say(event) => watch.say(now_ms(), &event),
            Action::Stop(why) => stop = Some(why),
        }
    }
    Ok(stop)
}

/// Milliseconds since the epoch.
fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
}
