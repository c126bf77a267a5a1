//! Groups single events (JSON lines, CSV rows) into batches, one stream per batch.
//!
//! Owns: the open batches, one per stream. Keeps the order of each stream's events: where a stream's next
//! event does not fit its open batch (another arrival, backfill or not, with or without seq, a limit),
//! that batch is sealed first. Bounded: at the limit of all open events every batch is sealed.

use crate::json::JsonEvent;
use evenkeel_model::limits::{BATCH_EVENTS_MAX, FIELDS_MAX};
use evenkeel_model::{EventBatch, FieldColumn};
use std::collections::BTreeMap;

/// When batches are sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// Most events of one batch: 1 to [`BATCH_EVENTS_MAX`].
    pub batch_events_max: usize,
    /// Most bytes of values and payloads of one batch; one event alone may be larger.
    pub batch_bytes_max: usize,
    /// Most events in all open batches together.
    pub open_events_max: usize,
    /// Most bytes of values and payloads in all open batches together.
    pub open_bytes_max: usize,
}

impl Default for BatchLimits {
    /// Batches that fit a log record of 1 MiB, and 16 MiB in all.
    fn default() -> Self {
        Self {
            batch_events_max: 4_096,
            batch_bytes_max: 512 * 1024,
            open_events_max: 262_144,
            open_bytes_max: 16 * 1024 * 1024,
        }
    }
}

/// Groups single events into batches by (stream, has seq, arrival, backfill).
#[derive(Debug, Default)]
pub struct BatchBuilder {
    limits: BatchLimits,
    open: BTreeMap<String, Open>,
    events: usize,
    bytes: usize,
    scratch: EventBatch,
}

#[derive(Debug)]
struct Open {
    batch: EventBatch,
    bytes: usize,
}

impl BatchBuilder {
    /// No batch open.
    pub fn new(limits: BatchLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Number of events in open batches.
    pub fn len(&self) -> usize {
        self.events
    }

    /// Whether no event is in an open batch.
    pub fn is_empty(&self) -> bool {
        self.events == 0
    }

    /// Adds an event of stream `stream_id` (`event.stream_id` and `event.arrival` are not looked at).
    /// Appends the batches that had to be sealed to `sealed`, in the order of each stream's events.
    pub fn push(
        &mut self,
        stream_id: &str,
        arrival_ms: i64,
        backfill: bool,
        event: &JsonEvent,
        sealed: &mut Vec<EventBatch>,
    ) {
        let bytes = bytes_of(event);
        if self.events >= self.limits.open_events_max || self.bytes + bytes > self.limits.open_bytes_max {
            self.flush(sealed);
        }
        if self.open.get(stream_id).is_some_and(|open| !self.fits(open, arrival_ms, backfill, event, bytes)) {
            self.seal(stream_id, sealed);
        }
        fill(&mut self.scratch, event);
        let open = match self.open.get_mut(stream_id) {
            Some(open) => open,
            None => self.open.entry(stream_id.to_owned()).or_insert_with(|| Open {
                batch: EventBatch {
                    stream_id: stream_id.to_owned(),
                    arrival_ms,
                    backfill,
                    ..EventBatch::default()
                },
                bytes: 0,
            }),
        };
        open.batch.push_from(&self.scratch, 0);
        open.bytes += bytes;
        self.events += 1;
        self.bytes += bytes;
    }

    /// Seals every open batch and appends them to `sealed`, rising by stream id.
    pub fn flush(&mut self, sealed: &mut Vec<EventBatch>) {
        sealed.extend(std::mem::take(&mut self.open).into_values().map(|open| open.batch));
        (self.events, self.bytes) = (0, 0);
    }

    fn seal(&mut self, stream_id: &str, sealed: &mut Vec<EventBatch>) {
        if let Some(open) = self.open.remove(stream_id) {
            self.events -= open.batch.len();
            self.bytes -= open.bytes;
            sealed.push(open.batch);
        }
    }

    fn fits(&self, open: &Open, arrival_ms: i64, backfill: bool, event: &JsonEvent, bytes: usize) -> bool {
        let Open { batch, bytes: used } = open;
        let same = batch.arrival_ms == arrival_ms
            && batch.backfill == backfill
            && batch.has_seq() == event.seq.is_some();
        let new = event.fields.iter().filter(|(name, _)| batch.fields.iter().all(|f| f.name != *name));
        same && batch.len() < self.limits.batch_events_max.min(BATCH_EVENTS_MAX)
            && used + bytes <= self.limits.batch_bytes_max
            && batch.fields.len() + new.count() <= FIELDS_MAX
    }
}

/// What an event adds to a batch: its two numbers, its values with their row numbers, its payload.
fn bytes_of(event: &JsonEvent) -> usize {
    16 + 12 * event.fields.len() + event.payload.as_ref().map_or(0, Vec::len)
}

/// Makes `scratch` the batch of this one event, in its old memory.
fn fill(scratch: &mut EventBatch, event: &JsonEvent) {
    scratch.clear();
    scratch.ts.push(event.ts);
    scratch.seq.extend(event.seq);
    scratch.fields.resize_with(event.fields.len(), FieldColumn::default);
    for (column, (name, value)) in scratch.fields.iter_mut().zip(&event.fields) {
        column.name.push_str(name);
        column.values.push(*value);
    }
    if event.payload.is_some() {
        scratch.payloads.push(event.payload.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(ts: i64, seq: Option<u64>, fields: &[(&str, f64)]) -> JsonEvent {
        let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        JsonEvent { ts, seq, fields, ..JsonEvent::default() }
    }

    #[test]
    fn events_of_a_stream_stay_in_order_and_only_like_ones_share_a_batch() {
        let mut builder = BatchBuilder::default();
        let mut sealed = Vec::new();
        builder.push("b", 1, false, &event(10, Some(1), &[("x", 1.0)]), &mut sealed);
        builder.push("a", 1, false, &event(11, None, &[("x", 1.0)]), &mut sealed);
        builder.push("b", 1, false, &event(12, Some(2), &[("y", 2.0)]), &mut sealed);
        assert!(sealed.is_empty());
        builder.push("b", 1, false, &event(13, None, &[]), &mut sealed); // without seq
        builder.push("b", 2, false, &event(14, None, &[]), &mut sealed); // arrived later
        builder.push("b", 2, true, &event(15, None, &[]), &mut sealed); // backfill
        assert_eq!(builder.len(), 2);
        builder.flush(&mut sealed);
        assert!(builder.is_empty());
        let got: Vec<(&str, Vec<i64>)> =
            sealed.iter().map(|b| (b.stream_id.as_str(), b.ts.clone())).collect();
        assert_eq!(
            got,
            [("b", vec![10, 12]), ("b", vec![13]), ("b", vec![14]), ("a", vec![11]), ("b", vec![15])]
        );
        sealed.iter().for_each(|batch| batch.check_shape().unwrap());
        assert_eq!((sealed[0].value(0, 1), sealed[0].value(1, 1)), (None, Some(2.0)));
    }

    #[test]
    fn every_limit_seals() {
        let limits = BatchLimits { batch_events_max: 3, open_events_max: 5, ..BatchLimits::default() };
        let mut builder = BatchBuilder::new(limits);
        let mut sealed = Vec::new();
        for ts in 0..10 {
            builder.push(["a", "b"][ts as usize % 2], 0, false, &event(ts, None, &[]), &mut sealed);
            assert!(builder.len() <= 5);
        }
        builder.flush(&mut sealed);
        assert!(sealed.iter().all(|b| b.len() <= 3));
        assert_eq!(sealed.iter().map(EventBatch::len).sum::<usize>(), 10);

        let big = JsonEvent { payload: Some(vec![0; 60_000]), ..JsonEvent::default() };
        let limits = BatchLimits { batch_bytes_max: 130_000, open_bytes_max: 200_000, ..limits };
        let mut builder = BatchBuilder::new(limits);
        sealed.clear();
        for n in 0..9 {
            builder.push(["a", "b", "c"][n / 3], 0, false, &big, &mut sealed);
        }
        builder.flush(&mut sealed);
        assert_eq!(sealed.iter().map(EventBatch::len).collect::<Vec<_>>(), [2, 1, 2, 1, 2, 1]);
    }

    #[test]
    fn a_batch_never_has_more_fields_than_allowed() {
        let mut builder = BatchBuilder::default();
        let mut sealed = Vec::new();
        for n in 0..100 {
            builder.push("a", 0, false, &event(n, None, &[(&format!("f{n}"), 1.0)]), &mut sealed);
        }
        builder.flush(&mut sealed);
        assert_eq!(sealed.iter().map(|b| b.fields.len()).collect::<Vec<_>>(), [64, 36]);
    }
}
