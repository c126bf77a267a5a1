//! How often one event may be written to the log, so that bad input cannot flood it.
//!
//! Owns: a bounded table of what was written when. Never: the metric: it counts each time. A key (a stream,
//! a client) gets its own line per period while the table has room; past [`KEYS_MAX`] all other keys of an
//! event share one line per period.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Most keys remembered.
pub const KEYS_MAX: usize = 1024;

/// Time between two searches of a full table for lines that may be forgotten.
const SEARCH_PAUSE: Duration = Duration::from_secs(1);

/// May a line be written?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Write it, and say how many like it were left out since the last one.
    Write {
        /// Lines left out.
        suppressed: u64,
    },
    /// Leave it out.
    Quiet,
}

/// The table.
#[derive(Debug, Default)]
pub struct LogLimiter {
    /// Random per process: which keys collide cannot be chosen from outside.
    hasher: RandomState,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    lines: HashMap<(&'static str, u64), Line>,
    /// Not looked through for old lines before: a flood of keys must not cost a search each.
    search_at: Option<Instant>,
}

#[derive(Debug)]
struct Line {
    written: Instant,
    period: Duration,
    suppressed: u64,
}

impl LogLimiter {
    /// Asks for one line of `event` about `key` (empty = about the event as such), at most one per `period`.
    pub fn ask(&self, now: Instant, event: &'static str, key: &str, period: Duration) -> Verdict {
        if period.is_zero() {
            return Verdict::Write { suppressed: 0 };
        }
        let mut id = (event, self.hasher.hash_one(key));
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if !table.lines.contains_key(&id) && !table.has_room(now) {
            // Bounded all the same: one more entry per declared event.
            id = (event, 0);
        }
        let lines = &mut table.lines;
        let fresh = Line { written: now, period, suppressed: 0 };
        let Some(line) = lines.get_mut(&id) else {
            lines.insert(id, fresh);
            return Verdict::Write { suppressed: 0 };
        };
        if now.saturating_duration_since(line.written) < line.period {
            line.suppressed = line.suppressed.saturating_add(1);
            return Verdict::Quiet;
        }
        let suppressed = line.suppressed;
        *line = fresh;
        Verdict::Write { suppressed }
    }

    /// Keys remembered now.
    pub fn len(&self) -> usize {
        self.table.lock().unwrap_or_else(PoisonError::into_inner).lines.len()
    }

    /// Whether nothing was asked yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Table {
    /// Room for one more key, made by forgetting lines older than their period.
    fn has_room(&mut self, now: Instant) -> bool {
        if self.lines.len() < KEYS_MAX {
            return true;
        }
        if self.search_at.is_some_and(|at| now < at) {
            return false;
        }
        self.lines.retain(|_, line| now.saturating_duration_since(line.written) < line.period);
        self.search_at = Some(now + SEARCH_PAUSE);
        self.lines.len() < KEYS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(10);

    #[test]
    fn one_line_per_period_then_says_how_many_were_left_out() {
        let limiter = LogLimiter::default();
        let start = Instant::now();
        assert_eq!(limiter.ask(start, "e", "a", PERIOD), Verdict::Write { suppressed: 0 });
        for i in 1..10 {
            assert_eq!(limiter.ask(start + Duration::from_secs(i), "e", "a", PERIOD), Verdict::Quiet);
        }
        assert_eq!(limiter.ask(start, "e", "b", PERIOD), Verdict::Write { suppressed: 0 });
        assert_eq!(limiter.ask(start, "f", "a", PERIOD), Verdict::Write { suppressed: 0 });
        assert_eq!(limiter.ask(start + PERIOD, "e", "a", PERIOD), Verdict::Write { suppressed: 9 });
        assert_eq!(limiter.ask(start + PERIOD, "e", "a", PERIOD), Verdict::Quiet);
    }

    #[test]
    fn zero_means_no_limit() {
        let limiter = LogLimiter::default();
        for _ in 0..5 {
            let verdict = limiter.ask(Instant::now(), "e", "", Duration::ZERO);
            assert_eq!(verdict, Verdict::Write { suppressed: 0 });
        }
        assert!(limiter.is_empty());
    }

    #[test]
    fn a_flood_of_keys_stays_bounded_and_shares_one_line() {
        let limiter = LogLimiter::default();
        let now = Instant::now();
        let mut written = 0;
        for i in 0..100_000 {
            written += u32::from(limiter.ask(now, "e", &i.to_string(), PERIOD) != Verdict::Quiet);
        }
        assert_eq!(written as usize, KEYS_MAX + 1);
        assert_eq!(limiter.len(), KEYS_MAX + 1);
        // Once the lines are old they make room.
        assert_ne!(limiter.ask(now + PERIOD, "e", "new", PERIOD), Verdict::Quiet);
        assert_eq!(limiter.len(), 1);
    }
}
