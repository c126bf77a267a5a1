//! What a run left behind, read from the topics as any consumer could.

use crate::log::{Record, SimLog};
use crate::process::COALESCERS;
use evenkeel_codec::{WindowRecord, decode_batch, decode_window_record};
use evenkeel_model::{DropReason, EventBatch, Topic};
use evenkeel_scenarios::{Body, CommitSeen, Diverted, LogRecord, Published};
use std::collections::BTreeMap;

/// Everything the judge needs from the log.
#[derive(Debug, Default)]
pub struct Evidence {
    /// The events topic.
    pub events: Vec<LogRecord>,
    /// The windows topic, committed.
    pub published: Vec<Published>,
    /// The coalescers' commits, in order.
    pub commits: Vec<CommitSeen>,
    /// Events refused as overflow.
    pub diverted: Vec<Diverted>,
    /// Events the coalescers put into `dlq`, per source partition and reason.
    pub refused: BTreeMap<(u32, DropReason), u64>,
    /// Records of ours that cannot be read.
    pub unreadable: Vec<String>,
}

impl Evidence {
    /// Reads all topics.
    pub fn of(log: &SimLog) -> Self {
        let mut evidence = Self::default();
        let partitions = log.cluster().partitions();
        for partition in 0..partitions {
            evidence.read_events(log, partition);
            let windows = log.cluster().log(Topic::Windows, partition).read(0, usize::MAX, true);
            for (offset, record) in windows.records {
                let published = evidence.published(partition, offset, &record);
                evidence.published.extend(published);
            }
            let dlq = log.cluster().log(Topic::Dlq, partition).read(0, usize::MAX, true);
            dlq.records.iter().for_each(|(_, record)| evidence.read_refused(record));
        }
        evidence.read_commits(log);
        evidence
    }

    fn read_events(&mut self, log: &SimLog, partition: u32) {
        let fetched = log.cluster().log(Topic::Events, partition).read(0, usize::MAX, false);
        for (offset, record) in fetched.records {
            let mut batch = EventBatch::default();
            let decoded = decode_batch(record.value.as_deref().unwrap_or_default(), &mut batch).is_ok();
            let (timestamp_ms, key) = (record.timestamp_ms, record.key.clone());
            let batch = decoded.then_some(batch);
            self.events.push(LogRecord { partition, offset, timestamp_ms, key, batch });
        }
    }

    fn published(&mut self, partition: u32, offset: u64, record: &Record) -> Option<Published> {
        let body = match decode_window_record(record.value.as_deref().unwrap_or_default()) {
            Ok(WindowRecord::Row(row)) => Body::Row(row),
            Ok(WindowRecord::Late(late)) => Body::Late(late),
            Err(error) => {
                self.unreadable.push(format!("windows {partition} offset {offset}: {error}"));
                return None;
            }
        };
        Some(Published { partition, offset, body })
    }

    fn read_refused(&mut self, record: &Record) {
        let header = |name: &str| {
            let found = record.headers.iter().find(|(n, _)| n == name);
            found.and_then(|(_, value)| std::str::from_utf8(value).ok()).unwrap_or("")
        };
        let Some(reason) = DropReason::parse(header("reason")) else {
            return self.unreadable.push(format!("dlq: reason {:?}", header("reason")));
        };
        let mut batch = EventBatch::default();
        let decoded = decode_batch(record.value.as_deref().unwrap_or_default(), &mut batch).is_ok();
        if header("source-topic") == Topic::Events.as_str()
            && let Ok(partition) = header("source-partition").parse()
        {
            *self.refused.entry((partition, reason)).or_default() +=
                if decoded { batch.len() as u64 } else { 1 };
        }
        if reason == DropReason::Overflow {
            let size_ms = header("size_ms").parse().ok();
            self.diverted.extend((0..batch.len()).map(|row| Diverted {
                stream_id: batch.stream_id.clone(),
                size_ms,
                ts: batch.ts[row],
                seq: batch.seq.get(row).copied(),
            }));
        }
    }

    fn read_commits(&mut self, log: &SimLog) {
        let committed = log.cluster().committed().to_vec();
        for transaction in committed.into_iter().filter(|transaction| transaction.group == COALESCERS) {
            for position in transaction.positions {
                let here = |(topic, partition, _, _): &&(Topic, u32, u64, _)| {
                    *topic == Topic::Windows && *partition == position.partition
                };
                let published: Vec<Published> = (transaction.records.iter().filter(here))
                    .filter_map(|(_, partition, offset, record)| self.published(*partition, *offset, record))
                    .collect();
                let meta = position.meta.unwrap_or_default();
                let (partition, offset) = (position.partition, position.offset);
                self.commits.push(CommitSeen { partition, offset, meta, published });
            }
        }
    }
}
