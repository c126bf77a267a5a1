//! First contact: a broker answers within a deadline, the topics are there and agree.
//! Owns: the checks at start. Never: retries later on.

use crate::context::MemberContext;
use crate::{ConnectError, KafkaConfig};
use evenkeel_model::Topic;
use rdkafka::client::{Client, ClientContext};
use rdkafka::consumer::{BaseConsumer, Consumer};
use std::time::{Duration, Instant};

/// The longest one attempt to reach a broker waits before it looks at what the client complained about.
const ATTEMPT: Duration = Duration::from_millis(500);

/// Events (errors, logs) served between two attempts, and the wait for each: an attempt may fail at once.
const EVENTS_MAX: usize = 16;
const EVENT_WAIT: Duration = Duration::from_millis(5);

/// Waits until a broker answers.
pub(crate) fn reach(
    consumer: &BaseConsumer<MemberContext>,
    config: &KafkaConfig,
) -> Result<(), ConnectError> {
    let start = Instant::now();
    let patience = config.timeouts.connect.duration();
    loop {
        let left = patience.saturating_sub(start.elapsed());
        let error = match consumer.fetch_metadata(Some(&config.topic(Topic::Events)), left.min(ATTEMPT)) {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        // Serves the client's events, some of which say why; a poll serves one.
        for _ in 0..EVENTS_MAX {
            let _ = consumer.poll(EVENT_WAIT);
        }
        let notes = consumer.context().notes();
        if let Some(reason) = notes.login_refused.clone() {
            // Trying again would not help, and may lock the account.
            let user = config.security.username.as_ref().map_or("nobody".to_owned(), |u| format!("{u:?}"));
            return Err(ConnectError::Login { user, reason });
        }
        if start.elapsed() >= patience {
            let (brokers, waited_ms) = (config.brokers.clone(), start.elapsed().as_millis() as u64);
            let last = match notes.last_error.is_empty() {
                true => error.to_string(),
                false => notes.last_error.clone(),
            };
            return Err(match notes.last_is_tls {
                true => ConnectError::Tls { brokers, waited_ms, reason: last },
                false => ConnectError::Unreachable { brokers, waited_ms, last },
            });
        }
    }
}

/// The partition count of a topic, which must exist.
pub(crate) fn partitions<C: ClientContext>(
    client: &Client<C>,
    config: &KafkaConfig,
    topic: Topic,
) -> Result<u32, ConnectError> {
    partitions_of(client, config, &config.topic(topic))
}

/// The partition count of the topic of this full name.
pub(crate) fn partitions_of<C: ClientContext>(
    client: &Client<C>,
    config: &KafkaConfig,
    name: &str,
) -> Result<u32, ConnectError> {
    let metadata = client
        .fetch_metadata(Some(name), config.timeouts.call.duration())
        .map_err(|e| ConnectError::refused(format!("asking for the partitions of {name}"), e))?;
    let found = metadata.topics().iter().find(|t| t.name() == name);
    match found.map(|t| (t.error(), t.partitions().len() as u32)) {
        Some((None, n)) if n > 0 => Ok(n),
        Some((Some(error), _)) if !is_missing(error) => Err(ConnectError::refused(
            format!("asking for the partitions of {name}"),
            rdkafka::error::RDKafkaErrorCode::from(error),
        )),
        _ => Err(ConnectError::NoTopic { topic: name.to_owned() }),
    }
}

/// The leading broker of each partition of a topic; -1 where there is none now.
pub(crate) fn leaders<C: ClientContext>(
    client: &Client<C>,
    config: &KafkaConfig,
    topic: Topic,
) -> Result<Vec<(u32, i32)>, ConnectError> {
    let name = config.topic(topic);
    let metadata = client
        .fetch_metadata(Some(&name), config.timeouts.call.duration())
        .map_err(|e| ConnectError::refused(format!("asking for the leaders of {name}"), e))?;
    let found = metadata.topics().iter().find(|t| t.name() == name);
    let partitions = found.map_or(&[][..], |t| t.partitions());
    Ok(partitions.iter().map(|p| (p.id().max(0) as u32, p.leader())).collect())
}

fn is_missing(error: rdkafka::types::RDKafkaRespErr) -> bool {
    use rdkafka::types::RDKafkaRespErr as E;
    matches!(error, E::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART | E::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC)
}

/// Checks that a topic has as many partitions as events.
pub(crate) fn co_partitioned<C: ClientContext>(
    client: &Client<C>,
    config: &KafkaConfig,
    topic: Topic,
) -> Result<(), ConnectError> {
    let wanted = partitions(client, config, Topic::Events)?;
    match partitions(client, config, topic)? {
        found if found == wanted => Ok(()),
        found => Err(ConnectError::Partitions {
            topic: config.topic(topic),
            found,
            events: config.topic(Topic::Events),
            wanted,
        }),
    }
}

/// The partition count of the events topic, after checking that windows and marks have as many, and dlq
/// not fewer: a refused record keeps its source's partition number.
pub(crate) fn co_partitions<C: ClientContext>(
    client: &Client<C>,
    config: &KafkaConfig,
) -> Result<u32, ConnectError> {
    let wanted = partitions(client, config, Topic::Events)?;
    for topic in [Topic::Windows, Topic::Marks, Topic::Dlq] {
        let found = partitions(client, config, topic)?;
        let fits = if topic == Topic::Dlq { found >= wanted } else { found == wanted };
        if !fits {
            return Err(ConnectError::Partitions {
                topic: config.topic(topic),
                found,
                events: config.topic(Topic::Events),
                wanted,
            });
        }
    }
    Ok(wanted)
}
