//! What all recordings together may take on disk, and how many there may be.
//!
//! Owns: two sums with limits. Never: a file; the sums follow what the store tells.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A sum with a limit.
#[derive(Debug)]
pub(crate) struct Quota {
    limit: u64,
    used: AtomicU64,
}

impl Quota {
    /// `used` was there before.
    pub(crate) fn new(limit: u64, used: u64) -> Self {
        Self { limit, used: AtomicU64::new(used) }
    }

    /// Takes so much more, or nothing.
    pub(crate) fn take(&self, more: u64) -> bool {
        let fits = |used: u64| used.checked_add(more).filter(|sum| *sum <= self.limit);
        self.used.fetch_update(Relaxed, Relaxed, fits).is_ok()
    }

    /// What was held as `old` is `new` now. It is there, so it is not asked whether it fits.
    pub(crate) fn change(&self, old: u64, new: u64) {
        let changed = |used: u64| Some(used.saturating_sub(old).saturating_add(new));
        let _ = self.used.fetch_update(Relaxed, Relaxed, changed); // never refuses
    }

    pub(crate) fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }

    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_up_to_its_limit_and_follows_what_is_there() {
        let quota = Quota::new(10, 4);
        assert!(quota.take(6) && !quota.take(1));
        quota.change(6, 2);
        assert_eq!(quota.used(), 6);
        assert!(quota.take(4) && !quota.take(u64::MAX));
        quota.change(0, 5); // found on disk, beyond the limit
        assert!(!quota.take(0) && quota.used() == 15);
    }
}
