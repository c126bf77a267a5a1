//! How to reach Kafka and how to behave towards it: one struct, kebab-case, unknown keys refused.
//! Owns: defaults and their reasons, the translation into librdkafka's settings. Never: a connection.

use crate::{ByteSize, ConnectError, Millis, SchemaRegistry, Security};
use evenkeel_model::Topic;
use rdkafka::ClientConfig;
use serde::{Deserialize, Serialize};

/// The `[kafka]` part of a service's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct KafkaConfig {
    /// Bootstrap brokers, `host:port` separated by commas.
    pub brokers: String,
    /// Prefix of every topic: `<prefix>.events` …
    pub prefix: String,
    /// Consumer group; without one the service's own name is used: `<prefix>.<service>`.
    pub group: Option<String>,
    /// Name of this client in the brokers' logs and quotas, and the stem of transactional ids.
    pub client_id: String,
    /// How group members agree on who reads what.
    pub group_protocol: GroupProtocol,
    /// Compression of produced batches.
    pub compression: Compression,
    /// Names of topics that differ from `<prefix>.<name>`.
    pub topic_names: TopicNames,
    /// Authentication and encryption.
    pub security: Security,
    /// Where the ids of schemas come from, for records in Confluent framing.
    pub schema_registry: SchemaRegistry,
    /// How long to wait for what.
    pub timeouts: Timeouts,
    /// Bounds of the client's buffers.
    pub limits: Limits,
}

/// How group members agree on who reads what (the crate's documentation says why classic is the default).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GroupProtocol {
    /// The classic protocol with cooperative rebalancing.
    #[default]
    Classic,
    /// KIP-848: the broker assigns; session and heartbeat times are the broker's settings.
    Consumer,
}

/// Compression of produced batches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compression {
    /// None.
    #[default]
    None,
    /// LZ4.
    Lz4,
    /// Zstandard.
    Zstd,
}

/// Full topic names; `None` = `<prefix>.<name>`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct TopicNames {
    /// Instead of `<prefix>.events`.
    pub events: Option<String>,
    /// Instead of `<prefix>.windows`.
    pub windows: Option<String>,
    /// Instead of `<prefix>.dlq`.
    pub dlq: Option<String>,
    /// Instead of `<prefix>.marks`.
    pub marks: Option<String>,
    /// Instead of `<prefix>.scores`.
    pub scores: Option<String>,
    /// Instead of `<prefix>.alerts`.
    pub alerts: Option<String>,
    /// Instead of `<prefix>.clock`.
    pub clock: Option<String>,
}

/// How long to wait for what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Timeouts {
    /// For the first answer of a broker at start.
    pub connect: Millis,
    /// One blocking call (lookups, one attempt of a transaction step).
    pub call: Millis,
    /// A transaction the broker has not heard of for so long is aborted; an open one blocks every
    /// read_committed reader of its partitions, so it is short.
    pub transaction: Millis,
    /// Brokers may be away so long while a commit or a recovery waits; then the worker stops.
    pub outage: Millis,
    /// A committed offset may stay unstable so long before the last writer is fenced.
    pub unstable: Millis,
    /// Classic protocol: a member that is silent so long is dead.
    pub session: Millis,
    /// Classic protocol: how soon members notice a rebalance.
    pub heartbeat: Millis,
    /// A member that does not poll, or does not release what was revoked, for so long is dead.
    pub poll_interval: Millis,
    /// An append that is not acknowledged after so long has failed.
    pub append: Millis,
    /// The broker holds a fetch so long when there is nothing; also how fine "end of the log" is.
    pub fetch_wait: Millis,
    /// Leaving the group at shutdown.
    pub close: Millis,
    /// How soon a topic that grew, or moved, is noticed without a reason to look.
    pub metadata: Millis,
}

/// Bounds of the client's buffers. Full fetch buffers pause fetching; a full append buffer refuses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Limits {
    /// Fetched and not yet handed over, per consumer; a worker has the main one, and up to two more
    /// while it recovers.
    pub fetch_memory: ByteSize,
    /// Outputs of one transaction in the producer's queue.
    pub output_memory: ByteSize,
    /// Appended and not yet acknowledged.
    pub append_memory: ByteSize,
    /// Largest record.
    pub record_max: ByteSize,
}

impl Default for KafkaConfig {
    fn default() -> Self {
        Self {
            brokers: "127.0.0.1:9092".into(),
            prefix: "evenkeel".into(),
            group: None,
            client_id: "evenkeel".into(),
            group_protocol: GroupProtocol::default(),
            compression: Compression::default(),
            topic_names: TopicNames::default(),
            security: Security::default(),
            schema_registry: SchemaRegistry::default(),
            timeouts: Timeouts::default(),
            limits: Limits::default(),
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Millis::new(10_000),
            call: Millis::new(5_000),
            transaction: Millis::new(10_000),
            outage: Millis::new(60_000),
            unstable: Millis::new(1_000),
            session: Millis::new(6_000),
            heartbeat: Millis::new(500),
            poll_interval: Millis::new(60_000),
            append: Millis::new(30_000),
            fetch_wait: Millis::new(100),
            close: Millis::new(5_000),
            metadata: Millis::new(60_000),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            fetch_memory: ByteSize::new(64 << 20),
            output_memory: ByteSize::new(256 << 20),
            append_memory: ByteSize::new(64 << 20),
            record_max: ByteSize::new(1_000_000),
        }
    }
}

/// Which records a consumer sees, and whose offsets it trusts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Isolation {
    /// Committed records only; offsets of open transactions count as unstable.
    Committed,
    /// Everything; the last committed offset even while a transaction is open.
    Uncommitted,
}

impl KafkaConfig {
    /// The full name of a topic.
    pub fn topic(&self, topic: Topic) -> String {
        let named = match topic {
            Topic::Events => &self.topic_names.events,
            Topic::Windows => &self.topic_names.windows,
            Topic::Dlq => &self.topic_names.dlq,
            Topic::Marks => &self.topic_names.marks,
            Topic::Scores => &self.topic_names.scores,
            Topic::Alerts => &self.topic_names.alerts,
        };
        named.clone().unwrap_or_else(|| format!("{}.{topic}", self.prefix))
    }

    /// The full name of the topic that tells the brokers' time.
    pub fn clock_topic(&self) -> String {
        self.topic_names.clock.clone().unwrap_or_else(|| format!("{}.clock", self.prefix))
    }

    /// The consumer group of a service.
    pub fn group_of(&self, service: &str) -> String {
        self.group.clone().unwrap_or_else(|| format!("{}.{service}", self.prefix))
    }

    /// What every client needs.
    pub(crate) fn client(&self) -> Result<ClientConfig, ConnectError> {
        let mut client = ClientConfig::new();
        client
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", &self.client_id)
            .set("allow.auto.create.topics", "false")
            .set("socket.keepalive.enable", "true")
            .set("topic.metadata.refresh.interval.ms", self.timeouts.metadata.ms().max(10).to_string())
            // Back within a second of the broker's return; the default grows to 10 s.
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "1000")
            // 1–5 ms: each step of a transaction retries while the broker finishes the one before.
            .set("retry.backoff.ms", "2");
        self.security.apply(&mut client)?;
        Ok(client)
    }

    /// A consumer. Offsets are committed by transactions only, and a position the log no longer holds is
    /// an error for us to judge, not a reason to jump.
    pub(crate) fn consumer(&self, group: &str, isolation: Isolation) -> Result<ClientConfig, ConnectError> {
        let mut client = self.client()?;
        let fetch_kib = (self.limits.fetch_memory.bytes() >> 10).clamp(1, 2_097_151);
        let isolation = match isolation {
            Isolation::Committed => "read_committed",
            Isolation::Uncommitted => "read_uncommitted",
        };
        client
            .set("group.id", group)
            .set("isolation.level", isolation)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            // Not `enable.partition.eof`: librdkafka's batch call counts the end-of-partition message as
            // consumed, and a pause (each rebalance pauses) then skips the next record. See at_end.rs.
            .set("enable.partition.eof", "false")
            .set("fetch.wait.max.ms", self.timeouts.fetch_wait.ms().to_string())
            .set("fetch.error.backoff.ms", "50")
            // Together four times the throughput: fetch ahead up to the memory bound, look again soon.
            .set("queued.min.messages", "1000000")
            .set("queued.max.messages.kbytes", fetch_kib.to_string())
            .set("fetch.queue.backoff.ms", "10");
        Ok(client)
    }

    /// Statistics as often as fetches are answered, for at_end.rs. Only for clients whose events are
    /// served all the time.
    pub(crate) fn watch(&self, client: &mut ClientConfig) {
        client.set("statistics.interval.ms", self.timeouts.fetch_wait.ms().max(50).to_string());
    }

    /// The member of a consumer group.
    pub(crate) fn member(&self, group: &str) -> Result<ClientConfig, ConnectError> {
        let mut client = self.consumer(group, Isolation::Committed)?;
        self.watch(&mut client);
        client.set("max.poll.interval.ms", self.timeouts.poll_interval.ms().to_string());
        match self.group_protocol {
            GroupProtocol::Classic => client
                .set("partition.assignment.strategy", "cooperative-sticky")
                .set("session.timeout.ms", self.timeouts.session.ms().to_string())
                .set("heartbeat.interval.ms", self.timeouts.heartbeat.ms().to_string()),
            GroupProtocol::Consumer => client.set("group.protocol", "consumer"),
        };
        Ok(client)
    }

    /// A producer without a transaction.
    pub(crate) fn producer(&self, memory: ByteSize) -> Result<ClientConfig, ConnectError> {
        let mut client = self.client()?;
        let queue_kib = (memory.bytes() >> 10).clamp(1, 2_097_151);
        client
            .set("enable.idempotence", "true")
            .set("acks", "all")
            // Batching is decided before the records get here.
            .set("linger.ms", "0")
            .set("message.max.bytes", self.limits.record_max.bytes().to_string())
            .set("queue.buffering.max.messages", "1000000")
            .set("queue.buffering.max.kbytes", queue_kib.to_string())
            .set(
                "compression.type",
                match self.compression {
                    Compression::None => "none",
                    Compression::Lz4 => "lz4",
                    Compression::Zstd => "zstd",
                },
            );
        Ok(client)
    }

    /// A producer with transactions.
    pub(crate) fn transactional(&self, id: &str) -> Result<ClientConfig, ConnectError> {
        let mut client = self.producer(self.limits.output_memory)?;
        client
            // All outputs of a tick come at once: a few large requests instead of one as soon as the first
            // record is there. Full batches go at once all the same.
            .set("linger.ms", "5")
            .set("transactional.id", id)
            .set("transaction.timeout.ms", self.timeouts.transaction.ms().to_string());
        Ok(client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_is_the_default_and_unknown_keys_are_refused() {
        assert_eq!(toml::from_str::<KafkaConfig>("").unwrap(), KafkaConfig::default());
        let error = toml::from_str::<KafkaConfig>("borkers = 'x:1'").unwrap_err().to_string();
        assert!(error.contains("borkers") && error.contains("brokers"), "{error}");
        assert!(toml::from_str::<KafkaConfig>("[timeouts]\nconnect = 'soon'").is_err());
    }

    #[test]
    fn topics_take_the_prefix_unless_named() {
        let config: KafkaConfig = toml::from_str("prefix = 'acme'\n[topic-names]\ndlq = 'dead'").unwrap();
        assert_eq!(config.topic(Topic::Events), "acme.events");
        assert_eq!(config.topic(Topic::Dlq), "dead");
        assert_eq!(config.group_of("sink"), "acme.sink");
    }

    #[test]
    fn kip_848_sets_none_of_the_classic_times() {
        let config = KafkaConfig { group_protocol: GroupProtocol::Consumer, ..KafkaConfig::default() };
        let member = config.member("g").unwrap();
        assert_eq!(member.get("group.protocol"), Some("consumer"));
        for key in ["session.timeout.ms", "heartbeat.interval.ms", "partition.assignment.strategy"] {
            assert_eq!(member.get(key), None, "{key}");
        }
    }
}
