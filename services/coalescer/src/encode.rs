//! What a core says, as records of the topics.

use evenkeel_codec::{encode_batch, encode_late, encode_mark, encode_row};
use evenkeel_model::{DropReason, Topic};
use evenkeel_seam::{Header, Outputs, RecordRef};
use evenkeel_window::Output;

/// Where a refused record lay.
#[derive(Debug, Clone, Copy)]
pub struct Source {
    /// Its partition of `events`.
    pub partition: u32,
    /// Its offset.
    pub offset: u64,
}

const VERSION: &str = concat!("evenkeel-coalescer/", env!("CARGO_PKG_VERSION"));

/// Appends one output of the core of `partition`.
pub fn encode(partition: u32, output: Output<'_>, outputs: &mut Outputs) {
    match output {
        Output::Row(row) => {
            let key = Some(row.stream_id.as_bytes());
            outputs.push(Topic::Windows, partition, key, &[], |buf| encode_row(row, buf));
        }
        Output::Late(late) => {
            let key = Some(late.events.stream_id.as_bytes());
            outputs.push(Topic::Windows, partition, key, &[], |buf| encode_late(late, buf));
        }
        Output::Mark(mark) => {
            let key = Some(mark.stream_id.as_bytes());
            outputs.push(Topic::Marks, partition, key, &[], |buf| encode_mark(mark, buf));
        }
        Output::Refused(refused) => {
            let source = Source { partition, offset: refused.offset };
            let size_ms = refused.size_ms.map(|ms| ms.to_string());
            let size = size_ms.as_ref().map(|text| ("size_ms", text.as_str()));
            let key = Some(refused.events.stream_id.as_bytes());
            push_dlq(source, key, refused.reason, refused.detail, size, outputs, |buf| {
                encode_batch(refused.events, buf);
            });
        }
    }
}

/// Appends a record that cannot be decoded, with its original bytes.
pub fn undecodable(source: Source, record: &RecordRef<'_>, error: &str, outputs: &mut Outputs) {
    let value = record.on_log().unwrap_or_default();
    push_dlq(source, record.key, DropReason::Malformed, error, None, outputs, |buf| {
        buf.extend_from_slice(value)
    });
}

fn push_dlq(
    source: Source,
    key: Option<&[u8]>,
    reason: DropReason,
    error: &str,
    extra: Option<(&str, &str)>,
    outputs: &mut Outputs,
    write: impl FnOnce(&mut Vec<u8>),
) {
    let (partition, offset) = (source.partition.to_string(), source.offset.to_string());
    let texts = [
        ("reason", reason.as_str()),
        ("error", error),
        ("source-topic", Topic::Events.as_str()),
        ("source-partition", &partition),
        ("source-offset", &offset),
        ("service", VERSION),
    ];
    let headers: Vec<Header<'_>> = texts
        .into_iter()
        .chain(extra)
        .map(|(name, value)| Header { name, value: value.as_bytes() })
        .collect();
    outputs.push(Topic::Dlq, source.partition, key, &headers, write);
}
