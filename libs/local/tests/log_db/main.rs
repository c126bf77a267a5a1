//! `log.db` as a whole: against a plain model, and what retention and compaction take.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod machine;
mod model;
mod property;
mod retention;
mod tail;
