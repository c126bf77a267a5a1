//! `evenkeel run`, `evenkeel query` and `evenkeel score` as a user types them: the built binary, files, a data
//! directory of its own per test, and an independent computation of what must be stored.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod case;
mod crash;
mod events;
mod faults;
mod generated;
mod lines;
mod once;
mod query;
mod recorded;
mod rows;
mod score;
