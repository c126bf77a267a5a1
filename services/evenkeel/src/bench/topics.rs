//! Topics that a bench makes for itself, and deletes.

use evenkeel_kafka::KafkaConfig;
use evenkeel_kafka::topics::{DECLARED, Topics, TopicsSpec};
use std::error::Error;
use std::time::{SystemTime, UNIX_EPOCH};

/// Topics under a prefix of their own.
pub struct Made {
    /// How to reach them.
    pub config: KafkaConfig,
    /// To delete them.
    pub topics: Topics,
}

impl Made {
    /// Makes them, with one replica.
    pub fn new(brokers: &str, partitions: u32) -> Result<Self, Box<dyn Error>> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        let prefix = format!("evenkeel-bench-{now}");
        let config = KafkaConfig { brokers: brokers.to_owned(), prefix, ..KafkaConfig::default() };
        let topics = Topics::connect(&config)?;
        topics.create(&TopicsSpec::parse(DECLARED)?.with_partitions(partitions).for_one_broker())?;
        Ok(Self { config, topics })
    }
}
