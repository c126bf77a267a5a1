//! The decision of each policy over one view of a lane.
//!
//! Owns: one pure function per policy. Never: state, and the caps, which lane.rs applies to every ruling.

use crate::policy::{Linger, Policy, Rate, RateMerged, SelfClocked, Static};

/// What a lane is doing: a label for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// Nothing waits.
    Idle,
    /// A fixed threshold fills: `static` and `linger`.
    Filling,
    /// Rate below `warm-per-s`.
    Cold,
    /// Rate between `warm-per-s` and `hot-per-s`.
    Warm,
    /// Rate at or above `hot-per-s`.
    Hot,
    /// Admission budget above `panic-above`.
    Panic,
    /// `self-clocked`: nothing in flight, so everything leaves at once.
    Clear,
    /// `self-clocked`: waits for its pace behind sends in flight.
    Paced,
    /// Waits for an answer.
    Busy,
    /// The lane is ending: everything leaves at once.
    Draining,
}

impl Mode {
    /// The label's value.
    pub fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Filling => "filling",
            Self::Cold => "cold",
            Self::Warm => "warm",
            Self::Hot => "hot",
            Self::Panic => "panic",
            Self::Clear => "clear",
            Self::Paced => "paced",
            Self::Busy => "busy",
            Self::Draining => "draining",
        }
    }

    /// The mode while nothing waits: that of the rate stays true, the others were about the queue.
    pub(crate) fn of_empty(self, in_flight: usize) -> Self {
        match self {
            Self::Cold | Self::Warm | Self::Hot | Self::Panic => self,
            _ if in_flight > 0 => Self::Busy,
            _ => Self::Idle,
        }
    }
}

/// What a rule may know. Something is queued.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View {
    pub now_us: u64,
    pub queued_bytes: u64,
    pub oldest_us: u64,
    pub last_send_us: Option<u64>,
    pub in_flight: usize,
    /// Events/s and bytes/s over the last 5 s, and when they may next change.
    pub rate: f64,
    pub byte_rate: f64,
    pub rate_changes_us: u64,
    /// How full the admission budget is, 0 to 1.
    pub fill: f64,
    pub round_trip_us: f64,
    /// Learnt fixed cost of a request, µs.
    pub fixed_us: f64,
    /// When the broker will be done with what is in flight, as far as costs are learnt, µs.
    pub done_us: f64,
    pub bytes_per_send_max: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Seal,
    /// Not before this time, unless something arrives or is acknowledged; µs.
    WaitUntil(u64),
    /// Not before an answer.
    Busy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ruling {
    pub verdict: Verdict,
    pub mode: Mode,
    pub threshold_bytes: u64,
}

pub(crate) fn rule(policy: &Policy, view: &View) -> Ruling {
    match policy {
        Policy::Static(Static { bytes_max, age_ms }) => filling(*bytes_max, *age_ms, view),
        Policy::Linger(Linger { linger_ms, bytes_max }) => filling(*bytes_max, *linger_ms, view),
        Policy::Rate(settings) => rate(settings, view),
        Policy::RateMerged(settings) => rate_merged(settings, view),
        Policy::SelfClocked(settings) => self_clocked(settings, view),
    }
}

fn filling(bytes_max: u64, age_ms: u64, view: &View) -> Ruling {
    let due = view.oldest_us.saturating_add(age_ms.saturating_mul(1000));
    by(view, Mode::Filling, bytes_max, due)
}

/// Seals at the threshold or when due.
fn by(view: &View, mode: Mode, threshold_bytes: u64, due_us: u64) -> Ruling {
    let threshold_bytes = threshold_bytes.min(view.bytes_per_send_max);
    let seal = view.queued_bytes >= threshold_bytes || due_us <= view.now_us;
    let verdict = if seal { Verdict::Seal } else { Verdict::WaitUntil(due_us) };
    Ruling { verdict, mode, threshold_bytes }
}

fn rate(settings: &Rate, view: &View) -> Ruling {
    let Rate { warm_per_s, hot_per_s, cold_ms, bytes_max, panic_above, panic_bytes } = *settings;
    if view.fill > panic_above {
        return watching(view, by(view, Mode::Panic, panic_bytes, u64::MAX));
    }
    let (mode, threshold, due) =
        by_rate(view, (warm_per_s, hot_per_s), cold_ms.saturating_mul(1000), bytes_max);
    watching(view, by(view, mode, threshold, due))
}

fn rate_merged(settings: &RateMerged, view: &View) -> Ruling {
    let RateMerged { warm_per_s, hot_per_s, cold_ms, bytes_max, age_ms, panic_above } = *settings;
    let (mode, threshold, due) = if view.fill > panic_above {
        (Mode::Panic, 1, view.now_us)
    } else {
        by_rate(view, (warm_per_s, hot_per_s), cold_ms.saturating_mul(1000), bytes_max)
    };
    let due = due.min(view.oldest_us.saturating_add(age_ms.saturating_mul(1000)));
    let ruling = watching(view, by(view, mode, threshold, due));
    if view.in_flight > 0 { Ruling { verdict: Verdict::Busy, ..ruling } } else { ruling }
}

/// Mode, size threshold and due time of source B's rule.
fn by_rate(view: &View, (warm, hot): (u64, u64), cold_us: u64, bytes_max: u64) -> (Mode, u64, u64) {
    let (warm, hot) = (warm as f64, hot as f64);
    if view.rate < warm {
        return (Mode::Cold, u64::MAX, view.last_send_us.map_or(0, |last| last.saturating_add(cold_us)));
    }
    if view.rate >= hot {
        return (Mode::Hot, bytes_max, u64::MAX);
    }
    let x = (view.rate - warm) / (hot - warm);
    let cold_bytes = view.byte_rate * cold_us as f64 / 1e6;
    let threshold = (1.0 - x) * cold_bytes + x * bytes_max as f64;
    let fills_us = threshold / view.byte_rate.max(1.0) * 1e6;
    (Mode::Warm, (threshold as u64).max(1), view.oldest_us.saturating_add(fills_us as u64))
}

/// A waiting ruling that looks again when the rolling rate changes by itself.
fn watching(view: &View, ruling: Ruling) -> Ruling {
    match ruling.verdict {
        Verdict::WaitUntil(due) if ruling.mode != Mode::Cold => {
            Ruling { verdict: Verdict::WaitUntil(due.min(view.rate_changes_us)), ..ruling }
        }
        _ => ruling,
    }
}

fn self_clocked(settings: &SelfClocked, view: &View) -> Ruling {
    let SelfClocked { in_flight_max, alpha, backlog_requests, .. } = *settings;
    let full = view.bytes_per_send_max;
    if view.in_flight == 0 {
        return Ruling { verdict: Verdict::Seal, mode: Mode::Clear, threshold_bytes: 1 };
    }
    if view.in_flight >= in_flight_max {
        return Ruling { verdict: Verdict::Busy, mode: Mode::Busy, threshold_bytes: full };
    }
    let spaced = view.last_send_us.unwrap_or(0) as f64 + alpha * view.round_trip_us;
    let due = spaced.max(view.done_us - backlog_requests * view.fixed_us).max(0.0).ceil() as u64;
    by(view, Mode::Paced, full, due)
}
