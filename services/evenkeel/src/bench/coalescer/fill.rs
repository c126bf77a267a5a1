//! The records: every stream sends 10 events per second of 4 fields, in records of `batch` events.

use super::{EVENTS_PER_WINDOW, Ends, Outcome, SIZE_MS};
use crate::bench::fleet::{batch_of, device};
use evenkeel_codec::encode_batch;
use evenkeel_kafka::{KafkaAppender, KafkaConfig};
use evenkeel_model::{EventBatch, Topic, partition_of};
use evenkeel_seam::{Ack, AppendError, Appender, Outputs};
use std::time::Duration;

/// Device time of the first event, ms: a multiple of every window size.
const START_MS: i64 = 1_700_000_040_000;
/// Between two events of a stream, ms.
const STEP_MS: i64 = SIZE_MS / EVENTS_PER_WINDOW as i64;
/// Records per ticket.
const RECORDS_PER_APPEND: usize = 1_000;

/// Appends `windows` windows of every stream; the offset after the last record of each partition.
pub fn fill(config: &KafkaConfig, streams: usize, windows: usize, batch: usize) -> Outcome<Ends> {
    let mut loader = Loader::new(config)?;
    let partitions = loader.appender.partitions();
    let ids: Vec<(String, u32)> = (0..streams)
        .map(|n| {
            let id = device(n);
            let partition = partition_of(&id, partitions);
            (id, partition)
        })
        .collect();
    let mut ends = Ends::new();
    let mut events = batch_of(batch);
    for round in 0..windows * EVENTS_PER_WINDOW / batch {
        let first = (round * batch) as i64;
        for (at, (ts, seq)) in events.ts.iter_mut().zip(&mut events.seq).enumerate() {
            *ts = START_MS + STEP_MS * (first + at as i64);
            *seq = (first + at as i64) as u64;
        }
        events.arrival_ms = START_MS + STEP_MS * (first + batch as i64);
        for (id, partition) in &ids {
            events.stream_id.clone_from(id);
            loader.push(*partition, &events)?;
            *ends.entry(*partition).or_default() += 1;
        }
    }
    loader.finish()?;
    Ok(ends)
}

struct Loader {
    appender: KafkaAppender,
    records: Outputs,
    ticket: u64,
    acks: Vec<Ack>,
    open: usize,
}

impl Loader {
    fn new(config: &KafkaConfig) -> Outcome<Self> {
        let appender = KafkaAppender::connect(config)?;
        Ok(Self { appender, records: Outputs::new(), ticket: 0, acks: Vec::new(), open: 0 })
    }

    fn push(&mut self, partition: u32, events: &EventBatch) -> Outcome<()> {
        let key = Some(events.stream_id.as_bytes());
        self.records.push(Topic::Events, partition, key, &[], |buf| encode_batch(events, buf));
        if self.records.len() == RECORDS_PER_APPEND { self.append() } else { Ok(()) }
    }

    fn append(&mut self) -> Outcome<()> {
        self.ticket += 1;
        loop {
            match self.appender.append(&self.records, self.ticket) {
                Ok(()) => break,
                Err(AppendError::Full) => self.wait()?,
                Err(error) => return Err(error.into()),
            }
        }
        self.open += 1;
        self.records.clear();
        Ok(())
    }

    fn wait(&mut self) -> Outcome<()> {
        self.appender.acks(Duration::from_millis(10), &mut self.acks);
        for ack in self.acks.drain(..) {
            ack.result?;
            self.open -= 1;
        }
        Ok(())
    }

    fn finish(&mut self) -> Outcome<()> {
        if !self.records.is_empty() {
            self.append()?;
        }
        while self.open > 0 {
            self.wait()?;
        }
        Ok(())
    }
}
