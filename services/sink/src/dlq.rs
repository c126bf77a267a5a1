//! What the sink sends to `dlq`: records that cannot be decoded or do not belong where they lie, rows the store
//! refuses for ever, and late events whose seq falls into a fuzzy interval.

use crate::lane::{Task, Work};
use evenkeel_codec::{encode_batch, encode_late, encode_score, encode_stored};
use evenkeel_model::{DropReason, EventBatch, LateRecord, Topic};
use evenkeel_seam::{Header, Outputs, RecordRef};

const VERSION: &str = concat!("evenkeel-sink/", env!("CARGO_PKG_VERSION"));

/// A record that cannot be decoded, with its original bytes.
pub fn undecodable(topic: Topic, partition: u32, record: &RecordRef<'_>, error: &str, outputs: &mut Outputs) {
    let value = record.on_log().unwrap_or_default();
    let (reason, offset) = (DropReason::Malformed.as_str(), record.offset);
    let about = About { topic, reason, error, partition, offset };
    about.push(record.key, &[], outputs, |buf| buf.extend_from_slice(value));
}

/// A record of a stream that belongs to another partition, with its original bytes.
pub fn misrouted(topic: Topic, partition: u32, record: &RecordRef<'_>, error: &str, outputs: &mut Outputs) {
    let value = record.on_log().unwrap_or_default();
    let (reason, offset) = (DropReason::Misrouted.as_str(), record.offset);
    let about = About { topic, reason, error, partition, offset };
    about.push(record.key, &[], outputs, |buf| buf.extend_from_slice(value));
}

/// A row or a score that the store refuses for ever.
pub fn refused_row(partition: u32, task: &Task, error: &str, outputs: &mut Outputs) {
    let topic = if matches!(task.work, Work::Score(_)) { Topic::Scores } else { Topic::Windows };
    let about = About { topic, reason: "refused", error, partition, offset: task.offset };
    let key = Some(task.key.stream_id.as_bytes());
    about.push(key, &[], outputs, |buf| match &task.work {
        Work::Write(row) | Work::WriteAfterDlq(row) => encode_stored(row, buf),
        Work::Merge(late) => encode_late(late, buf),
        Work::Score(stored) => encode_score(&stored.score, buf),
        Work::SettleAfterDlq => {} // never submitted to the store
    });
}

/// The late events at `positions`: they cannot be told from counted ones.
pub fn overflow(partition: u32, offset: u64, late: &LateRecord, positions: &[usize], outputs: &mut Outputs) {
    let mut events = EventBatch {
        stream_id: late.events.stream_id.clone(),
        arrival_ms: late.events.arrival_ms,
        backfill: late.events.backfill,
        ..EventBatch::default()
    };
    positions.iter().for_each(|at| events.push_from(&late.events, *at));
    let error = "the stored row cannot take it: fuzzy seq interval, 64 fields, or the last revision";
    let (topic, reason) = (Topic::Windows, DropReason::Overflow.as_str());
    let about = About { topic, reason, error, partition, offset };
    let size_ms = late.size_ms.to_string();
    let size = Header { name: "size_ms", value: size_ms.as_bytes() };
    about.push(Some(late.events.stream_id.as_bytes()), &[size], outputs, |buf| encode_batch(&events, buf));
}

struct About<'a> {
    topic: Topic,
    reason: &'a str,
    error: &'a str,
    partition: u32,
    offset: u64,
}

impl About<'_> {
    fn push(
        &self,
        key: Option<&[u8]>,
        extra: &[Header<'_>],
        outputs: &mut Outputs,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let (partition, offset) = (self.partition.to_string(), self.offset.to_string());
        let texts = [
            ("reason", self.reason),
            ("error", self.error),
            ("source-topic", self.topic.as_str()),
            ("source-partition", &partition),
            ("source-offset", &offset),
            ("service", VERSION),
        ];
        let named = texts.into_iter().map(|(name, value)| Header { name, value: value.as_bytes() });
        let headers: Vec<Header<'_>> = named.chain(extra.iter().copied()).collect();
        outputs.push(Topic::Dlq, self.partition, key, &headers, write);
    }
}
