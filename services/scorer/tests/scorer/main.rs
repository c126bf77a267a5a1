//! Whole runs over files, and the threads of the asynchronous mode against the same queue in virtual time.
#![allow(clippy::unwrap_used)]

mod case;
mod faults;
mod files;
mod live;
mod queue;
