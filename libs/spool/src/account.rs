//! What all buffers of a cache hold together, in memory and on disk, and each buffer's share of it.
//!
//! Owns: two sums with a limit. Never: frees anything itself; at the limit of the disk it asks the cache for
//! room ([`Room`]), and at the limit of memory a buffer spills its own pages.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

/// A sum with a limit, bytes.
#[derive(Debug)]
pub(crate) struct Quota {
    limit: u64,
    used: AtomicU64,
}

impl Quota {
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, used: AtomicU64::new(0) }
    }

    /// Takes `bytes` or nothing.
    pub(crate) fn take(&self, bytes: u64) -> bool {
        let fits = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= self.limit);
        self.used.fetch_update(Relaxed, Relaxed, fits).is_ok()
    }

    pub(crate) fn give(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Relaxed);
    }

    pub(crate) fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }

    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }
}

/// Who can make room on disk.
pub(crate) trait Room: Send + Sync {
    /// Lets one idle buffer go; false if there is none.
    fn let_one_go(&self) -> bool;
}

/// The two sums of a cache.
pub(crate) struct Budget {
    pub(crate) memory: Quota,
    pub(crate) disk: Quota,
    /// Waits of readers, of buffers that are closed.
    pub(crate) waits_closed: AtomicU64,
    pub(crate) room: OnceLock<Weak<dyn Room>>,
}

impl std::fmt::Debug for Budget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Budget")
            .field("memory", &self.memory)
            .field("disk", &self.disk)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Held {
    memory: u64,
    disk: u64,
}

/// One buffer's share; dropped, it is given back. A buffer without a cache has no account to keep.
#[derive(Debug, Default)]
pub(crate) struct Account {
    budget: Option<Arc<Budget>>,
    held: Mutex<Held>,
}

impl Account {
    /// An account that holds `memory` bytes of `budget` already.
    pub(crate) fn opened(budget: Arc<Budget>, memory: u64) -> Self {
        Self { budget: Some(budget), held: Mutex::new(Held { memory, disk: 0 }) }
    }

    /// Makes the share of memory `bytes`; growing may be refused, and then nothing changes.
    pub(crate) fn set_memory(&self, bytes: u64) -> bool {
        let Some(budget) = &self.budget else { return true };
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if bytes > held.memory && !budget.memory.take(bytes - held.memory) {
            return false;
        }
        budget.memory.give(held.memory.saturating_sub(bytes));
        held.memory = bytes;
        true
    }

    /// Takes `bytes` more of the disk, letting idle buffers go if it must; else answers use and limit.
    pub(crate) fn take_disk(&self, bytes: u64) -> Result<(), (u64, u64)> {
        let Some(budget) = &self.budget else { return Ok(()) };
        while !budget.disk.take(bytes) {
            let room = budget.room.get().and_then(Weak::upgrade);
            if bytes > budget.disk.limit() || !room.is_some_and(|room| room.let_one_go()) {
                return Err((budget.disk.used(), budget.disk.limit()));
            }
        }
        self.held.lock().unwrap_or_else(PoisonError::into_inner).disk += bytes;
        Ok(())
    }

    /// Takes `bytes` more of the disk if they are free; nobody is let go for them.
    pub(crate) fn take_free_disk(&self, bytes: u64) -> bool {
        let Some(budget) = &self.budget else { return true };
        let free = budget.disk.take(bytes);
        if free {
            self.held.lock().unwrap_or_else(PoisonError::into_inner).disk += bytes;
        }
        free
    }

    /// Gives `bytes` of the disk back: they were not written after all.
    pub(crate) fn give_disk(&self, bytes: u64) {
        if let Some(budget) = &self.budget {
            let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            let bytes = bytes.min(held.disk);
            held.disk -= bytes;
            budget.disk.give(bytes);
        }
    }

    /// Counts waits of readers that are over.
    pub(crate) fn count_waits(&self, waits: u64) {
        if let Some(budget) = &self.budget {
            budget.waits_closed.fetch_add(waits, Relaxed);
        }
    }

    /// Gives everything back.
    pub(crate) fn close(&self) {
        self.set_memory(0);
        self.give_disk(u64::MAX);
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Asked(AtomicU64);

    impl Room for Asked {
        fn let_one_go(&self) -> bool {
            self.0.fetch_add(1, Relaxed);
            false
        }
    }

    #[test]
    fn nobody_is_let_go_for_what_is_only_taken_ahead() {
        let asked = Arc::new(Asked(AtomicU64::new(0)));
        let weak = Arc::downgrade(&asked);
        let room: Weak<dyn Room> = weak;
        let budget = Arc::new(Budget {
            memory: Quota::new(10),
            disk: Quota::new(10),
            waits_closed: AtomicU64::new(0),
            room: OnceLock::from(room),
        });
        let account = Account::opened(Arc::clone(&budget), 0);
        assert!(account.take_free_disk(6) && !account.take_free_disk(5));
        assert_eq!(asked.0.load(Relaxed), 0);
        assert_eq!(account.take_disk(5), Err((6, 10)));
        assert_eq!(asked.0.load(Relaxed), 1);
        account.give_disk(2);
        assert!(account.take_free_disk(5));
        drop(account);
        assert_eq!(budget.disk.used(), 0);
    }
}
