//! Tests that need no server: the CQL subset, and every error class and start against a fake server.

#![allow(clippy::unwrap_used)] // helpers of tests fail as tests do

mod allow_list;
mod fake;
mod faults;
mod frames;
mod starts;
