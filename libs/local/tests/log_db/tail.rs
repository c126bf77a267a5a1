//! Tails: the newest records and what comes, in no group.

use evenkeel_local::{Local, LocalAppender, LocalOptions, LocalTail};
use evenkeel_model::Topic;
use evenkeel_seam::{Appender as _, Outputs};
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(60);

fn append(appender: &mut LocalAppender, topic: Topic, partition: u32, records: std::ops::Range<u8>) {
    let mut outputs = Outputs::new();
    for record in records {
        outputs.push(topic, partition, Some(b"key"), &[], |out| out.push(record));
    }
    appender.append(&outputs, 1).unwrap();
    let mut acks = Vec::new();
    let began = Instant::now();
    while acks.is_empty() {
        assert!(began.elapsed() < DEADLINE);
        appender.acks(Duration::from_millis(20), &mut acks);
    }
    assert_eq!(acks[0].result, Ok(()));
}

/// Topic, partition, offset and value of what a poll brings, once it brings something.
fn read(tail: &mut LocalTail) -> Vec<(Topic, u32, u64, u8)> {
    let (mut got, began) = (Vec::new(), Instant::now());
    while got.is_empty() {
        assert!(began.elapsed() < DEADLINE);
        let each = &mut |topic, partition, records: &[evenkeel_seam::RecordRef<'_>]| {
            got.extend(records.iter().map(|r| (topic, partition, r.offset, r.value.unwrap()[0])));
        };
        tail.poll(Duration::from_millis(20), each).unwrap();
    }
    got
}

#[test]
fn a_tail_brings_the_newest_and_what_comes() {
    let dir = tempfile::tempdir().unwrap();
    let options = LocalOptions { partitions: Some(2), ..LocalOptions::default() };
    let local = Local::open(dir.path(), options).unwrap();
    let mut appender = local.appender();
    append(&mut appender, Topic::Alerts, 1, 0..5);
    let mut tail = local.tail().unwrap();
    assert_eq!(tail.follow(Topic::Alerts, 1, 2), 3);
    assert_eq!(tail.follow(Topic::Frames, 0, 0), 0);
    assert_eq!(tail.follow(Topic::Frames, 7, 9), 0, "it is not there, and brings nothing");
    assert_eq!(read(&mut tail), [(Topic::Alerts, 1, 3, 3), (Topic::Alerts, 1, 4, 4)]);
    append(&mut appender, Topic::Frames, 0, 9..10);
    assert_eq!(read(&mut tail), [(Topic::Frames, 0, 0, 9)]);
    // What goes before it is read is passed over.
    append(&mut appender, Topic::Alerts, 1, 5..8);
    local.trim_before(Topic::Alerts, 1, 7).unwrap();
    assert_eq!(read(&mut tail), [(Topic::Alerts, 1, 7, 7)]);
}
