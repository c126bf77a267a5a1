//! Of one machine: the embedded log and store.

use super::{ALERTS_TAIL, LogTeller};
use evenkeel_gateway::{Arrived, History, Listing, Question, Source, SourceError};
use evenkeel_local::{FileError, Local, LocalTail, RowQuery, StoreReader};
use evenkeel_model::{StoredRow, Topic};
use evenkeel_seam::RecordRef;
use std::time::Duration;

/// The embedded log's tail.
pub struct LocalSource {
    tail: LocalTail,
    partitions: u32,
    /// Where each partition of alerts begins, until it was told.
    begins: Vec<(u32, u64)>,
}

impl LocalSource {
    /// Reads `partition` of `frames`, and all alerts. With it comes the way to say what is watched.
    pub fn open(local: &Local, partition: u32) -> Result<(Self, LogTeller), FileError> {
        let mut tail = local.tail()?;
        tail.follow(Topic::Frames, partition, 0);
        let partitions = local.partitions();
        let begins = (0..partitions).map(|p| (p, tail.follow(Topic::Alerts, p, ALERTS_TAIL))).collect();
        Ok((Self { tail, partitions, begins }, LogTeller::new(Box::new(local.appender()))))
    }
}

impl Source for LocalSource {
    fn poll(&mut self, wait: Duration, each: &mut dyn FnMut(Arrived<'_>)) -> Result<(), SourceError> {
        for (partition, offset) in self.begins.drain(..) {
            each(Arrived::AlertsBegin { partition, offset });
        }
        let mut hand_over = |topic: Topic, partition: u32, records: &[RecordRef<'_>]| {
            records.iter().for_each(|record| hand(topic, partition, record, each));
        };
        self.tail.poll(wait, &mut hand_over).map_err(|error| SourceError(error.to_string()))
    }

    fn partitions(&self) -> u32 {
        self.partitions
    }
}

/// A record, as the gateway takes it.
pub(super) fn hand(topic: Topic, partition: u32, record: &RecordRef<'_>, each: &mut dyn FnMut(Arrived<'_>)) {
    let Some(value) = record.value else { return };
    match topic {
        Topic::Frames => each(Arrived::Frame { value }),
        Topic::Alerts => {
            let (offset, timestamp_ms) = (record.offset, record.timestamp_ms);
            each(Arrived::Alert { partition, offset, timestamp_ms, value });
        }
        _ => {}
    }
}

/// The embedded store.
pub struct LocalHistory(StoreReader);

impl LocalHistory {
    /// A reader of its own.
    pub fn open(local: &Local) -> Result<Self, FileError> {
        local.store().map(Self)
    }

    fn rows(&self, query: RowQuery) -> Result<Vec<StoredRow>, SourceError> {
        let failed = |error: FileError| SourceError(error.to_string());
        self.0.rows(query).and_then(|mut pages| pages.next_page()).map_err(failed)
    }
}

impl History for LocalHistory {
    fn newest(&mut self, question: &Question) -> Result<Vec<StoredRow>, SourceError> {
        let query = RowQuery {
            stream: Some(question.stream_id.clone()),
            size_ms: Some(question.size_ms),
            latest: true,
            ..RowQuery::default()
        };
        let newest = self.rows(query.clone())?;
        let Some(newest) = newest.last() else { return Ok(Vec::new()) };
        let windows = question.rows_max.saturating_sub(1) as i64;
        let from = newest.row.span.t_start().saturating_sub(windows.saturating_mul(question.size_ms));
        self.rows(RowQuery { latest: false, from: Some(from), ..query })
    }

    fn streams(&mut self, streams_max: usize) -> Result<Listing, SourceError> {
        let failed = |error: FileError| SourceError(error.to_string());
        let sizes_ms = self.0.sizes().map_err(failed)?;
        let Some(&size_ms) = sizes_ms.first() else { return Ok(Listing::default()) };
        let (newest, total) = self.0.heard_last(size_ms, streams_max).map_err(failed)?;
        Ok(Listing { newest, total, sizes_ms })
    }
}
