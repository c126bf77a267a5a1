//! A recording with its files open.
//!
//! Owns: its part of the quota, when it was used last. Never: a request.

use super::about::About;
use super::quota::Quota;
use evenkeel_spool::Recording;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Whoever writes holds it; readers hold its buffer only, so that it can end when nobody writes.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) about: About,
    pub(crate) recording: Recording,
    /// What it holds of the quota, bytes; `None` when it is removed.
    charged: Mutex<Option<u64>>,
    used_ms: AtomicU64,
}

impl Opened {
    /// `charged`: what the quota has for it already, bytes.
    pub(crate) fn new(about: About, recording: Recording, charged: u64) -> Self {
        Self { about, recording, charged: Mutex::new(Some(charged)), used_ms: AtomicU64::new(0) }
    }

    /// Somebody uses it.
    pub(crate) fn touch(&self, now_ms: u64) {
        self.used_ms.store(now_ms, Relaxed);
    }

    /// When that was last, ms of the store's clock.
    pub(crate) fn used_ms(&self) -> u64 {
        self.used_ms.load(Relaxed)
    }

    /// Whether it was removed.
    pub(crate) fn is_removed(&self) -> bool {
        self.charged().is_none()
    }

    /// Gives back what was `reserved` for an append and holds what is on disk instead.
    pub(crate) fn settle(&self, quota: &Quota, reserved: u64) {
        match &mut *self.charged() {
            Some(charged) => {
                let now = self.recording.disk_bytes();
                quota.change(reserved.saturating_add(*charged), now);
                *charged = now;
            }
            None => quota.change(reserved, 0),
        }
    }

    /// It is removed: nothing of the quota is its own any more.
    pub(crate) fn discharge(&self, quota: &Quota) {
        if let Some(charged) = self.charged().take() {
            quota.change(charged, 0);
        }
    }

    fn charged(&self) -> MutexGuard<'_, Option<u64>> {
        self.charged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an append has reserved; settled when it is over in any way.
pub(crate) struct Reserved<'a> {
    pub(crate) opened: &'a Opened,
    pub(crate) quota: &'a Quota,
    pub(crate) bytes: u64,
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        self.opened.settle(self.quota, self.bytes);
    }
}
