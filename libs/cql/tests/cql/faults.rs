//! What each error of the server becomes, and how often the server was asked.

use crate::fake::{Answer, Fake, Setup};
use crate::frames::{Body, Bound};
use evenkeel_cql::{CqlConfig, CqlRows, Millis, WindowTable, migrate};
use evenkeel_model::{
    ClosedBy, DropReason, EventBatch, FieldStats, SeqRange, StoredRow, WindowRow, WindowSpan,
};
use evenkeel_seam::{RowAction, RowKey, RowResult, Rows};
use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

pub fn config(fake: &Fake) -> CqlConfig {
    CqlConfig {
        contact_points: vec![fake.address.clone()],
        replication: BTreeMap::from([("dc1".to_owned(), 1)]),
        tables: vec![WindowTable { size: Millis::from_s(5), ttl: Some(Millis::from_days(30)) }],
        // Far above what a busy machine stands still: an answer that comes too late is another case.
        request_timeout: Millis::from_s(2),
        start_timeout: Millis::from_s(20),
        ..CqlConfig::default()
    }
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as i64
}

fn row(stream_id: &str) -> StoredRow {
    let span = WindowSpan::of(now_ms() - 10_000, 5_000);
    let row = WindowRow {
        stream_id: stream_id.to_owned(),
        span,
        closed_by: ClosedBy::Watermark,
        max_ts: span.t_end(),
        first_arrival: span.t_start(),
        last_arrival: span.t_end(),
        count: 3,
        seqs: vec![SeqRange { lo: 1, hi: 3, count: 3 }],
        dropped: vec![(DropReason::Duplicate, 2)],
        stats: vec![FieldStats { name: "a".into(), count: 3, ..FieldStats::default() }],
        events: None,
    };
    StoredRow { row, revision: 2, late_offset: 9 }
}

fn write(stream_id: &str) -> RowAction {
    RowAction::Write(Box::new(row(stream_id)))
}

/// A migrated fake and an open store.
fn open(setup: Setup, change: impl FnOnce(&mut CqlConfig)) -> (Fake, CqlRows) {
    let fake = Fake::start(setup);
    let mut config = config(&fake);
    change(&mut config);
    migrate(&config).unwrap();
    let rows = CqlRows::open(&config).unwrap();
    fake.seen("");
    (fake, rows)
}

fn results(rows: &mut CqlRows, n: usize) -> Vec<(u64, RowResult)> {
    let (mut out, deadline) = (Vec::new(), Instant::now() + Duration::from_secs(60));
    while out.len() < n {
        assert!(Instant::now() < deadline, "{} of {n} answered", out.len());
        rows.done(Duration::from_millis(50), &mut out);
    }
    out
}

fn one(rows: &mut CqlRows, action: RowAction) -> RowResult {
    rows.submit(1, action);
    results(rows, 1).remove(0).1
}

fn timeout_body(kind: &str) -> Vec<u8> {
    Body::default().short(6).int(1).int(2).string(kind).0
}

#[derive(Debug, PartialEq)]
enum Want {
    Written,
    Unavailable,
    Refused,
}

#[test]
fn every_error_class_on_the_wire() {
    let (fake, mut rows) = open(Setup::default(), |c| c.attempts_max = 3);
    let failure = Body::default().short(6).int(1).int(2).int(1).string("SIMPLE").0;
    let unavailable = Body::default().short(6).int(2).int(1).0;
    let wrong_function = Body::default().string("ks").string("f").short(0).0;
    let error = Answer::Error;
    let cases = [
        // Outcome unknown: repeated by us, at most attempts-max times.
        (vec![error(0x1100, timeout_body("SIMPLE"), "write timeout")], Want::Written, 2),
        (vec![error(0x1100, timeout_body("SIMPLE"), "write timeout"); 3], Want::Unavailable, 3),
        (vec![error(0x1500, failure, "write failure")], Want::Written, 2),
        (vec![error(0x0000, vec![], "server error")], Want::Written, 2),
        (vec![error(0x1003, vec![], "truncate error")], Want::Written, 2),
        (vec![Answer::Silence], Want::Written, 2),
        // Away: the caller backs off.
        (vec![error(0x1000, unavailable, "unavailable")], Want::Unavailable, 1),
        (vec![error(0x1001, vec![], "overloaded")], Want::Unavailable, 1),
        (vec![error(0x1002, vec![], "bootstrapping")], Want::Unavailable, 1),
        (vec![error(0x000a, vec![], "protocol error")], Want::Unavailable, 1),
        (vec![error(0x7f7f, vec![], "an error of the future")], Want::Unavailable, 1),
        // An operator must act; nothing is given up.
        (vec![error(0x2100, vec![], "User has no MODIFY permission")], Want::Unavailable, 1),
        (vec![error(0x2200, vec![], "unconfigured table windows_5s")], Want::Unavailable, 1),
        // Never.
        (vec![error(0x2200, vec![], "Rejected an oversized mutation")], Want::Refused, 1),
        (vec![error(0x2000, vec![], "syntax error")], Want::Refused, 1),
        (vec![error(0x1400, wrong_function, "function failure")], Want::Refused, 1),
        // Forgotten statements are prepared again on the way.
        (vec![Answer::Unprepared], Want::Written, 2),
    ];
    for (answers, want, executions) in cases {
        let what = format!("{answers:?}");
        fake.plant(answers);
        let got = match one(&mut rows, write("s")) {
            RowResult::Written => Want::Written,
            RowResult::Unavailable(why) if !why.is_empty() => Want::Unavailable,
            RowResult::Refused(why) if !why.is_empty() => Want::Refused,
            other => panic!("{what}: {other:?}"),
        };
        assert_eq!((got, fake.seen("INTO evenkeel.windows_5s").len()), (want, executions), "{what}");
    }
}

#[test]
fn reads_are_repeated_and_classified_too() {
    let (fake, mut rows) = open(Setup::default(), |_| ());
    let read = || RowAction::Read(RowKey { stream_id: "s".into(), span: row("s").row.span });
    let timeout = Body::default().short(6).int(1).int(2).byte(0).0;
    let failure = Body::default().short(6).int(1).int(2).int(1).byte(0).0;
    fake.plant([
        Answer::Error(0x1200, timeout, "read timeout"),
        Answer::Error(0x1300, failure, "read failure"),
    ]);
    assert_eq!(one(&mut rows, read()), RowResult::Read(None));
    assert_eq!(fake.seen("FROM evenkeel.windows_5s").len(), 3);
    fake.plant([Answer::Error(0x1001, vec![], "overloaded")]);
    assert!(matches!(one(&mut rows, read()), RowResult::Unavailable(_)));
}

#[test]
fn a_broken_connection_is_unavailable_and_heals() {
    let (fake, mut rows) = open(Setup::default(), |_| ());
    fake.plant([Answer::Close]);
    assert!(matches!(one(&mut rows, write("s")), RowResult::Unavailable(_)));
    let deadline = Instant::now() + Duration::from_secs(60);
    while one(&mut rows, write("s")) != RowResult::Written {
        assert!(Instant::now() < deadline, "never came back");
    }
}

#[test]
fn what_is_in_flight_stays_below_the_limit_and_the_limit_falls() {
    let (fake, mut rows) = open(Setup::default(), |c| (c.in_flight_start, c.attempts_max) = (16, 1));
    fake.always(Some(Answer::Silence));
    for id in 0..100 {
        rows.submit(id, write(&format!("s/{id}")));
    }
    let (mut out, mut sent) = (Vec::new(), 0);
    let deadline = Instant::now() + Duration::from_secs(60);
    while out.len() < 100 {
        assert!(Instant::now() < deadline, "{} answered", out.len());
        // Counted before the answers are: what was sent and is not answered is in flight.
        sent += fake.seen("INTO evenkeel.windows_5s").len();
        rows.done(Duration::from_millis(5), &mut out);
        assert!(sent <= 16 + out.len(), "{sent} sent, {} answered", out.len());
        if out.len() >= 20 && out.len() < 100 {
            assert!(rows.in_flight_limit() < 16, "limit {}", rows.in_flight_limit());
            fake.always(None);
        }
    }
    assert!(matches!(out[0].1, RowResult::Unavailable(_)));
    assert!(out.iter().any(|(_, result)| *result == RowResult::Written));
    let mut ids: Vec<u64> = out.iter().map(|(id, _)| *id).collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..100).collect::<Vec<_>>(), "each id once");
}

// EK-LATE-1: every column is bound, with a value, and the revision is in the timestamp.
#[test]
fn a_write_binds_every_column_and_its_revision() {
    let (fake, mut rows) = open(Setup::default(), |_| ());
    let mut with_events = row("s");
    with_events.row.events = Some(EventBatch { stream_id: "s".into(), ts: vec![1], ..EventBatch::default() });
    with_events.row.seqs.clear();
    let span = with_events.row.span;
    for stored in [row("s"), with_events] {
        assert_eq!(one(&mut rows, RowAction::Write(Box::new(stored))), RowResult::Written);
        for table in ["INTO evenkeel.windows_5s", "INTO evenkeel.latest_window"] {
            let (text, bound) = fake.seen(table).remove(0);
            let columns = text.split(") VALUES").next().unwrap().split(',').count();
            assert_eq!(bound.len(), columns + 2, "{text}");
            assert!(bound.iter().all(|b| matches!(b, Bound::Value(_))), "{text}: {bound:?}");
            let timestamp_us = span.t_end() * 1_000 + 2;
            assert_eq!(bound[columns], Bound::Value(timestamp_us.to_be_bytes().to_vec()));
            let Bound::Value(ttl_s) = &bound[columns + 1] else { unreachable!() };
            let ttl_s = i64::from(i32::from_be_bytes(ttl_s.as_slice().try_into().unwrap()));
            let whole = 30 * 86_400;
            assert!((whole - 60..=whole).contains(&ttl_s), "{ttl_s}");
        }
    }
}

#[test]
fn dropping_the_store_does_not_wait_for_silence() {
    let (fake, mut rows) = open(Setup::default(), |c| (c.in_flight_start, c.in_flight_max) = (1, 1));
    fake.always(Some(Answer::Silence));
    for id in 0..50 {
        rows.submit(id, write("s"));
    }
    let start = Instant::now();
    drop(rows);
    // 50 actions one by one would take 50 × 3 attempts × 2 s.
    assert!(start.elapsed() < Duration::from_secs(30));
}
