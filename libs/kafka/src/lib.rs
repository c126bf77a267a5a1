//! The Kafka log: the only crate that names rdkafka.
//!
//! Owns: [`KafkaWorker`] (consumer group member + transactional producer), [`KafkaAppender`] (idempotent
//! appends), [`topics`] (what must exist, created and compared). Never: what a record means (codec), when
//! a window closes (window). Keeps: one transaction per commit with offsets and the way back in it
//! (docs/recovery.md); nothing of a partition flows before `Start`; one outcome per commit and per ticket.
//!
//! Threads of a worker: the caller's (poll + driver), `kafka-txn` for the blocking transaction calls, and
//! `kafka-scout` for the blocking lookups of a newly assigned partition, so that the others keep ticking; and once
//! something is sent beside transactions, that producer's own.
//!
//! Group protocol: the classic one with cooperative rebalancing is the default, KIP-848 is a setting; both
//! pass the same handover test. Measured on a broker with its default settings, three runs: from a member's
//! close to its partitions' `Assigned` elsewhere 0.43 s classic, 4.0 s KIP-848; from a join to the first
//! `Assigned` 1.1 s and 5.0 s. Classic wins because heartbeat and session timeout are the client's to set;
//! with KIP-848 both are the broker's (5 s and 45 s), so a killed worker is also missed for 45 s, not 6.

mod appender;
mod at_end;
mod config;
mod connect;
mod context;
mod delivered;
mod error;
#[cfg(feature = "faults")]
pub mod faults;
mod flow;
mod follower;
mod held;
mod native;
mod reader;
mod records;
mod registry;
mod rights;
mod scout;
mod security;
mod sender;
mod survey;
mod tail;
pub mod topics;
mod txn;
mod units;
mod wake;
mod worker;

pub use appender::KafkaAppender;
pub use config::{Compression, GroupProtocol, KafkaConfig, Limits, Timeouts, TopicNames};
pub use error::ConnectError;
pub use registry::{RegistryError, SchemaRegistry};
pub use rights::TopicRights;
pub use security::{SaslMechanism, Security, SecurityProtocol};
pub use survey::{Apis, ClockReading, Survey, TopicFacts, TopicState, TopicSurvey, survey, survey_registry};
pub use tail::{KafkaTail, TailRecords};
pub use units::{ByteSize, Millis, UnitError};
pub use worker::{KafkaWorker, WorkerOptions};

/// Where the client logs an error for every consumer that was closed before it was dropped, as each of ours is. What
/// else it has to say there comes to us as values. For a log filter.
pub const NOISY_LOG_TARGET: &str = "rdkafka::consumer::base_consumer";
