//! One measurement as a generator thinks of it, and batches made of them.

use crate::rng::Rng;
use evenkeel_model::{EventBatch, FieldColumn};

/// One event of a generated stream. Its values follow from `uid` alone, so a repetition carries the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Event time, ms since the epoch.
    pub ts: i64,
    /// Sequence number, if the device sends any.
    pub seq: Option<u64>,
    /// Distinct per event of a scenario; also the value of the field `id`, so that a sum tells which
    /// events are in a row.
    pub uid: u64,
}

impl Sample {
    /// The numeric fields: `id` and `v` always, `on` (0/1) and `far` (a large offset) now and then.
    pub fn fields(&self) -> Vec<(&'static str, f64)> {
        let mut rng = Rng::new(self.uid);
        let mut fields = vec![("id", self.uid as f64), ("v", (rng.unit() - 0.5) * 200.0)];
        if self.uid.is_multiple_of(3) {
            fields.push(("on", f64::from(u8::from(rng.chance(50)))));
        }
        if self.uid.is_multiple_of(5) {
            fields.push(("far", 1e9 + rng.unit()));
        }
        fields
    }
}

/// A batch of one stream, rows in the given order. Samples of one batch all have a seq or none has.
pub fn batch_of(stream_id: &str, samples: &[Sample]) -> EventBatch {
    let mut batch = EventBatch { stream_id: stream_id.to_owned(), ..EventBatch::default() };
    for (row, sample) in samples.iter().enumerate() {
        batch.ts.push(sample.ts);
        batch.seq.extend(sample.seq);
        for (name, value) in sample.fields() {
            let at = match batch.fields.iter().position(|column| column.name == name) {
                Some(at) => at,
                None => {
                    batch.fields.push(FieldColumn { name: name.to_owned(), ..FieldColumn::default() });
                    batch.fields.len() - 1
                }
            };
            batch.fields[at].rows.push(row as u32);
            batch.fields[at].values.push(value);
        }
    }
    for column in &mut batch.fields {
        if column.rows.len() == samples.len() {
            column.rows.clear(); // every row has it
        }
    }
    batch
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_holds_what_its_samples_say() {
        let samples: Vec<Sample> =
            (1..=7).map(|uid| Sample { ts: 10 * uid as i64, seq: Some(uid), uid }).collect();
        let batch = batch_of("s", &samples);
        batch.check_shape().unwrap();
        for (row, sample) in samples.iter().enumerate() {
            assert_eq!((batch.ts[row], Some(batch.seq[row])), (sample.ts, sample.seq));
            for column in &batch.fields {
                let want = sample.fields().iter().find(|(name, _)| *name == column.name).map(|(_, v)| *v);
                assert_eq!(column.value(row), want, "{} of {row}", column.name);
            }
        }
    }
}
