//! The one bell of a worker: whoever has something for it rings, the worker waits on it.
//! Owns: one flag. A ring before the wait is not lost; many rings are one.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// A flag with a wait.
#[derive(Debug, Default)]
pub(crate) struct Waker {
    rung: Mutex<bool>,
    bell: Condvar,
}

impl Waker {
    /// Ends the running or the next wait.
    pub fn ring(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.bell.notify_one();
    }

    /// Waits up to `wait` for a ring and takes it.
    pub fn wait(&self, wait: Duration) {
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.bell.wait_timeout_while(rung, wait, |rung| !*rung);
        let (mut rung, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *rung = false;
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
