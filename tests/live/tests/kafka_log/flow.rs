//! Flowing: starts, ends, pauses, logs that were cut, a broker that dies.

use crate::member::{DEADLINE, Member, Told, fresh, on, send};
use evenkeel_kafka::KafkaAppender;
use evenkeel_kafka::faults::trim;
use evenkeel_live::parts::kafka::LocalBroker;
use evenkeel_model::Topic;
use evenkeel_seam::{LogAction, Worker};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

#[test]
fn nothing_flows_before_start_and_headers_come_along() {
    let config = fresh("start", 1);
    let mut appender = KafkaAppender::connect(&config).unwrap();
    send(&mut appender, 0, &["a", "b", "c"]);
    let mut worker = Member::join(&config, Topic::Events, "w");
    worker.assigned();
    for _ in 0..20 {
        worker.poll(Duration::from_millis(20)).unwrap();
    }
    assert_eq!(worker.values(Topic::Events).len(), 0);
    worker.start(0, Some(1));
    let (.., value) = worker.record();
    assert_eq!(value, "b");
    assert!(worker.told.iter().any(|told| matches!(
        told,
        Told::Record { headers, .. } if headers == &[("traceparent".to_owned(), "00-1".to_owned())]
    )));
}

#[test]
fn the_end_is_told_again_and_again_while_fetches_are_answered() {
    let config = fresh("at-end", 2);
    let mut appender = KafkaAppender::connect(&config).unwrap();
    send(&mut appender, 1, &["a"]);
    let mut worker = Member::join(&config, Topic::Events, "w");
    worker.start_assigned();
    worker.start_assigned();
    // Partition 0 is empty, partition 1 is not.
    let mut ends: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    while ends.len() < 2 || ends.values().any(|told| told.len() < 3) {
        let (partition, next) = worker.at_end();
        ends.entry(partition).or_default().push(next);
    }
    assert!(ends[&0].iter().all(|next| *next == 0), "{ends:?}");
    assert!(ends[&1].iter().all(|next| *next == 1), "{ends:?}");
}

/// Pauses `paused` of two partitions at the end of their logs; what comes then is handed over after the
/// resume, all of it and in order.
fn pause(test: &str, paused: &[u32]) {
    let config = fresh(test, 2);
    let mut appender = KafkaAppender::connect(&config).unwrap();
    (0..2).for_each(|p| send(&mut appender, p, &["a"]));
    let mut worker = Member::join(&config, Topic::Events, "w");
    worker.start_assigned();
    worker.start_assigned();
    let mut ended = BTreeSet::new();
    while ended.len() < 2 {
        ended.insert(worker.at_end().0);
    }
    paused.iter().for_each(|p| worker.act(LogAction::Pause { partition: *p }));
    (0..2).for_each(|p| send(&mut appender, p, &["b", "c"]));
    for _ in 0..20 {
        worker.poll(Duration::from_millis(20)).unwrap();
    }
    let of = |worker: &Member, p: u32| -> Vec<String> {
        let values = worker.told.iter().filter_map(|told| match told {
            Told::Record { partition, value, .. } if *partition == p => Some(value.clone()),
            _ => None,
        });
        values.collect()
    };
    paused.iter().for_each(|p| assert_eq!(of(&worker, *p), ["a"]));
    paused.iter().for_each(|p| worker.act(LogAction::Resume { partition: *p }));
    let deadline = Instant::now() + DEADLINE;
    while worker.values(Topic::Events).len() < 6 && Instant::now() < deadline {
        worker.poll(Duration::from_millis(20)).unwrap();
    }
    (0..2).for_each(|p| assert_eq!(of(&worker, p), ["a", "b", "c"]));
}

#[test]
fn pausing_one_partition_at_the_end_of_the_log_skips_nothing() {
    pause("pause-one", &[0]);
}

#[test]
fn pausing_all_partitions_at_the_end_of_the_log_skips_nothing() {
    pause("pause-all", &[0, 1]);
}

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

#[test]
fn a_log_that_lost_its_beginning_is_told_and_one_that_lost_its_end_stops_the_worker() {
    let config = fresh("trimmed", 1);
    let mut appender = KafkaAppender::connect(&config).unwrap();
    send(&mut appender, 0, &["a", "b", "c", "d", "e"]);
    trim(&config, Topic::Events, 0, 3).unwrap();
    let mut worker = Member::join(&config, Topic::Events, "w");
    worker.assigned();
    let read =
        |from, to| LogAction::Read { partition: 0, topic: Topic::Events, from, to, committed_only: false };
    worker.act(read(1, 5));
    assert_eq!(worker.read_done(), (0, Topic::Events, 3, 5));
    assert_eq!(worker.values(Topic::Events), ["d", "e"]);
    worker.act(read(0, 2));
    assert_eq!(worker.read_done(), (0, Topic::Events, 3, 2), "all of it is gone");
    worker.start(0, Some(1));
    assert_eq!([worker.record().1, worker.record().1], [3, 4], "the driver sees the gap");
    worker.act(LogAction::Release { partition: 0 });
    worker.worker.close().unwrap();

    let mut worker = Member::join(&config, Topic::Events, "w");
    worker.assigned();
    worker.start(0, Some(99));
    let deadline = Instant::now() + DEADLINE;
    let error = loop {
        if let Err(error) = worker.poll(Duration::from_millis(50)) {
            break error.to_string();
        }
        assert!(Instant::now() < deadline, "{:?}", worker.told);
    };
    let place = format!("{}[0] ends at offset 5, before the position 99", config.topic(Topic::Events));
    assert!(error.contains(&place), "{error}");
}
