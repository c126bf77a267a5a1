//! Events as a test thinks of them, the files they are written to, and the reference they are judged by:
//! computed from the events alone, by rules written down again here.

use evenkeel_model::{EventBatch, FieldColumn, partition_of};
use evenkeel_scenarios::{LogRecord, Reference, Settings};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// One line of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct FileEvent {
    pub stream_id: String,
    pub ts: i64,
    pub seq: Option<u64>,
    pub arrival: Option<i64>,
    pub fields: Vec<(String, f64)>,
}

/// An event without seq and arrival, of one field.
pub fn event(stream_id: &str, ts: i64, x: f64) -> FileEvent {
    let fields = vec![("x".to_owned(), x)];
    FileEvent { stream_id: stream_id.to_owned(), ts, seq: None, arrival: None, fields }
}

/// As NDJSON.
pub fn ndjson(events: &[FileEvent]) -> String {
    let mut text = String::new();
    for event in events {
        let _ = write!(text, "{{\"stream_id\":{:?},\"ts\":{}", event.stream_id, event.ts);
        if let Some(seq) = event.seq {
            let _ = write!(text, ",\"seq\":{seq}");
        }
        if let Some(arrival) = event.arrival {
            let _ = write!(text, ",\"arrival\":{arrival}");
        }
        let fields: Vec<String> = event.fields.iter().map(|(name, x)| format!("{name:?}:{x:?}")).collect();
        let _ = writeln!(text, ",\"fields\":{{{}}}}}", fields.join(","));
    }
    text
}

/// As CSV with one field `x`.
pub fn csv(events: &[FileEvent]) -> String {
    let mut text = "stream_id,ts,x\n".to_owned();
    for event in events {
        let x = event.fields.first().map_or(String::new(), |(_, x)| format!("{x:?}"));
        let _ = writeln!(text, "{},{},{x}", event.stream_id, event.ts);
    }
    text
}

/// Events in the order of a file, one after the other file, as records of the log: one event each, arrived
/// when their stream was at its largest event time so far, numbered per stream from 0 where they have no seq.
/// `files` are judged as loaded in this order.
pub fn reference_of_files(settings: &Settings, files: &[&[FileEvent]]) -> Reference {
    let mut next_seq: BTreeMap<&str, u64> = BTreeMap::new();
    let mut offsets: BTreeMap<u32, u64> = BTreeMap::new();
    let mut log = Vec::new();
    for events in files {
        let mut newest: BTreeMap<&str, i64> = BTreeMap::new();
        for event in *events {
            let newest = newest.entry(&event.stream_id).or_insert(event.ts);
            *newest = event.ts.max(*newest);
            let next = next_seq.entry(&event.stream_id).or_default();
            let seq = event.seq.unwrap_or(*next);
            *next = (seq + 1).max(*next);
            let partition = partition_of(&event.stream_id, settings.partitions);
            let offset = offsets.entry(partition).or_default();
            let batch = batch_of(event, seq, event.arrival.unwrap_or(*newest));
            let key = Some(event.stream_id.clone().into_bytes());
            log.push(LogRecord { partition, offset: *offset, timestamp_ms: 0, key, batch: Some(batch) });
            *offset += 1;
        }
    }
    Reference::of(settings, log)
}

/// The same for one file.
pub fn reference(settings: &Settings, events: &[FileEvent]) -> Reference {
    reference_of_files(settings, &[events])
}

fn batch_of(event: &FileEvent, seq: u64, arrival_ms: i64) -> EventBatch {
    let column =
        |(name, x): &(String, f64)| FieldColumn { name: name.clone(), rows: vec![], values: vec![*x] };
    EventBatch {
        stream_id: event.stream_id.clone(),
        arrival_ms,
        ts: vec![event.ts],
        seq: vec![seq],
        fields: event.fields.iter().map(column).collect(),
        ..EventBatch::default()
    }
}
