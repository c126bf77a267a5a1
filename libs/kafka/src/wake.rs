//! The one bell of a worker or an appender: whoever has something for it rings, it waits, or has somebody else called.
//! Owns: one flag. A ring before the wait is not lost; many rings are one.

use evenkeel_seam::Bell;
use std::fmt;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// A flag with a wait.
#[derive(Default)]
pub(crate) struct Waker {
    rung: Mutex<bool>,
    bell: Condvar,
    beside: Mutex<Option<Bell>>,
}

impl Waker {
    /// Ends the running or the next wait.
    pub fn ring(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.bell.notify_one();
        if let Some(beside) = &*self.beside.lock().unwrap_or_else(PoisonError::into_inner) {
            beside();
        }
    }

    /// From now on every ring rings this one too.
    pub fn ring_beside(&self, bell: Bell) {
        *self.beside.lock().unwrap_or_else(PoisonError::into_inner) = Some(bell);
    }

    /// Waits up to `wait` for a ring and takes it.
    pub fn wait(&self, wait: Duration) {
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.bell.wait_timeout_while(rung, wait, |rung| !*rung);
        let (mut rung, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *rung = false;
    }
}

impl fmt::Debug for Waker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waker").field("rung", &self.rung).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn a_ring_before_the_wait_is_not_lost_and_is_taken_once() {
        let waker = Waker::default();
        waker.ring();
        waker.ring();
        let start = Instant::now();
        waker.wait(Duration::from_secs(60));
        assert!(start.elapsed() < Duration::from_secs(60));
        assert!(!*waker.rung.lock().unwrap());
    }
}
