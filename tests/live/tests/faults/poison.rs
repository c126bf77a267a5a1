//! Poison written straight into `events` and `windows`: each record is in `dlq` with its place and the reason, and
//! the others of its partition go on.

use crate::site::{PARTITIONS, Site, now_ms};
use crate::topics::{batch, put, read};
use evenkeel_model::{Topic, partition_of};
use evenkeel_scenarios::lone_row;

const GARBAGE: &[u8] = b"\x00\xffpoison";
const FOREIGN: &[u8] = b"\xc3\x01ZZZZZZZZ and the rest of a schema nobody here knows";

/// A stream of this partition.
fn of(partition: u32, name: &str) -> String {
    (0..).map(|n| format!("{name}/{n}")).find(|id| partition_of(id, PARTITIONS) == partition).unwrap()
}

#[test]
fn poison_in_both_topics_is_in_dlq_with_its_place_and_stops_nothing() {
    let site = Site::whole("poison");
    let now = now_ms();
    let start = (now - 60_000) / 5_000 * 5_000;
    let (good, stray) = (of(0, "good"), of(1, "stray"));
    let (misrouted, events) = (batch(&stray, start, 0..10, now), batch(&good, start, 0..100, now));
    let closing = batch(&good, start, 300..301, now);
    put(
        &site,
        Topic::Events,
        0,
        &[
            (Some(&good), GARBAGE),
            (Some(&good), FOREIGN),
            (Some(&stray), &misrouted),
            (Some("another key"), &events),
            (None, &events),
            (Some(&good), &events),
            (Some(&good), &closing),
        ],
    );
    let strange = lone_row(&stray, start);
    put(&site, Topic::Windows, 0, &[(Some(&stray), GARBAGE), (None, FOREIGN), (Some(&stray), &strange)]);
    let mut coalescer = site.start("coalescer", &[]);
    let mut sink = site.start("sink", &[]);

    let dlq = read(&site, Topic::Dlq, "all eight", |found| found.len() >= 8);
    let want = [
        ("events", "0", GARBAGE, "malformed"),
        ("events", "1", FOREIGN, "malformed"),
        ("events", "2", &misrouted, "misrouted"),
        ("events", "3", &events, "misrouted"),
        ("events", "4", &events, "misrouted"),
        ("windows", "0", GARBAGE, "malformed"),
        ("windows", "1", FOREIGN, "malformed"),
        ("windows", "2", &strange, "misrouted"),
    ];
    assert_eq!(dlq.len(), want.len(), "{dlq:?}");
    for (topic, offset, value, reason) in want {
        let found =
            dlq.iter().find(|r| r.header("source-topic") == topic && r.header("source-offset") == offset);
        let found = found.unwrap_or_else(|| panic!("{topic} {offset} in {dlq:?}"));
        assert_eq!((found.header("reason"), found.header("source-partition")), (reason, "0"), "{found:?}");
        assert!(found.header("error").len() > 10 && found.header("service").contains('/'), "{found:?}");
        assert_eq!((found.value.as_slice(), found.partition), (value, 0), "{found:?}");
    }
    let windows = [(0, 50), (5_000, 50)].map(|(at, count)| ((good.clone(), start + at), count));
    let counts = |site: &Site| -> Vec<((String, i64), u64)> {
        site.stored(start + 10_000).into_iter().map(|(key, (count, _))| (key, count)).collect()
    };
    sink.until("the good stream's rows, and nobody else's", |_| counts(&site) == windows);
    assert_eq!(coalescer.metric("evenkeel_coalescer_ledger_imbalance{size=\"5000\"}"), Some(0.0)); // EK-SUM-1
    let events = |outcome: &str| {
        coalescer.metric(&format!("evenkeel_coalescer_events_total{{outcome=\"{outcome}\",size=\"5000\"}}"))
    };
    assert_eq!((events("malformed"), events("misrouted")), (Some(2.0), Some(210.0)));
    let rows = |outcome: &str| sink.metric(&format!("evenkeel_sink_rows_total{{outcome=\"{outcome}\"}}"));
    assert_eq!((rows("undecodable"), rows("misrouted")), (Some(2.0), Some(1.0)));
    coalescer.still_runs();
    assert_eq!((coalescer.terminate(), sink.terminate()), (Some(0), Some(0)));
}
