//! Of a cluster: Kafka and the CQL store.

use super::embedded::hand;
use super::{ALERTS_TAIL, LogTeller};
use evenkeel_cql::{CqlReader, WindowQuery};
use evenkeel_gateway::{Arrived, History, Listing, Question, Source, SourceError};
use evenkeel_kafka::{ConnectError, KafkaAppender, KafkaConfig, KafkaTail};
use evenkeel_model::{StoredRow, Topic};
use evenkeel_seam::Appender as _;
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::time::Duration;

/// The table of newest windows is in no order of time: so many streams of it are read, and the latest of them named.
const STREAMS_READ_MAX: usize = 1_000;

/// Kafka's tail.
pub struct KafkaSource {
    tail: KafkaTail,
    partitions: u32,
    /// Partitions of alerts whose first record was seen.
    begun: BTreeSet<u32>,
}

impl KafkaSource {
    /// Reads `partition` of `frames`, and all alerts. With it comes the way to say what is watched.
    pub fn connect(
        config: &KafkaConfig,
        partition: u32,
        name: &str,
    ) -> Result<(Self, LogTeller), ConnectError> {
        let appender = KafkaAppender::connect(config)?;
        let partitions = appender.partitions();
        let mut tail = KafkaTail::new(config, name);
        tail.follow(Topic::Frames, partition, 0);
        (0..partitions).for_each(|partition| tail.follow(Topic::Alerts, partition, ALERTS_TAIL));
        let source = Self { tail, partitions, begun: BTreeSet::new() };
        Ok((source, LogTeller::new(Box::new(appender))))
    }
}

impl Source for KafkaSource {
    fn poll(&mut self, wait: Duration, each: &mut dyn FnMut(Arrived<'_>)) -> Result<(), SourceError> {
        let begun = &mut self.begun;
        self.tail.poll(wait, &mut |topic, partition, records| {
            if let Some(first) = records.first().filter(|_| topic == Topic::Alerts && begun.insert(partition))
            {
                each(Arrived::AlertsBegin { partition, offset: first.offset });
            }
            records.iter().for_each(|record| hand(topic, partition, record, each));
        });
        Ok(())
    }

    fn partitions(&self) -> u32 {
        self.partitions
    }
}

/// The CQL store.
pub struct CqlHistory(pub CqlReader);

impl History for CqlHistory {
    fn newest(&mut self, question: &Question) -> Result<Vec<StoredRow>, SourceError> {
        let latest = WindowQuery {
            stream_id: Some(question.stream_id.clone()),
            size_ms: Some(question.size_ms),
            latest: true,
            ..WindowQuery::default()
        };
        let newest = self.rows(&latest)?;
        let Some(newest) = newest.last() else { return Ok(Vec::new()) };
        let windows = question.rows_max.saturating_sub(1) as i64;
        let start = newest.row.span.t_start();
        let from = start.saturating_sub(windows.saturating_mul(question.size_ms));
        let (from_ms, to_ms) = (Some(from), Some(start + question.size_ms));
        self.rows(&WindowQuery { latest: false, from_ms, to_ms, ..latest })
    }

    fn streams(&mut self, streams_max: usize) -> Result<Listing, SourceError> {
        let sizes_ms = self.0.sizes_ms();
        let Some(&size_ms) = sizes_ms.first() else { return Ok(Listing::default()) };
        let query = WindowQuery { size_ms: Some(size_ms), latest: true, ..WindowQuery::default() };
        let mut newest = Vec::new();
        let asked = self.0.windows(&query, &mut |row| {
            newest.push(row);
            match newest.len() < STREAMS_READ_MAX {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        });
        asked.map_err(|error| SourceError(error.to_string()))?;
        let total = newest.len();
        newest.sort_by_key(|stored| Reverse(stored.row.max_ts));
        newest.truncate(streams_max);
        Ok(Listing { newest, total, sizes_ms })
    }
}

impl CqlHistory {
    fn rows(&mut self, query: &WindowQuery) -> Result<Vec<StoredRow>, SourceError> {
        let mut rows = Vec::new();
        let asked = self.0.windows(query, &mut |row| {
            rows.push(row);
            ControlFlow::Continue(())
        });
        asked.map_err(|error| SourceError(error.to_string()))?;
        rows.sort_by_key(|row| row.row.span.t_start());
        Ok(rows)
    }
}
