//! One record of `events` into a core: decoded, stamped, and to `dlq` if it cannot be read.

use crate::driver::Action;
use crate::encode::{Source, encode, undecodable};
use crate::event::Event;
use evenkeel_codec::json::{MappedError, Mapping};
use evenkeel_codec::{ARRIVAL_UNSET_MS, DecodeError, decode_batch};
use evenkeel_model::EventBatch;
use evenkeel_seam::{Outputs, RecordRef};
use evenkeel_window::{AHEAD, Core};

/// What the records of `events` are.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Records {
    /// EventBatch or Event of schemas/avro.
    #[default]
    Evenkeel,
    /// JSON of another system's topic.
    Json(Mapping),
}

/// Why a record cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("by coalescer.mapping: {0}")]
    Mapped(#[from] MappedError),
}

impl Records {
    /// Reads a record into `batch`, arrival included. Recovery reads the same from the same record.
    #[inline]
    pub(crate) fn read(&self, record: &RecordRef<'_>, batch: &mut EventBatch) -> Result<(), Unreadable> {
        match self {
            Self::Evenkeel => decode_batch(record.value.unwrap_or_default(), batch)?,
            Self::Json(mapping) => mapping.read(record.key, record.value, record.timestamp_ms, batch)?,
        }
        stamp(batch, record);
        Ok(())
    }
}

/// One record into a live core; whether it could be read.
pub(crate) fn feed(
    records: &Records,
    core: &mut Core,
    partition: u32,
    record: &RecordRef<'_>,
    batch: &mut EventBatch,
    outputs: &mut Outputs,
    out: &mut Vec<Action>,
) -> bool {
    let source = Source { partition, offset: record.offset };
    match records.read(record, batch) {
        Ok(()) => {
            core.feed(record.offset, record.key, batch, &mut |output| encode(partition, output, outputs));
            true
        }
        Err(error) => {
            let error = error.to_string();
            core.feed_undecodable();
            undecodable(source, record, &error, outputs);
            out.push(Action::Say(Event::Undecodable { partition, offset: record.offset, error }));
            false
        }
    }
}

/// The `n`-th of these records is about to be fed: a later one is announced.
#[inline]
pub(crate) fn expect_after(core: &mut Core, records: &[RecordRef<'_>], n: usize) {
    if let Some(key) = records.get(n + AHEAD).and_then(|r| r.key) {
        core.expect(key);
    }
}

/// A foreign producer may set no arrival: then it is the record's own timestamp.
fn stamp(batch: &mut EventBatch, record: &RecordRef<'_>) {
    if batch.arrival_ms == ARRIVAL_UNSET_MS {
        batch.arrival_ms = record.timestamp_ms;
    }
}
