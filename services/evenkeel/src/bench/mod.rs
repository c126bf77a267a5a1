//! `evenkeel bench`: figures from a command, as ratios or rates with machine and settings beside them. A goal's
//! target is a constant; nothing here is a test, and no test asserts speed.

pub mod coalescer;
pub mod core;
mod cpu;
mod fleet;
pub mod flush;
pub mod gateway;
pub mod ingest;
pub mod live;
mod loader;
mod report;
pub mod score;
pub mod spool;
mod topics;

pub use report::Report;

/// Whatever went wrong, for a person.
type Outcome<T> = Result<T, Box<dyn std::error::Error>>;
