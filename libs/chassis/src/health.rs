//! What a process knows about its own health: conditions for readiness, pulses for liveness.
//!
//! Owns: the two registries behind `/readyz` and `/livez`. Never: a check that asks somebody else when it is
//! asked: who knows says so when it changes. Names are literals, so both are bounded.

use evenkeel_telemetry::names::process::READY;
use evenkeel_telemetry::{Gauge, Metrics};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Longest reason kept, characters.
pub const REASON_CHARS_MAX: usize = 300;

/// The registries. Clones share them.
#[derive(Debug, Clone)]
pub struct Health {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    metrics: Metrics,
    started: Instant,
    conditions: Mutex<BTreeMap<&'static str, State>>,
    pulses: Mutex<BTreeMap<&'static str, Beat>>,
}

#[derive(Debug)]
struct State {
    /// `None` = holds.
    reason: Option<String>,
    gauge: Gauge,
}

#[derive(Debug)]
struct Beat {
    /// Ms since the start.
    last_ms: Arc<AtomicU64>,
    silence_max: Duration,
}

/// One named condition of readiness.
#[derive(Debug, Clone)]
pub struct Condition {
    health: Health,
    name: &'static str,
}

/// The pulse of one loop that must not stand still.
#[derive(Debug, Clone)]
pub struct Pulse {
    started: Instant,
    last_ms: Arc<AtomicU64>,
}

/// A report: whether all is well, and a line per condition or pulse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// All of them hold.
    pub well: bool,
    /// `ok name` or `fail name: reason`, by name.
    pub lines: Vec<String>,
}

impl Health {
    /// Nothing registered: alive and ready.
    pub fn new(metrics: Metrics) -> Self {
        let inner = Inner {
            metrics,
            started: Instant::now(),
            conditions: Mutex::default(),
            pulses: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// A condition, which does not hold until [`Condition::holds`] is called.
    pub fn condition(&self, name: &'static str) -> Condition {
        let gauge = self.inner.metrics.gauge(&READY, [name]);
        let state = State { reason: Some("starting".to_owned()), gauge };
        lock(&self.inner.conditions).entry(name).or_insert(state);
        Condition { health: self.clone(), name }
    }

    /// A pulse; the process counts as stuck once it was silent for longer than `silence_max`.
    pub fn pulse(&self, name: &'static str, silence_max: Duration) -> Pulse {
        let started = self.inner.started;
        let pulse = Pulse { started, last_ms: Arc::default() };
        pulse.beat();
        let beat = Beat { last_ms: pulse.last_ms.clone(), silence_max };
        lock(&self.inner.pulses).insert(name, beat);
        pulse
    }

    /// Whether every condition holds.
    pub fn ready(&self) -> Report {
        let conditions = lock(&self.inner.conditions);
        let well = conditions.values().all(|state| state.reason.is_none());
        let lines = conditions.iter().map(|(name, state)| line(name, state.reason.as_deref())).collect();
        Report { well, lines }
    }

    /// Whether every pulse was heard lately.
    pub fn alive(&self) -> Report {
        self.alive_at(self.inner.started.elapsed())
    }

    fn alive_at(&self, since_start: Duration) -> Report {
        let mut report = Report { well: true, lines: Vec::new() };
        for (name, beat) in lock(&self.inner.pulses).iter() {
            let last = Duration::from_millis(beat.last_ms.load(Ordering::Relaxed));
            let silent = since_start.saturating_sub(last);
            let stuck = silent > beat.silence_max;
            report.well &= !stuck;
            let reason = stuck.then(|| format!("silent for {} ms", silent.as_millis()));
            report.lines.push(line(name, reason.as_deref()));
        }
        report
    }
}

impl Condition {
    /// It holds.
    pub fn holds(&self) {
        self.put(None);
    }

    /// It does not, and why. The reason is for an operator: no secret in it.
    pub fn fails(&self, reason: &str) {
        self.put(Some(reason.chars().take(REASON_CHARS_MAX).collect()));
    }

    fn put(&self, reason: Option<String>) {
        let mut conditions = lock(&self.health.inner.conditions);
        let Some(state) = conditions.get_mut(self.name) else { return };
        state.gauge.set(if reason.is_none() { 1.0 } else { 0.0 });
        if state.reason.is_some() != reason.is_some() {
            let reason = reason.as_deref().unwrap_or("holds");
            tracing::info!(event = "health.condition", condition = self.name, reason, "readiness changed");
        }
        state.reason = reason;
    }
}

impl Pulse {
    /// Still going.
    pub fn beat(&self) {
        let ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(ms, Ordering::Relaxed);
    }
}

fn line(name: &str, reason: Option<&str>) -> String {
    reason.map_or_else(|| format!("ok {name}"), |reason| format!("fail {name}: {reason}"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_once_every_condition_holds() {
        let metrics = Metrics::new().unwrap();
        let health = Health::new(metrics.clone());
        assert!(health.ready().well);
        let (log, clock) = (health.condition("log"), health.condition("clock"));
        assert_eq!(health.ready().lines, ["fail clock: starting", "fail log: starting"]);
        log.holds();
        clock.holds();
        assert!(health.ready().well);
        clock.fails(&"8 days ahead of the log ".repeat(100));
        let report = health.ready();
        assert!(!report.well);
        assert!(report.lines[0].starts_with("fail clock: 8 days") && report.lines[0].len() < 320);
        assert_eq!(metrics.gauge(&READY, ["log"]).get(), 1.0);
        assert_eq!(metrics.gauge(&READY, ["clock"]).get(), 0.0);
        // Asked for again, it is the same condition.
        health.condition("clock").holds();
        assert!(health.ready().well);
    }

    #[test]
    fn alive_while_every_pulse_is_heard() {
        let health = Health::new(Metrics::new().unwrap());
        let pulse = health.pulse("driver", Duration::from_secs(30));
        assert!(health.alive().well);
        let late = health.alive_at(Duration::from_secs(3600));
        assert!(!late.well && late.lines[0].starts_with("fail driver: silent for 3"), "{late:?}");
        pulse.beat();
        assert_eq!(health.alive().lines, ["ok driver"]);
    }
}
