//! Ingest's way: acknowledged means durable and readable.

use super::member::put;
use super::{Arranged, Desk, Log, Member, PARTITIONS, Who};
use evenkeel_model::Topic;
use evenkeel_seam::{Appender as _, Outputs};

fn events(partition: u32, texts: &[&str]) -> Outputs {
    let mut records = Outputs::new();
    texts.iter().for_each(|text| put(&mut records, Topic::Events, partition, "s", text));
    records
}

pub(super) fn acknowledged_records_are_readable<L: Log>(log: &mut L) -> Arranged {
    let mut desk = Desk::new(log);
    assert_eq!(desk.appender.partitions(), PARTITIONS);
    let mut a = Member::join(log, Who::coalescer("a"));
    a.all_assigned();
    desk.send(0, &["a"]);
    a.start(0, None);
    assert_eq!(a.end_of(0), 1, "the first end that is told lies behind it");
    assert_eq!(a.texts(Topic::Events, 0), ["a"]);
    desk.send(0, &["b"]);
    while a.end_of(0) < 2 {}
    assert_eq!(a.texts(Topic::Events, 0), ["a", "b"]);
    Ok(())
}

pub(super) fn every_ticket_has_exactly_one_outcome<L: Log>(log: &mut L) -> Arranged {
    const TICKETS: u64 = 200;
    let mut desk = Desk::new(log);
    let mut other = Desk::new(log);
    for ticket in 0..TICKETS {
        let mut records = events(0, &["a", "b"]);
        put(&mut records, Topic::Events, 1, "t", "c");
        match ticket % 10 {
            0 => desk.append(&Outputs::new()), // a request whose events were all refused
            _ => desk.append(&records),
        };
    }
    other.append(&events(1, &["d"]));
    assert!(other.acks(1)[0].result.is_ok(), "an appender hears of its own tickets only");
    let mut tickets: Vec<u64> = Vec::new();
    for ack in desk.acks(TICKETS as usize) {
        assert_eq!(ack.result, Ok(()));
        tickets.push(ack.ticket);
    }
    tickets.sort_unstable();
    assert_eq!(tickets, (1..=TICKETS).collect::<Vec<_>>());
    let mut more = Vec::new();
    desk.appender.acks(std::time::Duration::from_millis(200), &mut more);
    assert_eq!(more, []);
    Ok(())
}

pub(super) fn a_refused_ticket_takes_no_other_with_it<L: Log>(log: &mut L) -> Arranged {
    let mut desk = Desk::new(log);
    desk.send(0, &["a"]);
    let mut refused = events(0, &["refused"]);
    log.refuse_next(&mut refused);
    let refused = desk.append(&refused);
    let good = desk.append(&events(0, &["b"]));
    let mut acks = desk.acks(2);
    acks.sort_by_key(|ack| ack.ticket);
    assert_eq!([acks[0].ticket, acks[1].ticket], [refused, good]);
    assert!(acks[0].result.is_err() && acks[1].result.is_ok(), "{acks:?}");
    let mut a = Member::join(log, Who::coalescer("a"));
    a.all_assigned();
    a.start(0, None);
    // Some of a refused ticket may lie in the log; what was acknowledged does.
    while a.text() != "b" {}
    assert_eq!(a.texts(Topic::Events, 0).first().map(String::as_str), Some("a"));
    Ok(())
}
