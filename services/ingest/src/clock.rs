//! Whether this machine's clock, which stamps arrivals for a whole fleet, agrees with the log's: a state machine
//! without clock.
//!
//! Owns: when to ask, and what an answer means. Never: corrects a clock, or calls one wrong because an answer was
//! slow: only what lies outside the time of question and answer counts.
//! Keeps: recovery.md "Ingest": one server a week ahead would make everybody's events `too_old`.

/// The settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockLimits {
    /// Most that the two clocks may differ, ms.
    pub slack_ms: u64,
    /// Time between two questions, ms.
    pub every_ms: u64,
}

/// What the log answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogTime {
    /// This machine's clock when it was asked, ms since the epoch.
    pub asked_ms: i64,
    /// This machine's clock when the answer was there, ms since the epoch.
    pub heard_ms: i64,
    /// The log's clock at some moment between the two, ms since the epoch.
    pub log_ms: i64,
}

/// What an answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockVerdict {
    /// Own clock minus the log's, ms: the best guess.
    pub offset_ms: i64,
    /// How far the clocks surely differ, ms; 0 = they may agree.
    pub surely_ms: u64,
    /// Past the slack.
    pub wrong: bool,
}

/// When to ask, and what answers mean.
#[derive(Debug)]
pub struct ClockCheck {
    limits: ClockLimits,
    due_ms: u64,
}

impl ClockCheck {
    /// The first question is due at once.
    pub const fn new(limits: ClockLimits) -> Self {
        Self { limits, due_ms: 0 }
    }

    /// When the next question is due, ms on the caller's monotonic clock.
    pub const fn due_ms(&self) -> u64 {
        self.due_ms
    }

    /// Whether to ask at `now_ms` (monotonic).
    pub fn tick(&mut self, now_ms: u64) -> bool {
        let due = self.due_ms <= now_ms;
        if due {
            self.due_ms = now_ms.saturating_add(self.limits.every_ms.max(1));
        }
        due
    }

    /// What an answer means.
    pub fn judge(&self, time: &LogTime) -> ClockVerdict {
        let LogTime { asked_ms, heard_ms, log_ms } = *time;
        let heard_ms = heard_ms.max(asked_ms); // stepped back in between: then nothing is sure but the question
        let middle = asked_ms.midpoint(heard_ms);
        let surely_ms = match log_ms {
            early if early < asked_ms => asked_ms.abs_diff(early),
            late if late > heard_ms => late.abs_diff(heard_ms),
            _ => 0,
        };
        let offset_ms = middle.saturating_sub(log_ms);
        ClockVerdict { offset_ms, surely_ms, wrong: surely_ms > self.limits.slack_ms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: i64 = 1_700_000_000_000;
    const LIMITS: ClockLimits = ClockLimits { slack_ms: 60_000, every_ms: 60_000 };

    fn verdict(own_ahead_ms: i64, took_ms: i64) -> ClockVerdict {
        let asked_ms = NOON + own_ahead_ms;
        let time = LogTime { asked_ms, heard_ms: asked_ms + took_ms, log_ms: NOON + took_ms / 2 };
        ClockCheck::new(LIMITS).judge(&time)
    }

    #[test]
    fn a_clock_is_wrong_past_the_slack_on_either_side() {
        assert_eq!(verdict(0, 10), ClockVerdict { offset_ms: 0, surely_ms: 0, wrong: false });
        assert!(!verdict(60_000, 0).wrong && !verdict(-60_000, 0).wrong);
        assert!(verdict(60_001, 0).wrong && verdict(-60_001, 0).wrong);
        let week = verdict(7 * 86_400_000, 20);
        assert!(week.wrong && week.offset_ms == 7 * 86_400_000, "{week:?}");
    }

    #[test]
    fn a_slow_answer_makes_no_clock_wrong() {
        assert_eq!(verdict(60_000, 120_000).surely_ms, 0);
        assert!(verdict(200_000, 120_000).wrong);
        // Our clock was set back a day while we waited: only the time of the question is sure.
        let stepped = LogTime { asked_ms: NOON, heard_ms: NOON - 86_400_000, log_ms: NOON + 5 };
        assert_eq!(ClockCheck::new(LIMITS).judge(&stepped).surely_ms, 5);
    }

    #[test]
    fn nonsense_from_either_clock_is_wrong_and_no_overflow() {
        let check = ClockCheck::new(LIMITS);
        for (own, log) in [(i64::MAX, i64::MIN), (i64::MIN, i64::MAX), (NOON, -1)] {
            assert!(check.judge(&LogTime { asked_ms: own, heard_ms: own, log_ms: log }).wrong);
        }
    }

    #[test]
    fn it_is_asked_at_once_and_then_each_time_the_interval_has_passed() {
        let mut check = ClockCheck::new(LIMITS);
        assert!(check.tick(5) && !check.tick(60_004) && check.tick(60_005));
        assert_eq!(check.due_ms(), 120_005);
    }
}
