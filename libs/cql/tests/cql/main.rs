//! Tests that need no server: the CQL subset, and every error class and start against a fake server.

mod allow_list;
mod fake;
mod faults;
mod frames;
mod starts;
