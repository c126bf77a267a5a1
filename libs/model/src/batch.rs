//! A batch of events of one stream, in columns: the unit on the wire and of the hot path.

use crate::limits::{BATCH_EVENTS_MAX, FIELDS_MAX};

/// Events of ONE stream in columns: row `i` is the event `(ts[i], seq[i]?, every field that has row i)`.
/// Rows keep the order in which they arrived. One log record holds one batch.
///
/// A batch is reused as a decoder's scratch space: see [`EventBatch::clear`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EventBatch {
    /// The stream, equal to the record's key.
    pub stream_id: String,
    /// When ingest accepted the batch, ms since the epoch, the server's clock.
    pub arrival_ms: i64,
    /// Flagged backfill: never `too_old`, but merged as late when older than max-age.
    pub backfill: bool,
    /// Event time per event, the device's clock, ms since the epoch.
    pub ts: Vec<i64>,
    /// The device's sequence number per event; empty = no event of the batch has one.
    pub seq: Vec<u64>,
    /// Numeric columns. Names are distinct.
    pub fields: Vec<FieldColumn>,
    /// Opaque payload per event; empty = no event of the batch has one.
    pub payloads: Vec<Option<Vec<u8>>>,
}

/// One numeric field of a batch.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FieldColumn {
    /// Name of the field.
    pub name: String,
    /// Which events have the field: strictly rising row numbers. Empty = all of them.
    pub rows: Vec<u32>,
    /// The values: one per event, or one per entry of `rows` if that is not empty. Finite.
    pub values: Vec<f64>,
}

/// Why a batch's columns do not fit together or break a limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// No event.
    #[error("the batch holds no event")]
    Empty,
    /// Too many events.
    #[error("the batch holds {0} events; the limit is {max}", max = BATCH_EVENTS_MAX)]
    TooManyEvents(usize),
    /// Too many fields.
    #[error("the batch holds {0} fields; the limit is {max}", max = FIELDS_MAX)]
    TooManyFields(usize),
    /// A column has another length than `ts`.
    #[error("column {column} holds {got} values for {want} events")]
    Length {
        /// Name of the column.
        column: String,
        /// Its length.
        got: usize,
        /// The length it should have.
        want: usize,
    },
    /// Row numbers of a sparse column do not rise or point past the end.
    #[error("column {0}: row numbers must rise and stay below the number of events")]
    Rows(String),
    /// Two columns of one name.
    #[error("column {0} appears twice")]
    Twice(String),
}

impl EventBatch {
    /// Number of events.
    pub fn len(&self) -> usize {
        self.ts.len()
    }

    /// Whether there is no event.
    pub fn is_empty(&self) -> bool {
        self.ts.is_empty()
    }

    /// Whether the events carry sequence numbers.
    pub fn has_seq(&self) -> bool {
        !self.seq.is_empty()
    }

    /// Empties the batch and keeps its memory. Columns stay allocated: a decoder overwrites
    /// `fields[..n]` and then truncates.
    pub fn clear(&mut self) {
        self.stream_id.clear();
        self.arrival_ms = 0;
        self.backfill = false;
        self.ts.clear();
        self.seq.clear();
        for field in &mut self.fields {
            field.name.clear();
            field.rows.clear();
            field.values.clear();
        }
        self.payloads.clear();
    }

    /// The value of `fields[field]` for event `row`, if it has one.
    pub fn value(&self, field: usize, row: usize) -> Option<f64> {
        self.fields[field].value(row)
    }

    /// Checks that the columns fit together and the counts keep the limits. Values (finite numbers,
    /// event times in range) are a matter of admission, event by event, not of the batch's shape.
    pub fn check_shape(&self) -> Result<(), BatchError> {
        let events = self.ts.len();
        if events == 0 {
            return Err(BatchError::Empty);
        }
        if events > BATCH_EVENTS_MAX {
            return Err(BatchError::TooManyEvents(events));
        }
        if self.fields.len() > FIELDS_MAX {
            return Err(BatchError::TooManyFields(self.fields.len()));
        }
        let length = |column: &str, got: usize, want: usize| match got == want {
            true => Ok(()),
            false => Err(BatchError::Length { column: column.to_owned(), got, want }),
        };
        if self.has_seq() {
            length("seq", self.seq.len(), events)?;
        }
        if !self.payloads.is_empty() {
            length("payloads", self.payloads.len(), events)?;
        }
        for (i, field) in self.fields.iter().enumerate() {
            let want = if field.rows.is_empty() { events } else { field.rows.len() };
            length(&field.name, field.values.len(), want)?;
            let rises = field.rows.windows(2).all(|w| w[0] < w[1]);
            if !rises || field.rows.last().is_some_and(|&r| r as usize >= events) {
                return Err(BatchError::Rows(field.name.clone()));
            }
            if self.fields[..i].iter().any(|f| f.name == field.name) {
                return Err(BatchError::Twice(field.name.clone()));
            }
        }
        Ok(())
    }

    /// Appends event `row` of `from` (same stream), field by field. Slow path: refused and late events.
    pub fn push_from(&mut self, from: &EventBatch, row: usize) {
        let at = self.ts.len();
        self.ts.push(from.ts[row]);
        if from.has_seq() {
            self.seq.push(from.seq[row]);
        }
        if !from.payloads.is_empty() || !self.payloads.is_empty() {
            self.payloads.resize(at, None);
            self.payloads.push(from.payloads.get(row).cloned().flatten());
        }
        for field in &from.fields {
            if let Some(value) = field.value(row) {
                self.set(&field.name, at, value);
            }
        }
        for field in &mut self.fields {
            if field.rows.is_empty() && field.values.len() == at {
                field.rows.extend(0..at as u32); // a full column becomes sparse: this event lacks it
            }
        }
    }

    /// Sets field `name` of the newest event (number `at`).
    fn set(&mut self, name: &str, at: usize, value: f64) {
        let column = match self.fields.iter().position(|f| f.name == name) {
            Some(i) => &mut self.fields[i],
            None => {
                self.fields.push(FieldColumn { name: name.to_owned(), ..FieldColumn::default() });
                let last = self.fields.len() - 1;
                &mut self.fields[last]
            }
        };
        if !column.rows.is_empty() || column.values.len() < at {
            column.rows.push(at as u32);
        }
        column.values.push(value);
    }
}

impl FieldColumn {
    /// The value for event `row`, if it has one.
    pub fn value(&self, row: usize) -> Option<f64> {
        if self.rows.is_empty() {
            return self.values.get(row).copied();
        }
        let row = u32::try_from(row).ok()?;
        self.rows.binary_search(&row).ok().and_then(|i| self.values.get(i).copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch() -> EventBatch {
        EventBatch {
            stream_id: "s".into(),
            ts: vec![1, 2, 3],
            seq: vec![7, 8, 9],
            fields: vec![
                FieldColumn { name: "a".into(), rows: vec![], values: vec![1.0, 2.0, 3.0] },
                FieldColumn { name: "b".into(), rows: vec![1], values: vec![5.0] },
            ],
            ..EventBatch::default()
        }
    }

    #[test]
    fn push_from_keeps_every_value_and_its_absence() {
        let from = batch();
        for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
            let mut to = EventBatch { stream_id: "s".into(), ..EventBatch::default() };
            for row in order {
                to.push_from(&from, row);
            }
            to.check_shape().unwrap();
            for (i, row) in order.into_iter().enumerate() {
                assert_eq!((to.ts[i], to.seq[i]), (from.ts[row], from.seq[row]));
                for name in ["a", "b"] {
                    let get = |b: &EventBatch, r| b.fields.iter().find(|f| f.name == name).unwrap().value(r);
                    assert_eq!(get(&to, i), get(&from, row), "{name} {order:?}");
                }
            }
        }
    }

    #[test]
    fn an_event_without_the_field_makes_a_full_column_sparse() {
        let mut to = EventBatch::default();
        let full = batch();
        to.push_from(&full, 0);
        let bare = EventBatch { ts: vec![9], seq: vec![1], ..EventBatch::default() };
        to.push_from(&bare, 0);
        to.push_from(&full, 1);
        to.check_shape().unwrap();
        assert_eq!(to.fields[0].rows, vec![0, 2]);
        assert_eq!(to.fields[0].value(1), None);
        assert_eq!(to.fields[1].value(2), Some(5.0));
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused() {
        let mut b = batch();
        b.seq.pop();
        assert!(matches!(b.check_shape(), Err(BatchError::Length { .. })));
        let mut b = batch();
        b.fields[1].rows = vec![3];
        assert!(matches!(b.check_shape(), Err(BatchError::Rows(_))));
        let mut b = batch();
        b.fields[1].name = "a".into();
        assert!(matches!(b.check_shape(), Err(BatchError::Twice(_))));
        assert_eq!(EventBatch::default().check_shape(), Err(BatchError::Empty));
    }
}
