//! Transactions: the way back, aborted and dangling ones, zombies and dead workers.

use crate::member::{Member, Told, fresh, send};
use evenkeel_kafka::faults::OpenTransaction;
use evenkeel_kafka::{KafkaAppender, Millis};
use evenkeel_model::Topic;
use evenkeel_seam::{Appender, LogAction, Outputs, Position, TxnResult, Worker, WorkerError};
use std::time::Duration;

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
