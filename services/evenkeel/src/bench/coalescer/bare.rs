//! The floor: the same consumer, the same fetch calls and settings; records are decoded and forgotten.

use super::{Ends, Outcome, PATIENCE, Took, join, reached, timed};
use evenkeel_codec::decode_batch;
use evenkeel_kafka::KafkaConfig;
use evenkeel_model::EventBatch;
use evenkeel_seam::{LogAction, LogInput, Worker};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Reads everything once.
pub fn run(config: &KafkaConfig, run: usize, ends: &Ends, events: u64) -> Outcome<Took> {
    let (took, decoded) = timed(|| {
        let mut worker = join(config, &format!("bare-{run}"))?;
        let (mut batch, mut decoded) = (EventBatch::default(), 0);
        let mut positions = BTreeMap::new();
        let until = Instant::now() + PATIENCE;
        while !reached(&positions, ends) {
            if Instant::now() > until {
                return Err(format!("the bare consumer is at {positions:?} of {ends:?}").into());
            }
            let mut assigned = Vec::new();
            worker.poll(Duration::from_millis(50), &mut |input| match input {
                LogInput::Assigned { partition, .. } => assigned.push(partition),
                LogInput::Records { partition, records, next, .. } => {
                    for record in records {
                        if decode_batch(record.value.unwrap_or_default(), &mut batch).is_ok() {
                            decoded += batch.len() as u64;
                        }
                    }
                    positions.insert(partition, next);
                }
                _ => {}
            })?;
            for partition in assigned {
                worker.perform(LogAction::Start { partition, from: None })?;
            }
        }
        worker.close()?;
        Ok(decoded)
    })?;
    match decoded == events {
        true => Ok(took),
        false => Err(format!("the bare consumer decoded {decoded} of {events} events").into()),
    }
}
