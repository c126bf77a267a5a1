//! The records: every stream sends 10 events per second of 4 fields, in records of `batch` events.

use super::{EVENTS_PER_WINDOW, Ends, Outcome, SIZE_MS};
use crate::bench::fleet::{batch_of, placed};
use crate::bench::loader::Loader;
use evenkeel_kafka::KafkaConfig;

/// Device time of the first event, ms: a multiple of every window size.
const START_MS: i64 = 1_700_000_040_000;
/// Between two events of a stream, ms.
const STEP_MS: i64 = SIZE_MS / EVENTS_PER_WINDOW as i64;

/// Appends `windows` windows of every stream; the offset after the last record of each partition.
pub fn fill(config: &KafkaConfig, streams: usize, windows: usize, batch: usize) -> Outcome<Ends> {
    let mut loader = Loader::new(config)?;
    let devices = placed(streams, loader.partitions());
    let mut ends = Ends::new();
    let mut events = batch_of(batch);
    for round in 0..windows * EVENTS_PER_WINDOW / batch {
        let first = (round * batch) as i64;
        for (at, (ts, seq)) in events.ts.iter_mut().zip(&mut events.seq).enumerate() {
            *ts = START_MS + STEP_MS * (first + at as i64);
            *seq = (first + at as i64) as u64;
        }
        events.arrival_ms = START_MS + STEP_MS * (first + batch as i64);
        for (id, partition) in &devices {
            events.stream_id.clone_from(id);
            loader.push(*partition, &events)?;
            *ends.entry(*partition).or_default() += 1;
        }
    }
    loader.finish()?;
    Ok(ends)
}
