//! What can go wrong with Kafka, classified once: retry, abort, fenced, fatal.
//! Owns: the classes and the texts with a remedy. Everything else in the crate asks here.

use crate::registry::RegistryError;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use std::path::PathBuf;

/// Why a worker, appender or admin client cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody answered.
    #[error(
        "no Kafka broker answered at {brokers} within {waited_ms} ms ({last}); check that it runs, that \
         `brokers` names it, and the security settings"
    )]
    Unreachable {
        /// The configured brokers.
        brokers: String,
        /// Time waited, ms.
        waited_ms: u64,
        /// The last thing the client library said.
        last: String,
    },
    /// The brokers refuse who this is.
    #[error(
        "the Kafka broker refused the login of {user} ({reason}); check kafka.security.username, \
         kafka.security.password-file and kafka.security.mechanism"
    )]
    Login {
        /// The configured user, or `nobody`.
        user: String,
        /// What the client library said.
        reason: String,
    },
    /// The brokers' certificate, or ours, is not accepted.
    #[error(
        "no TLS connection to the Kafka broker at {brokers} within {waited_ms} ms ({reason}); check \
         kafka.security.ca-file, cert-file and key-file, and that `brokers` names hosts of its certificate"
    )]
    Tls {
        /// The configured brokers.
        brokers: String,
        /// Time waited, ms.
        waited_ms: u64,
        /// What the client library said.
        reason: String,
    },
    /// A topic is not there.
    #[error("topic {topic} does not exist; create it with `evenkeel topics create`")]
    NoTopic {
        /// Full name.
        topic: String,
    },
    /// Co-partitioned topics differ.
    #[error(
        "topic {topic} has {found} partitions, {events} has {wanted}: a record about a stream goes to the \
         same partition number in each, so they must be equal; add partitions to the smaller one before \
         it holds data, or follow docs/operations.md, \"Changing the partition count\""
    )]
    Partitions {
        /// Full name of the differing topic.
        topic: String,
        /// Its partition count.
        found: u32,
        /// Full name of the events topic.
        events: String,
        /// Its partition count.
        wanted: u32,
    },
    /// A secret cannot be read.
    #[error("cannot read the secret file {file}: {source}")]
    Secret {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The client library cannot work with these settings.
    #[error("{what}: {error}; check the keys of [kafka], kafka.security and its files first")]
    Client {
        /// What was tried.
        what: String,
        /// What was said.
        error: String,
    },
    /// Somebody newer works under this transactional id.
    #[error(
        "transactional id {id} was taken by a newer worker while this one started ({error}); start again"
    )]
    Fenced {
        /// The id.
        id: String,
        /// What the broker said.
        error: String,
    },
    /// The schemas' ids cannot be had.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// Anything else the client library or a broker refused.
    #[error("{what}: {error}")]
    Refused {
        /// What was tried.
        what: String,
        /// What was said.
        error: String,
    },
}

impl ConnectError {
    pub(crate) fn client(what: impl Into<String>, error: impl ToString) -> Self {
        Self::Client { what: what.into(), error: error.to_string() }
    }

    pub(crate) fn refused(what: impl Into<String>, error: impl ToString) -> Self {
        Self::Refused { what: what.into(), error: error.to_string() }
    }
}

/// What to do about an error of a transaction step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Do the same step again.
    Retry,
    /// Abort the transaction and recover.
    Abort,
    /// Somebody newer has this id: stop and rejoin.
    Fenced,
    /// The client cannot go on.
    Fatal,
}

/// Classifies an error of the producer.
pub(crate) fn classify(error: &KafkaError) -> Class {
    match error.rdkafka_error_code() {
        Some(Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch | Code::FencedInstanceId) => {
            return Class::Fenced;
        }
        // A transaction error may carry such a code and still ask for an abort.
        Some(Code::OperationTimedOut | Code::RequestTimedOut | Code::QueueFull) if !ends(error) => {
            return Class::Retry;
        }
        _ => {}
    }
    match error {
        KafkaError::Transaction(error) if error.is_fatal() => Class::Fatal,
        KafkaError::Transaction(error) if error.txn_requires_abort() => Class::Abort,
        KafkaError::Transaction(error) if error.is_retriable() => Class::Retry,
        // A record the broker or the client refused: the transaction cannot be whole.
        KafkaError::MessageProduction(_) | KafkaError::Flush(_) => Class::Abort,
        _ => Class::Fatal,
    }
}

/// Whether a transaction error ends the transaction or the client.
fn ends(error: &KafkaError) -> bool {
    matches!(error, KafkaError::Transaction(e) if e.is_fatal() || e.txn_requires_abort())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_one_class() {
        for (error, class) in [
            (KafkaError::MessageProduction(Code::QueueFull), Class::Retry),
            (KafkaError::MessageProduction(Code::MessageSizeTooLarge), Class::Abort),
            (KafkaError::MessageProduction(Code::Fenced), Class::Fenced),
            (KafkaError::Flush(Code::OperationTimedOut), Class::Retry),
            (KafkaError::Global(Code::Fatal), Class::Fatal),
        ] {
            assert_eq!(classify(&error), class, "{error}");
        }
    }

    #[test]
    fn a_differing_partition_count_says_what_to_do() {
        let error = ConnectError::Partitions {
            topic: "evenkeel.marks".into(),
            found: 3,
            events: "evenkeel.events".into(),
            wanted: 6,
        };
        let text = error.to_string();
        for part in ["evenkeel.marks has 3", "evenkeel.events has 6", "operations.md"] {
            assert!(text.contains(part), "{text}");
        }
    }
}
