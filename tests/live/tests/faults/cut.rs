//! Topics that no longer hold what recovery needs: what is gone is told in offsets and ms and counts as lost, the
//! floor rises so that nothing leaves twice, and the service goes on; or it refuses, where it is told to.

use crate::site::{Service, Site, now_ms};
use crate::topics::{batch, config, put, read};
use evenkeel_kafka::faults::trim;
use evenkeel_model::{Topic, partition_of};

const SIZE: &str = "coalescer.sizes=[\"5s\"]";
const IMBALANCE: &str = "evenkeel_coalescer_ledger_imbalance{size=\"5000\"}";
const COUNTED: &str = "evenkeel_coalescer_events_total{outcome=\"counted\",size=\"5000\"}";
const LOST: &str = "evenkeel_coalescer_lost ";

/// A stream of partition 0.
fn stream() -> String {
    (0..).map(|n| format!("cut/{n}")).find(|id| partition_of(id, 2) == 0).unwrap()
}

/// A coalescer that has consumed three records: the first's windows have left, those of the other two are open.
/// It is killed after its commit. Returns where the stream's time begins.
fn killed_with_open_windows(site: &Site) -> i64 {
    let (id, now) = (stream(), now_ms());
    let start = (now - 60_000) / 5_000 * 5_000;
    // Seven seconds of events, then one at 8 s: with 2 s of lateness the first window closes, not the second.
    let records = [
        batch(&id, start, 0..50, now - 40_000),
        batch(&id, start, 50..70, now - 30_000),
        batch(&id, start, 80..81, now - 25_000),
    ];
    let keyed: Vec<(Option<&str>, &[u8])> =
        records.iter().map(|r| (Some(id.as_str()), r.as_slice())).collect();
    put(site, Topic::Events, 0, &keyed);
    let mut coalescer = site.start("coalescer", &[SIZE]);
    coalescer.until("all is consumed", |c| c.metric(COUNTED) == Some(71.0));
    read(site, Topic::Windows, "the first window's row", |found| !found.is_empty());
    committed(&mut coalescer);
    coalescer.kill();
    start
}

/// Waits until whatever it has consumed is committed: two more ticks began.
fn committed(coalescer: &mut Service) {
    let ticks = "evenkeel_coalescer_tick_duration_seconds_count";
    let before = coalescer.metric(ticks).unwrap();
    coalescer.until("two more ticks", |c| c.metric(ticks).unwrap() >= before + 3.0);
}

#[test]
fn a_log_shorter_than_replay_from_counts_what_is_gone_and_goes_on() {
    let site = Site::on_kafka("cut");
    let start = killed_with_open_windows(&site);
    trim(&config(&site), Topic::Events, 0, 2).unwrap(); // the 20 events of the second record are gone

    let (code, said) = site.refused("coalescer", &[SIZE, "coalescer.cut-log=refuse"]);
    assert_eq!(code, Some(4), "{said}");
    for part in ["events[0] begins at offset 2, needed is 1", "15000 ms of arrivals are gone", "go-on"] {
        assert!(said.contains(part), "{part} in {said}");
    }

    let mut coalescer = site.start("coalescer", &[SIZE]);
    let cut = coalescer.wait_for_event("coalescer.log.cut");
    assert_eq!((&cut["needed"], &cut["log_start"], &cut["gone_ms"]), (&1.into(), &2.into(), &15_000.into()));
    assert_eq!((&cut["topic"], &cut["level"]), (&"events".into(), &"ERROR".into()));
    coalescer.until("the 20 count as lost", |c| c.metric(LOST) == Some(20.0));
    assert_eq!(coalescer.metric(IMBALANCE), Some(0.0)); // EK-SUM-1
    // The window that lost events leaves with those that are left, and its stream goes on.
    let (id, now) = (stream(), now_ms());
    put(&site, Topic::Events, 0, &[(Some(&id), &batch(&id, start, 200..201, now))]);
    let rows = read(&site, Topic::Windows, "the second window's row", |found| found.len() >= 2);
    assert_eq!(rows.len(), 2);
    let row = |n: usize| evenkeel_codec::decode_row_head(&rows[n].value).unwrap().unwrap().span.t_start();
    assert_eq!((row(0), row(1)), (start, start + 5_000)); // EK-WIN-1
    assert_eq!(coalescer.terminate(), Some(0));
    // It was counted once; from here on the log holds everything again.
    let mut again = site.start("coalescer", &[SIZE]);
    again.until("it is live", |c| c.metric(LOST) == Some(20.0));
    again.wait_for_event("coalescer.partition.recovered");
    assert!(again.said().iter().all(|line| !line.contains("coalescer.log.cut")));
    assert_eq!(again.terminate(), Some(0));
}

/// A window that silence closed is known as closed from its row alone: no event says so. When that row is gone, only
/// the floor keeps what comes for the window from opening it, and sending its row, a second time.
#[test]
fn rows_that_are_gone_raise_the_floor_so_that_nothing_leaves_twice() {
    let site = Site::on_kafka("rows-cut");
    let start = (now_ms() - 60_000) / 5_000 * 5_000;
    let mut silent = (0..).map(|n| format!("silent/{n}")).filter(|id| partition_of(id, 2) == 0);
    let (quiet, other) = (silent.next().unwrap(), silent.next().unwrap());
    let say = |id: &str, at: i64, seqs| {
        let record = batch(id, at, seqs, now_ms());
        put(&site, Topic::Events, 0, &[(Some(id), &record)]);
    };
    let sets = [SIZE, "coalescer.idle-timeout=1s"];
    let mut coalescer = site.start("coalescer", &sets);
    say(&quiet, start, 0..50);
    let idle = "evenkeel_coalescer_windows_closed_total{closed_by=\"idle\",size=\"5000\"}";
    let mut said = 0;
    coalescer.until("silence closes its window", |c| {
        say(&other, start + 30_000, said..said + 1); // somebody talks: it is no outage
        said += 1;
        c.metric(idle).is_some_and(|n| n >= 1.0)
    });
    let rows = read(&site, Topic::Windows, "the row", |found| !found.is_empty());
    committed(&mut coalescer);
    coalescer.kill();
    trim(&config(&site), Topic::Windows, 0, rows.last().unwrap().offset + 1).unwrap();

    let mut coalescer = site.start("coalescer", &sets);
    let cut = coalescer.wait_for_event("coalescer.log.cut");
    assert_eq!(cut["topic"], "windows");
    coalescer.wait_for_event("coalescer.partition.recovered");
    say(&quiet, start, 100..102);
    let late = "evenkeel_coalescer_events_total{outcome=\"late\",size=\"5000\"}";
    coalescer.until("they are late", |c| c.metric(late).is_some_and(|n| n >= 2.0));
    assert_eq!(coalescer.metric(IMBALANCE), Some(0.0)); // EK-SUM-1
    let found = read(&site, Topic::Windows, "a late record", |found| !found.is_empty());
    let row_of = |value: &[u8]| {
        let head = evenkeel_codec::decode_row_head(value).unwrap();
        head.map(|head| (head.stream_id.to_owned(), head.span.t_start()))
    };
    let again = (quiet, start);
    assert!(found.iter().all(|r| row_of(&r.value).as_ref() != Some(&again)), "{found:?}"); // EK-WIN-1
    assert_eq!(coalescer.terminate(), Some(0));
}
