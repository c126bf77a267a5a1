//! The recorded data sets: their stored windows equal a batch computation written independently of the core.

use crate::case::{Case, file_settings};
use crate::events::FileEvent;
use std::io::Read;
use std::path::PathBuf;

/// Where a recorded data set lies.
pub fn path(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data")).join(name)
}

/// Its events, in the order of the file. The sets are plain: `stream_id,ts_ms,value`, no quotes.
pub fn events(name: &str) -> Vec<FileEvent> {
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path(name)).unwrap()).read_to_string(&mut text).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("stream_id,ts_ms,value"));
    let event = |line: &str| {
        let [stream_id, ts, value] = line.split(',').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let fields = vec![("value".to_owned(), value.parse().unwrap())];
        FileEvent {
            stream_id: stream_id.to_owned(),
            ts: ts.parse().unwrap(),
            seq: None,
            arrival: None,
            fields,
        }
    };
    lines.map(event).collect()
}

#[track_caller]
fn equals_the_batch_computation(name: &str, streams: usize, rows: usize) {
    let case = Case::new();
    let events = events(name);
    assert_eq!(events.len(), rows);
    let summary = case.run_ok(&path(name), &[]);
    assert_eq!((&summary["events_loaded"], &summary["lines_refused"]), (&rows.into(), &0.into()));
    assert!(case.judge(&file_settings(), &events) >= streams * 2);
    let stored = case.stored();
    let mut ids: Vec<_> = stored.iter().map(|row| &row.row.stream_id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), streams);
}

#[test]
fn cloudwatch_with_two_values_at_one_time() {
    equals_the_batch_computation("nab_cloudwatch.csv.gz", 17, 67_740);
}

#[test]
fn traffic_with_irregular_steps() {
    equals_the_batch_computation("nab_traffic.csv.gz", 7, 15_664);
}

#[test]
fn sensors() {
    equals_the_batch_computation("nab_sensors.csv.gz", 5, 47_479);
}

#[test]
fn tweets() {
    equals_the_batch_computation("nab_tweets.csv.gz", 10, 158_631);
}

#[test]
fn wearables_at_64_hz() {
    equals_the_batch_computation("daphnet_imu.csv.gz", 9, 63_360);
}

#[test]
fn waterflow() {
    equals_the_batch_computation("river_waterflow.csv.gz", 1, 1_268);
}
