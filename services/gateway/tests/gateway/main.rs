//! The gateway over real sockets: what a client is told, and what it may not do to others. The log and the store are
//! channels, because what they say is the test's to choose.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bad;
mod client;
mod credentials;
mod drain;
mod frames;
mod keys;
mod server;
mod slow;
mod tls;
