//! The Kafka log against a real broker: the contract suite, and what only Kafka has (protocols, outages,
//! topics, sessions). One binary, so one broker.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "kafka_log/contract.rs"]
mod contract;
#[path = "kafka_log/edges.rs"]
mod edges;
#[path = "kafka_log/flow.rs"]
mod flow;
#[path = "kafka_log/group.rs"]
mod group;
#[path = "kafka_log/member.rs"]
mod member;
