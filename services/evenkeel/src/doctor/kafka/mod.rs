//! Findings about Kafka: who answers, topics and their copies, rights, clock.

mod judge;
#[cfg(test)]
mod tests;
mod words;

use super::facts::{Cluster, Part, Trouble};
use evenkeel_model::Topic;
pub use judge::judge;

/// ConsumerGroupHeartbeat (KIP-848): every broker offers it from Kafka 4.0 on.
const CONSUMER_GROUP_HEARTBEAT: i16 = 68;

/// A right on a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Fetch.
    Read,
    /// Append.
    Write,
}

/// Everything that may be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// Nobody to talk to.
    NoKafka(Trouble),
    /// Of the cluster as a whole.
    Cluster(OfCluster),
    /// Of one topic.
    Topic(String, OfTopic),
    /// Of one topic's copies.
    Copies(String, OfCopies),
}

/// What may be wrong with the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OfCluster {
    /// The broker cannot fence as exactness needs it.
    TooOld,
    /// The broker does not say what it can do.
    VersionUnknown,
    /// KIP-848 is asked for and not there.
    NoKip848,
    /// One broker holds everything.
    OneBroker,
    /// The brokers do not tell rights.
    RightsUnknown,
    /// Clocks differ.
    ClockWrong { by_ms: u64, slack_ms: u64 },
    /// Clocks begin to differ.
    ClockDrifts { by_ms: u64, slack_ms: u64 },
    /// The brokers' clock could not be asked.
    ClockUnknown { why: String },
}

/// What may be wrong with a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OfTopic {
    /// It is not there.
    Missing,
    /// It may not even be looked at.
    Forbidden,
    /// Another number of partitions than `events`.
    PartitionsDiffer { found: u32, events: u32 },
    /// A gateway whose partition of `frames` is not there.
    NoFramesPartition { found: u32, wanted: u32 },
    /// A setting on which exactness hangs.
    VitalSetting(Setting),
    /// Another setting.
    OtherSetting(Setting),
    /// The settings may not be read.
    SettingsHidden,
    /// A service lacks a right.
    NoRight { part: Part, right: Right },
}

/// What may be wrong with a topic's copies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OfCopies {
    /// Partitions without a leader.
    Leaderless { count: u32 },
    /// Fewer in-sync replicas than an append needs.
    BelowMinimum { in_sync: u32, minimum: u32 },
    /// Replicas that lag or are away.
    UnderReplicated { in_sync: u32, replicas: u32 },
    /// One copy where there could be more.
    OneCopy,
    /// An acknowledged record may lie on one disk.
    AckedOnce { replicas: u32 },
    /// Every replica is needed for an append.
    NoneToSpare { replicas: u32 },
}

/// A setting of a topic that is not as declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// As the broker names it.
    pub key: String,
    /// In the cluster.
    pub found: String,
    /// In the declaration.
    pub declared: String,
}

/// What was seen, for a reader who wants to know that it was looked at.
pub fn seen(cluster: &Cluster) -> Vec<String> {
    let Ok(survey) = &cluster.survey else { return Vec::new() };
    let era = match survey.apis.contains_key(&CONSUMER_GROUP_HEARTBEAT) {
        _ if survey.apis.is_empty() => "an unknown version",
        true => "the protocol of Kafka 4.0 or later",
        false => "a protocol before Kafka 4.0",
    };
    let there: Vec<_> = survey.topics.iter().filter_map(judge::there).collect();
    let partitions = survey.topics.iter().find(|t| t.topic == Some(Topic::Events)).and_then(judge::there);
    let mut lines = vec![
        format!("Kafka: {} broker(s), {era}", survey.brokers),
        format!("topics: {} of {}", there.len(), survey.topics.len()),
    ];
    if let Some(events) = partitions {
        lines.push(format!("events: {} partitions, {} replica(s)", events.partitions, events.replicas));
    }
    lines
}
