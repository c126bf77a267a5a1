//! What a cluster is, as an operator wants to know it: facts, each asked once, none judged here.
//!
//! Owns: the questions. Never: creates or changes anything but one heartbeat in the topic `clock`, which is how the
//! brokers' time is asked; an opinion about an answer (the caller's).

use crate::context::MemberContext;
use crate::registry::Registry;
use crate::rights::{self, TopicRights};
use crate::{ConnectError, KafkaAppender, KafkaConfig, RegistryError, config::Isolation, connect};
use evenkeel_model::Topic;
use evenkeel_seam::Appender as _;
use futures::executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::metadata::MetadataTopic;
use rdkafka::types::RDKafkaRespErr;
use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How often it is looked whether something has come.
const LOOK: Duration = Duration::from_millis(20);
/// Longest wait for the library to log what the broker speaks.
const LOG_PATIENCE: Duration = Duration::from_secs(2);
/// Looks without anything new after which all has come.
const SILENT_LOOKS: u32 = 10;

/// Requests of Kafka's protocol: (first, last version), by the request's number.
pub type Apis = BTreeMap<i16, (i16, i16)>;

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Survey {
    /// Brokers that the cluster names.
    pub brokers: u32,
    /// What the broker that answered first can do; empty = it did not say.
    pub apis: Apis,
    /// Every topic of the declaration, in its order.
    pub topics: Vec<TopicSurvey>,
    /// The brokers' clock; `None` = not asked, because a topic is missing or forbidden.
    pub clock: Option<Result<ClockReading, String>>,
}

/// One topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSurvey {
    /// Which; `None` = `clock`.
    pub topic: Option<Topic>,
    /// Full name.
    pub name: String,
    /// What was seen of it.
    pub state: TopicState,
}

/// What was seen of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopicState {
    /// It is not there.
    Missing,
    /// The brokers do not tell us.
    Forbidden,
    /// It is there.
    There(TopicFacts),
}

/// A topic that is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicFacts {
    /// Number of partitions.
    pub partitions: u32,
    /// Replicas of the partition that has fewest.
    pub replicas: u32,
    /// In-sync replicas of the partition that has fewest.
    pub in_sync: u32,
    /// Partitions without a leader.
    pub leaderless: u32,
    /// Its settings, defaults included; `None` = they may not be read.
    pub settings: Option<BTreeMap<String, String>>,
    /// What this login may do; `None` = the broker does not say.
    pub rights: Option<TopicRights>,
}

/// Both clocks, ms since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockReading {
    /// Ours when the question left.
    pub asked_ms: i64,
    /// Ours when the answer was there.
    pub heard_ms: i64,
    /// The server's, at some moment between the two.
    pub server_ms: i64,
}

/// Looks at the cluster. Fails only if there is none to look at. Blocks for a bounded time.
pub fn survey(config: &KafkaConfig) -> Result<Survey, ConnectError> {
    let mut settings = config.consumer(&config.group_of("doctor"), Isolation::Committed)?;
    // The only place where the library says what the broker speaks is its log.
    settings.set("debug", "feature").set_log_level(RDKafkaLogLevel::Debug);
    let probe: BaseConsumer<MemberContext> = settings
        .create_with_context(MemberContext::default())
        .map_err(|e| ConnectError::client("making the probing client", e))?;
    connect::reach(&probe, config)?;
    let admin = config.client()?.create().map_err(|e| ConnectError::client("making the admin client", e))?;
    let mut found = Survey { apis: apis(&probe), ..Survey::default() };
    let names = Topic::ALL.iter().map(|topic| (Some(*topic), config.topic(*topic)));
    for (topic, name) in names.chain([(None, config.clock_topic())]) {
        let metadata = probe
            .fetch_metadata(Some(&name), config.timeouts.call.duration())
            .map_err(|e| ConnectError::refused(format!("asking about {name}"), e))?;
        found.brokers = found.brokers.max(metadata.brokers().len() as u32);
        let mut state = metadata.topics().iter().find(|t| t.name() == name).map_or(TopicState::Missing, seen);
        if let TopicState::There(facts) = &mut state {
            facts.settings = settings_of(&admin, config, &name);
        }
        found.topics.push(TopicSurvey { topic, name, state });
    }
    add_rights(&mut found, &probe, config);
    if found.topics.iter().all(|topic| matches!(topic.state, TopicState::There(_))) {
        found.clock = Some(ask_time(config));
    }
    Ok(found)
}

/// The library's log lines wait in a queue, and a poll serves one.
fn apis(probe: &BaseConsumer<MemberContext>) -> Apis {
    let until = Instant::now() + LOG_PATIENCE;
    let (mut known, mut silent) = (0, 0);
    while silent < SILENT_LOOKS && Instant::now() < until {
        let _ = probe.poll(LOOK);
        let now = probe.context().notes().apis.len();
        silent = if now > 0 && now == known { silent + 1 } else { 0 };
        known = now;
    }
    probe.context().notes().apis.clone()
}

/// Whether the schema registry has our schemas; `None` = none is configured. Registers nothing.
pub fn survey_registry(config: &KafkaConfig) -> Option<Result<(), RegistryError>> {
    let mut config = config.clone();
    config.schema_registry.register = false;
    match Registry::connect(&config) {
        Ok(None) => None,
        Ok(Some(_)) => Some(Ok(())),
        Err(error) => Some(Err(error)),
    }
}

fn seen(topic: &MetadataTopic) -> TopicState {
    use RDKafkaRespErr as E;
    match topic.error() {
        Some(E::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED) => return TopicState::Forbidden,
        Some(E::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART | E::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC) => {
            return TopicState::Missing;
        }
        _ => {}
    }
    let partitions = topic.partitions();
    if partitions.is_empty() {
        return TopicState::Missing;
    }
    let least = |count: fn(&rdkafka::metadata::MetadataPartition) -> usize| {
        partitions.iter().map(count).min().unwrap_or(0) as u32
    };
    TopicState::There(TopicFacts {
        partitions: partitions.len() as u32,
        replicas: least(|p| p.replicas().len()),
        in_sync: least(|p| p.isr().len()),
        leaderless: partitions.iter().filter(|p| p.leader() < 0).count() as u32,
        settings: None,
        rights: None,
    })
}

fn settings_of(
    admin: &AdminClient<DefaultClientContext>,
    config: &KafkaConfig,
    name: &str,
) -> Option<BTreeMap<String, String>> {
    let patience = Some(config.timeouts.call.duration());
    let options = AdminOptions::new().request_timeout(patience).operation_timeout(patience);
    let answer = block_on(admin.describe_configs(&[ResourceSpecifier::Topic(name)], &options));
    let resource = answer.ok()?.into_iter().next()?.ok()?;
    Some(resource.entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))).collect())
}

/// Brokers older than 2.3 do not tell, and then nothing is known.
fn add_rights(found: &mut Survey, probe: &BaseConsumer<MemberContext>, config: &KafkaConfig) {
    let names: Vec<&str> = found.topics.iter().map(|topic| topic.name.as_str()).collect();
    let rights = match rights::of_topics(probe.client(), &names, config.timeouts.call.duration()) {
        Ok(rights) => rights,
        Err(error) => {
            tracing::debug!(error, "the brokers do not say what this login may do");
            return;
        }
    };
    for topic in &mut found.topics {
        if let TopicState::There(facts) = &mut topic.state {
            facts.rights = rights.get(&topic.name).copied();
        }
    }
}

fn ask_time(config: &KafkaConfig) -> Result<ClockReading, String> {
    let mut appender = KafkaAppender::connect(config).map_err(|error| error.to_string())?;
    let (until, asked_ms) = (Instant::now() + config.timeouts.call.duration(), now_ms());
    appender.ask_time();
    loop {
        appender.acks(LOOK, &mut Vec::new());
        match appender.time() {
            Some(time) => return Ok(ClockReading { asked_ms, heard_ms: now_ms(), server_ms: time? }),
            None if Instant::now() >= until => return Err("the heartbeat had no answer in time".to_owned()),
            None => {}
        }
    }
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
}

/// What one line of the library's log says of a request's versions:
/// `… ApiKey TxnOffsetCommit (28) Versions 0..5`.
pub(crate) fn api_of(line: &str) -> Option<(i16, (i16, i16))> {
    let (_, rest) = line.split_once("ApiKey ")?;
    let (key, versions) = rest.split_once('(')?.1.split_once(") Versions ")?;
    let (first, last) = versions.trim().split_once("..")?;
    Some((key.parse().ok()?, (first.parse().ok()?, last.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_the_librarys_log() {
        let line = "[thrd:a:1/bootstrap]: a:1/bootstrap:   ApiKey TxnOffsetCommit (28) Versions 0..5";
        assert_eq!(api_of(line), Some((28, (0, 5))));
        assert_eq!(api_of("ApiKey Unknown-99? (99) Versions 0..0"), Some((99, (0, 0))));
        for other in
            ["", "ApiKey", "ApiKey x (y) Versions 0..1", "ApiKey x (1) Versions 0", "Feature x (0..1)"]
        {
            assert_eq!(api_of(other), None, "{other}");
        }
    }
}
