//! What a worker does beside its transactions: follow another topic, send without a commit.

use super::member::put;
use super::must;
use super::{Arranged, Desk, Log, Member, PARTITIONS, Told, Who};
use evenkeel_model::Topic;
use evenkeel_seam::{LogAction, Outputs, TxnResult};

/// About a minute of waiting.
const POLLS_MAX: usize = 1_200;

fn of(topic: Topic, partition: u32, texts: &[&str]) -> Outputs {
    let mut records = Outputs::new();
    texts.iter().for_each(|text| put(&mut records, topic, partition, text, text));
    records
}

/// Polls until a record of a followed partition has this text; it may have come before.
#[track_caller]
fn heard<L: Log>(member: &mut Member<L>, text: &str) {
    for _ in 0..POLLS_MAX {
        let all = (0..PARTITIONS).flat_map(|partition| member.texts(Topic::Interest, partition));
        if all.into_iter().any(|found| found == text) {
            return;
        }
        must("poll", member.poll());
    }
    panic!("no {text} in time");
}

fn appended<L: Log>(desk: &mut Desk<L>, records: &Outputs) {
    desk.append(records);
    assert_eq!(desk.acks(1)[0].result, Ok(()));
}

pub(super) fn a_followed_topic_brings_its_tail_and_what_comes<L: Log>(log: &mut L) -> Arranged {
    let mut desk = Desk::new(log);
    appended(&mut desk, &of(Topic::Interest, 0, &["1", "2", "3", "4"]));
    appended(&mut desk, &of(Topic::Interest, 1, &["other"]));
    let mut a = Member::join(log, Who::coalescer("a"));
    a.start_all();
    a.follow(0, Topic::Interest, 2);
    heard(&mut a, "4");
    assert_eq!(a.texts(Topic::Interest, 0), ["3", "4"]);
    appended(&mut desk, &of(Topic::Interest, 0, &["5"]));
    heard(&mut a, "5");
    a.follow(1, Topic::Interest, 100);
    heard(&mut a, "other");
    assert_eq!(a.texts(Topic::Interest, 0), ["3", "4", "5"]);
    assert_eq!(a.texts(Topic::Interest, 1), ["other"]);
    assert_eq!(a.texts(Topic::Events, 0), [""; 0]);
    Ok(())
}

pub(super) fn a_pause_holds_up_no_followed_topic<L: Log>(log: &mut L) -> Arranged {
    let mut desk = Desk::new(log);
    let mut a = Member::join(log, Who::coalescer("a"));
    a.start_all();
    a.follow(0, Topic::Interest, 1);
    (0..PARTITIONS).for_each(|partition| a.act(LogAction::Pause { partition }));
    appended(&mut desk, &of(Topic::Interest, 0, &["1"]));
    heard(&mut a, "1");
    Ok(())
}

pub(super) fn an_abort_ends_following<L: Log>(log: &mut L) -> Arranged {
    let mut desk = Desk::new(log);
    let mut a = Member::join(log, Who::coalescer("a"));
    a.start_all();
    a.follow(0, Topic::Interest, 1);
    appended(&mut desk, &of(Topic::Interest, 0, &["1"]));
    heard(&mut a, "1");
    a.row(0, "aborted");
    log.abort_next(&mut a.outputs);
    a.commit(vec![a.at(0, 0), a.at(1, 0)]);
    assert!(matches!(a.done(), TxnResult::Aborted { .. }));
    log.heal();
    a.start_all();
    appended(&mut desk, &of(Topic::Interest, 0, &["2"]));
    // What the driver is not told it does not need to tell apart.
    desk.send(0, &["after"]);
    while a.text() != "after" {}
    assert_eq!(a.texts(Topic::Interest, 0), ["1"]);
    a.follow(0, Topic::Interest, 2);
    heard(&mut a, "2");
    assert_eq!(a.texts(Topic::Interest, 0), ["1", "1", "2"]);
    Ok(())
}

pub(super) fn sent_records_are_in_no_transaction<L: Log>(log: &mut L) -> Arranged {
    let mut a = Member::join(log, Who::coalescer("a"));
    a.start_all();
    // With a commit on its way, to the topic that is followed, so that a worker can read it.
    a.row(0, "row");
    a.commit(vec![a.at(0, 0), a.at(1, 0)]);
    a.act(LogAction::Send(of(Topic::Interest, 0, &["1"])));
    for _ in 0..POLLS_MAX {
        let ended = |told: &&Told| matches!(told, Told::Sent(_) | Told::Done(_));
        if a.told.iter().filter(ended).count() == 2 {
            break;
        }
        must("poll", a.poll());
    }
    assert!(a.told.contains(&Told::Sent(0)), "{:?}", a.told);
    assert!(matches!(a.done(), TxnResult::Committed(_)));
    // What an abort takes back, it takes back alone.
    a.row(0, "aborted");
    log.abort_next(&mut a.outputs);
    a.commit(vec![a.at(0, 0), a.at(1, 0)]);
    assert!(matches!(a.done(), TxnResult::Aborted { .. }));
    log.heal();
    a.start_all();
    a.follow(0, Topic::Interest, 10);
    heard(&mut a, "1");
    Ok(())
}

pub(super) fn a_send_to_a_partition_that_is_not_there_drops_only_that<L: Log>(log: &mut L) -> Arranged {
    let mut a = Member::join(log, Who::coalescer("a"));
    a.start_all();
    let mut records = of(Topic::Interest, 0, &["1"]);
    put(&mut records, Topic::Interest, PARTITIONS + 7, "s", "nowhere");
    put(&mut records, Topic::Interest, 1, "s", "2");
    assert_eq!(a.sent(records), 1);
    a.follow(0, Topic::Interest, 10);
    a.follow(1, Topic::Interest, 10);
    heard(&mut a, "2");
    heard(&mut a, "1");
    assert_eq!(a.texts(Topic::Interest, 0), ["1"]);
    Ok(())
}
