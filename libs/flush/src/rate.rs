//! The rolling 5-second rate of source B.
//!
//! Owns: a fixed ring of buckets. Never: allocates, per event or at all. It lags a jump by design: one second
//! after a jump from 0 to r it says r / 5.

/// Length of a bucket, µs.
pub(crate) const BUCKET_US: u64 = 100_000;
const BUCKETS: usize = 50;
/// Length of the window, s.
const WINDOW_S: f64 = 5.0;

#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    events: u64,
    bytes: u64,
}

/// Events and bytes of the last 5 s, the bucket under way included.
#[derive(Debug, Clone)]
pub(crate) struct RollingRate {
    buckets: [Bucket; BUCKETS],
    /// Number of the newest bucket since time 0.
    newest: u64,
    sum: Bucket,
}

impl RollingRate {
    pub(crate) fn new() -> Self {
        Self { buckets: [Bucket::default(); BUCKETS], newest: 0, sum: Bucket::default() }
    }

    pub(crate) fn add(&mut self, now_us: u64, events: u32, bytes: u32) {
        self.advance(now_us);
        let bucket = &mut self.buckets[(self.newest % BUCKETS as u64) as usize];
        bucket.events += u64::from(events);
        bucket.bytes += u64::from(bytes);
        self.sum.events += u64::from(events);
        self.sum.bytes += u64::from(bytes);
    }

    /// Forgets what is older than the window.
    pub(crate) fn advance(&mut self, now_us: u64) {
        let newest = now_us / BUCKET_US;
        if newest >= self.newest + BUCKETS as u64 {
            *self = Self { newest, ..Self::new() };
        }
        while self.newest < newest {
            self.newest += 1;
            let old = std::mem::take(&mut self.buckets[(self.newest % BUCKETS as u64) as usize]);
            self.sum.events -= old.events;
            self.sum.bytes -= old.bytes;
        }
    }

    pub(crate) fn events_per_s(&self) -> f64 {
        self.sum.events as f64 / WINDOW_S
    }

    pub(crate) fn bytes_per_s(&self) -> f64 {
        self.sum.bytes as f64 / WINDOW_S
    }

    /// When the rate may next change without an arrival, µs.
    pub(crate) fn next_change_us(&self) -> u64 {
        (self.newest + 1) * BUCKET_US
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgets_after_five_seconds_bucket_by_bucket() {
        let mut rate = RollingRate::new();
        rate.add(0, 100, 1000);
        rate.add(150_000, 400, 4000);
        assert_eq!((rate.events_per_s(), rate.bytes_per_s()), (100.0, 1000.0));
        rate.advance(4_999_999);
        assert_eq!(rate.events_per_s(), 100.0);
        rate.advance(5_000_000);
        assert_eq!(rate.events_per_s(), 80.0);
        rate.advance(5_100_000);
        assert_eq!((rate.events_per_s(), rate.next_change_us()), (0.0, 5_200_000));
    }

    #[test]
    fn a_long_silence_empties_it_at_once() {
        let mut rate = RollingRate::new();
        rate.add(0, 100, 1000);
        rate.advance(u64::MAX / 2);
        assert_eq!(rate.events_per_s(), 0.0);
        rate.add(u64::MAX / 2, 5, 50);
        assert_eq!(rate.events_per_s(), 1.0);
    }

    #[test]
    fn lags_a_jump_by_its_window() {
        let mut rate = RollingRate::new();
        for ms in 0..1000 {
            rate.add(10_000_000 + ms * 1000, 50, 5000);
        }
        assert_eq!(rate.events_per_s(), 10_000.0);
    }
}
