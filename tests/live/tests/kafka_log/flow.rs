//! Flowing over the death of a broker.

use crate::member::{Member, Told, on, send};
use evenkeel_kafka::KafkaAppender;
use evenkeel_kafka::faults::settled;
use evenkeel_live::parts::kafka::LocalBroker;
use evenkeel_model::Topic;
use std::time::Duration;

#[test]
fn a_broker_that_dies_and_returns_costs_no_record_and_is_not_taken_for_silence() {
    let mut broker = LocalBroker::start().unwrap();
    let config = on(&broker.address(), "outage", 1);
    let mut appender = KafkaAppender::connect(&config).unwrap();
    let mut worker = Member::join(&config, Topic::Events, "w");
    worker.start_assigned();
    send(&mut appender, 0, &["a"]);
    assert_eq!(worker.record().2, "a");
    worker.committed(0, 1);
    worker.at_end();
    settled(&config, &config.group_of("coalescer"), Topic::Events, 0).unwrap();
    broker.kill().unwrap();
    // The statistics of the last answered fetch may still be on their way; after them, silence.
    for _ in 0..20 {
        worker.poll(Duration::from_millis(50)).unwrap();
    }
    let before = worker.told.len();
    worker.row(0, "row");
    worker.commit(0, 1);
    for _ in 0..40 {
        worker.poll(Duration::from_millis(50)).unwrap();
    }
    assert_eq!(worker.told[before..], [], "no end, no outcome while nobody answers");
    broker.launch().unwrap();
    // Committed or aborted, whichever the outage left time for; the group may have to be joined again.
    worker.drive_until("outcome", |told| matches!(told, Told::Done(_)).then_some(()));
    send(&mut appender, 0, &["b"]);
    worker.drive_until("b", |told| matches!(told, Told::Record { value, .. } if value == "b").then_some(()));
    assert_eq!(worker.values(Topic::Events), ["a", "b"]);
}
