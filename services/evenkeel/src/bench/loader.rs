//! Records into the events topic, as fast as the log takes them.

use super::Outcome;
use evenkeel_codec::encode_batch;
use evenkeel_kafka::{KafkaAppender, KafkaConfig};
use evenkeel_model::{EventBatch, Topic};
use evenkeel_seam::{Ack, AppendError, Appender, Outputs};
use std::time::Duration;

/// Records per ticket.
const RECORDS_PER_APPEND: usize = 1_000;

/// Appends records and waits for their acknowledgements.
pub struct Loader {
    appender: KafkaAppender,
    records: Outputs,
    ticket: u64,
    acks: Vec<Ack>,
    open: usize,
}

impl Loader {
    /// Reaches the brokers.
    pub fn new(config: &KafkaConfig) -> Outcome<Self> {
        let appender = KafkaAppender::connect(config)?;
        Ok(Self { appender, records: Outputs::new(), ticket: 0, acks: Vec::new(), open: 0 })
    }

    /// One more record. What is in flight is bounded; at the bound this waits.
    pub fn push(&mut self, partition: u32, events: &EventBatch) -> Outcome<()> {
        let key = Some(events.stream_id.as_bytes());
        self.records.push(Topic::Events, partition, key, &[], |buf| encode_batch(events, buf));
        if self.records.len() == RECORDS_PER_APPEND { self.append() } else { Ok(()) }
    }

    /// Hands over what waits, without waiting for acknowledgements.
    pub fn flush(&mut self) -> Outcome<()> {
        if self.records.is_empty() { Ok(()) } else { self.append() }
    }

    /// Partitions of the events topic.
    pub fn partitions(&self) -> u32 {
        self.appender.partitions()
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

    /// Everything is acknowledged.
    pub fn finish(&mut self) -> Outcome<()> {
        self.flush()?;
        while self.open > 0 {
            self.wait()?;
        }
        Ok(())
    }
}
