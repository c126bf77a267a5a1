//! When the key set is fetched: every `refresh`, and at once when a token names an unknown key.
//!
//! Owns: the times. Never: two fetches within `refresh-min`, however many tokens with invented keys come. A fetch
//! that fails is repeated after twice the wait before it, up to `refresh`; meanwhile the last good keys stay.

use super::fetch::{Source, fetch};
use crate::auth::Auth;
use crate::config::JwtConfig;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// When to fetch, ms on a clock that never goes back.
#[derive(Debug)]
pub(super) struct Schedule {
    refresh_ms: u64,
    least_ms: u64,
    last_ms: Option<u64>,
    due_ms: u64,
    wait_ms: u64,
}

impl Schedule {
    /// The first fetch is due at once.
    pub(super) fn new(refresh_ms: u64, least_ms: u64) -> Self {
        Self { refresh_ms, least_ms, last_ms: None, due_ms: 0, wait_ms: least_ms }
    }

    pub(super) fn due_ms(&self) -> u64 {
        self.due_ms
    }

    /// Somebody needs a key that is not there.
    pub(super) fn wanted(&mut self) {
        let soonest_ms = self.last_ms.map_or(0, |last_ms| last_ms.saturating_add(self.least_ms));
        self.due_ms = self.due_ms.min(soonest_ms);
    }

    /// A fetch ended.
    pub(super) fn fetched(&mut self, now_ms: u64, good: bool) {
        self.last_ms = Some(now_ms);
        let wait_ms = match good {
            true => self.refresh_ms,
            false => self.wait_ms.min(self.refresh_ms),
        };
        self.wait_ms = if good { self.least_ms } else { self.wait_ms.saturating_mul(2) };
        self.due_ms = now_ms.saturating_add(wait_ms);
    }
}

impl Auth {
    /// Keeps the key set of a URL fresh, for ever; returns at once where there is none. Each fetch is `told`: that it was
    /// good, or why it was not. Cancel-safe.
    pub async fn keep_keys(
        &self,
        config: &JwtConfig,
        now_ms: &(dyn Fn() -> i64 + Send + Sync),
        told: &(dyn Fn(Result<(), &str>) + Send + Sync),
    ) {
        let Some(jwt) = self.jwt() else { return };
        let Some(source) = Source::of(config) else { return };
        let begun = Instant::now();
        let mut schedule = Schedule::new(config.refresh.ms(), config.refresh_min.ms());
        loop {
            tokio::select! {
                () = sleep_until(begun + Duration::from_millis(schedule.due_ms())) => {}
                () = jwt.wanted.notified() => {
                    schedule.wanted();
                    continue;
                }
            }
            let outcome = match fetch(&source).await {
                Ok(text) => jwt.replace(&text, now_ms()).map_err(|why| format!("the key set {why}")),
                Err(error) => Err(error.to_string()),
            };
            told(outcome.as_ref().map(|_| ()).map_err(String::as_str));
            self.changed();
            let now_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            schedule.fetched(now_ms, outcome.is_ok());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_bring_the_next_fetch_forward_but_not_without_end() {
        let mut schedule = Schedule::new(600_000, 10_000);
        assert_eq!(schedule.due_ms(), 0);
        schedule.fetched(50, true);
        assert_eq!(schedule.due_ms(), 600_050);
        for _ in 0..1000 {
            schedule.wanted();
            assert_eq!(schedule.due_ms(), 10_050);
        }
        schedule.fetched(10_060, true);
        assert_eq!(schedule.due_ms(), 610_060);
        schedule.wanted();
        assert_eq!(schedule.due_ms(), 20_060);
    }

    #[test]
    fn failures_wait_longer_each_time_and_never_longer_than_a_refresh() {
        let mut schedule = Schedule::new(60_000, 10_000);
        let waits: Vec<u64> = (0..5)
            .map(|_| {
                schedule.fetched(0, false);
                schedule.due_ms()
            })
            .collect();
        assert_eq!(waits, [10_000, 20_000, 40_000, 60_000, 60_000]);
        schedule.fetched(0, true);
        schedule.fetched(0, false);
        assert_eq!(schedule.due_ms(), 10_000);
    }
}
