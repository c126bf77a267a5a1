//! A rate with a burst: new topics per second.

/// Tokens that come back at a rate. Times are ms on a clock that never goes back.
#[derive(Debug, Clone)]
pub struct Bucket {
    per_s: f64,
    burst: f64,
    left: f64,
    seen_ms: u64,
}

impl Bucket {
    /// `per_s` tokens per second, at most `burst` at once; full at the start.
    pub fn new(per_s: u32, burst: u32, now_ms: u64) -> Self {
        let burst = f64::from(burst.max(1));
        Self { per_s: f64::from(per_s.max(1)), burst, left: burst, seen_ms: now_ms }
    }

    /// Takes one token. The error says in how many ms there is one for each of those that were refused so far:
    /// clients refused together come back one after the other.
    pub fn take(&mut self, now_ms: u64) -> Result<(), u64> {
        let passed_ms = now_ms.saturating_sub(self.seen_ms);
        self.seen_ms = self.seen_ms.max(now_ms);
        self.left = (self.left + passed_ms as f64 * self.per_s / 1000.0).min(self.burst);
        if self.left >= 1.0 {
            self.left -= 1.0;
            return Ok(());
        }
        Err(((1.0 - self.left) * 1000.0 / self.per_s).ceil() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_the_rate() {
        let mut bucket = Bucket::new(10, 3, 0);
        assert_eq!((0..3).filter(|_| bucket.take(0).is_ok()).count(), 3);
        assert_eq!(bucket.take(0), Err(100));
        assert_eq!(bucket.take(60), Err(40));
        assert_eq!(bucket.take(100), Ok(()));
        // A clock that stands still gives nothing; a long pause no more than the burst.
        assert!(bucket.take(100).is_err());
        assert_eq!((0..9).filter(|_| bucket.take(100_000).is_ok()).count(), 3);
    }
}
