//! The lock and the threads of [`crate::gate`]: the standard ones, and in this crate's unit tests those of a
//! scheduler that tries many interleavings.
//!
//! Owns: the choice. Never: anything that the two do not both have.

#[cfg(test)]
pub(crate) use shuttle::{
    sync::{Mutex, MutexGuard},
    thread::{Thread, current, park},
};
#[cfg(not(test))]
pub(crate) use std::{
    sync::{Mutex, MutexGuard},
    thread::{Thread, current, park},
};
