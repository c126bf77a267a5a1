//! What flows after `Start`: order, the end of the log, pauses, the record itself.

use super::member::put;
use super::{Arranged, Desk, Log, Member, PARTITIONS, Who, both};
use evenkeel_model::Topic;
use evenkeel_seam::{Header, LogAction, Outputs, Worker as _};

pub(super) fn records_come_in_order_and_none_is_missing<L: Log>(log: &mut L) -> Arranged {
    const TICKETS: u32 = 60;
    const RECORDS: u32 = 20;
    let mut desk = Desk::new(log);
    let mut a = Member::join(log, Who::coalescer("a"));
    a.start_all();
    let sent = |partition: u32| -> Vec<String> {
        let all = (0..TICKETS).flat_map(|t| (0..RECORDS).map(move |r| (t, r)));
        all.filter(|(t, _)| t % PARTITIONS == partition).map(|(t, r)| format!("{t}.{r}")).collect()
    };
    for ticket in 0..TICKETS {
        let texts: Vec<String> = (0..RECORDS).map(|r| format!("{ticket}.{r}")).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        desk.send(ticket % PARTITIONS, &texts);
        let _ = a.poll(); // some come while others are written
    }
    let each = u64::from(TICKETS / PARTITIONS * RECORDS);
    for partition in 0..PARTITIONS {
        while a.end_of(partition) < each {}
    }
    for partition in 0..PARTITIONS {
        assert_eq!(a.texts(Topic::Events, partition), sent(partition));
    }
    assert_eq!(a.worker.ends(), (0..PARTITIONS).map(|partition| (partition, each)).collect::<Vec<_>>());
    Ok(())
}

pub(super) fn the_end_is_told_again_and_again<L: Log>(log: &mut L) -> Arranged {
    Desk::new(log).send(1, &["a"]);
    let mut a = Member::join(log, Who::coalescer("a"));
    a.start_all();
    // One partition is empty, the other is not.
    for (partition, end) in [(0, 0), (1, 1), (0, 0), (1, 1), (0, 0), (1, 1)] {
        assert_eq!(a.end_of(partition), end);
    }
    Ok(())
}

pub(super) fn a_paused_partition_waits_and_skips_nothing<L: Log>(log: &mut L) -> Arranged {
    pause(log, &[0])
}

pub(super) fn all_partitions_paused_wait_and_skip_nothing<L: Log>(log: &mut L) -> Arranged {
    pause(log, &[0, 1])
}

fn pause<L: Log>(log: &mut L, paused: &[u32]) -> Arranged {
    let mut desk = Desk::new(log);
    (0..PARTITIONS).for_each(|p| desk.send(p, &["a"]));
    let mut a = Member::join(log, Who::coalescer("a"));
    a.start_all();
    // At the end: a pause must not skip what comes next.
    (0..PARTITIONS).for_each(|p| while a.end_of(p) < 1 {});
    paused.iter().for_each(|p| a.act(LogAction::Pause { partition: *p }));
    (0..PARTITIONS).for_each(|p| desk.send(p, &["b", "c"]));
    a.listen(500);
    for partition in 0..PARTITIONS {
        let want: &[&str] = if paused.contains(&partition) { &["a"] } else { &["a", "b", "c"] };
        if want.len() == 3 {
            while a.end_of(partition) < 3 {}
        }
        assert_eq!(a.texts(Topic::Events, partition), want, "partition {partition}");
    }
    paused.iter().for_each(|p| a.act(LogAction::Resume { partition: *p }));
    for partition in paused {
        while a.end_of(*partition) < 3 {}
        assert_eq!(a.texts(Topic::Events, *partition), ["a", "b", "c"]);
    }
    Ok(())
}

pub(super) fn start_ends_a_pause<L: Log>(log: &mut L) -> Arranged {
    Desk::new(log).send(0, &["a"]);
    let mut a = Member::join(log, Who::coalescer("a"));
    a.all_assigned();
    a.act(LogAction::Pause { partition: 0 });
    a.start(0, None);
    assert_eq!(a.text(), "a");
    Ok(())
}

pub(super) fn a_pause_in_recovery_stops_no_read_and_a_resume_starts_nothing<L: Log>(log: &mut L) -> Arranged {
    Desk::new(log).send(0, &["a", "b"]);
    let mut a = Member::join(log, Who::coalescer("a"));
    a.all_assigned();
    a.act(LogAction::Pause { partition: 0 });
    a.act(LogAction::Read { partition: 0, topic: Topic::Events, from: 0, to: 1, committed_only: false });
    assert_eq!(a.read_done(), (0, Topic::Events, 0, 1));
    assert_eq!(a.texts(Topic::Events, 0), ["a"]);
    a.act(LogAction::Resume { partition: 0 });
    a.listen(500);
    assert_eq!(a.texts(Topic::Events, 0), ["a"], "only Start starts");
    a.start(0, Some(1));
    while a.end_of(0) < 2 {}
    assert_eq!(a.texts(Topic::Events, 0), ["a", "b"]);
    Ok(())
}

pub(super) fn a_record_comes_back_as_it_was_sent<L: Log>(log: &mut L) -> Arranged {
    let clock = log.clock();
    let mut desk = Desk::new(log);
    let mut a = Member::join(log, Who::coalescer("a"));
    let mut s = Member::join(log, Who::sink("s"));
    let headers =
        [Header { name: "traceparent", value: b"00-1" }, Header { name: "empty", value: &[0, 255, b';'] }];
    let (key, value) = (&[0, 159, 146, 150][..], &[b'v', 0, 200][..]);
    let mut records = Outputs::new();
    records.push(Topic::Events, 0, Some(key), &headers, |buf| buf.extend_from_slice(value));
    records.push(Topic::Events, 0, None, &[], |_| {});
    records.push_tombstone(Topic::Events, 0, b"gone");
    let before = clock();
    let ticket = desk.append(&records);
    assert!(desk.acks(1).iter().all(|ack| ack.ticket == ticket && ack.result.is_ok()));
    a.start_all();
    // The same through a transaction.
    a.outputs.push(Topic::Windows, 0, Some(key), &headers, |buf| buf.extend_from_slice(value));
    a.outputs.push(Topic::Windows, 0, None, &[], |_| {});
    a.outputs.push_tombstone(Topic::Windows, 0, b"gone");
    a.committed(Vec::new());
    s.start_all();
    both(&mut a, &mut s, "records", |a, s| {
        a.records(Topic::Events, 0).len() == 3 && s.records(Topic::Windows, 0).len() == 3
    });
    let after = clock();
    for seen in [a.records(Topic::Events, 0), s.records(Topic::Windows, 0)] {
        let parts = |i: usize| (seen[i].key.as_deref(), seen[i].value.as_deref(), seen[i].headers.len());
        assert_eq!(parts(0), (Some(key), Some(value), 2));
        assert_eq!(parts(1), (None, Some(&[][..]), 0), "an empty value is not a missing one");
        assert_eq!(parts(2), (Some(&b"gone"[..]), None, 0));
        let got: Vec<(&str, &[u8])> = seen[0].headers.iter().map(|(n, v)| (n.as_str(), &v[..])).collect();
        assert_eq!(got, headers.map(|h| (h.name, h.value)));
        let times = seen.iter().map(|s| s.timestamp_ms);
        assert!(times.clone().all(|t| (before..=after).contains(&t)), "{times:?} in {before}..={after}");
    }
    Ok(())
}

pub(super) fn an_open_transaction_holds_the_flow_back<L: Log>(log: &mut L) -> Arranged {
    let mut never = Outputs::new();
    put(&mut never, Topic::Windows, 0, "s", "never");
    log.open(&never)?;
    log.end_open(false);
    let mut a = Member::join(log, Who::coalescer("a"));
    a.all_assigned();
    a.row(0, "one");
    a.committed(Vec::new());
    let mut later = Outputs::new();
    put(&mut later, Topic::Windows, 0, "s", "later");
    log.open(&later)?;
    a.row(0, "two");
    a.committed(Vec::new());
    let mut sink = Member::join(log, Who::sink("s"));
    sink.start_all();
    assert_eq!(sink.text(), "one");
    let end = sink.end_of(0);
    assert!(
        (3..=4).contains(&end),
        "{end}: an aborted one, its marker, one; its marker may be passed or not"
    );
    assert_eq!(sink.texts(Topic::Windows, 0), ["one"]);
    log.end_open(true);
    assert_eq!([sink.text(), sink.text()], ["later", "two"]);
    Ok(())
}
