//! What the gateway needs of a log and a store, from the embedded ones and from Kafka and CQL; and the pages.
//!
//! Owns: how much of `alerts` is read at the start, how rows are asked for.

mod cluster;
mod embedded;

pub use cluster::{CqlHistory, KafkaSource};
pub use embedded::{LocalHistory, LocalSource};

use evenkeel_codec::encode_interest;
use evenkeel_gateway::{SourceError, Teller};
use evenkeel_model::{Interest, Topic, partition_of};
use evenkeel_seam::{Ack, Appender, Outputs};
use std::time::Duration;

/// The pages that this binary was built with: the dashboard, if it was there.
pub mod pages {
    include!(concat!(env!("OUT_DIR"), "/pages.rs"));
}

/// So many of the newest alerts of a partition are read at the start.
const ALERTS_TAIL: u64 = 2_000;
/// Most appends whose outcome is open; past it what is watched is not said, and is said again soon.
const TICKETS_MAX: usize = 64;

/// The way into a log for what is watched.
pub struct LogTeller {
    appender: Box<dyn Appender>,
    tickets: u64,
    open: usize,
    acks: Vec<Ack>,
}

impl LogTeller {
    fn new(appender: Box<dyn Appender>) -> Self {
        Self { appender, tickets: 0, open: 0, acks: Vec::new() }
    }
}

impl Teller for LogTeller {
    fn tell(&mut self, interests: &[Interest]) -> Result<(), SourceError> {
        self.acks.clear();
        self.appender.acks(Duration::ZERO, &mut self.acks);
        self.open -= self.acks.len().min(self.open);
        if self.open >= TICKETS_MAX {
            return Err(SourceError("the log does not take what is watched".into()));
        }
        let mut records = Outputs::new();
        for interest in interests {
            let key = Some(interest.stream_id.as_bytes());
            let partition = partition_of(&interest.stream_id, self.appender.partitions());
            records.push(Topic::Interest, partition, key, &[], |out| encode_interest(interest, out));
        }
        self.tickets += 1;
        let told = self.appender.append(&records, self.tickets);
        told.map_err(|error| SourceError(error.to_string()))?;
        self.open += 1;
        match self.acks.drain(..).find_map(|ack| ack.result.err()) {
            Some(error) => Err(SourceError(format!("what is watched: {error}"))),
            None => Ok(()),
        }
    }
}
