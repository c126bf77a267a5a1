//! Rates as classes of ticks: subscriptions of one class are painted on the same ticks, so that they need the same
//! bytes.

/// Ticks between two frames, by class: at 10 ticks per second 10, 5, 2, 1, 0.5, 0.2, 0.1 and 1/60 Hz.
const PERIODS: [u16; 8] = [1, 2, 5, 10, 20, 50, 100, 600];

/// A rate class; 0 = every tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Class(u8);

impl Class {
    /// The fastest class that is not faster than `max_hz`, or the slowest of all. `ticks_per_s` of the fan-out.
    pub(crate) fn of(max_hz: f64, ticks_per_s: f64) -> Self {
        let fits = |period: &u16| ticks_per_s / f64::from(*period) <= max_hz * 1.001;
        let class = PERIODS.iter().position(fits).unwrap_or(PERIODS.len() - 1);
        Self(class as u8)
    }

    pub(crate) fn period(self) -> u32 {
        u32::from(PERIODS[usize::from(self.0) % PERIODS.len()])
    }
}

/// Whether a frame is due on tick `now`, the last having been sent on tick `last`, both modulo 2¹⁶: a new stretch of
/// `period` ticks has begun, and at least half of one has passed. (A frame that was late does not move the next one,
/// and the next one does not follow on its heels.)
pub(crate) fn is_due(now: u32, last: u16, period: u32) -> bool {
    let since = u32::from((now as u16).wrapping_sub(last));
    let stretch_began = now % period;
    since > stretch_began && 2 * since >= period
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_never_faster_than_asked() {
        for (hz, period) in
            [(60.0, 1), (10.0, 1), (9.0, 2), (5.0, 2), (3.0, 5), (1.0, 10), (0.1, 100), (0.001, 600)]
        {
            assert_eq!(Class::of(hz, 10.0).period(), period, "{hz}");
        }
    }

    #[test]
    fn frames_come_on_the_same_ticks_whoever_was_late() {
        let sent = |late: &[u32]| {
            let (mut last, mut ticks) = (0u16, Vec::new());
            for now in 1..=60u32 {
                if !late.contains(&now) && is_due(now, last, 10) {
                    (last, ticks) = (now as u16, [ticks, vec![now]].concat());
                }
            }
            ticks
        };
        assert_eq!(sent(&[]), [10, 20, 30, 40, 50, 60]);
        assert_eq!(sent(&[20]), [10, 21, 30, 40, 50, 60]);
        let late: Vec<u32> = (20..29).collect();
        assert_eq!(sent(&late), [10, 29, 34, 40, 50, 60]);
        assert!(is_due(65_540, 65_530, 10), "ticks wrap");
        assert!((1..9).all(|now| is_due(now, now as u16 - 1, 1)));
    }
}
