//! What a run left behind, read from the topics as any consumer could, and the verdict on it. Every world
//! hands over the same evidence and is judged by the same code.
//!
//! Owns: records → evidence, evidence → violations. Never: how a world gets at its records.

use crate::judge::{Diverted, judge};
use crate::ledger::{CommitSeen, LedgerWatch};
use crate::published::{Body, Published, check_origin, check_published};
use crate::reference::{LogRecord, Reference};
use crate::settings::Settings;
use crate::violation::{Rule, Violation};
use evenkeel_codec::{WindowRecord, decode_batch, decode_window_record};
use evenkeel_model::{DropReason, EventBatch, StoredRow, Topic};
use evenkeel_seam::{CommitMeta, RecordRef, RowKey};
use std::collections::{BTreeMap, BTreeSet};

/// Everything the judge needs from the log.
#[derive(Debug, Default)]
pub struct Evidence {
    /// The events topic; records of one partition in order of their offsets.
    pub events: Vec<LogRecord>,
    /// The windows topic, committed; records of one partition in order of their offsets.
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

/// What the evidence comes to.
#[derive(Debug, Default)]
pub struct Finding {
    /// Broken rules; empty = the run passed.
    pub violations: Vec<Violation>,
    /// Windows compared with the reference.
    pub compared: usize,
    /// Windows with so many diverted events that it cannot be told which are missing.
    pub undetermined: Vec<RowKey>,
    /// Rows published.
    pub rows: usize,
    /// Late records published.
    pub late: usize,
    /// What must be stored.
    pub reference: Reference,
}

impl Evidence {
    /// A record of `events`.
    pub fn event(&mut self, partition: u32, record: &RecordRef<'_>) {
        let mut batch = EventBatch::default();
        let decoded = decode_batch(record.value.unwrap_or_default(), &mut batch).is_ok();
        self.events.push(LogRecord {
            partition,
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            key: record.key.map(<[u8]>::to_vec),
            batch: decoded.then_some(batch),
        });
    }

    /// A committed record of `windows`.
    pub fn window(&mut self, partition: u32, record: &RecordRef<'_>) {
        let published = self.decode_published(partition, record.offset, record.value.unwrap_or_default());
        self.published.extend(published);
    }

    /// A committed record of `dlq`.
    pub fn refusal(&mut self, record: &RecordRef<'_>) {
        let header = |name: &str| {
            let found = record.headers.iter().find(|header| header.name == name);
            found.and_then(|header| std::str::from_utf8(header.value).ok()).unwrap_or("")
        };
        let Some(reason) = DropReason::parse(header("reason")) else {
            return self.unreadable.push(format!("dlq: reason {:?}", header("reason")));
        };
        let mut batch = EventBatch::default();
        let decoded = decode_batch(record.value.unwrap_or_default(), &mut batch).is_ok();
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

    /// A commit of a coalescer, with what its transaction published in this partition.
    pub fn commit(&mut self, partition: u32, offset: u64, meta: CommitMeta, published: Vec<Published>) {
        self.commits.push(CommitSeen { partition, offset, meta, published });
    }

    /// A record of `windows`; one that cannot be read is noted.
    pub fn decode_published(&mut self, partition: u32, offset: u64, value: &[u8]) -> Option<Published> {
        let body = match decode_window_record(value) {
            Ok(WindowRecord::Row(row)) => Body::Row(row),
            Ok(WindowRecord::Late(late)) => Body::Late(late),
            Err(error) => {
                self.unreadable.push(format!("windows {partition} offset {offset}: {error}"));
                return None;
            }
        };
        Some(Published { partition, offset, body })
    }

    /// Judges everything. `stored`: what the store holds. `open`: windows that nothing may have closed yet when
    /// the run was left; those of which nothing was published need no row.
    pub fn judge(&self, settings: &Settings, stored: Vec<StoredRow>, open: &BTreeSet<RowKey>) -> Finding {
        let mut reference = Reference::of(settings, self.events.iter().cloned());
        let unreadable = self.unreadable.iter().map(|what| Violation::new(Rule::Late1, what.clone()));
        let mut violations: Vec<Violation> = unreadable.collect();
        violations.extend(check_published(settings, &reference, &self.published));
        violations.extend(self.check_refused(settings, &reference));
        let mut watch = LedgerWatch::default();
        for commit in &self.commits {
            violations.extend(watch.commit(commit, &reference));
        }
        violations.extend(check_origin(&stored, &self.published));
        let key = |row: &StoredRow| RowKey { stream_id: row.row.stream_id.clone(), span: row.row.span };
        let told = self.published.iter().map(Published::key).chain(stored.iter().map(key));
        let told: BTreeSet<RowKey> = told.collect();
        reference.windows.retain(|key, _| told.contains(key) || !open.contains(key));
        let verdict = judge(stored, &self.diverted, &reference);
        violations.extend(verdict.violations);
        let rows = self.published.iter().filter(|p| matches!(p.body, Body::Row(_))).count();
        if rows == 0 {
            violations.push(Violation::new(Rule::Floor, "no window was closed"));
        }
        Finding {
            violations,
            compared: verdict.compared,
            undetermined: verdict.undetermined,
            rows,
            late: self.published.len() - rows,
            reference,
        }
    }

    /// Nothing is dropped silently: what admission refuses is in `dlq`, exactly once.
    fn check_refused(&self, settings: &Settings, reference: &Reference) -> Vec<Violation> {
        let mut found = Vec::new();
        let size_ms = settings.classes.last().map_or(1, |class| class.sizes_ms[0]);
        for partition in 0..settings.partitions {
            for reason in
                [DropReason::Malformed, DropReason::Misrouted, DropReason::Future, DropReason::TooOld]
            {
                let want = reference.tally(partition, size_ms, u64::MAX).refused[reason.index()];
                let got = self.refused.get(&(partition, reason)).copied().unwrap_or(0);
                if got != want {
                    let what =
                        format!("partition {partition}: {got} events in dlq as {reason}, expected {want}");
                    found.push(Violation::new(Rule::Sum1, what));
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{Sample, batch_of};
    use evenkeel_codec::encode_batch;
    use evenkeel_model::LateRecord;
    use evenkeel_seam::Header;

    const NOW: i64 = 1_700_000_000_000;

    fn record<'a>(value: &'a [u8], headers: &'a [Header<'a>]) -> RecordRef<'a> {
        RecordRef { timestamp_ms: NOW, key: Some(b"s"), value: Some(value), headers, ..RecordRef::default() }
    }

    fn rules(evidence: &Evidence, open: &BTreeSet<RowKey>) -> Vec<Rule> {
        let settings = Settings { partitions: 1, ..Settings::product() };
        let found = evidence.judge(&settings, vec![], open).violations;
        found.into_iter().map(|violation| violation.rule).collect()
    }

    /// An event of an hour ahead is `future`: it has to be in `dlq`, once, and to no other window.
    #[test]
    fn what_is_refused_must_be_in_dlq() {
        let samples = [Sample { ts: NOW + 3_600_000, seq: Some(1), uid: 1 }];
        let mut value = Vec::new();
        encode_batch(&EventBatch { arrival_ms: NOW, ..batch_of("s", &samples) }, &mut value);
        let mut evidence = Evidence::default();
        evidence.event(0, &record(&value, &[]));
        assert_eq!(rules(&evidence, &BTreeSet::new()), [Rule::Sum1, Rule::Floor]);
        let texts = [("reason", "future"), ("source-topic", "events"), ("source-partition", "0")];
        let headers = texts.map(|(name, value)| Header { name, value: value.as_bytes() });
        evidence.refusal(&record(&value, &headers));
        assert_eq!(rules(&evidence, &BTreeSet::new()), [Rule::Floor]);
        evidence.refusal(&record(&value, &headers));
        assert_eq!(rules(&evidence, &BTreeSet::new()), [Rule::Sum1, Rule::Floor], "twice is once too many");
        evidence.refusal(&record(&value, &[]));
        assert_eq!(evidence.unreadable.len(), 1, "a reason is missing");
    }

    #[test]
    fn only_a_window_that_is_open_may_lack_its_row() {
        let mut value = Vec::new();
        let samples = [Sample { ts: NOW, seq: Some(1), uid: 1 }];
        encode_batch(&EventBatch { arrival_ms: NOW, ..batch_of("s", &samples) }, &mut value);
        let mut evidence = Evidence::default();
        evidence.event(0, &record(&value, &[]));
        assert_eq!(rules(&evidence, &BTreeSet::new()), [Rule::Late1, Rule::Late1, Rule::Floor]);
        let key =
            |size_ms| RowKey { stream_id: "s".into(), span: evenkeel_model::WindowSpan::of(NOW, size_ms) };
        assert_eq!(rules(&evidence, &[key(5_000)].into()), [Rule::Late1, Rule::Floor]);
        let open = BTreeSet::from([key(5_000), key(60_000)]);
        assert_eq!(rules(&evidence, &open), [Rule::Floor]);
        let events = EventBatch { stream_id: "s".into(), ts: vec![NOW], ..EventBatch::default() };
        let late = LateRecord { size_ms: 5_000, window_id: NOW / 5_000, arrivals: vec![NOW], events };
        evidence.published.push(Published { partition: 0, offset: 0, body: Body::Late(Box::new(late)) });
        assert_eq!(
            rules(&evidence, &open),
            [Rule::Late1, Rule::Floor],
            "it was published: it must be stored"
        );
    }
}
