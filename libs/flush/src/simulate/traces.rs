//! Arrival patterns: segments of constant mean rate, Poisson inside.
//!
//! Owns: the named traces and the arrivals drawn from them. Never: knowledge of a policy.

use super::noise::{exponential, pareto, uniform};

/// Bytes of an event on the wire.
const EVENT_BYTES: f64 = 100.0;
/// Items per second beyond which devices and gateways send batches.
const ITEMS_PER_S_MAX: f64 = 10_000.0;

/// A stretch of constant mean rate.
#[derive(Debug, Clone, PartialEq)]
pub struct Segment {
    /// Length, ms.
    pub length_ms: u64,
    /// Mean rate, events/s.
    pub rate: f64,
}

/// A named pattern.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// Shown in tables.
    pub name: &'static str,
    /// In order of time.
    pub segments: Vec<Segment>,
}

/// One item that devices hand over.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// When, µs from the beginning of the trace.
    pub at_us: u64,
    /// Its bytes.
    pub bytes: u32,
    /// Its events.
    pub events: u32,
    /// The segment it is in.
    pub segment: usize,
    /// Its partition is this modulo their number.
    pub key: u32,
}

impl Trace {
    /// One rate for `seconds`.
    pub fn steady(name: &'static str, rate: f64, seconds: u64) -> Self {
        Self { name, segments: vec![Segment { length_ms: seconds * 1000, rate }] }
    }

    fn of(name: &'static str, segments: impl IntoIterator<Item = (u64, f64)>) -> Self {
        let segments = segments.into_iter().map(|(length_ms, rate)| Segment { length_ms, rate }).collect();
        Self { name, segments }
    }

    /// Bursts: one second at 40K events/s, two at 1K.
    pub fn bursty() -> Self {
        Self::of("burst on/off", (0..10).flat_map(|_| [(2000, 1_000.0), (1000, 40_000.0)]))
    }

    /// Bursts whose height and gap are Pareto-distributed, drawn from `seed`.
    pub fn heavy_tailed(seed: u64) -> Self {
        let segments = (0..40).map(|i| {
            let length = 200.0 * pareto(seed, 11, i, 1.4, 15.0);
            let rate = 300.0 * pareto(seed, 12, i, 0.6, 400.0);
            (length as u64, rate)
        });
        Self::of("Pareto", segments)
    }

    /// A day in 48 s: between 300 and 60K events/s and back, an hour in two seconds.
    pub fn diurnal() -> Self {
        let hour = |h: u32| {
            let height = (1.0 - (f64::from(h) / 24.0 * std::f64::consts::TAU).cos()) / 2.0;
            (2000, 300.0 + 59_700.0 * height * height)
        };
        Self::of("diurnal", (0..24).map(hour))
    }

    /// Every named trace; `seed` draws the Pareto one.
    pub fn all(seed: u64) -> Vec<Self> {
        vec![
            Self::steady("idle", 10.0, 400),
            Self::steady("500 ev/s", 500.0, 30),
            Self::steady("5K ev/s", 5_000.0, 20),
            Self::steady("50K ev/s", 50_000.0, 20),
            Self::steady("200K ev/s", 200_000.0, 20),
            Self::bursty(),
            Self::of("step down", [(10_000, 80_000.0), (10_000, 200.0)]),
            Self::heavy_tailed(seed),
            Self::diurnal(),
        ]
    }

    /// The trace in at most `seconds`: a day and a step are played faster, of what is steady, or draws or repeats its
    /// bursts, the beginning counts.
    pub fn within(mut self, seconds: u64) -> Self {
        let (left_ms, whole_ms) = (seconds * 1000, self.segments.iter().map(|s| s.length_ms).sum::<u64>());
        if whole_ms <= left_ms {
            return self;
        }
        if ["diurnal", "step down"].contains(&self.name) {
            for segment in &mut self.segments {
                segment.length_ms = segment.length_ms * left_ms / whole_ms;
            }
            return self;
        }
        let mut left_ms = left_ms;
        for segment in &mut self.segments {
            segment.length_ms = segment.length_ms.min(left_ms);
            left_ms -= segment.length_ms;
        }
        self.segments.retain(|segment| segment.length_ms > 0);
        self
    }

    /// What arrives, drawn from `seed`, in order of time.
    pub fn arrivals(&self, seed: u64) -> Vec<Arrival> {
        let (mut arrivals, mut start_us, mut drawn) = (Vec::new(), 0.0, 0);
        for (segment, Segment { length_ms, rate }) in self.segments.iter().enumerate() {
            let end_us = start_us + *length_ms as f64 * 1000.0;
            let events = (rate / ITEMS_PER_S_MAX).ceil().max(1.0);
            let mut at = start_us;
            loop {
                drawn += 1;
                at += exponential(seed, 10, drawn) * events / rate * 1e6;
                if at >= end_us {
                    break;
                }
                let bytes = (events * EVENT_BYTES) as u32;
                let key = uniform(seed, 13, drawn) * f64::from(u32::MAX);
                arrivals.push(Arrival {
                    at_us: at as u64,
                    bytes,
                    events: events as u32,
                    segment,
                    key: key as u32,
                });
            }
            start_us = end_us;
        }
        arrivals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shorter_trace_keeps_its_rates_or_its_shape() {
        let length = |t: &Trace| t.segments.iter().map(|s| s.length_ms).sum::<u64>();
        for trace in Trace::all(1) {
            let short = trace.clone().within(10);
            assert!((9_900..=10_000).contains(&length(&short)), "{}: {}", trace.name, length(&short));
            assert_eq!(short.segments[0].rate, trace.segments[0].rate, "{}", trace.name);
            assert_eq!(trace.clone().within(1_000), trace);
        }
        assert_eq!(Trace::diurnal().within(12).segments.len(), 24);
        assert_eq!(Trace::bursty().within(4).segments.len(), 3);
    }

    #[test]
    fn arrivals_rise_and_keep_the_rate() {
        for trace in Trace::all(1) {
            let arrivals = trace.arrivals(1);
            assert!(arrivals.is_sorted_by_key(|a| a.at_us), "{}", trace.name);
            let expected: f64 = trace.segments.iter().map(|s| s.rate * s.length_ms as f64 / 1000.0).sum();
            let events: u64 = arrivals.iter().map(|a| u64::from(a.events)).sum();
            assert!((events as f64 / expected - 1.0).abs() < 0.15, "{}: {events} {expected}", trace.name);
        }
    }
}
