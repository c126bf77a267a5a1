//! What the CQL tests share: random rows from a seed, and a store driven to its results.

#![allow(dead_code, clippy::unwrap_used)] // each binary uses its part; helpers of tests fail as tests do

use anyhow::{Context as _, bail};
use evenkeel_cql::{CqlConfig, CqlConsistency, CqlRows, Millis, WindowTable};
use evenkeel_model::{
    ClosedBy, DropReason, EventBatch, FieldColumn, FieldStats, SeqRange, StoredRow, WindowRow, WindowSpan,
};
use evenkeel_seam::{RowAction, RowKey, RowResult, Rows};
use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

/// No outcome may take longer, however slow the machine.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// A configuration for one server and keyspace; one replica.
pub fn config(address: &str, keyspace: &str) -> CqlConfig {
    let table = |size| WindowTable { size, ttl: Some(Millis::from_days(30)) };
    CqlConfig {
        contact_points: vec![address.to_owned()],
        keyspace: keyspace.to_owned(),
        replication: BTreeMap::from([("datacenter1".to_owned(), 1)]),
        consistency: CqlConsistency::LocalQuorum,
        tables: vec![table(Millis::from_s(5)), table(Millis::from_s(60)), table(Millis::from_ms(250))],
        start_timeout: Millis::from_s(60),
        ..CqlConfig::default()
    }
}

pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as i64
}

/// SplitMix64: enough chance for tests, and the seed says all.
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn number(&mut self) -> f64 {
        match self.below(8) {
            0 => 0.0,
            1 => -0.0,
            2 => f64::MAX,
            3 => f64::MIN_POSITIVE,
            _ => (self.next() as i64 as f64) / (1u64 << self.below(60)) as f64,
        }
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i as u64 + 1) as usize);
        }
    }

    /// The numbers 0..n in a random order.
    pub fn order(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        self.shuffle(&mut order);
        order
    }

    /// Any row the contract allows, for one key and revision.
    pub fn row(&mut self, stream_id: &str, span: WindowSpan, revision: u32) -> StoredRow {
        let mut seqs = Vec::new();
        let mut at = self.below(1 << 40);
        for _ in 0..self.below(12) {
            let (lo, length) = (at + 1 + self.below(50), 1 + self.below(500));
            let count = if self.below(3) == 0 { 1 + self.below(length) } else { length };
            seqs.push(SeqRange { lo, hi: lo + length - 1, count });
            at = lo + length;
        }
        if self.below(10) == 0 {
            seqs.push(SeqRange { lo: u64::MAX - 3, hi: u64::MAX, count: 2 });
        }
        let names = ["a", "accelX", "Größe °C", "z z", "field \"quoted\""];
        let mut stats: Vec<FieldStats> = Vec::new();
        for name in names {
            if self.below(3) > 0 {
                stats.push(self.stats(name, span));
            }
        }
        stats.sort_by(|x, y| x.name.cmp(&y.name));
        let mut dropped = Vec::new();
        for reason in DropReason::ALL {
            if self.below(4) == 0 {
                dropped.push((*reason, 1 + self.below(1_000)));
            }
        }
        let closed_by = ClosedBy::ALL[self.below(ClosedBy::ALL.len() as u64) as usize];
        let first_arrival = span.t_start() + self.below(5_000) as i64;
        let events = (self.below(3) == 0).then(|| self.events(stream_id, span));
        let row = WindowRow {
            stream_id: stream_id.to_owned(),
            span,
            closed_by,
            max_ts: span.t_end() + self.below(60_000) as i64,
            first_arrival,
            last_arrival: first_arrival + self.below(9_000) as i64,
            count: self.below(1 << 50),
            seqs,
            dropped,
            stats,
            events,
        };
        let late_offset = if revision == 0 { -1 } else { self.below(1 << 60) as i64 };
        StoredRow { row, revision, late_offset }
    }

    fn stats(&mut self, name: &str, span: WindowSpan) -> FieldStats {
        FieldStats {
            name: name.to_owned(),
            count: 1 + self.below(1 << 32),
            min: self.number(),
            max: self.number(),
            sum: self.number(),
            sum_lo: self.number(),
            mean: self.number(),
            m2: self.number(),
            first: self.number(),
            first_ts: span.t_start() + self.below(span.size_ms as u64) as i64,
            first_seq: self.next(),
            last: self.number(),
            last_ts: span.t_start() + self.below(span.size_ms as u64) as i64,
            last_seq: self.next(),
        }
    }

    fn events(&mut self, stream_id: &str, span: WindowSpan) -> EventBatch {
        let n = 1 + self.below(60) as usize;
        let base = self.below(1 << 50);
        let with_seq = self.below(2) == 0;
        EventBatch {
            stream_id: stream_id.to_owned(),
            arrival_ms: span.t_end(),
            backfill: self.below(2) == 0,
            ts: (0..n).map(|_| span.t_start() + self.below(span.size_ms as u64) as i64).collect(),
            seq: if with_seq { (0..n).map(|i| base + 3 * i as u64).collect() } else { Vec::new() },
            fields: vec![FieldColumn {
                name: "accelX".to_owned(),
                rows: Vec::new(),
                values: (0..n).map(|_| self.number()).collect(),
            }],
            payloads: Vec::new(),
        }
    }
}

/// A store whose actions are driven to their results.
pub struct Driven {
    pub rows: CqlRows,
    next_id: u64,
}

impl Driven {
    pub fn open(config: &CqlConfig) -> anyhow::Result<Self> {
        Ok(Self { rows: CqlRows::open(config)?, next_id: 0 })
    }

    /// Submits all at once and returns the results in the same order.
    pub fn all(&mut self, actions: Vec<RowAction>) -> anyhow::Result<Vec<RowResult>> {
        let first = self.next_id;
        let mut results: Vec<Option<RowResult>> = actions.iter().map(|_| None).collect();
        for action in actions {
            self.rows.submit(self.next_id, action);
            self.next_id += 1;
        }
        let deadline = Instant::now() + DEADLINE;
        let mut out = Vec::new();
        while results.iter().any(Option::is_none) {
            anyhow::ensure!(Instant::now() < deadline, "not every action was answered");
            self.rows.done(Duration::from_millis(100), &mut out);
            for (id, result) in out.drain(..) {
                let slot = results.get_mut((id - first) as usize).context("an id nobody submitted")?;
                anyhow::ensure!(slot.replace(result).is_none(), "id {id} was answered twice");
            }
        }
        Ok(results.into_iter().flatten().collect())
    }

    pub fn one(&mut self, action: RowAction) -> anyhow::Result<RowResult> {
        self.all(vec![action])?.pop().context("one action, one result")
    }

    pub fn write(&mut self, row: &StoredRow) -> anyhow::Result<()> {
        match self.one(RowAction::Write(Box::new(row.clone())))? {
            RowResult::Written => Ok(()),
            other => bail!("not written: {other:?}"),
        }
    }

    pub fn read(&mut self, stream_id: &str, span: WindowSpan) -> anyhow::Result<Option<StoredRow>> {
        match self.one(RowAction::Read(RowKey { stream_id: stream_id.to_owned(), span }))? {
            RowResult::Read(row) => Ok(row.map(|row| *row)),
            other => bail!("not read: {other:?}"),
        }
    }
}
