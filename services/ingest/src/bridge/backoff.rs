//! How long to wait before something is tried again. Pure but for the counter of the drawn numbers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The waits: doubled from the least to the longest, half of each drawn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Backoff {
    pub(crate) min: Duration,
    pub(crate) max: Duration,
}

impl Backoff {
    /// The wait after so many failures (from 0), with a number drawn for it.
    pub(crate) fn wait(&self, failures: u32, random: u64) -> Duration {
        let whole = self.min.saturating_mul(1 << failures.min(20)).min(self.max.max(self.min));
        let half = whole / 2;
        let drawn_ns = random % u64::try_from(half.as_nanos()).unwrap_or(u64::MAX).max(1);
        whole - half + Duration::from_nanos(drawn_ns)
    }
}

/// Drawn numbers from one seed.
#[derive(Debug)]
pub(crate) struct Jitter(AtomicU64);

impl Jitter {
    pub(crate) fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// The next number (splitmix64).
    pub(crate) fn next(&self) -> u64 {
        const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut z = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_half_of_each_is_drawn() {
        let backoff = Backoff { min: Duration::from_millis(100), max: Duration::from_secs(3) };
        assert_eq!(backoff.wait(0, 0), Duration::from_millis(50));
        assert_eq!(backoff.wait(3, 0), Duration::from_millis(400));
        assert_eq!(backoff.wait(u32::MAX, 0), Duration::from_millis(1500));
        let jitter = Jitter::new(7);
        for failures in 0..40 {
            let wait = backoff.wait(failures, jitter.next());
            let whole = Duration::from_millis(100 << failures.min(5)).min(backoff.max);
            assert!(wait >= whole / 2 && wait <= whole, "{failures} {wait:?}");
        }
        let strange = Backoff { min: Duration::ZERO, max: Duration::ZERO };
        assert_eq!(strange.wait(5, 9), Duration::ZERO);
    }

    #[test]
    fn drawn_numbers_differ() {
        let jitter = Jitter::new(0);
        assert_ne!(jitter.next(), jitter.next());
    }
}
