//! Another system's topic: its JSON is windowed by the mapping, exactly once over a kill, and what does not fit is in
//! `dlq` with its place.

use crate::site::{PARTITIONS, Site, now_ms};
use crate::topics::{put, read};
use evenkeel_model::{Topic, partition_of};

const STREAM: &str = "bowl-7";

/// The records of these numbers, 100 ms apart from `start_ms`.
fn records(start_ms: i64, seqs: std::ops::Range<u64>) -> Vec<Vec<u8>> {
    let record = |seq: u64| {
        let at = (start_ms + seq as i64 * 100) as f64 / 1e3;
        format!(
            r#"{{"device": {{"id": "{STREAM}"}}, "at": {at:.3}, "n": {seq}, "body": {{"weight": {seq}, "lid": true}}}}"#
        )
        .into_bytes()
    };
    seqs.map(record).collect()
}

#[test]
fn json_of_another_system_is_windowed_exactly_once() {
    let site = Site::whole("foreign")
        .set("coalescer.records=json")
        .set("coalescer.mapping.stream-id=device.id")
        .set("coalescer.mapping.ts=at")
        .set("coalescer.mapping.ts-unit=s")
        .set("coalescer.mapping.seq=n")
        .set("coalescer.mapping.fields-below=body");
    let partition = partition_of(STREAM, PARTITIONS);
    let start = (now_ms() - 60_000) / 5_000 * 5_000;
    let send = |values: &[Vec<u8>]| {
        let values: Vec<_> = values.iter().map(|v| (Some(STREAM), v.as_slice())).collect();
        put(&site, Topic::Events, partition, &values);
    };
    send(&records(start, 0..80)); // one window closes, one stays open
    let unfit: &[u8] = br#"{"device": {"id": "bowl-7"}, "n": 5}"#;
    send(&[unfit.to_vec()]);
    let mut sink = site.start("sink", &[]);
    let coalescer = site.start("coalescer", &[]);
    let counts = |upto: i64| -> Vec<(i64, u64)> {
        site.stored(upto).into_iter().map(|((_, at), (count, _))| (at - start, count)).collect()
    };
    sink.until("the first window's row", |_| counts(start + 5_000) == [(0, 50)]);
    site.settle();
    coalescer.kill();

    let coalescer = site.start("coalescer", &[]);
    send(&records(start, 60..130)); // twenty for the second time
    send(&records(start, 300..301));
    sink.until("both rows, each event once", |_| counts(start + 10_000) == [(0, 50), (5_000, 50)]);
    let dlq = read(&site, Topic::Dlq, "what does not fit", |found| !found.is_empty());
    assert_eq!((dlq[0].value.as_slice(), dlq[0].header("source-offset")), (unfit, "80"));
    assert!(dlq[0].header("error").contains("at is missing"), "{:?}", dlq[0]);
    assert_eq!(coalescer.metric("evenkeel_coalescer_ledger_imbalance{size=\"5000\"}"), Some(0.0));
    assert_eq!((coalescer.terminate(), sink.terminate()), (Some(0), Some(0)));
}
