//! One partition of one topic: records, commit markers, what a reader may see of them.
//!
//! Every marker and every record of an aborted transaction occupies an offset, as in the real log, so that
//! nothing may take `offset + 1` for the next record.

use evenkeel_seam::Header;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Number of a transaction, rising.
pub type TxnId = u64;

/// A record as it was appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The record's own timestamp, ms since the epoch.
    pub timestamp_ms: i64,
    /// Key, if any.
    pub key: Option<Vec<u8>>,
    /// Value; `None` = tombstone.
    pub value: Option<Vec<u8>>,
    /// Headers: name and bytes.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl Record {
    /// The headers as the seam shows them.
    pub fn header_refs(&self) -> Vec<Header<'_>> {
        self.headers.iter().map(|(name, value)| Header { name, value }).collect()
    }
}

#[derive(Debug, Clone)]
enum Entry {
    Data { txn: Option<TxnId>, record: Arc<Record> },
    Marker,
}

/// What a read brings.
#[derive(Debug, Default)]
pub struct Fetched {
    /// Offsets and records, rising.
    pub records: Vec<(u64, Arc<Record>)>,
    /// The position after what was scanned.
    pub next: u64,
    /// Nothing more is readable for now.
    pub at_end: bool,
}

/// One partition.
#[derive(Debug, Default)]
pub struct PartitionLog {
    entries: BTreeMap<u64, Entry>,
    start: u64,
    end: u64,
    /// First offset of each transaction without a marker here.
    undecided: BTreeMap<TxnId, u64>,
    aborted: BTreeSet<TxnId>,
}

impl PartitionLog {
    /// Appends a record; returns its offset. A transaction's records stay invisible to committed readers
    /// until its marker is here.
    pub fn append(&mut self, txn: Option<TxnId>, record: Record) -> u64 {
        let offset = self.end;
        if let Some(txn) = txn {
            self.undecided.entry(txn).or_insert(offset);
        }
        self.entries.insert(offset, Entry::Data { txn, record: Arc::new(record) });
        self.end += 1;
        offset
    }

    /// The transaction's outcome reaches this partition.
    pub fn mark(&mut self, txn: TxnId, committed: bool) {
        if self.undecided.remove(&txn).is_none() {
            return;
        }
        if !committed {
            self.aborted.insert(txn);
        }
        self.entries.insert(self.end, Entry::Marker);
        self.end += 1;
    }

    /// First offset the log still holds.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// The offset after the last entry.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Last stable offset: up to here committed readers may read.
    pub fn stable_end(&self) -> u64 {
        self.undecided.values().copied().min().unwrap_or(self.end)
    }

    /// Reads at most `records_max` records from `from` on. Committed readers see neither markers nor
    /// aborted records, and nothing at or above the last stable offset.
    pub fn read(&self, from: u64, records_max: usize, committed_only: bool) -> Fetched {
        let end = if committed_only { self.stable_end() } else { self.end };
        let mut fetched = Fetched { next: from.max(self.start), ..Fetched::default() };
        for (&offset, entry) in self.entries.range(fetched.next.min(end)..end) {
            if fetched.records.len() == records_max {
                return fetched;
            }
            fetched.next = offset + 1;
            match entry {
                Entry::Data { txn, record } if !committed_only || !self.is_aborted(*txn) => {
                    fetched.records.push((offset, Arc::clone(record)));
                }
                _ => {}
            }
        }
        fetched.next = fetched.next.max(end);
        fetched.at_end = true;
        fetched
    }

    /// Forgets everything below an offset (retention).
    pub fn trim(&mut self, before: u64) {
        self.start = before.clamp(self.start, self.end);
        self.entries = self.entries.split_off(&self.start);
    }

    /// Keeps the newest committed record of each key below the last stable offset, and drops the rest
    /// there: older values, markers, aborted records.
    pub fn compact(&mut self) {
        let stable = self.stable_end();
        let mut newest: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
        for (&offset, entry) in self.entries.range(..stable) {
            if let Entry::Data { txn, record } = entry
                && !self.is_aborted(*txn)
                && let Some(key) = &record.key
            {
                newest.insert(key.clone(), offset);
            }
        }
        let keep: BTreeSet<u64> = newest.into_values().collect();
        self.entries.retain(|offset, _| *offset >= stable || keep.contains(offset));
    }

    fn is_aborted(&self, txn: Option<TxnId>) -> bool {
        txn.is_some_and(|txn| self.aborted.contains(&txn))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: &str) -> Record {
        Record { timestamp_ms: 0, key: Some(key.into()), value: Some(vec![]), headers: vec![] }
    }

    fn offsets(log: &PartitionLog, committed_only: bool) -> (Vec<u64>, u64, bool) {
        let fetched = log.read(0, 100, committed_only);
        (fetched.records.iter().map(|(offset, _)| *offset).collect(), fetched.next, fetched.at_end)
    }

    #[test]
    fn committed_readers_stop_at_the_first_undecided_transaction() {
        let mut log = PartitionLog::default();
        log.append(None, record("a"));
        log.append(Some(1), record("b"));
        log.append(Some(2), record("c"));
        log.mark(2, true);
        assert_eq!(offsets(&log, true), (vec![0], 1, true));
        assert_eq!(offsets(&log, false), (vec![0, 1, 2], 4, true));
        log.mark(1, false);
        assert_eq!(offsets(&log, true), (vec![0, 2], 5, true), "aborted records and markers occupy offsets");
    }

    #[test]
    fn compaction_keeps_the_newest_of_each_key_and_retention_moves_the_start() {
        let mut log = PartitionLog::default();
        for (txn, key) in [(1, "a"), (1, "b"), (2, "a"), (3, "b")] {
            log.append(Some(txn), record(key));
        }
        log.mark(1, true);
        log.mark(2, true);
        log.mark(3, false);
        log.compact();
        assert_eq!(offsets(&log, true).0, vec![1, 2]);
        log.trim(2);
        assert_eq!((log.start(), offsets(&log, true).0), (2, vec![2]));
    }
}
