//! How long to wait before trying again: exponential, capped, with full jitter.
//!
//! Owns: the arithmetic. Never: a clock, a sleep or a source of randomness; the caller brings a random
//! number, so that a simulation repeats itself.

use std::time::Duration;

/// The rule: after n failures in a row wait a random time in `[0, min(cap, base · 2^(n−1))]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The largest wait after the first failure.
    pub base: Duration,
    /// The largest wait ever.
    pub cap: Duration,
}

impl Backoff {
    /// The upper end of the wait after `failures` failures in a row (0 counts as 1).
    pub fn ceiling(&self, failures: u32) -> Duration {
        let factor = 2u32.checked_pow(failures.saturating_sub(1));
        factor.and_then(|factor| self.base.checked_mul(factor)).map_or(self.cap, |wait| wait.min(self.cap))
    }

    /// The wait after `failures` failures in a row; `random` uniform over all of `u64`. Full jitter: waits
    /// spread over the whole range, so that clients that failed together do not come back together.
    pub fn wait(&self, failures: u32, random: u64) -> Duration {
        let nanos = self.ceiling(failures).as_nanos();
        // Durations of years fit; beyond, the upper bits are cut with the cap.
        let scaled = u64::try_from(nanos).unwrap_or(u64::MAX);
        Duration::from_nanos(((u128::from(scaled) * (u128::from(random) + 1)) >> 64) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RULE: Backoff = Backoff { base: Duration::from_millis(100), cap: Duration::from_secs(30) };

    #[test]
    fn doubles_up_to_its_cap() {
        let ceilings: Vec<u64> = (1..=10).map(|n| RULE.ceiling(n).as_millis() as u64).collect();
        assert_eq!(ceilings, [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000]);
        assert_eq!(RULE.ceiling(u32::MAX), RULE.cap);
        assert_eq!(RULE.ceiling(0), RULE.base);
    }

    #[test]
    fn jitter_covers_the_whole_range() {
        assert_eq!(RULE.wait(3, 0), Duration::ZERO);
        assert_eq!(RULE.wait(3, u64::MAX), Duration::from_millis(400));
        let half = RULE.wait(3, u64::MAX / 2);
        assert!(half.abs_diff(Duration::from_millis(200)) < Duration::from_micros(1));
        assert!(
            Backoff { base: Duration::MAX, cap: Duration::MAX }.wait(9, u64::MAX) > Duration::from_secs(1)
        );
    }

    proptest! {
        #[test]
        fn never_beyond_the_ceiling(failures in any::<u32>(), random in any::<u64>()) {
            prop_assert!(RULE.wait(failures, random) <= RULE.ceiling(failures));
        }
    }
}
