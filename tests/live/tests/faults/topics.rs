//! The topics as somebody sees them who is no service: records put there as they are, and read back.

use crate::site::{DEADLINE, Site};
use evenkeel_codec::encode_batch;
use evenkeel_kafka::{KafkaAppender, KafkaConfig, KafkaWorker, Millis, WorkerOptions};
use evenkeel_model::{EventBatch, FieldColumn, Topic};
use evenkeel_seam::{Appender as _, Header, LogAction, LogInput, Outputs, Worker as _};
use std::time::{Duration, Instant};

/// How the adapters reach a site's topics.
pub fn config(site: &Site) -> KafkaConfig {
    let mut config =
        KafkaConfig { brokers: site.brokers.clone(), prefix: site.prefix.clone(), ..Default::default() };
    config.timeouts.connect = Millis::new(60_000);
    config
}

/// Puts records into a partition, as they are.
pub fn put(site: &Site, topic: Topic, partition: u32, records: &[(Option<&str>, &[u8])]) {
    let (mut outputs, mut acks) = (Outputs::new(), Vec::new());
    for (key, value) in records {
        let header = Header { name: "content-type", value: b"x" };
        outputs.push(topic, partition, key.map(str::as_bytes), &[header], |buf| buf.extend_from_slice(value));
    }
    let mut appender = KafkaAppender::connect(&config(site)).unwrap();
    appender.append(&outputs, 1).unwrap();
    let began = Instant::now();
    while acks.is_empty() {
        assert!(began.elapsed() < DEADLINE, "no acknowledgement");
        appender.acks(Duration::from_millis(100), &mut acks);
    }
    acks[0].result.clone().unwrap();
}

/// A record, owned.
#[derive(Debug, Clone)]
pub struct Found {
    pub partition: u32,
    pub offset: u64,
    pub value: Vec<u8>,
    headers: Vec<(String, String)>,
}

impl Found {
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value)
    }
}

/// Reads a topic from its beginning until `enough`.
#[track_caller]
pub fn read(site: &Site, topic: Topic, what: &str, enough: impl Fn(&[Found]) -> bool) -> Vec<Found> {
    let options = WorkerOptions {
        service: format!("reader-{topic}"),
        transactional_id: format!("{}-reader-{topic}", site.prefix),
        topic,
        headers: true,
    };
    let mut worker = KafkaWorker::connect(&config(site), options).unwrap();
    let (mut found, mut new, began) = (Vec::new(), Vec::new(), Instant::now());
    while !enough(&found) {
        assert!(began.elapsed() < DEADLINE, "{topic} never holds {what}: {found:?}");
        let each = &mut |input: LogInput<'_>| match input {
            LogInput::Assigned { partition, .. } => new.push(partition),
            LogInput::Records { partition, records, .. } => found.extend(records.iter().map(|r| {
                let text = |h: &Header<'_>| String::from_utf8_lossy(h.value).into_owned();
                Found {
                    partition,
                    offset: r.offset,
                    value: r.value.unwrap_or_default().to_vec(),
                    headers: r.headers.iter().map(|h| (h.name.to_owned(), text(h))).collect(),
                }
            })),
            _ => {}
        };
        worker.poll(Duration::from_millis(100), each).unwrap();
        for partition in new.drain(..) {
            worker.perform(LogAction::Start { partition, from: None }).unwrap();
        }
    }
    worker.close().unwrap();
    found
}

/// Events of one stream, one each 100 ms from `start_ms`, as a record.
pub fn batch(stream_id: &str, start_ms: i64, seqs: std::ops::Range<u64>, arrival_ms: i64) -> Vec<u8> {
    let batch = EventBatch {
        stream_id: stream_id.into(),
        arrival_ms,
        ts: seqs.clone().map(|seq| start_ms + seq as i64 * 100).collect(),
        fields: vec![FieldColumn {
            name: "v".into(),
            rows: vec![],
            values: seqs.clone().map(|seq| seq as f64).collect(),
        }],
        seq: seqs.collect(),
        ..EventBatch::default()
    };
    let mut bytes = Vec::new();
    encode_batch(&batch, &mut bytes);
    bytes
}
