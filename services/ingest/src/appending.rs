//! The way to the log.
//!
//! Owns: the `Appender`, the lanes in front of it, and the question what time it is. Never: waits (who owns it does,
//! for the appender's bell and for when the lanes are due), reads a clock, decides what leaves when (the lanes do), or
//! loses a ticket: each job gets exactly one answer, unless the service is torn down around it.

use crate::clock::LogTime;
use crate::config::Config;
use crate::flush::FlushControl;
use crate::lanes::Lanes;
use crate::meters::FlushMeters;
use evenkeel_flush::{Caps, Policy};
use evenkeel_seam::{Ack, Appender, Outputs};
use evenkeel_telemetry::Metrics;
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

/// When a log that had no room is tried again, if it does not ring before.
const STUCK_LOOK: Duration = Duration::from_millis(2);

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

/// The lanes and the log behind them.
pub struct Outlet {
    appender: Box<dyn Appender>,
    lanes: Lanes,
    control: FlushControl,
    acks: Vec<Ack>,
    asked_ms: Option<i64>,
}

impl Outlet {
    /// Nothing waits. Look ([`Outlet::turn`]) whenever the appender's bell rings.
    pub fn new(appender: Box<dyn Appender>, flush: FlushSettings, now: Instant) -> Self {
        let FlushSettings { policy, caps, bytes_max, control, meters } = flush;
        let lanes = Lanes::new(policy, caps, bytes_max, now, meters, appender.as_ref());
        Self { appender, lanes, control, acks: Vec::new(), asked_ms: None }
    }

    /// Takes a request's records. [`Outlet::turn`] follows, after all that came together, so that it can leave together.
    pub fn offer(&mut self, now: Instant, job: Job, tell: &mut dyn FnMut(Ack)) {
        self.lanes.offer(now, job, self.appender.as_ref(), tell);
    }

    /// Hears what the log has to tell and hands over what is due; answers when to come again without an offer or a
    /// ring.
    pub fn turn(&mut self, now: Instant, tell: &mut dyn FnMut(Ack)) -> Option<Instant> {
        if let Some(wish) = self.control.wanted() {
            self.lanes.set(wish);
        }
        if self.control.draining() {
            self.lanes.drain();
        }
        self.appender.acks(Duration::ZERO, &mut self.acks);
        self.lanes.heard(now, self.acks.drain(..), tell);
        let due = self.lanes.send(now, self.appender.as_mut(), tell);
        let stuck = self.lanes.is_stuck().then_some(now + STUCK_LOOK);
        due.into_iter().chain(stuck).min()
    }

    /// Asks the log what time it is. `now_ms`: this machine's clock, ms since the epoch.
    pub(crate) fn ask_time(&mut self, now_ms: i64) {
        self.asked_ms = Some(now_ms);
        self.appender.ask_time();
    }

    /// The answer, once. `now_ms` as in [`Outlet::ask_time`].
    pub(crate) fn time(&mut self, now_ms: impl FnOnce() -> i64) -> Option<Result<LogTime, String>> {
        let asked_ms = self.asked_ms?;
        let answer = self.appender.time()?;
        self.asked_ms = None;
        Some(answer.map(|log_ms| LogTime { asked_ms, heard_ms: now_ms(), log_ms }))
    }
}
