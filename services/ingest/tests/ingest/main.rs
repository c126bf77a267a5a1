//! Ingest over real sockets, with a log that does what a test says.

// A test that cannot go on says so by panicking; the lint's exception covers `#[test]` functions only.
#![allow(clippy::unwrap_used)]

mod authority;
mod bridge;
mod client;
mod container;
mod drain;
mod fake;
mod faults;
mod frames;
mod garbage;
mod issuer;
mod jwt;
mod limits;
mod mosquitto;
mod mqtt;
mod mqtt_bytes;
mod mqtt_refusals;
mod openapi;
mod quotas;
mod recordings;
mod recordings_ingest;
mod recordings_retention;
mod reload;
mod server;
mod storm;
mod tls;
mod traces;
mod verdicts;
mod websocket;
mod zstd;
