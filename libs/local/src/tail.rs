//! The newest records of some partitions and what comes, without a group: for readers that keep nothing.
//!
//! Owns: its positions and a reading connection. Never: a committed offset, a hold on retention: what goes before it is
//! read is passed over.

use crate::database::Fault;
use crate::hub::Watch;
use crate::local::{Inner, LogError};
use crate::log_file::LOG_FILE;
use crate::reader::LogReader;
use evenkeel_model::Topic;
use evenkeel_seam::RecordRef;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a tail hands over: records of one partition, rising offsets.
pub type TailRecords<'a> = &'a mut dyn FnMut(Topic, u32, &[RecordRef<'_>]);

/// A reader of tails.
pub struct LocalTail {
    inner: Arc<Inner>,
    reader: LogReader,
    /// Topic, partition, next offset.
    at: Vec<(Topic, u32, u64)>,
}

impl LocalTail {
    pub(crate) fn new(inner: Arc<Inner>, reader: LogReader) -> Self {
        Self { inner, reader, at: Vec::new() }
    }

    /// Reads a partition too, from about its newest `tail` records on; returns the first offset. One that does not
    /// exist brings nothing.
    pub fn follow(&mut self, topic: Topic, partition: u32, tail: u64) -> u64 {
        let extent = self.inner.hub.extent(topic, partition);
        let from = extent.next.saturating_sub(tail).max(extent.log_start);
        self.at.push((topic, partition, from));
        from
    }

    /// Waits up to `wait` and hands over what has come: at most one chunk per partition.
    pub fn poll(&mut self, wait: Duration, each: TailRecords<'_>) -> Result<(), LogError> {
        let deadline = Instant::now() + wait;
        let watched: Vec<(Topic, Watch)> = self
            .at
            .iter()
            .map(|(topic, partition, position)| {
                (*topic, Watch { partition: *partition, position: *position })
            })
            .collect();
        self.inner.hub.wait_beyond(&watched, deadline);
        for (topic, partition, next) in &mut self.at {
            let extent = self.inner.hub.extent(*topic, *partition);
            *next = (*next).max(extent.log_start);
            if *next >= extent.next {
                continue;
            }
            let read = self.reader.read(*topic, *partition, *next..extent.next);
            *next = read.map_err(|error| LogError(Fault::of(LOG_FILE.name, &error).to_string()))?;
            if !self.reader.is_empty() {
                self.reader.with_records(|records| each(*topic, *partition, records));
            }
        }
        Ok(())
    }
}
