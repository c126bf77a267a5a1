//! What is acknowledged lies in the log, also where the client library infers it. A real broker refuses a first batch
//! and takes the second only while it becomes a leader; the client library's mock does so on demand.
#![allow(clippy::unwrap_used, clippy::panic)]

use evenkeel_kafka::{KafkaAppender, KafkaConfig};
use evenkeel_model::Topic;
use evenkeel_seam::{Ack, Appender, Outputs};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::mocking::MockCluster;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(180);
/// Time to an answer of the broker, long enough for many requests meanwhile.
const ROUND_TRIP: Duration = Duration::from_millis(500);

fn one_record() -> Outputs {
    let mut outputs = Outputs::default();
    outputs.push(Topic::Events, 0, Some(b"device"), &[], |value| value.extend(b"reading"));
    outputs
}

/// Records in the partition.
fn end_of(config: &KafkaConfig) -> u64 {
    let reader: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", &config.brokers).create().unwrap();
    let (_, end) = reader.fetch_watermarks(&config.topic(Topic::Events), 0, DEADLINE).unwrap();
    end as u64
}

/// A producer appends while its first batch is refused. Whatever comes of it, what is acknowledged is in the log, and
/// nothing else. True = the batch behind it was under way when it was refused, and taken: the first one cannot be.
fn first_batch_is_refused(deadline: Instant) -> bool {
    let cluster = MockCluster::new(1).unwrap();
    let config = KafkaConfig { brokers: cluster.bootstrap_servers(), ..KafkaConfig::default() };
    for topic in [config.topic(Topic::Events), config.clock_topic()] {
        cluster.create_topic(&topic, 1, 1).unwrap();
    }
    let mut appender = KafkaAppender::connect(&config).unwrap();
    cluster.broker_round_trip_time(1, ROUND_TRIP).unwrap();
    let not_leader = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION;
    cluster.request_errors(RDKafkaApiKey::Produce, &[not_leader]);

    let (mut acks, mut sent) = (Vec::<Ack>::new(), 0);
    while acks.is_empty() {
        assert!(Instant::now() < deadline, "no answer to {sent} appends");
        appender.append(&one_record(), sent).unwrap();
        sent += 1;
        appender.acks(Duration::from_millis(5), &mut acks);
    }
    while (acks.len() as u64) < sent {
        assert!(Instant::now() < deadline, "{} answers to {sent} appends", acks.len());
        appender.acks(Duration::from_millis(5), &mut acks);
    }
    let kept = acks.iter().filter(|ack| ack.result.is_ok()).count() as u64;
    assert_eq!(kept, end_of(&config), "acknowledged, in the log; of {sent} appends");
    assert!(kept > 0, "nothing came through");
    acks.iter().find(|ack| ack.ticket == 0).unwrap().result.is_err()
}

#[test]
fn a_refused_batch_is_not_acknowledged_by_the_one_behind_it() {
    let deadline = Instant::now() + DEADLINE;
    // On a busy machine the first batch may hold all there is and be taken when it comes again: that is another history.
    while !first_batch_is_refused(deadline) {}
}
