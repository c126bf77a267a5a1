//! The topics that must exist: declared in schemas/topics.toml, created and compared with a cluster.
//!
//! Owns: the declaration's form and the differences. Never: changes a topic that exists (a changed
//! partition count would give streams a second owner), or deletes one unless told to.

use crate::context::MemberContext;
use crate::{ConnectError, KafkaConfig, config::Isolation, connect};
use evenkeel_model::Topic;
use futures::executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// The declaration this version comes with.
pub const DECLARED: &str = include_str!("../../../schemas/topics.toml");

/// Why a declaration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// No valid TOML, an unknown key, or a topic is missing.
    #[error("the topics declaration cannot be read: {0}")]
    Form(#[from] toml::de::Error),
    /// Co-partitioned topics differ.
    #[error(
        "declared partitions differ: events {events}, windows {windows}, marks {marks}, dlq {dlq}; make them equal"
    )]
    Partitions {
        /// Of events.
        events: u32,
        /// Of windows.
        windows: u32,
        /// Of marks.
        marks: u32,
        /// Of dlq.
        dlq: u32,
    },
    /// One that the scorer writes differs.
    #[error("topic {topic} is declared with {partitions} partitions, events with {events}; make them equal")]
    Scored {
        /// Which.
        topic: Topic,
        /// Its partitions.
        partitions: u32,
        /// Of events.
        events: u32,
    },
    /// No partition.
    #[error("topic {0} is declared with 0 partitions")]
    Empty(Topic),
}

/// One declared topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TopicSpec {
    /// Number of partitions.
    pub partitions: u32,
    /// Replicas of each partition; 0 = the broker's default.
    #[serde(default)]
    pub replication: u16,
    /// Topic settings, as the broker names them.
    #[serde(default)]
    pub config: BTreeMap<String, String>,
}

/// All declared topics.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TopicsSpec {
    /// Event batches.
    pub events: TopicSpec,
    /// Rows and late records.
    pub windows: TopicSpec,
    /// Refused events.
    pub dlq: TopicSpec,
    /// Marks, compacted.
    pub marks: TopicSpec,
    /// What models say of windows.
    pub scores: TopicSpec,
    /// Alerts.
    pub alerts: TopicSpec,
    /// Heartbeats whose append time tells the brokers' clock.
    pub clock: TopicSpec,
}

impl TopicsSpec {
    /// Reads a declaration and checks that co-partitioned topics agree.
    pub fn parse(text: &str) -> Result<Self, SpecError> {
        let spec: Self = toml::from_str(text)?;
        if let Some(topic) = Topic::ALL.iter().find(|t| spec.of(**t).partitions == 0) {
            return Err(SpecError::Empty(*topic));
        }
        for topic in [Topic::Scores, Topic::Alerts] {
            let (partitions, events) = (spec.of(topic).partitions, spec.events.partitions);
            if partitions != events {
                return Err(SpecError::Scored { topic, partitions, events });
            }
        }
        let [events, windows, marks, dlq] =
            [&spec.events, &spec.windows, &spec.marks, &spec.dlq].map(|s| s.partitions);
        match events == windows && events == marks && events == dlq {
            true => Ok(spec),
            false => Err(SpecError::Partitions { events, windows, marks, dlq }),
        }
    }

    /// The declaration of one topic.
    pub fn of(&self, topic: Topic) -> &TopicSpec {
        match topic {
            Topic::Events => &self.events,
            Topic::Windows => &self.windows,
            Topic::Dlq => &self.dlq,
            Topic::Marks => &self.marks,
            Topic::Scores => &self.scores,
            Topic::Alerts => &self.alerts,
        }
    }

    /// Every topic with its full name.
    fn named<'s>(&'s self, config: &KafkaConfig) -> Vec<(String, &'s TopicSpec)> {
        let ours = Topic::ALL.iter().map(|topic| (config.topic(*topic), self.of(*topic)));
        ours.chain([(config.clock_topic(), &self.clock)]).collect()
    }

    /// The same with another partition count of all but `clock`.
    pub fn with_partitions(mut self, partitions: u32) -> Self {
        for spec in [&mut self.events, &mut self.windows, &mut self.marks, &mut self.dlq] {
            spec.partitions = partitions;
        }
        for spec in [&mut self.scores, &mut self.alerts] {
            spec.partitions = partitions;
        }
        self
    }

    /// The same for one broker: one replica, no setting that needs more.
    pub fn for_one_broker(mut self) -> Self {
        let ours = [&mut self.events, &mut self.windows, &mut self.dlq, &mut self.marks, &mut self.clock];
        for spec in ours.into_iter().chain([&mut self.scores, &mut self.alerts]) {
            spec.replication = 1;
            spec.config.remove("min.insync.replicas");
        }
        self
    }
}

/// One difference between the declaration and a cluster. Its `Display` is for people, its serialization
/// for programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "difference", rename_all = "kebab-case")]
pub enum Difference {
    /// The topic is not there.
    Missing {
        /// Full name.
        topic: String,
    },
    /// Another number of partitions.
    Partitions {
        /// Full name.
        topic: String,
        /// In the declaration.
        declared: u32,
        /// In the cluster.
        found: u32,
    },
    /// A setting has another value.
    Setting {
        /// Full name.
        topic: String,
        /// The setting.
        key: String,
        /// In the declaration.
        declared: String,
        /// In the cluster; `None` = the broker does not know it.
        found: Option<String>,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { topic } => {
                write!(f, "{topic}: missing; `evenkeel topics create` makes it")
            }
            Self::Partitions { topic, declared, found } => write!(
                f,
                "{topic}: {found} partitions, declared {declared}; declare {found}, or follow \
                 docs/operations.md, \"Changing the partition count\""
            ),
            Self::Setting { topic, key, declared, found } => write!(
                f,
                "{topic}: {key} is {}, declared {declared}; `kafka-configs.sh --alter --topic {topic} \
                 --add-config {key}={declared}` sets it",
                found.as_deref().unwrap_or("unknown to the broker")
            ),
        }
    }
}

/// What `create` did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Created {
    /// Full names of topics that were made.
    pub created: Vec<String>,
    /// Full names of topics that were there before; they are not changed.
    pub existing: Vec<String>,
}

/// A client for topics. All calls block for a bounded time.
pub struct Topics {
    config: KafkaConfig,
    admin: AdminClient<DefaultClientContext>,
    probe: BaseConsumer<MemberContext>,
}

impl Topics {
    /// Reaches the brokers.
    pub fn connect(config: &KafkaConfig) -> Result<Self, ConnectError> {
        let probe: BaseConsumer<MemberContext> = config
            .consumer(&config.group_of("topics"), Isolation::Committed)?
            .create_with_context(MemberContext::default())
            .map_err(|e| ConnectError::client("making the probing client", e))?;
        connect::reach(&probe, config)?;
        let admin =
            config.client()?.create().map_err(|e| ConnectError::client("making the admin client", e))?;
        Ok(Self { config: config.clone(), admin, probe })
    }

    fn options(&self) -> AdminOptions {
        let patience = Some(self.config.timeouts.call.duration());
        AdminOptions::new().request_timeout(patience).operation_timeout(patience)
    }

    /// Makes the topics that are missing.
    pub fn create(&self, spec: &TopicsSpec) -> Result<Created, ConnectError> {
        let named = spec.named(&self.config);
        let topics: Vec<NewTopic<'_>> = named
            .iter()
            .map(|(name, spec)| {
                // −1 on the wire: the broker's default.
                let replicas = if spec.replication == 0 { -1 } else { i32::from(spec.replication) };
                let new = NewTopic::new(name, spec.partitions as i32, TopicReplication::Fixed(replicas));
                spec.config.iter().fold(new, |new, (key, value)| new.set(key, value))
            })
            .collect();
        let results = block_on(self.admin.create_topics(&topics, &self.options()))
            .map_err(|e| ConnectError::refused("creating topics", e))?;
        let mut done = Created::default();
        for result in results {
            match result {
                Ok(name) => done.created.push(name),
                Err((name, RDKafkaErrorCode::TopicAlreadyExists)) => done.existing.push(name),
                Err((name, code)) => {
                    return Err(ConnectError::refused(format!("creating topic {name}"), code));
                }
            }
        }
        self.settle(&done.created)?;
        Ok(done)
    }

    /// Deletes all topics of this configuration, with what they hold. For topics that the caller made for
    /// itself alone.
    pub fn remove(&self) -> Result<(), ConnectError> {
        let names: Vec<String> = Topic::ALL.iter().map(|topic| self.config.topic(*topic)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let results = block_on(self.admin.delete_topics(&names, &self.options()))
            .map_err(|e| ConnectError::refused("deleting topics", e))?;
        match results.into_iter().find_map(Result::err) {
            None | Some((_, RDKafkaErrorCode::UnknownTopicOrPartition)) => Ok(()),
            Some((name, code)) => Err(ConnectError::refused(format!("deleting topic {name}"), code)),
        }
    }

    /// Waits until the created topics are seen: brokers learn of them a moment later.
    fn settle(&self, created: &[String]) -> Result<(), ConnectError> {
        let since = std::time::Instant::now();
        loop {
            let missing = created
                .iter()
                .find_map(|name| connect::partitions_of(self.probe.client(), &self.config, name).err());
            match missing {
                None => return Ok(()),
                Some(error) if since.elapsed() > self.config.timeouts.connect.duration() => {
                    return Err(error);
                }
                Some(_) => std::thread::sleep(std::time::Duration::from_millis(20)),
            }
        }
    }

    /// The partition count of a topic; `None` = missing.
    fn partitions(&self, name: &str) -> Result<Option<u32>, ConnectError> {
        match connect::partitions_of(self.probe.client(), &self.config, name) {
            Ok(n) => Ok(Some(n)),
            Err(ConnectError::NoTopic { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Checks that events, windows and marks exist with one partition count, and returns it.
    pub fn check(&self) -> Result<u32, ConnectError> {
        connect::co_partitions(self.probe.client(), &self.config)
    }

    /// Checks that a topic exists with as many partitions as events.
    pub fn check_also(&self, topic: Topic) -> Result<(), ConnectError> {
        connect::co_partitioned(self.probe.client(), &self.config, topic)
    }

    /// Compares the cluster with the declaration.
    pub fn diff(&self, spec: &TopicsSpec) -> Result<Vec<Difference>, ConnectError> {
        let mut differences = Vec::new();
        for (name, declared) in spec.named(&self.config) {
            let Some(found) = self.partitions(&name)? else {
                differences.push(Difference::Missing { topic: name });
                continue;
            };
            if found != declared.partitions {
                let declared = declared.partitions;
                differences.push(Difference::Partitions { topic: name.clone(), declared, found });
            }
            self.diff_settings(&name, declared, &mut differences)?;
        }
        Ok(differences)
    }

    fn diff_settings(
        &self,
        name: &str,
        declared: &TopicSpec,
        differences: &mut Vec<Difference>,
    ) -> Result<(), ConnectError> {
        let what = || format!("asking for the settings of {name}");
        let results =
            block_on(self.admin.describe_configs(&[ResourceSpecifier::Topic(name)], &self.options()))
                .map_err(|e| ConnectError::refused(what(), e))?;
        for resource in results {
            let resource = resource.map_err(|code| ConnectError::refused(what(), code))?;
            for (key, wanted) in &declared.config {
                let found = resource.get(key).and_then(|entry| entry.value.clone());
                if found.as_ref() != Some(wanted) {
                    differences.push(Difference::Setting {
                        topic: name.to_owned(),
                        key: key.clone(),
                        declared: wanted.clone(),
                        found,
                    });
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_declaration_that_comes_along_is_valid() {
        let spec = TopicsSpec::parse(DECLARED).unwrap();
        assert_eq!(spec.events.partitions, spec.marks.partitions);
        assert_eq!(spec.marks.config["cleanup.policy"], "compact");
        let small = spec.with_partitions(3).for_one_broker();
        assert_eq!((small.windows.partitions, small.windows.replication), (3, 1));
        // A refused record keeps its partition number, so dlq must have it.
        assert_eq!(small.dlq.partitions, 3);
        assert!(!small.events.config.contains_key("min.insync.replicas"));
    }

    #[test]
    fn differing_partitions_and_unknown_keys_are_refused() {
        let text = DECLARED.replacen("partitions = 12", "partitions = 6", 1);
        assert!(matches!(TopicsSpec::parse(&text), Err(SpecError::Scored { events: 6, partitions: 12, .. })));
        let marks = DECLARED.find("[marks]").unwrap();
        let text = format!("{}{}", &DECLARED[..marks], DECLARED[marks..].replacen("= 12", "= 6", 1));
        assert!(matches!(TopicsSpec::parse(&text), Err(SpecError::Partitions { events: 12, marks: 6, .. })));
        let text = DECLARED.replacen("\nreplication", "\nreplicas", 1);
        assert!(matches!(TopicsSpec::parse(&text), Err(SpecError::Form(_))));
    }

    #[test]
    fn differences_say_what_to_do_and_serialize() {
        let difference = Difference::Partitions { topic: "evenkeel.marks".into(), declared: 12, found: 3 };
        assert!(difference.to_string().contains("declare 3"));
        let json = serde_json::to_string(&difference).unwrap();
        assert_eq!(json, r#"{"difference":"partitions","topic":"evenkeel.marks","declared":12,"found":3}"#);
    }
}
