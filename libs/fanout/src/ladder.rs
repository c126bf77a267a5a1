//! The ladder of slower rates: a connection that misses ticks is sent less often, and more often again when it keeps
//! up. Time is counted in ticks.

/// Ticks between two paints, by step.
const PERIODS: [u32; 4] = [1, 2, 5, 10];
/// So many missed ticks in a row are a slow reader.
const MISSED_MAX: u32 = 3;
/// So many ticks without a missed one earn a step back: longer than it takes to fall, so that it does not swing.
const CALM: u32 = 100;

/// A step was taken: what the client is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notice {
    /// 0 = full rate.
    pub step: u8,
    /// Ticks between two messages.
    pub period: u32,
}

/// How far down a connection is.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ladder {
    step: u8,
    missed: u8,
    calm: u8,
}

impl Ladder {
    pub(crate) fn step(self) -> u8 {
        self.step
    }

    pub(crate) fn period(self) -> u32 {
        PERIODS[usize::from(self.step).min(PERIODS.len() - 1)]
    }

    /// A tick on which there was something to send and the connection could not take it.
    pub(crate) fn missed(&mut self) -> Option<Notice> {
        self.calm = 0;
        self.missed += 1;
        if u32::from(self.missed) < MISSED_MAX {
            return None;
        }
        self.missed = 0;
        (usize::from(self.step) + 1 < PERIODS.len()).then(|| self.stand(self.step + 1))
    }

    /// A tick on which the connection was free to take something.
    pub(crate) fn kept_up(&mut self) -> Option<Notice> {
        self.missed = 0;
        if self.step == 0 {
            return None;
        }
        self.calm += 1;
        if u32::from(self.calm) < CALM {
            return None;
        }
        self.calm = 0;
        Some(self.stand(self.step - 1))
    }

    fn stand(&mut self, step: u8) -> Notice {
        self.step = step;
        Notice { step, period: self.period() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missed_ticks_go_down_and_calm_comes_up_slower() {
        let mut ladder = Ladder::default();
        let notices: Vec<Notice> = (0..30).filter_map(|_| ladder.missed()).collect();
        assert_eq!(notices.iter().map(|n| (n.step, n.period)).collect::<Vec<_>>(), [(1, 2), (2, 5), (3, 10)]);
        let ticks = (0..1000).position(|_| ladder.kept_up().is_some());
        assert_eq!(ticks, Some(99));
        assert_eq!(ladder.step(), 2);
        // One missed tick is no slow reader, but the calm begins anew.
        assert_eq!((0..50).filter_map(|_| ladder.kept_up()).count(), 0);
        assert_eq!(ladder.missed(), None);
        assert_eq!((0..99).filter_map(|_| ladder.kept_up()).count(), 0);
        assert_eq!(ladder.kept_up(), Some(Notice { step: 1, period: 2 }));
    }
}
