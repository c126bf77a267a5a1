//! The real binary as separate processes over a real Kafka and a real Cassandra, and everything that goes wrong
//! around them: poison in the topics, a log that was cut or has grown, servers away at the start and in the
//! middle, wrong logins, a wrong clock; and the trace that leads through all of them. One binary, so one shared broker and one shared store; a test that kills one has its own.
//! docs/faults.md names each of these tests.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "faults/clock.rs"]
mod clock;
#[path = "faults/collector.rs"]
mod collector;
#[path = "faults/cut.rs"]
mod cut;
#[path = "faults/doctor.rs"]
mod doctor;
#[path = "faults/foreign.rs"]
mod foreign;
#[path = "faults/frames.rs"]
mod frames;
#[path = "faults/gateway.rs"]
mod gateway;
#[path = "faults/load.rs"]
mod load;
#[path = "faults/logins.rs"]
mod logins;
#[path = "faults/otelcol.rs"]
mod otelcol;
#[path = "faults/outages.rs"]
mod outages;
#[path = "faults/partitions.rs"]
mod partitions;
#[path = "faults/poison.rs"]
mod poison;
#[path = "faults/registry.rs"]
mod registry;
#[path = "faults/site.rs"]
mod site;
#[path = "faults/topics.rs"]
mod topics;
#[path = "faults/traces.rs"]
mod traces;
