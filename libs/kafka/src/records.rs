//! From a batch of messages to runs of records of one partition.
//! Owns: the borrowed views. Never: copies a payload, unless its framing is a schema registry's; nothing is allocated
//! per record.

use crate::native::Batch;
use crate::registry::{Registry, RegistryError};
use evenkeel_seam::{Header, RecordRef};
use rdkafka::error::RDKafkaErrorCode;
use std::ops::Range;

/// What lies next to each other in a batch.
pub(crate) enum Run<'b> {
    /// Records of one partition, rising offsets, at least one.
    Records { topic: &'b str, partition: u32, records: &'b [RecordRef<'b>] },
    /// A partition's trouble.
    Error { topic: &'b str, partition: u32, code: RDKafkaErrorCode, text: String },
}

/// Hands over the runs of a batch, in order. With a registry its framing is taken off first, which blocks where an id is
/// new; without its answer nothing is handed over.
pub(crate) fn each_run(
    batch: &Batch<'_>,
    with_headers: bool,
    registry: Option<&Registry>,
    mut each: impl FnMut(Run<'_>),
) -> Result<(), RegistryError> {
    let unframed = registry.map(|registry| Unframed::of(batch, registry)).transpose()?;
    let mut headers: Vec<Header<'_>> = Vec::new();
    let mut ends: Vec<usize> = Vec::new();
    if with_headers {
        ends.reserve(batch.len());
        for i in 0..batch.len() {
            if batch.error(i).is_none() {
                batch.headers(i, &mut headers);
            }
            ends.push(headers.len());
        }
    }
    let headers_of = |i: usize| match i {
        _ if !with_headers => &[][..],
        0 => &headers[..ends[0]],
        _ => &headers[ends[i - 1]..ends[i]],
    };
    let mut records: Vec<RecordRef<'_>> = Vec::with_capacity(batch.len());
    let mut first = 0;
    while first < batch.len() {
        let (topic, partition) = (batch.topic(first), batch.partition(first));
        if let Some((code, text)) = batch.error(first) {
            each(Run::Error { topic, partition, code, text });
            first += 1;
            continue;
        }
        let mut end = first;
        while end < batch.len() && batch.same_partition(first, end) && batch.error(end).is_none() {
            let raw = batch.record(end);
            let own = unframed.as_ref().and_then(|unframed| unframed.value(end));
            records.push(RecordRef {
                offset: raw.offset,
                timestamp_ms: raw.timestamp_ms,
                key: raw.key,
                value: own.or(raw.value),
                headers: headers_of(end),
                original: own.and(raw.value),
            });
            end += 1;
        }
        each(Run::Records { topic, partition, records: &records });
        records.clear();
        first = end;
    }
    Ok(())
}

/// Values of a batch in our framing, those that were in another one.
struct Unframed {
    arena: Vec<u8>,
    spans: Vec<Option<Range<usize>>>,
}

impl Unframed {
    fn of(batch: &Batch<'_>, registry: &Registry) -> Result<Self, RegistryError> {
        let (mut arena, mut spans) = (Vec::new(), Vec::with_capacity(batch.len()));
        for i in 0..batch.len() {
            let value = if batch.error(i).is_none() { batch.record(i).value } else { None };
            spans.push(value.map(|value| registry.unframe(value, &mut arena)).transpose()?.flatten());
        }
        Ok(Self { arena, spans })
    }

    fn value(&self, i: usize) -> Option<&[u8]> {
        self.spans[i].clone().map(|span| &self.arena[span])
    }
}
