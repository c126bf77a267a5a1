//! The simulated log keeps what its module headers say: beyond the contract suite, what only a simulation
//! can arrange (markers that lag, processes that stand still, transactions that dangle).

use evenkeel_model::Topic;
use evenkeel_seam::{
    Commit, CommitMeta, Header, LogAction, LogInput, Outputs, Position, TxnResult, Worker, WorkerError,
};
use evenkeel_sim::log::{Record, SimLog, SimWorker, WorkerOptions};
use std::time::Duration;

const NOW: i64 = 1_700_000_000_000;

/// What a worker heard, without borrowed parts.
#[derive(Debug, Clone, PartialEq)]
enum Heard {
    Assigned(u32, Option<u64>),
    Records(Topic, Vec<u64>, u64, bool),
    ReadDone(u64, u64),
    Committed,
    Aborted,
    Revoking(Vec<u32>, bool),
    Sent(usize),
}

fn hear(input: LogInput<'_>) -> Heard {
    match input {
        LogInput::Assigned { partition, committed, .. } => {
            Heard::Assigned(partition, committed.map(|p| p.offset))
        }
        LogInput::Records { topic, records, next, at_end, .. } => {
            Heard::Records(topic, records.iter().map(|r| r.offset).collect(), next, at_end)
        }
        LogInput::ReadDone { log_start, next, .. } => Heard::ReadDone(log_start, next),
        LogInput::TxnDone { result: TxnResult::Aborted { .. }, .. } => Heard::Aborted,
        LogInput::TxnDone { result: TxnResult::Committed(_), .. } => Heard::Committed,
        LogInput::Revoking { partitions, lost } => Heard::Revoking(partitions, lost),
        LogInput::Sent { dropped, .. } => Heard::Sent(dropped),
    }
}

fn poll(worker: &mut SimWorker, wait_ms: u64) -> Result<Vec<Heard>, WorkerError> {
    let mut heard = Vec::new();
    worker.poll(Duration::from_millis(wait_ms), &mut |input| heard.push(hear(input)))?;
    Ok(heard)
}

/// Polls until something of interest was heard; empty fetches are not.
fn until(worker: &mut SimWorker, found: impl Fn(&Heard) -> bool) -> Heard {
    for _ in 0..1_000 {
        let heard = poll(worker, 100).unwrap_or_else(|error| panic!("{error}"));
        if let Some(heard) = heard.into_iter().find(&found) {
            return heard;
        }
    }
    panic!("never heard");
}

fn assigned(heard: &Heard) -> bool {
    matches!(heard, Heard::Assigned(..))
}

fn worker(log: &SimLog, id: &str) -> SimWorker {
    let options =
        WorkerOptions { topic: Topic::Events, group: "coalescer".into(), transactional_id: id.into() };
    SimWorker::new(log, options)
}

fn event(log: &SimLog) {
    let record = Record { timestamp_ms: NOW, key: None, value: Some(vec![1]), headers: vec![] };
    log.cluster().append(Topic::Events, 0, record);
}

fn commit(writer: &str, offset: u64) -> LogAction {
    let mut outputs = Outputs::new();
    outputs.push(Topic::Windows, 0, Some(b"s"), &[Header { name: "h", value: b"v" }], |buf| buf.push(7));
    let meta = CommitMeta { writer: writer.into(), ..CommitMeta::default() };
    let positions = vec![Position { partition: 0, offset, meta: Some(meta) }];
    LogAction::Commit(Commit { outputs, positions })
}

#[test]
fn a_dead_workers_open_transaction_is_fenced_by_its_heir() {
    let log = SimLog::new(1, NOW);
    event(&log);
    let mut a = worker(&log, "a");
    until(&mut a, assigned);
    a.perform(commit("a", 1)).unwrap();
    until(&mut a, |h| matches!(h, Heard::Committed));
    a.perform(commit("a", 2)).unwrap();
    let now = log.cluster().now_ms();
    log.cluster().advance_to(now + 10); // written, not decided
    drop(a);
    let mut b = worker(&log, "b");
    assert_eq!(until(&mut b, assigned), Heard::Assigned(0, Some(1)), "the second commit did not happen");
    let took = log.cluster().now_ms() - now;
    assert!(
        (7_000..10_000).contains(&took),
        "session timeout and fence, not the transaction timeout: {took}"
    );
    b.perform(LogAction::Read { partition: 0, topic: Topic::Windows, from: 0, to: 2, committed_only: true })
        .unwrap();
    let Heard::Records(_, offsets, next, _) = until(&mut b, |h| matches!(h, Heard::Records(..))) else {
        return;
    };
    assert_eq!((offsets, next), (vec![0], 4), "record, marker, aborted record, marker");
}

#[test]
fn a_read_waits_for_markers_that_lag() {
    let log = SimLog::new(1, NOW);
    log.cluster().faults.marker_lag_ms.insert(Topic::Windows, 5_000);
    let mut a = worker(&log, "a");
    until(&mut a, assigned);
    a.perform(commit("a", 0)).unwrap();
    until(&mut a, |h| matches!(h, Heard::Committed));
    a.perform(LogAction::Read { partition: 0, topic: Topic::Windows, from: 0, to: 1, committed_only: true })
        .unwrap();
    let before = log.cluster().now_ms();
    assert_eq!(until(&mut a, |h| matches!(h, Heard::ReadDone(..))), Heard::ReadDone(0, 1));
    assert!(log.cluster().now_ms() - before >= 4_000, "waited for the marker");
}

#[test]
fn a_worker_that_stood_still_for_too_long_loses_and_cannot_commit() {
    let log = SimLog::new(1, NOW);
    let mut zombie = worker(&log, "zombie");
    until(&mut zombie, assigned);
    zombie.freeze(NOW + 20_000);
    let mut heir = worker(&log, "heir");
    until(&mut heir, assigned);
    log.cluster().advance_to(NOW + 20_000);
    zombie.perform(commit("zombie", 5)).unwrap();
    assert_eq!(until(&mut zombie, |_| true), Heard::Revoking(vec![0], true));
    assert_eq!(until(&mut zombie, |h| *h == Heard::Aborted), Heard::Aborted);
    assert!(log.cluster().committed().is_empty());
    zombie.perform(LogAction::Release { partition: 0 }).unwrap();
    drop(heir);
    assert_eq!(until(&mut zombie, assigned), Heard::Assigned(0, None), "it joins again");
}

#[test]
fn what_the_seam_forbids_is_refused() {
    let log = SimLog::new(1, NOW);
    let mut a = worker(&log, "a");
    let refused = |result: Result<(), WorkerError>| matches!(result, Err(WorkerError::Fatal(_)));
    assert!(refused(a.perform(LogAction::Start { partition: 0, from: None })), "before Assigned");
    until(&mut a, assigned);
    a.perform(LogAction::Start { partition: 0, from: None }).unwrap();
    assert!(refused(a.perform(LogAction::Release { partition: 7 })), "not ours");
    a.perform(commit("a", 1)).unwrap();
    assert!(refused(a.perform(commit("a", 1))), "one transaction at a time");
}

#[test]
fn an_outage_of_the_log_delays_everything_and_loses_nothing() {
    let log = SimLog::new(1, NOW);
    event(&log);
    let mut a = worker(&log, "a");
    until(&mut a, assigned);
    a.perform(LogAction::Start { partition: 0, from: None }).unwrap();
    log.cluster().faults.down_until_ms = NOW + 30_000;
    a.perform(commit("a", 1)).unwrap();
    assert_eq!(poll(&mut a, 20_000).unwrap(), []);
    until(&mut a, |h| matches!(h, Heard::Committed));
    assert!(log.cluster().now_ms() >= NOW + 30_000);
}
