//! What the broker's answers teach: the shortest round trip, and the fixed cost of a request.
//!
//! Owns: a windowed minimum and decayed sums. Never: the time a send should leave (rules.rs), growth.
//!
//! The fixed cost is learnt from sends that queued behind their predecessor: the broker then worked without a pause,
//! so the time between the two answers is what the later send cost it. Such a send shows itself by a round trip
//! well above the shortest. A least-squares fit over (requests, bytes) tells the fixed cost from that of the bytes.
//! Without such sends nothing is learnt, and nothing needs to be: the broker is not busy.

/// A round trip this many times the shortest one shows that the send queued.
const QUEUED_ABOVE: f64 = 1.25;
/// Half of the window of the minimum, and after how long the sums are forgotten, µs.
const HALF_WINDOW_US: u64 = 5_000_000;
/// What remains of the sums at each further sample.
const KEPT: f64 = 63.0 / 64.0;

/// One answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub acked_us: u64,
    pub sent_us: u64,
    /// The answer before this one, if any.
    pub previous_us: Option<u64>,
    /// Requests that the send was expected to make.
    pub requests: f64,
    pub bytes: u64,
}

/// Minimum of the last 5 to 10 s.
#[derive(Debug, Clone, Default)]
struct RecentMin {
    half: u64,
    before: Option<u64>,
    now: Option<u64>,
}

impl RecentMin {
    fn add(&mut self, at_us: u64, value: u64) {
        self.advance(at_us);
        self.now = Some(self.now.map_or(value, |m| m.min(value)));
    }

    fn advance(&mut self, at_us: u64) {
        let half = at_us / HALF_WINDOW_US;
        if half > self.half {
            // A minimum outlives its window when nothing newer is known: an old guess is better than none.
            self.before = self.now.take().or(self.before);
            self.half = half;
        }
    }

    fn get(&self) -> Option<u64> {
        match (self.before, self.now) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }
}

/// Everything learnt from answers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Learnt {
    round_trip: RecentMin,
    fit: Fit,
    fitted_at_us: u64,
}

impl Learnt {
    pub(crate) fn answer(&mut self, sample: Sample) {
        let Sample { acked_us, sent_us, previous_us, requests, bytes } = sample;
        let round_trip = acked_us.saturating_sub(sent_us);
        if acked_us.saturating_sub(self.fitted_at_us) > 2 * HALF_WINDOW_US {
            self.fit = Fit::default();
        }
        let shortest = self.round_trip.get();
        self.round_trip.add(acked_us, round_trip);
        let queued = shortest.is_some_and(|min| round_trip as f64 > QUEUED_ABOVE * min as f64);
        if let Some(previous) = previous_us.filter(|p| queued && *p > sent_us) {
            self.fit.add(requests, bytes as f64, acked_us.saturating_sub(previous) as f64);
            self.fitted_at_us = acked_us;
        }
    }

    /// The shortest round trip of the last seconds, µs; 0 before the first answer.
    pub(crate) fn round_trip_us(&self) -> f64 {
        self.round_trip.get().unwrap_or(0) as f64
    }

    /// The fixed cost of a request, µs; 0 while nothing has queued.
    pub(crate) fn fixed_us(&self) -> f64 {
        self.fit.costs().0
    }

    /// What a send of `requests` and `bytes` costs the broker, µs; 0 while nothing has queued.
    pub(crate) fn cost_us(&self, requests: f64, bytes: u64) -> f64 {
        let (fixed, slope) = self.fit.costs();
        requests * fixed + bytes as f64 * slope
    }
}

/// Decayed sums of cost = fixed · requests + slope · bytes.
#[derive(Debug, Clone, Default)]
struct Fit {
    rr: f64,
    rb: f64,
    bb: f64,
    ry: f64,
    by: f64,
}

impl Fit {
    fn add(&mut self, requests: f64, bytes: f64, cost: f64) {
        for (sum, value) in [
            (&mut self.rr, requests * requests),
            (&mut self.rb, requests * bytes),
            (&mut self.bb, bytes * bytes),
            (&mut self.ry, requests * cost),
            (&mut self.by, bytes * cost),
        ] {
            *sum = *sum * KEPT + value;
        }
    }

    /// Fixed cost of a request and cost of a byte, µs.
    fn costs(&self) -> (f64, f64) {
        if self.rr == 0.0 {
            return (0.0, 0.0);
        }
        let all = self.ry / self.rr;
        let det = self.rr * self.bb - self.rb * self.rb;
        // Sends of one shape cannot tell the two costs apart: then all of it counts as fixed, the careful side.
        if det < 0.01 * self.rr * self.bb {
            return (all, 0.0);
        }
        let fixed = ((self.bb * self.ry - self.rb * self.by) / det).clamp(0.0, all);
        (fixed, ((self.by - fixed * self.rb) / self.bb).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queued(learnt: &mut Learnt, at: u64, requests: f64, bytes: u64, cost: u64) {
        learnt.answer(Sample {
            acked_us: at,
            sent_us: at - cost - 10_000,
            previous_us: Some(at - cost),
            requests,
            bytes,
        });
    }

    #[test]
    fn the_fixed_cost_is_told_from_that_of_the_bytes() {
        let mut learnt = Learnt::default();
        learnt.answer(Sample { acked_us: 1000, sent_us: 0, previous_us: None, requests: 1.0, bytes: 1 });
        for i in 0u32..50 {
            let (requests, bytes) = (f64::from(1 + i % 4), u64::from(i * 37 % 11) * 10_000);
            queued(
                &mut learnt,
                100_000 + u64::from(i) * 20_000,
                requests,
                bytes,
                requests as u64 * 300 + bytes / 100,
            );
        }
        assert!((learnt.fixed_us() - 300.0).abs() < 1.0, "{}", learnt.fixed_us());
        assert_eq!(learnt.round_trip_us(), 1000.0);
    }

    #[test]
    fn sends_of_one_shape_count_as_all_fixed() {
        let mut learnt = Learnt::default();
        learnt.answer(Sample { acked_us: 1000, sent_us: 0, previous_us: None, requests: 1.0, bytes: 1 });
        for i in 0..10 {
            queued(&mut learnt, 100_000 + i * 20_000, 4.0, 10_000, 1200);
        }
        assert!((learnt.fixed_us() - 300.0).abs() < 1e-9);
    }

    #[test]
    fn a_send_that_did_not_queue_teaches_no_cost() {
        let mut learnt = Learnt::default();
        for i in 1..10 {
            let acked_us = i * 5000;
            learnt.answer(Sample {
                acked_us,
                sent_us: acked_us - 1000,
                previous_us: Some(acked_us - 500),
                requests: 1.0,
                bytes: 9,
            });
        }
        assert_eq!((learnt.fixed_us(), learnt.round_trip_us()), (0.0, 1000.0));
    }

    #[test]
    fn the_shortest_round_trip_and_the_cost_are_forgotten_in_time() {
        let mut learnt = Learnt::default();
        learnt.answer(Sample { acked_us: 1000, sent_us: 0, previous_us: None, requests: 1.0, bytes: 1 });
        queued(&mut learnt, 200_000, 1.0, 10, 400);
        assert!(learnt.fixed_us() > 0.0);
        for at in [6_000_000, 11_000_000, 16_000_000] {
            learnt.answer(Sample {
                acked_us: at,
                sent_us: at - 3000,
                previous_us: None,
                requests: 1.0,
                bytes: 1,
            });
        }
        assert_eq!((learnt.round_trip_us(), learnt.fixed_us()), (3000.0, 0.0));
    }
}
