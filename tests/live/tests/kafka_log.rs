//! The Kafka log against a real broker: exactly once, recovery reads, rebalance, faults.

#[path = "kafka_log/member.rs"]
mod member;

use evenkeel_kafka::faults::OpenTransaction;
use evenkeel_kafka::topics::{DECLARED, Difference, Topics, TopicsSpec};
use evenkeel_kafka::{
    ConnectError, GroupProtocol, KafkaAppender, KafkaConfig, KafkaWorker, Millis, WorkerOptions,
};
use evenkeel_live::parts::kafka::{KafkaPart, LocalBroker, fresh_prefix};
use evenkeel_model::Topic;
use evenkeel_seam::{AppendError, Appender, LogAction, Outputs, Position, TxnResult, Worker, WorkerError};
use member::{Member, Told, acks, both, fresh, holds, on, send};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

#[test]
fn a_commit_comes_back_to_the_next_worker_with_its_way_back() {
    let config = fresh("roundtrip", 1);
    let mut appender = KafkaAppender::connect(&config).unwrap();
    assert_eq!(appender.partitions(), 1);
    send(&mut appender, 0, &["a", "b"]);

    let mut first = Member::join(&config, Topic::Events, "first");
    assert_eq!(first.assigned(), (0, None));
    first.start(0, None);
    assert_eq!([first.record().2, first.record().2], ["a", "b"]);
    first.row(0, "row-1");
    first.row(0, "row-2");
    first.outputs.push(Topic::Marks, 0, Some(b"s"), &[], |buf| buf.push(b'm'));
    let written = first.committed(0, 2);
    assert_eq!((written.windows_to, written.marks_to), (2, 1), "from the delivery reports");
    // Where nothing was written the given value is carried over; the commit marker took one offset.
    first.row(0, "row-3");
    let again = first.committed(0, 2);
    assert_eq!((again.windows_to, again.marks_to), (4, 0));
    first.act(LogAction::Release { partition: 0 });
    first.worker.close().unwrap();

    let mut second = Member::join(&config, Topic::Events, "second");
    let (_, committed) = second.assigned();
    assert_eq!(committed, Some(Position { partition: 0, offset: 2, meta: Some(again) }));
    second.act(LogAction::Read { partition: 0, topic: Topic::Windows, from: 0, to: 4, committed_only: true });
    assert_eq!(second.read_done(), (0, Topic::Windows, 0, 4));
    assert_eq!(second.values(Topic::Windows), ["row-1", "row-2", "row-3"]);
    second.act(LogAction::Read { partition: 0, topic: Topic::Events, from: 1, to: 2, committed_only: false });
    assert_eq!(second.read_done(), (0, Topic::Events, 0, 2));
    assert_eq!(second.values(Topic::Events), ["b"]);
    second.act(LogAction::Read { partition: 0, topic: Topic::Events, from: 0, to: 9, committed_only: false });
    assert_eq!(second.read_done(), (0, Topic::Events, 0, 2), "a log that is shorter than asked");
}

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
fn aborted_records_are_never_seen_and_dangling_ones_hold_the_end_back() {
    let config = fresh("aborted", 1);
    let rows = |texts: &[&str]| {
        let mut rows = Outputs::new();
        for text in texts {
            rows.push(Topic::Windows, 0, Some(b"s"), &[], |buf| buf.extend_from_slice(text.as_bytes()));
        }
        rows
    };
    let open = |id: &str, texts: &[&str]| {
        let id = format!("{}-{id}", config.prefix);
        OpenTransaction::begin(&config, &id, "nobody", Topic::Events, &rows(texts), &[]).unwrap()
    };
    open("x", &["never", "seen"]).abort().unwrap();
    open("y", &["one"]).commit().unwrap();
    let dangling = open("z", &["later"]);
    open("y", &["two"]).commit().unwrap();

    let mut sink = Member::join(&config, Topic::Windows, "sink");
    sink.start_assigned();
    assert_eq!(sink.record().2, "one");
    let (_, end) = sink.at_end();
    assert_eq!(sink.values(Topic::Windows), ["one"], "an open transaction ends the readable log");
    assert_eq!(end, 5, "two aborted, their marker, one, its marker");
    dangling.commit().unwrap();
    assert_eq!([sink.record().2, sink.record().2], ["later", "two"]);
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
    let deadline = Instant::now() + member::DEADLINE;
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
fn an_aborted_transaction_starts_every_partition_over() {
    let config = fresh("abort", 2);
    let mut appender = KafkaAppender::connect(&config).unwrap();
    send(&mut appender, 0, &["a"]);
    let mut worker = Member::join(&config, Topic::Events, "w");
    worker.start_assigned();
    worker.start_assigned();
    worker.record();
    worker.committed(0, 1);
    // Larger than any record may be.
    worker.row(0, "small");
    worker.row(0, &"x".repeat(2_000_000));
    worker.commit(0, 1);
    assert!(matches!(worker.done(), TxnResult::Aborted { .. }));
    let mut again = [worker.start_assigned(), worker.start_assigned()];
    again.sort_unstable();
    assert_eq!(again, [(0, Some(1)), (1, None)]);
    send(&mut appender, 0, &["b"]);
    assert_eq!(worker.record().2, "b");
    worker.row(0, "row");
    let written = worker.committed(0, 2);
    worker.act(LogAction::Read {
        partition: 0,
        topic: Topic::Windows,
        from: 0,
        to: written.windows_to,
        committed_only: true,
    });
    worker.read_done();
    assert_eq!(worker.values(Topic::Windows), ["row"], "nothing of the aborted one");
}

#[test]
fn a_zombie_is_fenced() {
    let config = fresh("zombie", 1);
    let mut zombie = Member::join(&config, Topic::Events, "same");
    zombie.start_assigned();
    zombie.committed(0, 0);
    let _newer = Member::join(&config, Topic::Events, "same");
    zombie.row(0, "late");
    zombie.commit(0, 0);
    let told = zombie.told.len();
    let error = loop {
        if let Err(error) = zombie.poll(Duration::from_millis(50)) {
            break error;
        }
        let done = |told: &Told| matches!(told, Told::Done(_));
        assert!(!zombie.told[told..].iter().any(done), "{:?}", zombie.told);
    };
    assert!(matches!(error, WorkerError::Fenced(_)), "{error}");
    assert!(zombie.poll(Duration::ZERO).is_err(), "it stays stopped");
}

#[test]
fn a_dead_workers_open_transaction_is_fenced_by_the_taker() {
    let mut config = fresh("dead", 1);
    let mut dead = Member::join(&config, Topic::Events, "dead");
    dead.start_assigned();
    let written = dead.committed(0, 0);
    dead.act(LogAction::Release { partition: 0 });
    dead.worker.close().unwrap();
    // Far beyond the test's deadline: only fencing can end it.
    config.timeouts.transaction = Millis::new(600_000);
    let mut rows = Outputs::new();
    rows.push(Topic::Windows, 0, Some(b"s"), &[], |buf| buf.extend_from_slice(b"half"));
    let moved = Position { partition: 0, offset: 7, meta: None };
    let group = config.group_of("coalescer");
    let open =
        OpenTransaction::begin(&config, &written.writer, &group, Topic::Events, &rows, &[moved]).unwrap();
    let mut taker = Member::join(&config, Topic::Events, "taker");
    let (_, committed) = taker.assigned();
    assert_eq!(committed, Some(Position { partition: 0, offset: 0, meta: Some(written) }));
    assert!(open.commit().is_err(), "fenced");
}

/// Two members share four partitions; the second joins while the first is working. Every record is
/// consumed exactly once, by offset, across the handover.
fn handover(protocol: GroupProtocol) {
    let mut config = fresh("handover", 4);
    config.group_protocol = protocol;
    let mut appender = KafkaAppender::connect(&config).unwrap();
    (0..4).for_each(|p| send(&mut appender, p, &["a", "b"]));
    let mut a = Member::join(&config, Topic::Events, "a");
    for _ in 0..4 {
        a.start_assigned();
    }
    // Past the end of each log: the pause of the rebalance must not skip what comes next.
    let mut ended = BTreeSet::new();
    while ended.len() < 4 {
        ended.insert(a.at_end().0);
    }
    let mut b = Member::join(&config, Topic::Events, "b");
    let (mut leaving, mut lost) = (Vec::new(), true);
    both(&mut a, &mut b, "revocation", |a, _| {
        a.told.iter().any(|told| match told {
            Told::Revoking { partitions, lost: l } => {
                (leaving, lost) = (partitions.clone(), *l);
                true
            }
            _ => false,
        })
    });
    assert!(!lost && !leaving.is_empty());
    let positions: Vec<Position> =
        leaving.iter().map(|p| Position { partition: *p, offset: 2, meta: None }).collect();
    a.act(LogAction::Commit(evenkeel_seam::Commit { outputs: Outputs::new(), positions }));
    assert!(matches!(a.done(), TxnResult::Committed(_)));
    (0..4).for_each(|p| send(&mut appender, p, &["c"]));
    leaving.iter().for_each(|p| a.act(LogAction::Release { partition: *p }));
    both(&mut a, &mut b, "second member", |a, b| {
        leaving.iter().all(|p| holds(b).contains(p)) && holds(a).len() + holds(b).len() == 4
    });
    for partition in &leaving {
        assert!(b.told.iter().any(|t| matches!(t, Told::Assigned { partition: p, committed: Some(c), .. }
            if p == partition && c.offset == 2)));
        b.start(*partition, Some(2));
    }
    both(&mut a, &mut b, "all records", |a, b| {
        a.values(Topic::Events).len() + b.values(Topic::Events).len() == 12
    });
    let mut count: BTreeMap<(u32, u64), u32> = BTreeMap::new();
    for told in a.told.iter().chain(&b.told) {
        if let Told::Record { partition, offset, .. } = told {
            *count.entry((*partition, *offset)).or_default() += 1;
        }
    }
    assert!(count.len() == 12 && count.values().all(|n| *n == 1), "{count:?}");
}

#[test]
fn a_joining_member_takes_over_exactly_with_the_classic_protocol() {
    handover(GroupProtocol::Classic);
}

#[test]
fn a_joining_member_takes_over_exactly_with_kip_848() {
    handover(GroupProtocol::Consumer);
}

/// A partition that starts while the revocation of another one is open must not be handed over twice when
/// the revocation ends.
#[test]
fn a_start_during_a_revocation_repeats_nothing() {
    let config = fresh("start-revoking", 4);
    let mut appender = KafkaAppender::connect(&config).unwrap();
    (0..4).for_each(|p| send(&mut appender, p, &["a", "b"]));
    let mut a = Member::join(&config, Topic::Events, "a");
    (0..4).for_each(|_| {
        a.assigned();
    });
    let mut b = Member::join(&config, Topic::Events, "b");
    let mut leaving = Vec::new();
    both(&mut a, &mut b, "revocation", |a, _| {
        let revoking = a.told.iter().find_map(|told| match told {
            Told::Revoking { partitions, .. } => Some(partitions.clone()),
            _ => None,
        });
        leaving = revoking.unwrap_or_default();
        !leaving.is_empty()
    });
    let staying: Vec<u32> = (0..4).filter(|p| !leaving.contains(p)).collect();
    staying.iter().for_each(|p| a.start(*p, None));
    both(&mut a, &mut b, "records", |a, _| a.values(Topic::Events).len() >= 2 * staying.len());
    leaving.iter().for_each(|p| a.act(LogAction::Release { partition: *p }));
    (0..4).for_each(|p| send(&mut appender, p, &["c"]));
    both(&mut a, &mut b, "more records", |a, _| {
        a.values(Topic::Events).iter().filter(|v| *v == "c").count() >= staying.len()
    });
    assert_eq!(a.values(Topic::Events).len(), 3 * staying.len(), "{:#?}", a.told);
}

#[test]
fn closing_leaves_the_group_without_waiting_for_the_session() {
    let mut config = fresh("close", 1);
    // Longer than the test's deadline.
    config.timeouts.session = Millis::new(300_000);
    config.timeouts.poll_interval = Millis::new(300_000);
    let mut a = Member::join(&config, Topic::Events, "a");
    a.start_assigned();
    let mut b = Member::join(&config, Topic::Events, "b");
    a.committed(0, 0);
    a.act(LogAction::Release { partition: 0 });
    a.worker.close().unwrap();
    assert_eq!(b.assigned().0, 0);
    // Dropped without close: leaves as well.
    drop(b);
    let mut c = Member::join(&config, Topic::Events, "c");
    assert_eq!(c.assigned().0, 0);
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
fn an_appender_is_bounded_and_every_ticket_has_one_ack() {
    let mut config = fresh("append", 2);
    config.limits.append_memory = evenkeel_kafka::ByteSize::new(10_000);
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
        timeouts: evenkeel_kafka::Timeouts { connect: Millis::new(500), ..Default::default() },
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
    assert_eq!(missing.len(), 4);
    assert!(missing.iter().all(|d| matches!(d, Difference::Missing { .. })));
    assert!(matches!(topics.check(), Err(ConnectError::NoTopic { .. })));

    let mut uneven = spec.clone();
    uneven.marks.partitions = 3;
    assert_eq!(topics.create(&uneven).unwrap().created.len(), 4);
    assert_eq!(topics.create(&uneven).unwrap().existing.len(), 4, "again changes nothing");
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
