//! Late events of the running tick, by (stream, size, window), in log order. They never wait across a
//! commit.

use evenkeel_model::limits::{BATCH_EVENTS_MAX, FIELDS_MAX};
use evenkeel_model::{EventBatch, LateRecord};
use std::collections::BTreeMap;

/// `(stream slot, series, window id, whether the events carry seqs)`: a batch has a seq for all or none.
pub type LateKey = (u32, u8, i64, bool);

/// About how large a record may grow, bytes: well below what a log takes. The next event of its window
/// begins another record; the same holds for the limits of a batch.
const RECORD_BYTES_MAX: usize = 512 * 1024;

/// The late events of one tick.
#[derive(Debug, Default)]
pub struct LateEvents {
    windows: BTreeMap<LateKey, Vec<Part>>,
    bytes: usize,
}

/// One late record as it grows.
#[derive(Debug)]
struct Part {
    record: LateRecord,
    bytes: usize,
}

impl LateEvents {
    /// Adds event `row` of `batch`, whose time is `ts` (its own or its arrival), ms.
    pub fn push(
        &mut self,
        key: LateKey,
        size_ms: i64,
        batch: &EventBatch,
        row: usize,
        ts: i64,
        arrival: i64,
    ) {
        let parts = self.windows.entry(key).or_default();
        let payload = batch.payloads.get(row).and_then(|p| p.as_ref()).map_or(0, Vec::len);
        let bytes = 32 + 12 * batch.fields.len() + payload;
        if !parts.last().is_some_and(|part| part.has_room(batch, bytes)) {
            let events = EventBatch {
                stream_id: batch.stream_id.clone(),
                arrival_ms: arrival,
                backfill: batch.backfill,
                ..EventBatch::default()
            };
            let record = LateRecord { size_ms, window_id: key.2, arrivals: Vec::new(), events };
            parts.push(Part { record, bytes: 0 });
            self.bytes += 256 + batch.stream_id.len();
        }
        let Some(Part { record, bytes: size }) = parts.last_mut() else { return };
        *size += bytes;
        self.bytes += bytes;
        record.events.push_from(batch, row);
        if let Some(last) = record.events.ts.last_mut() {
            *last = ts;
        }
        record.events.arrival_ms = record.events.arrival_ms.min(arrival);
        record.arrivals.push(arrival);
    }

    /// The keys, in order.
    pub fn keys(&self) -> Vec<LateKey> {
        self.windows.keys().copied().collect()
    }

    /// Takes all records: by window, in log order.
    pub fn take(&mut self) -> impl Iterator<Item = LateRecord> {
        self.bytes = 0;
        std::mem::take(&mut self.windows).into_values().flatten().map(|part| part.record)
    }

    /// Bytes held, about.
    pub fn allocated_bytes(&self) -> usize {
        self.bytes
    }
}

impl Part {
    /// Whether an event of `batch` fits in, so that a reader's limits are kept.
    fn has_room(&self, batch: &EventBatch, bytes: usize) -> bool {
        let events = &self.record.events;
        let names = events.fields.len() + batch.fields.len();
        let is_new = |name: &str| events.fields.iter().all(|have| have.name != name);
        let fresh = || batch.fields.iter().filter(|field| is_new(&field.name)).count();
        events.len() < BATCH_EVENTS_MAX
            && self.bytes + bytes <= RECORD_BYTES_MAX
            && (names <= FIELDS_MAX || events.fields.len() + fresh() <= FIELDS_MAX)
    }
}
