//! The edges: appends, topics, an address where nobody listens.

use crate::member::{acks, fresh};
use evenkeel_kafka::topics::{DECLARED, Difference, Topics, TopicsSpec};
use evenkeel_kafka::{
    ByteSize, ConnectError, KafkaAppender, KafkaConfig, KafkaWorker, Millis, Timeouts, WorkerOptions,
};
use evenkeel_live::parts::kafka::{KafkaPart, fresh_prefix};
use evenkeel_model::Topic;
use evenkeel_seam::{AppendError, Appender, Outputs};

#[test]
fn an_appender_is_bounded_and_every_ticket_has_one_ack() {
    let mut config = fresh("append", 2);
    config.limits.append_memory = ByteSize::new(10_000);
    let mut appender = KafkaAppender::connect(&config).unwrap();
    let batch = |bytes: usize| {
        let mut records = Outputs::new();
        for partition in 0..2 {
            records.push(Topic::Events, partition, None, &[], |buf| buf.resize(buf.len() + bytes / 2, 7));
        }
        records
    };
    assert!(matches!(appender.append(&batch(20_000), 0), Err(AppendError::Failed(_))));
    appender.append(&Outputs::new(), 1).unwrap();
    let mut taken = 1;
    let refused = loop {
        match appender.append(&batch(6_000), taken + 1) {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
        assert!(taken < 100_000);
    };
    assert_eq!(refused, AppendError::Full);
    let mut tickets: Vec<u64> = acks(&mut appender, taken as usize)
        .into_iter()
        .inspect(|ack| assert_eq!(ack.result, Ok(())))
        .map(|ack| ack.ticket)
        .collect();
    tickets.sort_unstable();
    assert_eq!(tickets, (1..=taken).collect::<Vec<_>>());
    appender.append(&batch(6_000), 7).unwrap();
    assert_eq!(acks(&mut appender, 1)[0].ticket, 7);
}

#[test]
fn nobody_at_the_address_is_said_with_the_address_and_the_reason() {
    let config = KafkaConfig {
        brokers: "127.0.0.1:1".into(),
        timeouts: Timeouts { connect: Millis::new(500), ..Default::default() },
        ..KafkaConfig::default()
    };
    let options = WorkerOptions {
        service: "sink".into(),
        transactional_id: "t".into(),
        topic: Topic::Windows,
        headers: false,
    };
    let Err(error) = KafkaWorker::connect(&config, options) else { panic!("connected to nobody") };
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("127.0.0.1:1") && text.contains("refused"), "{text}");
}

#[test]
fn topics_are_created_compared_and_differing_counts_refused() {
    let part = KafkaPart::shared().unwrap();
    let config = KafkaConfig {
        brokers: part.address().to_owned(),
        prefix: fresh_prefix("topics"),
        ..KafkaConfig::default()
    };
    let topics = Topics::connect(&config).unwrap();
    let spec = TopicsSpec::parse(DECLARED).unwrap().with_partitions(2).for_one_broker();
    let missing = topics.diff(&spec).unwrap();
    let all = Topic::ALL.len() + 1; // and the clock
    assert_eq!(missing.len(), all);
    assert!(missing.iter().all(|d| matches!(d, Difference::Missing { .. })));
    assert!(matches!(topics.check(), Err(ConnectError::NoTopic { .. })));

    let mut uneven = spec.clone();
    uneven.marks.partitions = 3;
    assert_eq!(topics.create(&uneven).unwrap().created.len(), all);
    assert_eq!(topics.create(&uneven).unwrap().existing.len(), all, "again changes nothing");
    let marks = config.topic(Topic::Marks);
    assert_eq!(
        topics.diff(&spec).unwrap(),
        [Difference::Partitions { topic: marks.clone(), declared: 2, found: 3 }]
    );
    let mut other = uneven.clone();
    other.dlq.config.insert("retention.ms".into(), "1000".into());
    let differences = topics.diff(&other).unwrap();
    assert!(
        matches!(&differences[..], [Difference::Setting { key, found: Some(_), .. }] if key == "retention.ms")
    );
    let error = topics.check().unwrap_err().to_string();
    assert!(error.contains(&marks) && error.contains('3') && error.contains('2'), "{error}");
    let options = WorkerOptions {
        service: "coalescer".into(),
        transactional_id: config.prefix.clone(),
        topic: Topic::Events,
        headers: false,
    };
    assert!(matches!(KafkaWorker::connect(&config, options), Err(ConnectError::Partitions { .. })));
}
