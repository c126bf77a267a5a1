//! One record of `events` into a core: decoded, stamped, and to `dlq` if it cannot be read.

use crate::driver::Action;
use crate::encode::{Source, encode, undecodable};
use crate::event::Event;
use evenkeel_codec::{ARRIVAL_UNSET_MS, decode_batch};
use evenkeel_model::EventBatch;
use evenkeel_seam::{Outputs, RecordRef};
use evenkeel_window::{AHEAD, Core};

/// One record into a live core.
pub(crate) fn feed(
    core: &mut Core,
    partition: u32,
    record: &RecordRef<'_>,
    batch: &mut EventBatch,
    outputs: &mut Outputs,
    out: &mut Vec<Action>,
) {
    let source = Source { partition, offset: record.offset };
    match decode_batch(record.value.unwrap_or_default(), batch) {
        Ok(()) => {
            stamp(batch, record);
            core.feed(record.offset, record.key, batch, &mut |output| encode(partition, output, outputs))
        }
        Err(error) => {
            let error = error.to_string();
            core.feed_undecodable();
            undecodable(source, record, &error, outputs);
            out.push(Action::Say(Event::Undecodable { partition, offset: record.offset, error }));
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
pub(crate) fn stamp(batch: &mut EventBatch, record: &RecordRef<'_>) {
    if batch.arrival_ms == ARRIVAL_UNSET_MS {
        batch.arrival_ms = record.timestamp_ms;
    }
}
