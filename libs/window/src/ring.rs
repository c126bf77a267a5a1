//! The raw events of one window, bounded: for rows that carry them and for buffered mode.
//!
//! One ring per window, not per stream: what a full ring does must follow from the window's own events,
//! because a replay starts at the first of them and must decide as the first run did (docs/recovery.md).

use crate::settings::Overflow;
use evenkeel_model::EventBatch;
use std::collections::VecDeque;

/// One raw event.
#[derive(Debug, Clone, PartialEq)]
pub struct RawEvent {
    /// Event time, ms.
    pub ts: i64,
    /// Seq, if the device sets one.
    pub seq: Option<u64>,
    /// Arrival, ms.
    pub arrival: i64,
    /// Fields by position in the window's shape, rising.
    pub values: Box<[(u16, f64)]>,
    /// Opaque payload.
    pub payload: Option<Box<[u8]>>,
}

/// What became of an event that a ring was given.
#[derive(Debug, PartialEq)]
pub enum Pushed {
    /// It is in the ring.
    Kept,
    /// It is in the ring and these, older, had to leave.
    Evicted(Vec<RawEvent>),
    /// The ring refuses it.
    Refused(RawEvent),
}

/// A bounded queue of raw events in log order.
#[derive(Debug, Default)]
pub struct Ring {
    events: VecDeque<RawEvent>,
    heap_bytes: usize,
}

impl Ring {
    /// Adds an event. At `events_max` the policy decides; `horizon_ms` is the age it may go by.
    pub fn push(&mut self, event: RawEvent, events_max: usize, policy: Overflow, horizon_ms: i64) -> Pushed {
        if self.events.len() < events_max {
            self.keep(event);
            return Pushed::Kept;
        }
        match policy {
            Overflow::RejectNew => Pushed::Refused(event),
            Overflow::EvictOldest => {
                let old: Vec<RawEvent> = self.pop().into_iter().collect();
                self.keep(event);
                Pushed::Evicted(old)
            }
            Overflow::EvictOlderThanHorizon => {
                let cutoff = event.arrival.saturating_sub(horizon_ms);
                let mut old = Vec::new();
                while self.events.front().is_some_and(|e| e.arrival < cutoff) {
                    old.extend(self.pop());
                }
                if old.is_empty() {
                    return Pushed::Refused(event);
                }
                self.keep(event);
                Pushed::Evicted(old)
            }
        }
    }

    /// The events in log order.
    pub fn iter(&self) -> impl Iterator<Item = &RawEvent> {
        self.events.iter()
    }

    /// The newest events that fit in about `bytes_max` bytes of a record, in log order.
    pub fn newest(&self, bytes_max: usize) -> impl Iterator<Item = &RawEvent> {
        let mut bytes = 0;
        let fits = self.events.iter().rev().take_while(|event| {
            bytes += 24 + event.heap_bytes();
            bytes <= bytes_max
        });
        let kept = fits.count();
        self.events.range(self.events.len() - kept..)
    }

    /// Bytes allocated on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.heap_bytes + self.events.capacity() * size_of::<RawEvent>()
    }

    fn keep(&mut self, event: RawEvent) {
        self.heap_bytes += event.heap_bytes();
        self.events.push_back(event);
    }

    fn pop(&mut self) -> Option<RawEvent> {
        let event = self.events.pop_front()?;
        self.heap_bytes -= event.heap_bytes();
        Some(event)
    }
}

impl RawEvent {
    /// Event `row` of a batch whose column `c` stands at `positions[c]` of the window's shape.
    pub fn of(batch: &EventBatch, row: usize, ts: i64, arrival: i64, positions: &[u16]) -> Self {
        let mut values: Vec<(u16, f64)> = batch
            .fields
            .iter()
            .zip(positions)
            .filter_map(|(column, &at)| Some((at, column.value(row)?)))
            .collect();
        values.sort_unstable_by_key(|v| v.0);
        Self {
            ts,
            seq: batch.seq.get(row).copied(),
            arrival,
            values: values.into(),
            payload: batch.payloads.get(row).and_then(|p| p.as_deref()).map(Box::from),
        }
    }

    /// Appends the event to a batch whose columns are all the window's fields, in shape order.
    pub fn append_to(&self, batch: &mut EventBatch) {
        let row = batch.ts.len();
        batch.ts.push(self.ts);
        if self.seq.is_some() || batch.has_seq() {
            batch.seq.resize(row, 0); // an event without seq counts as seq 0 beside others
            batch.seq.push(self.seq.unwrap_or(0));
        }
        if self.payload.is_some() || !batch.payloads.is_empty() {
            batch.payloads.resize(row, None);
            batch.payloads.push(self.payload.as_deref().map(<[u8]>::to_vec));
        }
        for &(at, value) in &self.values {
            let column = &mut batch.fields[at as usize];
            if column.rows.is_empty() && column.values.len() < row {
                column.rows.extend(0..column.values.len() as u32); // lacked by an earlier event: sparse
            }
            if !column.rows.is_empty() || column.values.len() < row {
                column.rows.push(row as u32);
            }
            column.values.push(value);
        }
    }

    fn heap_bytes(&self) -> usize {
        self.values.len() * size_of::<(u16, f64)>() + self.payload.as_ref().map_or(0, |p| p.len())
    }
}

/// Closes a batch filled by [`RawEvent::append_to`]: a column that its last events lack becomes sparse, a
/// column that no event has goes.
pub fn seal(batch: &mut EventBatch) {
    let events = batch.ts.len();
    if batch.has_seq() {
        batch.seq.resize(events, 0);
    }
    if !batch.payloads.is_empty() {
        batch.payloads.resize(events, None);
    }
    for column in &mut batch.fields {
        if column.rows.is_empty() && column.values.len() < events {
            column.rows.extend(0..column.values.len() as u32);
        }
    }
    batch.fields.retain(|c| !c.values.is_empty());
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_model::FieldColumn;

    fn event(arrival: i64) -> RawEvent {
        RawEvent { ts: arrival, seq: None, arrival, values: Box::new([]), payload: None }
    }

    fn full(arrivals: &[i64]) -> Ring {
        let mut ring = Ring::default();
        for a in arrivals {
            assert_eq!(ring.push(event(*a), arrivals.len(), Overflow::RejectNew, 10), Pushed::Kept);
        }
        ring
    }

    #[test]
    fn a_full_ring_does_what_its_policy_says_and_never_grows() {
        let mut ring = full(&[1, 2, 3]);
        assert_eq!(ring.push(event(4), 3, Overflow::RejectNew, 10), Pushed::Refused(event(4)));
        assert_eq!(ring.push(event(5), 3, Overflow::EvictOldest, 10), Pushed::Evicted(vec![event(1)]));
        let refused = ring.push(event(6), 3, Overflow::EvictOlderThanHorizon, 10);
        assert_eq!(refused, Pushed::Refused(event(6)));
        let went = ring.push(event(13), 3, Overflow::EvictOlderThanHorizon, 10);
        assert_eq!(went, Pushed::Evicted(vec![event(2)]));
        assert_eq!(ring.iter().map(|e| e.arrival).collect::<Vec<_>>(), [3, 5, 13]);
    }

    #[test]
    fn events_become_columns_again() {
        let named = |name: &str| FieldColumn { name: name.into(), ..FieldColumn::default() };
        let mut batch =
            EventBatch { fields: vec![named("a"), named("b"), named("c")], ..EventBatch::default() };
        let rows: [&[(u16, f64)]; 3] = [&[(0, 1.0)], &[(1, 2.0)], &[(1, 3.0)]];
        for (ts, values) in rows.into_iter().enumerate() {
            let payload = (ts == 1).then(|| Box::from(&b"p"[..]));
            RawEvent { ts: ts as i64, values: values.into(), payload, ..event(0) }.append_to(&mut batch);
        }
        seal(&mut batch);
        batch.check_shape().unwrap();
        assert_eq!(batch.fields.len(), 2);
        assert_eq!((batch.value(0, 0), batch.value(0, 1)), (Some(1.0), None));
        assert_eq!((batch.value(1, 0), batch.value(1, 2)), (None, Some(3.0)));
        assert_eq!(batch.payloads, vec![None, Some(b"p".to_vec()), None]);
    }
}
