//! A rate with a burst: new topics per second.

/// Tokens that come back at a rate. Times are ms on a clock that never goes back.
#[derive(Debug, Clone)]
pub struct Bucket {
    per_s: f64,
    burst: f64,
    left: f64,
    /// Refused, and not yet given the time to come back.
    owed: f64,
    seen_ms: u64,
}

/// Nobody is sent away for longer, ms.
const WAIT_MAX_MS: u64 = 60_000;

impl Bucket {
    /// `per_s` tokens per second, at most `burst` at once; full at the start.
    pub fn new(per_s: u32, burst: u32, now_ms: u64) -> Self {
        let burst = f64::from(burst.max(1));
        Self { per_s: f64::from(per_s.max(1)), burst, left: burst, owed: 0.0, seen_ms: now_ms }
    }

    /// Takes one token. The error says in how many ms there is one, and one for each of those that were refused before
    /// and are still away: clients refused together come back one after the other. At most a minute.
    pub fn take(&mut self, now_ms: u64) -> Result<(), u64> {
        let passed_ms = now_ms.saturating_sub(self.seen_ms);
        self.seen_ms = self.seen_ms.max(now_ms);
        let earned = passed_ms as f64 * self.per_s / 1000.0;
        self.left = (self.left + earned).min(self.burst);
        self.owed = (self.owed - earned).max(0.0);
        if self.left >= 1.0 {
            self.left -= 1.0;
            return Ok(());
        }
        let wait_ms = ((1.0 - self.left + self.owed) * 1000.0 / self.per_s).ceil() as u64;
        self.owed += 1.0;
        Err(wait_ms.min(WAIT_MAX_MS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_the_rate() {
        let mut bucket = Bucket::new(10, 3, 0);
        assert_eq!((0..3).filter(|_| bucket.take(0).is_ok()).count(), 3);
        assert_eq!([0, 0, 60].map(|now_ms| bucket.take(now_ms)), [Err(100), Err(200), Err(180)]);
        assert_eq!(bucket.take(100), Ok(()));
        // A clock that stands still gives nothing; a long pause no more than the burst.
        assert!(bucket.take(100).is_err());
        assert_eq!((0..9).filter(|_| bucket.take(100_000).is_ok()).count(), 3);
        let waits: Vec<u64> = (0..900).filter_map(|_| bucket.take(100_000).err()).collect();
        assert!(waits.is_sorted() && waits.last() == Some(&WAIT_MAX_MS), "{waits:?}");
    }
}
