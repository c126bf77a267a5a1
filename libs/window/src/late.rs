//! Late events of the running tick, by (stream, size, window), in log order. They never wait across a
//! commit.

use evenkeel_model::{EventBatch, LateRecord};
use std::collections::BTreeMap;

/// `(stream slot, series, window id, whether the events carry seqs)`: a batch has a seq for all or none.
pub type LateKey = (u32, u8, i64, bool);

/// The late events of one tick.
#[derive(Debug, Default)]
pub struct LateEvents {
    records: BTreeMap<LateKey, LateRecord>,
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
        let bytes = &mut self.bytes;
        let record = self.records.entry(key).or_insert_with(|| {
            *bytes += 256 + batch.stream_id.len();
            let events = EventBatch {
                stream_id: batch.stream_id.clone(),
                arrival_ms: arrival,
                backfill: batch.backfill,
                ..EventBatch::default()
            };
            LateRecord { size_ms, window_id: key.2, arrivals: Vec::new(), events }
        });
        record.events.push_from(batch, row);
        if let Some(last) = record.events.ts.last_mut() {
            *last = ts;
        }
        record.events.arrival_ms = record.events.arrival_ms.min(arrival);
        record.arrivals.push(arrival);
        let payload = batch.payloads.get(row).and_then(|p| p.as_ref()).map_or(0, Vec::len);
        self.bytes += 32 + 12 * batch.fields.len() + payload;
    }

    /// The keys, in order.
    pub fn keys(&self) -> Vec<LateKey> {
        self.records.keys().copied().collect()
    }

    /// Takes all records.
    pub fn take(&mut self) -> BTreeMap<LateKey, LateRecord> {
        self.bytes = 0;
        std::mem::take(&mut self.records)
    }

    /// Bytes held, about.
    pub fn allocated_bytes(&self) -> usize {
        self.bytes
    }
}
