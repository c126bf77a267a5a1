//! Events of a file into records of the log, in the file's order.
//!
//! Only neighbours of one stream and one arrival share a batch: the log keeps the order of the file across
//! streams too, so that what follows from the log does not depend on where an append was cut.

use evenkeel_codec::encode_batch;
use evenkeel_codec::json::JsonEvent;
use evenkeel_model::limits::FIELDS_MAX;
use evenkeel_model::{EventBatch, FieldColumn, Topic, partition_of};
use evenkeel_seam::Outputs;

/// Most events of one batch.
const EVENTS_MAX: usize = 256;
/// Most payload bytes of one batch; one event alone may be larger.
const PAYLOAD_BYTES_MAX: usize = 256 * 1024;

/// Builds batches.
#[derive(Debug)]
pub struct Batcher {
    partitions: u32,
    open: EventBatch,
    payload_bytes: usize,
    scratch: EventBatch,
}

impl Batcher {
    /// For a topic of so many partitions.
    pub fn new(partitions: u32) -> Self {
        let (open, scratch) = Default::default();
        Self { partitions, open, payload_bytes: 0, scratch }
    }

    /// Adds a placed event (it has a seq) of `stream_id`.
    pub fn push(&mut self, stream_id: &str, event: &JsonEvent, arrival_ms: i64, out: &mut Outputs) {
        if !self.open.is_empty() && !self.fits(stream_id, event, arrival_ms) {
            self.seal(out);
        }
        let first = self.open.is_empty();
        fill(if first { &mut self.open } else { &mut self.scratch }, event);
        self.payload_bytes += event.payload.as_ref().map_or(0, Vec::len);
        if first {
            self.open.stream_id.push_str(stream_id);
            self.open.arrival_ms = arrival_ms;
        } else {
            self.open.push_from(&self.scratch, 0);
        }
    }

    /// Appends the open batch, if any.
    pub fn seal(&mut self, out: &mut Outputs) {
        if !self.open.is_empty() {
            let partition = partition_of(&self.open.stream_id, self.partitions);
            let key = Some(self.open.stream_id.as_bytes());
            out.push(Topic::Events, partition, key, &[], |buf| encode_batch(&self.open, buf));
            self.open.clear();
            self.payload_bytes = 0;
        }
    }

    fn fits(&self, stream_id: &str, event: &JsonEvent, arrival_ms: i64) -> bool {
        let open = &self.open;
        let new = event.fields.iter().filter(|(name, _)| open.fields.iter().all(|f| f.name != *name));
        open.stream_id == stream_id
            && open.arrival_ms == arrival_ms
            && open.len() < EVENTS_MAX
            && self.payload_bytes + event.payload.as_ref().map_or(0, Vec::len) <= PAYLOAD_BYTES_MAX
            && open.fields.len() + new.count() <= FIELDS_MAX
    }
}

/// Makes `batch` the batch of this one event, in its old memory.
fn fill(batch: &mut EventBatch, event: &JsonEvent) {
    batch.clear();
    batch.ts.push(event.ts);
    batch.seq.extend(event.seq);
    batch.fields.resize_with(event.fields.len(), FieldColumn::default);
    for (column, (name, value)) in batch.fields.iter_mut().zip(&event.fields) {
        column.name.push_str(name);
        column.values.push(*value);
    }
    if event.payload.is_some() {
        batch.payloads.push(event.payload.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_codec::decode_batch;

    fn event(ts: i64, fields: &[&str]) -> JsonEvent {
        let fields = fields.iter().map(|name| ((*name).to_owned(), ts as f64)).collect();
        JsonEvent { ts, seq: Some(ts as u64), fields, ..JsonEvent::default() }
    }

    fn batches(out: &Outputs) -> Vec<(String, i64, Vec<i64>)> {
        let decode = |record| {
            let mut batch = EventBatch::default();
            decode_batch(out.value(record).unwrap(), &mut batch).unwrap();
            assert_eq!(out.key(record), Some(batch.stream_id.as_bytes()));
            assert_eq!(record.partition, partition_of(&batch.stream_id, 4));
            (batch.stream_id, batch.arrival_ms, batch.ts)
        };
        out.records().iter().map(decode).collect()
    }

    #[test]
    fn the_log_keeps_the_order_of_the_file() {
        let (mut batcher, mut out) = (Batcher::new(4), Outputs::new());
        for (stream, ts, arrival) in [("b", 1, 9), ("b", 2, 9), ("a", 3, 9), ("b", 4, 9), ("b", 5, 10)] {
            batcher.push(stream, &event(ts, &["x"]), arrival, &mut out);
        }
        batcher.seal(&mut out);
        batcher.seal(&mut out);
        let want = [("b", 9, vec![1, 2]), ("a", 9, vec![3]), ("b", 9, vec![4]), ("b", 10, vec![5])];
        assert_eq!(batches(&out), want.map(|(stream, arrival, ts)| (stream.to_owned(), arrival, ts)));
    }

    #[test]
    fn events_fields_and_payloads_are_bounded() {
        let (mut batcher, mut out) = (Batcher::new(1), Outputs::new());
        (0..600).for_each(|ts| batcher.push("s", &event(ts, &[]), 0, &mut out));
        batcher.seal(&mut out);
        assert_eq!(out.len(), 3);
        out.clear();
        (0..100).for_each(|ts| batcher.push("s", &event(ts, &[&format!("f{ts}")]), 0, &mut out));
        batcher.seal(&mut out);
        assert_eq!(out.len(), 2);
        out.clear();
        for ts in 0..10 {
            let big = JsonEvent { payload: Some(vec![0; 65_536]), ..event(ts, &[]) };
            batcher.push("s", &big, 0, &mut out);
        }
        batcher.seal(&mut out);
        assert_eq!(out.len(), 3);
    }
}
