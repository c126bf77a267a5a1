//! How many actions may be in flight: additive increase, multiplicative decrease.
//!
//! ```text
//!  limit ──(limit good answers)──► limit + 1 … max        one cut per round: answers to actions that were
//!  limit ──(slow or away)────────► limit / 2 … min        sent before the last cut do not cut again
//! ```

/// What an answer says about the store's load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// Answered in time.
    Good,
    /// Timed out, overloaded or away.
    Strained,
    /// Says nothing about load (refused, expired).
    Neutral,
}

/// The limit, and the round in which each action was sent.
#[derive(Debug)]
pub(crate) struct InFlight {
    limit: u32,
    min: u32,
    max: u32,
    good: u32,
    round: u64,
}

impl InFlight {
    /// `start ≤ max`; the floor is an eighth of the start, at least 1.
    pub fn new(start: u32, max: u32) -> Self {
        let start = start.clamp(1, max.max(1));
        Self { limit: start, min: (start / 8).max(1), max: max.max(1), good: 0, round: 0 }
    }

    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// To be kept with an action that is sent now.
    pub fn round(&self) -> u64 {
        self.round
    }

    /// An action sent in `round` was answered.
    pub fn answered(&mut self, round: u64, signal: Signal) {
        match signal {
            Signal::Neutral => {}
            Signal::Strained if round < self.round => {}
            Signal::Strained => {
                self.limit = (self.limit / 2).max(self.min);
                self.good = 0;
                self.round += 1;
            }
            Signal::Good => {
                self.good += 1;
                if self.good >= self.limit {
                    self.good = 0;
                    self.limit = (self.limit + 1).min(self.max);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rises_by_one_per_round_and_stops_at_the_limit() {
        let mut window = InFlight::new(32, 34);
        for _ in 0..32 {
            window.answered(0, Signal::Good);
        }
        assert_eq!(window.limit(), 33);
        for _ in 0..200 {
            window.answered(0, Signal::Good);
        }
        assert_eq!(window.limit(), 34);
    }

    #[test]
    fn one_cut_per_round_however_many_fail() {
        let mut window = InFlight::new(32, 64);
        let sent_in = window.round();
        for _ in 0..32 {
            window.answered(sent_in, Signal::Strained);
        }
        assert_eq!(window.limit(), 16);
        window.answered(window.round(), Signal::Strained);
        assert_eq!(window.limit(), 8);
    }

    #[test]
    fn never_below_the_floor_nor_moved_by_neutral_answers() {
        let mut window = InFlight::new(32, 64);
        for _ in 0..20 {
            window.answered(window.round(), Signal::Strained);
        }
        assert_eq!(window.limit(), 4);
        for _ in 0..99 {
            window.answered(window.round(), Signal::Neutral);
        }
        assert_eq!(window.limit(), 4);
        assert_eq!(InFlight::new(0, 0).limit(), 1);
    }
}
