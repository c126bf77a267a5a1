//! The Kafka log against a real broker: exactly once, recovery reads, rebalance, faults. One binary, so one
//! broker.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "kafka_log/commit.rs"]
mod commit;
#[path = "kafka_log/edges.rs"]
mod edges;
#[path = "kafka_log/flow.rs"]
mod flow;
#[path = "kafka_log/group.rs"]
mod group;
#[path = "kafka_log/member.rs"]
mod member;
