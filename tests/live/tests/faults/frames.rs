//! Live frames over a real broker: somebody looks at a stream, the coalescer is killed, somebody still looks.

use crate::site::{DEADLINE, PARTITIONS, Site, now_ms};
use crate::topics::{Found, config, read};
use evenkeel_codec::{WindowRecord, decode_frame, decode_window_record, encode_batch, encode_interest};
use evenkeel_kafka::KafkaAppender;
use evenkeel_model::{
    EventBatch, FieldColumn, Frame, FrameFlag, FrameKind, Interest, Topic, Want, partition_of,
};
use evenkeel_seam::{Appender as _, Outputs};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const STREAM: &str = "bowl/7";
/// The gateway's partition of frames.
const GATEWAY: u32 = 5;

/// A device at ten events a second, and a gateway that looks at it.
struct Traffic {
    appender: KafkaAppender,
    seq: u64,
}

impl Traffic {
    fn append(&mut self, topic: Topic, value: &[u8]) {
        let (mut outputs, mut acks) = (Outputs::new(), Vec::new());
        let partition = partition_of(STREAM, PARTITIONS);
        outputs.push(topic, partition, Some(STREAM.as_bytes()), &[], |buf| buf.extend_from_slice(value));
        self.appender.append(&outputs, 1).unwrap();
        let began = Instant::now();
        while acks.is_empty() {
            assert!(began.elapsed() < DEADLINE, "no acknowledgement");
            self.appender.acks(Duration::from_millis(100), &mut acks);
        }
        acks[0].result.clone().unwrap();
    }

    fn event(&mut self, ts: i64) {
        self.seq += 1;
        let batch = EventBatch {
            stream_id: STREAM.into(),
            arrival_ms: now_ms(),
            ts: vec![ts],
            seq: vec![self.seq],
            fields: vec![FieldColumn { name: "v".into(), rows: vec![], values: vec![self.seq as f64] }],
            ..EventBatch::default()
        };
        let mut value = Vec::new();
        encode_batch(&batch, &mut value);
        self.append(Topic::Events, &value);
    }

    fn look(&mut self) {
        let want = |(kind, size_ms)| Want { kind, size_ms, hz: 10.0 };
        let kinds = [(FrameKind::Telemetry, 0), (FrameKind::Windows, 5_000), (FrameKind::Status, 0)];
        let interest = Interest {
            stream_id: STREAM.into(),
            gateway: "gateway-5".into(),
            partition: GATEWAY,
            wants: kinds.map(want).into(),
            expires_at_ms: now_ms() + 15_000,
        };
        let mut value = Vec::new();
        encode_interest(&interest, &mut value);
        self.append(Topic::Interest, &value);
    }

    /// Until told to stop; how many events there were, before one that closes all their windows.
    fn run(mut self, stop: &AtomicBool) -> u64 {
        for n in 0.. {
            if stop.load(Ordering::Acquire) {
                break;
            }
            if n % 30 == 0 {
                self.look();
            }
            self.event(now_ms());
            // The device's own pace: nothing is waited for here.
            std::thread::sleep(Duration::from_millis(100));
        }
        let sent = self.seq;
        self.event(now_ms() + 60_000);
        sent
    }
}

fn frames(found: &[Found]) -> Vec<Frame> {
    let frame = |found: &Found| {
        assert_eq!(found.partition, GATEWAY);
        decode_frame(&found.value).unwrap()
    };
    found.iter().map(frame).collect()
}

/// Enough frames of an epoch from `from` on, with everything in them.
fn seen(found: &[Found], from: u64) -> bool {
    let frames = frames(found);
    let of = |kind: FrameKind| frames.iter().filter(move |f| f.kind == kind && f.epoch >= from);
    of(FrameKind::Telemetry).filter(|f| !f.series.is_empty()).count() >= 10
        && of(FrameKind::Windows).any(|f| f.windows.iter().any(|w| w.closed_by.is_some()))
        && of(FrameKind::Status).any(|f| f.flags.contains(&FrameFlag::Live) && f.events_per_s > 1.0)
}

#[test]
fn frames_go_on_in_another_epoch_after_a_kill_and_the_rows_are_as_ever() {
    let site = Site::on_kafka("frames");
    let coalescer = site.start("coalescer", &[]);
    let traffic = Traffic { appender: KafkaAppender::connect(&config(&site)).unwrap(), seq: 0 };
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    let device = std::thread::spawn(move || traffic.run(&told));

    let before = frames(&read(&site, Topic::Frames, "frames", |found| seen(found, 0)));
    let epoch = before.iter().map(|frame| frame.epoch).max().unwrap();
    let telemetry: Vec<&Frame> = before.iter().filter(|f| f.kind == FrameKind::Telemetry).collect();
    assert!(telemetry.is_sorted_by(|a, b| (a.epoch, a.seq) < (b.epoch, b.seq)), "seq rises");
    let rate = telemetry.len() as f64 * 1_000.0
        / (telemetry[telemetry.len() - 1].ts_ms - telemetry[0].ts_ms).max(1) as f64;
    assert!(rate <= 13.0, "{rate} frames per second were not asked for");
    coalescer.kill();
    let mut heir = site.start("coalescer", &[]);
    let after =
        frames(&read(&site, Topic::Frames, "frames of another epoch", |found| seen(found, epoch + 1)));
    assert!(after.iter().all(|frame| frame.stream_id == STREAM));
    heir.still_runs();
    assert!(heir.metric("evenkeel_coalescer_watched ").is_some_and(|watched| watched >= 1.0));

    stop.store(true, Ordering::Release);
    let sent = device.join().unwrap();
    let counted = |found: &[Found]| {
        let mut rows = BTreeMap::new();
        for found in found {
            if let WindowRecord::Row(row) = decode_window_record(&found.value).unwrap()
                && row.span.size_ms == 5_000
            {
                assert!(rows.insert(row.span, row.count).is_none(), "EK-WIN-1: {row:?}");
            }
        }
        rows.values().sum::<u64>()
    };
    let rows = read(&site, Topic::Windows, "all rows", |found| counted(found) >= sent);
    assert_eq!(counted(&rows), sent);
}
