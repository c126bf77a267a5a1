//! How many events of a stream arrived of late, by the second.

use std::collections::VecDeque;

/// Over how many seconds a rate is taken.
const SECONDS: i64 = 10;

/// Arrivals of the last [`SECONDS`] seconds.
#[derive(Debug)]
pub struct Arrivals {
    since_ms: i64,
    last_ms: Option<i64>,
    /// Second, and events in it; rising, at most [`SECONDS`] + 1.
    counts: VecDeque<(i64, u64)>,
}

impl Arrivals {
    /// None yet; counted from now on.
    pub fn since(now_ms: i64) -> Self {
        Self { since_ms: now_ms, last_ms: None, counts: VecDeque::with_capacity(SECONDS as usize + 1) }
    }

    /// Events arrived.
    pub fn add(&mut self, arrival_ms: i64, events: u64) {
        self.last_ms = Some(self.last_ms.map_or(arrival_ms, |last| last.max(arrival_ms)));
        let second = arrival_ms.div_euclid(1_000);
        match self.counts.back_mut() {
            // Arrivals of several ingest instances are not quite in order.
            Some((last, count)) if *last >= second => *count += events,
            _ => {
                self.counts.push_back((second, events));
                if self.counts.len() > SECONDS as usize + 1 {
                    self.counts.pop_front();
                }
            }
        }
    }

    /// Arrival of the newest event, ms.
    pub fn last_ms(&self) -> Option<i64> {
        self.last_ms
    }

    /// Events per second over the last ten seconds, or since the count began if that is shorter (but at least one).
    pub fn per_second(&self, now_ms: i64) -> f64 {
        let (now, since) = (now_ms.div_euclid(1_000), self.since_ms.div_euclid(1_000));
        let from = now - SECONDS;
        let events: u64 = self.counts.iter().filter(|(second, _)| *second > from).map(|(_, n)| n).sum();
        events as f64 / (now - since + 1).clamp(1, SECONDS) as f64
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.counts.capacity() * size_of::<(i64, u64)>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_ten_seconds() {
        let mut arrivals = Arrivals::since(100_000);
        assert_eq!((arrivals.per_second(100_000), arrivals.last_ms()), (0.0, None));
        for second in 0..20 {
            arrivals.add(100_000 + 1_000 * second, 40);
        }
        assert_eq!((arrivals.per_second(119_900), arrivals.last_ms()), (40.0, Some(119_000)));
        assert_eq!(arrivals.per_second(124_000), 20.0, "half of them are silent");
        assert_eq!(arrivals.per_second(190_000), 0.0);
        assert!(arrivals.counts.len() <= SECONDS as usize + 1);
    }

    #[test]
    fn a_young_count_is_not_spread_over_time_that_was_not_seen() {
        let mut arrivals = Arrivals::since(100_000);
        arrivals.add(100_200, 30);
        arrivals.add(100_100, 30);
        assert_eq!(arrivals.per_second(100_500), 60.0);
        assert_eq!(arrivals.per_second(102_000), 20.0);
    }
}
