//! How fast connections are accepted: few at first, more while all goes well.
//!
//! Owns: the rate and when the next connection has its turn. Never: a clock or a socket; how many there may be in all
//! is `connections-max`. After a restart every device comes back at once; each new connection costs a handshake and a
//! first request, and the ones already in must still have their answers in time.
//! The rate grows exponentially from `rate-start` to `rate-max` within `ramp`, and falls back by a quarter of that way,
//! at most once a second, while the service is under pressure.

/// The settings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct RampLimits {
    /// Connections per second at the start.
    pub(crate) start_per_s: u32,
    /// Connections per second at the end of the ramp.
    pub(crate) max_per_s: u32,
    /// The way from one to the other, ms.
    pub(crate) ramp_ms: u64,
}

/// The state.
#[derive(Debug)]
pub(crate) struct Ramp {
    limits: RampLimits,
    /// How far up the ramp it is, 0 to 1.
    way: f64,
    looked_ms: u64,
    eased_ms: Option<u64>,
    /// When the connection after the last one would come if all came evenly, ms.
    next_ms: f64,
}

/// How much of a second's connections may come at once: timers are no finer.
const BURST_S: f64 = 0.02;
/// How far pressure takes the rate back, as a part of the ramp.
const EASE: f64 = 0.25;
/// Least time between two steps back, ms: pressure needs a moment to fall.
const EASE_EVERY_MS: u64 = 1000;

impl Ramp {
    pub(crate) fn new(limits: RampLimits, now_ms: u64) -> Self {
        Self { limits, way: 0.0, looked_ms: now_ms, eased_ms: None, next_ms: now_ms as f64 }
    }

    /// Connections per second now.
    pub(crate) fn per_s(&self) -> f64 {
        let (start, max) = (f64::from(self.limits.start_per_s), f64::from(self.limits.max_per_s));
        start * (max / start).powf(self.way)
    }

    /// Time has passed, with or without pressure.
    pub(crate) fn look(&mut self, now_ms: u64, pressed: bool) {
        let passed_ms = now_ms.saturating_sub(self.looked_ms);
        self.looked_ms = self.looked_ms.max(now_ms);
        if !pressed {
            self.way = (self.way + passed_ms as f64 / self.limits.ramp_ms.max(1) as f64).min(1.0);
        } else if self.eased_ms.is_none_or(|at_ms| now_ms >= at_ms + EASE_EVERY_MS) {
            self.way = (self.way - EASE).max(0.0);
            self.eased_ms = Some(now_ms);
        }
    }

    /// How long the next connection waits, ms; 0 = it has its turn.
    pub(crate) fn wait_ms(&self, now_ms: u64) -> u64 {
        let burst_ms = (BURST_S * 1000.0).max(1000.0 / self.per_s());
        let early_ms = self.next_ms + 1000.0 / self.per_s() - burst_ms - now_ms as f64;
        early_ms.max(0.0).ceil() as u64
    }

    /// A connection was accepted.
    pub(crate) fn accepted(&mut self, now_ms: u64) {
        self.next_ms = self.next_ms.max(now_ms as f64) + 1000.0 / self.per_s();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: RampLimits = RampLimits { start_per_s: 100, max_per_s: 1600, ramp_ms: 4000 };

    /// How many are accepted from `from_ms` to `to_ms` while more and more wait.
    fn storm(ramp: &mut Ramp, from_ms: u64, to_ms: u64, pressed: impl Fn(u64) -> bool) -> u64 {
        let (mut now_ms, mut accepted) = (from_ms, 0);
        while now_ms < to_ms {
            ramp.look(now_ms, pressed(now_ms));
            match ramp.wait_ms(now_ms) {
                0 => {
                    ramp.accepted(now_ms);
                    accepted += 1;
                }
                wait_ms => now_ms += wait_ms,
            }
        }
        accepted
    }

    #[test]
    fn the_rate_doubles_with_every_quarter_of_the_way() {
        let mut ramp = Ramp::new(LIMITS, 0);
        for (second, want) in [(0, 100.0), (1, 200.0), (2, 400.0), (3, 800.0), (4, 1600.0), (9, 1600.0)] {
            ramp.look(second * 1000, false);
            assert!((ramp.per_s() - want).abs() < 0.01, "{second}: {}", ramp.per_s());
        }
    }

    #[test]
    fn a_storm_is_let_in_at_the_rate_and_not_faster() {
        let mut ramp = Ramp::new(LIMITS, 0);
        // The area under the ramp: 1500 / ln 16 × 4 s = 2164.
        let climbing = storm(&mut ramp, 0, 4000, |_| false);
        assert!((2100..2250).contains(&climbing), "{climbing}");
        let flat = storm(&mut ramp, 4000, 5000, |_| false);
        assert!((1580..1640).contains(&flat), "{flat}");
    }

    #[test]
    fn pressure_takes_it_back_step_by_step_and_never_below_the_start() {
        let mut ramp = Ramp::new(LIMITS, 0);
        ramp.look(4000, false);
        for (now_ms, want) in
            [(4000, 800.0), (4500, 800.0), (5000, 400.0), (6000, 200.0), (7000, 100.0), (8000, 100.0)]
        {
            ramp.look(now_ms, true);
            assert!((ramp.per_s() - want).abs() < 0.01, "{now_ms}: {}", ramp.per_s());
        }
        ramp.look(9000, false);
        assert!((ramp.per_s() - 200.0).abs() < 0.01);
        let pressed = storm(&mut Ramp::new(LIMITS, 0), 0, 10_000, |_| true);
        assert!((990..1020).contains(&pressed), "{pressed}");
    }

    #[test]
    fn who_comes_alone_never_waits() {
        let mut ramp = Ramp::new(RampLimits { start_per_s: 1, max_per_s: 1, ramp_ms: 1 }, 0);
        for now_ms in [0, 1000, 2000, 50_000] {
            assert_eq!(ramp.wait_ms(now_ms), 0, "{now_ms}");
            ramp.accepted(now_ms);
        }
        assert_eq!(ramp.wait_ms(50_400), 600);
        // A clock that stands still lets nobody in twice.
        assert!(ramp.wait_ms(0) > 0);
    }
}
