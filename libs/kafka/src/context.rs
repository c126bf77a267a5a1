//! What librdkafka's callbacks note down, for the worker to judge when it gets to it.
//! Owns: the notes. Never: acts on a revocation (the driver decides) or waits.

use crate::at_end::Stats;
use crate::survey::{Apis, api_of};
use rdkafka::bindings::rd_kafka_resp_err_t as RespErr;
use rdkafka::config::RDKafkaLogLevel as Level;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, TopicPartitionList};
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A change of the assignment.
#[derive(Debug)]
pub(crate) enum Rebalance {
    /// These partitions are ours now.
    Assigned(Vec<u32>),
    /// These partitions leave; `lost` = somebody else may own them already.
    Revoked { partitions: Vec<u32>, lost: bool },
}

/// Notes of one consumer.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// In order. librdkafka sends the next only after the last was answered, so it stays short.
    pub rebalances: VecDeque<Rebalance>,
    /// The newest statistics.
    pub stats: Option<Stats>,
    /// Why the client cannot go on.
    pub fatal: Option<String>,
    /// The last thing the client complained about.
    pub last_error: String,
    /// That thing is about TLS.
    pub last_is_tls: bool,
    /// A broker refused who we are, and what it said.
    pub login_refused: Option<String>,
    /// What the brokers can do; said only to a client that asks for it by its `debug`.
    pub apis: Apis,
    /// The consumer is leaving: revocations are carried out at once.
    pub closing: bool,
}

/// Context of the consumers: group members and recovery readers alike.
#[derive(Debug, Default)]
pub(crate) struct MemberContext {
    notes: Mutex<Notes>,
}

impl MemberContext {
    /// The notes. A panic while they were held leaves them usable: every field is whole at any time.
    pub fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for MemberContext {
    fn log(&self, level: Level, facility: &str, message: &str) {
        if let Some((api, versions)) = (facility == "APIVERSION").then(|| api_of(message)).flatten() {
            self.notes().apis.insert(api, versions);
        }
        trace_log(level, facility, message);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        match serde_json::from_slice(statistics) {
            Ok(stats) => self.notes().stats = Some(stats),
            Err(error) => tracing::debug!(%error, "librdkafka statistics cannot be read"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka client");
        let mut notes = self.notes();
        let code = error.rdkafka_error_code();
        // "All brokers are down" comes after the reason and says less.
        if notes.last_error.is_empty() || code != Some(RDKafkaErrorCode::AllBrokersDown) {
            reason.clone_into(&mut notes.last_error);
            notes.last_is_tls = code == Some(RDKafkaErrorCode::SSL);
        }
        if code == Some(RDKafkaErrorCode::Authentication) {
            notes.login_refused = Some(reason.to_owned());
        }
    }
}

impl ConsumerContext for MemberContext {
    // Partitions join librdkafka's own assignment one by one, at `Start`, each with our offset. The
    // assignment event itself is answered with nothing, at once, so that the group can go on.
    fn rebalance(&self, consumer: &BaseConsumer<Self>, error: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let partitions: Vec<u32> = list.elements().iter().map(|e| e.partition().max(0) as u32).collect();
        let nothing = TopicPartitionList::new();
        let answered = match error {
            RespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                self.notes().rebalances.push_back(Rebalance::Assigned(partitions));
                consumer.incremental_assign(&nothing)
            }
            RespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS if self.notes().closing => {
                consumer.assignment().and_then(|all| consumer.incremental_unassign(&all))
            }
            RespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS if partitions.is_empty() => {
                consumer.incremental_unassign(&nothing)
            }
            RespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => {
                let lost = consumer.assignment_lost();
                self.notes().rebalances.push_back(Rebalance::Revoked { partitions, lost });
                Ok(())
            }
            other => Err(KafkaError::Rebalance(other.into())),
        };
        if let Err(error) = answered {
            self.notes().fatal = Some(format!("the group's rebalance failed: {error}"));
        }
    }
}

/// librdkafka's log lines, into ours.
pub(crate) fn trace_log(level: Level, facility: &str, message: &str) {
    match level {
        Level::Emerg | Level::Alert | Level::Critical | Level::Error => {
            // Refused connections come as errors here, many times: the caller reports what matters.
            tracing::warn!(target: "librdkafka", facility, "{message}");
        }
        Level::Warning | Level::Notice => tracing::info!(target: "librdkafka", facility, "{message}"),
        Level::Info | Level::Debug => tracing::debug!(target: "librdkafka", facility, "{message}"),
    }
}
