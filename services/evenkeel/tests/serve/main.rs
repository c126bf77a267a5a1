//! `evenkeel run` and `evenkeel demo` through the real binary: HTTP in, kill -9 in mid-flight, bad input, poison
//! in the log, a full disk; every acknowledged event in exactly one stored row.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bodies;
mod disk;
mod documents;
mod live;
mod log;
mod machine;
mod poison;
mod recordings;
mod server;
mod top;
