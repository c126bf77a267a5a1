//! The group: handover, leaving, what starts in the middle of it.

use crate::member::{Member, Told, both, fresh, holds, send};
use evenkeel_kafka::{GroupProtocol, KafkaAppender, Millis};
use evenkeel_model::Topic;
use evenkeel_seam::{Commit, LogAction, Outputs, Position, TxnResult, Worker};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often another member comes and goes.
const VISITS: u32 = 8;

/// Two members share four partitions; the second joins while the first is working. Every record is
/// consumed exactly once, by offset, across the handover. (The contract suite runs on the classic protocol.)
#[test]
fn a_joining_member_takes_over_exactly_with_kip_848() {
    let mut config = fresh("handover", 4);
    config.group_protocol = GroupProtocol::Consumer;
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
    a.act(LogAction::Commit(Commit { outputs: Outputs::new(), positions }));
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

/// Records keep coming while another member comes and goes. What a rebalance makes the client fetch again is handed
/// over all the same, and no end of the log is told before it.
#[test]
fn no_record_is_passed_over_while_the_group_rebalances() {
    let mut config = fresh("rebalancing", 4);
    config.timeouts.fetch_wait = Millis::new(50); // also how often the client tells its positions
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut appender, mut turn) = (KafkaAppender::connect(&config).unwrap(), 1);
            while !over.load(Ordering::SeqCst) {
                (0..4).for_each(|partition| send(&mut appender, partition, &["x"]));
                turn = turn * 5 % 127; // bursts and pauses, up to a few fetches long
                std::thread::sleep(Duration::from_millis(turn));
            }
        });
        let visitor = scope.spawn(|| {
            for visit in 0..VISITS {
                let mut visitor = Member::join(&config, Topic::Events, &format!("visitor-{visit}"));
                visitor.drive_until("a record", |told| matches!(told, Told::Record { .. }).then_some(()));
                visitor.worker.close().unwrap();
            }
        });
        let mut member = Member::join(&config, Topic::Events, "member");
        let (mut next, mut seen) = (BTreeMap::<u32, u64>::new(), 0);
        while !visitor.is_finished() {
            member.poll(Duration::from_millis(5)).unwrap();
            for told in std::mem::take(&mut member.told) {
                match told {
                    Told::Assigned { partition, .. } => {
                        let from = next.get(&partition).copied().unwrap_or(0);
                        next.insert(partition, from);
                        member.start(partition, Some(from));
                    }
                    Told::Record { partition, offset, .. } => {
                        assert_eq!(next.insert(partition, offset + 1), Some(offset), "partition {partition}");
                        seen += 1;
                    }
                    Told::AtEnd { partition, next: end } => {
                        assert_eq!(
                            next.get(&partition),
                            Some(&end),
                            "an end before the records of partition {partition}"
                        );
                    }
                    Told::Revoking { partitions, .. } => {
                        partitions.iter().for_each(|p| member.act(LogAction::Release { partition: *p }));
                    }
                    Told::Done(_) => {}
                }
            }
        }
        over.store(true, Ordering::SeqCst);
        assert!(seen > 0);
        visitor.join().unwrap();
    });
}
