//! A fixed beat on an absolute schedule: tick n is due at `start + n · interval`, whatever came before.
//!
//! Owns: the arithmetic. Never: a clock or a sleep; the caller says what time it is. A late tick does not
//! move the next one (no drift); ticks that were overrun are merged into one and counted, never made up for.

use std::time::Duration;

/// The schedule. Times are durations since an origin of the caller's choice, on a monotonic clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metronome {
    start: Duration,
    interval: Duration,
    /// Number of the next tick, from 1.
    next: u64,
}

/// A tick that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tick {
    /// Its number: the latest that is due.
    pub number: u64,
    /// How many earlier ones it stands for too.
    pub merged: u64,
    /// How late it is: now minus when the first of them was due.
    pub jitter: Duration,
    /// When tick `number` was due.
    pub due: Duration,
}

/// The interval was zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a metronome's interval must be more than zero")]
pub struct ZeroInterval;

impl Metronome {
    /// Beats from `start` on; the first tick is due one interval later.
    pub fn new(start: Duration, interval: Duration) -> Result<Self, ZeroInterval> {
        if interval.is_zero() {
            return Err(ZeroInterval);
        }
        Ok(Self { start, interval, next: 1 })
    }

    /// When the next tick is due: sleep until then.
    pub fn deadline(&self) -> Duration {
        self.due(self.next)
    }

    /// The tick that is due at `now`, if any. Not again before [`Self::deadline`].
    pub fn tick(&mut self, now: Duration) -> Option<Tick> {
        let first = self.deadline();
        let jitter = now.checked_sub(first)?;
        let passed = now.saturating_sub(self.start).as_nanos() / self.interval.as_nanos();
        let number = u64::try_from(passed).unwrap_or(u64::MAX - 1).max(self.next);
        let tick = Tick { number, merged: number - self.next, jitter, due: self.due(number) };
        self.next = number.saturating_add(1);
        Some(tick)
    }

    /// The time between two ticks.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    fn due(&self, number: u64) -> Duration {
        let nanos = self.interval.as_nanos().saturating_mul(u128::from(number));
        let since = u64::try_from(nanos / 1_000_000_000)
            .map_or(Duration::MAX, |s| Duration::new(s, (nanos % 1_000_000_000) as u32));
        self.start.saturating_add(since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn keeps_its_schedule_when_ticks_are_late() {
        let mut metronome = Metronome::new(ms(500), ms(1000)).unwrap();
        assert_eq!(metronome.deadline(), ms(1500));
        assert_eq!(metronome.tick(ms(1499)), None);
        let tick = metronome.tick(ms(1503)).unwrap();
        assert_eq!(tick, Tick { number: 1, merged: 0, jitter: ms(3), due: ms(1500) });
        // 3 ms late, and the next is due on time all the same.
        assert_eq!(metronome.deadline(), ms(2500));
        assert_eq!(metronome.tick(ms(1503)), None);
        assert_eq!(metronome.tick(ms(2500)).unwrap().jitter, ms(0));
    }

    #[test]
    fn an_overrun_is_one_tick_that_counts_the_others() {
        let mut metronome = Metronome::new(ms(0), ms(100)).unwrap();
        let tick = metronome.tick(ms(570)).unwrap();
        assert_eq!(tick, Tick { number: 5, merged: 4, jitter: ms(470), due: ms(500) });
        assert_eq!(metronome.deadline(), ms(600));
        assert_eq!(metronome.tick(ms(599)), None);
    }

    #[test]
    fn a_clock_that_steps_back_gives_no_tick() {
        let mut metronome = Metronome::new(ms(1000), ms(100)).unwrap();
        assert!(metronome.tick(ms(1100)).is_some());
        assert_eq!(metronome.tick(ms(0)), None);
        assert_eq!(metronome.deadline(), ms(1200));
    }

    #[test]
    fn no_interval_and_no_end_of_time_break_it() {
        assert_eq!(Metronome::new(ms(0), ms(0)), Err(ZeroInterval));
        let mut metronome = Metronome::new(ms(0), Duration::from_nanos(1)).unwrap();
        let tick = metronome.tick(Duration::MAX).unwrap();
        assert_eq!(tick.number, u64::MAX - 1);
        assert_eq!(metronome.tick(ms(1)), None);
    }

    proptest! {
        #[test]
        fn every_tick_is_given_or_merged_exactly_once(
            interval in 1u64..5000,
            steps in prop::collection::vec(0u64..20_000, 1..200),
        ) {
            let mut metronome = Metronome::new(ms(0), ms(interval)).unwrap();
            let (mut now, mut seen) = (0, 0);
            for step in steps {
                now += step;
                if let Some(tick) = metronome.tick(ms(now)) {
                    seen += 1 + tick.merged;
                    prop_assert_eq!(tick.number, seen);
                    prop_assert_eq!(tick.due, ms(tick.number * interval));
                }
                prop_assert_eq!(seen, now / interval);
                prop_assert!(metronome.deadline() > ms(now));
            }
        }
    }
}
