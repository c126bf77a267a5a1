//! What is sent: events of one stream with four numbers each, in the forms that the servers take.
//!
//! Owns: the bytes of a message's body. The Collector's is a record of logs with the same time, number and values per
//! event, in its binary encoding: what a device would send it.

use evenkeel_codec::encode_batch;
use evenkeel_model::{EventBatch, FieldColumn};
use std::fmt::Write as _;

/// Streams that the messages are of, in turn.
pub const STREAMS: u64 = 1_000;
const FIELDS: [&str; 4] = ["ax", "ay", "az", "weight"];

/// The form of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// An array of events with their stream, JSON.
    Json,
    /// One event without its stream, JSON.
    JsonEvent,
    /// One record of schemas/avro/EventBatch.avsc.
    Avro,
    /// `ExportLogsServiceRequest` of OTLP, protobuf.
    Otlp,
}

/// The stream of the `n`-th message.
pub fn stream_of(n: u64) -> String {
    format!("bench-{}", n % STREAMS)
}

/// Appends the body of the `n`-th message, `events` events that end at `now_ms`, 25 ms apart.
pub fn write(form: Form, n: u64, events: u64, now_ms: i64, out: &mut Vec<u8>) {
    let first = (n / STREAMS) * events;
    let at = |k: u64| now_ms - ((events - 1 - k) * 25) as i64;
    match form {
        Form::Json => {
            let mut text = String::from("[");
            for k in 0..events {
                let comma = if k == 0 { "" } else { "," };
                let _ = write!(text, "{comma}{{\"stream_id\":\"{}\",", stream_of(n));
                json_event(first + k, at(k), &mut text);
            }
            text.push(']');
            out.extend_from_slice(text.as_bytes());
        }
        Form::JsonEvent => {
            let mut text = String::from("{");
            json_event(first, at(0), &mut text);
            out.extend_from_slice(text.as_bytes());
        }
        Form::Avro => encode_batch(&batch(n, first, events, at), out),
        Form::Otlp => otlp(n, first, events, at, out),
    }
}

/// A value with as many digits as a sensor gives.
fn value(seq: u64, field: usize) -> f64 {
    ((seq * 37 + field as u64 * 11) % 4_096) as f64 / 16.0
}

fn json_event(seq: u64, ts: i64, text: &mut String) {
    let _ = write!(text, "\"ts\":{ts},\"seq\":{seq},\"fields\":{{");
    for (n, name) in FIELDS.iter().enumerate() {
        let comma = if n == 0 { "" } else { "," };
        let _ = write!(text, "{comma}\"{name}\":{}", value(seq, n));
    }
    text.push_str("}}");
}

fn batch(n: u64, first: u64, events: u64, at: impl Fn(u64) -> i64) -> EventBatch {
    let column = |(field, name): (usize, &&str)| FieldColumn {
        name: (*name).to_owned(),
        rows: Vec::new(),
        values: (first..first + events).map(|seq| value(seq, field)).collect(),
    };
    EventBatch {
        stream_id: stream_of(n),
        arrival_ms: evenkeel_codec::ARRIVAL_UNSET_MS,
        ts: (0..events).map(at).collect(),
        seq: (first..first + events).collect(),
        fields: FIELDS.iter().enumerate().map(column).collect(),
        ..EventBatch::default()
    }
}

/// Resource with the stream's id, then one log record per event: its time, and five attributes.
fn otlp(n: u64, first: u64, events: u64, at: impl Fn(u64) -> i64, out: &mut Vec<u8>) {
    let text_value = |text: &str| member(1, text.as_bytes());
    let attribute = |name: &str, value: Vec<u8>| [member(1, name.as_bytes()), member(2, &value)].concat();
    let resource = member(1, &attribute("stream_id", text_value(&stream_of(n))));
    let mut scope = Vec::new();
    for k in 0..events {
        let seq = first + k;
        let mut record = vec![0x09]; // time_unix_nano, fixed64
        record.extend_from_slice(&((at(k) as u64) * 1_000_000).to_le_bytes());
        let mut number = vec![0x18]; // int_value
        varint(seq, &mut number);
        record.extend(member(6, &attribute("seq", number)));
        for (field, name) in FIELDS.iter().enumerate() {
            let double = [&[0x21][..], &value(seq, field).to_le_bytes()].concat(); // double_value
            record.extend(member(6, &attribute(name, double)));
        }
        scope.extend(member(2, &record));
    }
    let resource_logs = [member(1, &resource), member(2, &scope)].concat();
    out.extend(member(1, &resource_logs));
}

/// A length-delimited member of a protobuf message.
fn member(number: u64, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 4);
    varint(number << 3 | 2, &mut out);
    varint(bytes.len() as u64, &mut out);
    out.extend_from_slice(bytes);
    out
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_codec::decode_batch;

    const NOW: i64 = 1_700_000_000_000;

    #[test]
    fn every_form_holds_the_same_events() {
        let n = 3 * STREAMS + 7;
        let (mut json, mut avro, mut read) = (Vec::new(), Vec::new(), EventBatch::default());
        write(Form::Json, n, 100, NOW, &mut json);
        write(Form::Avro, n, 100, NOW, &mut avro);
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        decode_batch(&avro, &mut read).unwrap();
        assert_eq!((json.as_array().unwrap().len(), read.len()), (100, 100));
        for (k, event) in json.as_array().unwrap().iter().enumerate() {
            assert_eq!(event["stream_id"], read.stream_id.as_str());
            assert_eq!((event["ts"].as_i64(), event["seq"].as_u64()), (Some(read.ts[k]), Some(read.seq[k])));
            for field in &read.fields {
                assert_eq!(event["fields"][&field.name].as_f64(), Some(field.values[k]));
            }
        }
        assert_eq!((read.seq[0], read.ts[99]), (300, NOW), "the fourth message of its stream");
        let mut one = Vec::new();
        write(Form::JsonEvent, n, 1, NOW, &mut one);
        let one: serde_json::Value = serde_json::from_slice(&one).unwrap();
        assert_eq!((one["seq"].as_u64(), one.get("stream_id")), (Some(3), None));
    }

    /// Against the bytes that the protobuf specification gives for such messages.
    #[test]
    fn otlp_is_protobuf() {
        assert_eq!(member(1, b"ab"), [0x0a, 2, b'a', b'b']);
        let mut bytes = Vec::new();
        varint(300, &mut bytes);
        assert_eq!(bytes, [0xac, 0x02]);
        let mut body = Vec::new();
        write(Form::Otlp, 7, 2, NOW, &mut body);
        assert_eq!(body[0], 0x0a);
        let names = FIELDS.iter().map(|name| String::from_utf8_lossy(&body).matches(name).count());
        assert!(names.eq([2; 4]));
    }
}
