//! The latest value of something, seen by others.
//!
//! Owns: one value behind a lock that is held for a copy. Never: a history, a wait for the next value.

use std::sync::{Arc, Mutex, PoisonError};

/// A value that one thread sets and others look at: what a worker says of itself after each tick.
#[derive(Debug, Clone, Default)]
pub struct Latest<T>(Arc<Mutex<T>>);

impl<T: Clone> Latest<T> {
    /// What was set last.
    pub fn get(&self) -> T {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes the place of what was there.
    pub fn set(&self, value: T) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = value;
    }
}
