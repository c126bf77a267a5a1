//! The findings about Kafka in words, with weight and remedy.

use super::super::{Told, Weight};
use super::{Finding, OfCluster, OfCopies, OfTopic, Right, Setting};
use evenkeel_chassis::exit::Exit;

/// Kind, weight, why, remedy.
type Words = (&'static str, Weight, String, String);

impl Finding {
    /// In words.
    pub fn told(&self) -> Told {
        let (place, (kind, weight, why, remedy)) = match self {
            Self::NoKafka(trouble) => {
                return Told::of_failure("no-kafka", trouble.exit, "Kafka", &trouble.message);
            }
            Self::Cluster(of) => ("Kafka".to_owned(), of.words()),
            Self::Topic(topic, of) => (format!("topic {topic}"), of.words(topic)),
            Self::Copies(topic, of) => (format!("topic {topic}"), of.words()),
        };
        Told { kind, weight, place, why, remedy }
    }
}

impl OfCluster {
    fn words(&self) -> Words {
        let (kind, weight, why, remedy) = match self {
            Self::TooOld => (
                "kafka-too-old",
                Weight::Error(Exit::Refused),
                "a commit cannot name its group's generation, so a worker that was replaced could still commit".into(),
                "upgrade the brokers to Kafka 2.5 or later; 4.3 is what is tested",
            ),
            Self::VersionUnknown => (
                "kafka-version-unknown",
                Weight::Note,
                "the broker did not say what it can do".into(),
                "check that it is Kafka 2.5 or later",
            ),
            Self::NoKip848 => (
                "no-kip-848",
                Weight::Error(Exit::Usage),
                "kafka.group-protocol is consumer, and the brokers do not offer it".into(),
                "upgrade the brokers to Kafka 4.0 or later, or set kafka.group-protocol = \"classic\"",
            ),
            Self::OneBroker => (
                "one-broker",
                Weight::Warning,
                "one broker holds everything: its disk is the only copy, and a kill may leave a transaction without \
                 its end"
                    .into(),
                "run three brokers; until then see \"One broker that is killed\" in docs/operations.md",
            ),
            Self::RightsUnknown => (
                "rights-unknown",
                Weight::Note,
                "the brokers do not say what this login may do".into(),
                "nothing if all services start; a missing right shows as TOPIC_AUTHORIZATION_FAILED in a log",
            ),
            Self::ClockWrong { by_ms, slack_ms } => (
                "clock-wrong",
                Weight::Error(Exit::Usage),
                format!(
                    "this machine's clock differs from the broker's by at least {by_ms} ms, {slack_ms} ms is borne: \
                     ingest is not ready here"
                ),
                "synchronise the time of both machines",
            ),
            Self::ClockDrifts { by_ms, slack_ms } => (
                "clock-drifts",
                Weight::Warning,
                format!(
                    "this machine's clock differs from the broker's by at least {by_ms} ms; past {slack_ms} ms ingest \
                     is not ready"
                ),
                "synchronise the time of both machines",
            ),
            Self::ClockUnknown { why } => (
                "clock-unknown",
                Weight::Warning,
                format!("the brokers' clock could not be asked: {why}"),
                "the topic `clock` needs message.timestamp.type = LogAppendTime, and this login the right to write it",
            ),
        };
        (kind, weight, why, remedy.to_owned())
    }
}

impl OfTopic {
    fn words(&self, topic: &str) -> Words {
        let (kind, weight, why, remedy) = match self {
            Self::Missing => (
                "topic-missing",
                Weight::Error(Exit::Unreachable),
                "it does not exist".into(),
                "`evenkeel topics create` with this configuration".into(),
            ),
            Self::Forbidden => (
                "topic-forbidden",
                Weight::Error(Exit::Usage),
                "this login may not even look at it".into(),
                "give the user of kafka.security.username Describe, Read and Write on it".into(),
            ),
            Self::PartitionsDiffer { found, events } => (
                "partitions-differ",
                Weight::Error(Exit::Refused),
                format!(
                    "{found} partitions, events has {events}: a record about a stream goes to the same number in each"
                ),
                "add partitions to the smaller one before it holds data, else follow \"Changing the partition count\" \
                 in docs/operations.md"
                    .into(),
            ),
            Self::NoFramesPartition { found, wanted } => (
                "no-frames-partition",
                Weight::Error(Exit::Usage),
                format!("{found} partitions, and gateway.partition = {wanted} is not among them"),
                "add partitions to frames, one per gateway, or choose a smaller gateway.partition".into(),
            ),
            Self::VitalSetting(setting) => (
                "vital-setting",
                Weight::Error(Exit::Refused),
                setting.told() + ": exactness hangs on it",
                setting.remedy(topic),
            ),
            Self::OtherSetting(setting) => {
                ("setting", Weight::Warning, setting.told(), setting.remedy(topic))
            }
            Self::SettingsHidden => (
                "settings-hidden",
                Weight::Note,
                "its settings may not be read by this login".into(),
                "give it DescribeConfigs, or run `evenkeel topics diff` as an administrator".into(),
            ),
            Self::NoRight { part, right } => {
                let (right, part) = (right.name(), part.as_str());
                (
                    "no-right",
                    Weight::Error(Exit::Usage),
                    format!("{part} needs {right} here, and this login has it not"),
                    format!("grant {right}; if {part} has a login of its own, run the doctor with that one and --only {part}"),
                )
            }
        };
        (kind, weight, why, remedy)
    }
}

impl OfCopies {
    fn words(&self) -> Words {
        let (kind, weight, why, remedy) = match self {
            Self::Leaderless { count } => (
                "leaderless",
                Weight::Error(Exit::Unreachable),
                format!("{count} partition(s) have no leader: their streams are neither taken nor computed"),
                "bring the brokers back that hold them; `kafka-topics.sh --describe` names them",
            ),
            Self::BelowMinimum { in_sync, minimum } => (
                "below-minimum",
                Weight::Error(Exit::Unreachable),
                format!("{in_sync} replica(s) in sync, an append needs {minimum}: nothing can be written"),
                "bring the other brokers back; lowering min.insync.replicas would risk what is acknowledged",
            ),
            Self::UnderReplicated { in_sync, replicas } => (
                "under-replicated",
                Weight::Warning,
                format!("{in_sync} of {replicas} replicas are in sync"),
                "look at the broker that is away or slow",
            ),
            Self::OneCopy => (
                "one-copy",
                Weight::Warning,
                "a partition has one replica: a lost disk is a lost log".to_owned(),
                "three replicas (`kafka-reassign-partitions.sh`) and min.insync.replicas = 2",
            ),
            Self::AckedOnce { replicas } => (
                "acked-once",
                Weight::Warning,
                format!(
                    "of {replicas} replicas one is enough to acknowledge: what was acknowledged may lie on one disk"
                ),
                "set min.insync.replicas = 2 (`kafka-configs.sh --alter`)",
            ),
            Self::NoneToSpare { replicas } => (
                "none-to-spare",
                Weight::Warning,
                format!("all {replicas} replicas are needed for an append: one broker away stops it"),
                "have one replica more than min.insync.replicas",
            ),
        };
        (kind, weight, why, remedy.to_owned())
    }
}

impl Setting {
    fn told(&self) -> String {
        format!("{} is {}, declared {}", self.key, self.found, self.declared)
    }

    fn remedy(&self, topic: &str) -> String {
        let Self { key, declared, .. } = self;
        format!("`kafka-configs.sh --alter --topic {topic} --add-config {key}={declared}`")
    }
}

impl Right {
    /// As access control lists name it.
    const fn name(self) -> &'static str {
        match self {
            Self::Read => "Read",
            Self::Write => "Write",
        }
    }
}
