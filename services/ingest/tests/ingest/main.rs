//! Ingest over real sockets, with a log that does what a test says.

// A test that cannot go on says so by panicking; the lint's exception covers `#[test]` functions only.
#![allow(clippy::unwrap_used)]

mod bridge;
mod client;
mod drain;
mod fake;
mod faults;
mod garbage;
mod limits;
mod mosquitto;
mod mqtt;
mod mqtt_bytes;
mod mqtt_refusals;
mod openapi;
mod server;
mod verdicts;
mod websocket;
mod zstd;
