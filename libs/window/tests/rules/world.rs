//! A tiny world around one core: an events log, the committed `windows` and `marks`, `dlq`, and a sink that
//! merges late records. Everything in ms; times of the tests are relative to [`BASE`].

use evenkeel_model::limits::TS_MIN_MS;
use evenkeel_model::{ClosedBy, DropReason, EventBatch, FieldColumn, LateRecord, Mark, StoredRow, WindowRow};
use evenkeel_scenarios::{Body, Diverted, LogRecord, Published};
use evenkeel_seam::{CommitMeta, RowKey, SizeLedger};
use evenkeel_window::{
    Core, Imbalance, Output, Partition, SentRow, Settings, TickInput, TickReport, merge_late,
};
use std::collections::BTreeMap;

/// Start of the tests' time: a multiple of every size they use.
pub const BASE: i64 = 1_700_000_100_000;
/// A second, ms.
pub const S: i64 = 1_000;

/// Refused events, as they lie in `dlq`.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    pub reason: DropReason,
    pub size_ms: Option<i64>,
    pub events: EventBatch,
}

/// One partition with everything around it.
pub struct World {
    pub settings: Settings,
    pub core: Core,
    /// The events topic; the index is the offset.
    pub log: Vec<LogRecord>,
    /// The committed records of `windows`, in order.
    pub topic: Vec<Published>,
    /// The committed marks, in order.
    pub marks: Vec<(u64, Mark)>,
    /// Committed refusals.
    pub dlq: Vec<Refusal>,
    /// The last commit.
    pub committed: Option<(u64, CommitMeta)>,
    /// Every commit, for the ledger's watch.
    pub commits: Vec<(u64, CommitMeta, usize)>,
    windows_end: u64,
    marks_end: u64,
    said: Said,
}

/// What the core said since the last commit.
#[derive(Default)]
struct Said {
    bodies: Vec<Body>,
    marks: Vec<Mark>,
    dlq: Vec<Refusal>,
}

impl Said {
    fn hear(&mut self, output: Output<'_>) {
        match output {
            Output::Row(row) => self.bodies.push(Body::Row(Box::new(row.clone()))),
            Output::Late(late) => self.bodies.push(Body::Late(Box::new(late.clone()))),
            Output::Mark(mark) => self.marks.push(mark.clone()),
            Output::Refused(r) => {
                self.dlq.push(Refusal { reason: r.reason, size_ms: r.size_ms, events: r.events.clone() });
            }
        }
    }
}

fn partition() -> Partition {
    Partition { number: 0, count: 1, writer: "w".into(), hash_seed: 7 }
}

/// The product's defaults, one size of 5 s, changed as the test likes.
pub fn settings(change: impl FnOnce(&mut Settings)) -> Settings {
    let mut settings = Settings::default();
    settings.classes[0].sizes_ms = vec![5 * S];
    change(&mut settings);
    settings.check().expect("the test's settings");
    settings
}

/// A batch of `(ts after BASE, seq)`; each event has the field `x` = its seq.
pub fn batch(stream_id: &str, arrival: i64, events: &[(i64, u64)]) -> EventBatch {
    let values = events.iter().map(|(_, seq)| *seq as f64).collect();
    EventBatch {
        stream_id: stream_id.into(),
        arrival_ms: BASE + arrival,
        ts: events.iter().map(|(ts, _)| BASE + ts).collect(),
        seq: events.iter().map(|(_, seq)| *seq).collect(),
        fields: vec![FieldColumn { name: "x".into(), rows: vec![], values }],
        ..EventBatch::default()
    }
}

impl World {
    pub fn new(settings: Settings) -> Self {
        let core = Core::new(&settings, partition()).expect("the test's settings");
        Self {
            settings,
            core,
            log: Vec::new(),
            topic: Vec::new(),
            marks: Vec::new(),
            dlq: Vec::new(),
            committed: None,
            commits: Vec::new(),
            windows_end: 0,
            marks_end: 0,
            said: Said::default(),
        }
    }

    /// A batch of `(ts after BASE, seq)` that arrives at `arrival` after BASE.
    pub fn send(&mut self, stream_id: &str, arrival: i64, events: &[(i64, u64)]) {
        self.feed(batch(stream_id, arrival, events));
    }

    /// One event that arrives when it happens.
    pub fn one(&mut self, stream_id: &str, ts: i64, seq: u64) {
        self.send(stream_id, ts, &[(ts, seq)]);
    }

    pub fn feed(&mut self, batch: EventBatch) {
        self.append(batch);
        self.consume();
    }

    /// Appends to the log without consuming.
    pub fn append(&mut self, batch: EventBatch) {
        batch.check_shape().expect("the test's batch");
        self.log.push(LogRecord {
            partition: 0,
            offset: self.log.len() as u64,
            timestamp_ms: TS_MIN_MS,
            key: Some(batch.stream_id.as_bytes().to_vec()),
            batch: Some(batch),
        });
    }

    /// Consumes the next record, if there is one.
    pub fn consume(&mut self) -> bool {
        let offset = self.core.position();
        let Some(record) = self.log.get(offset as usize) else { return false };
        let said = &mut self.said;
        match &record.batch {
            Some(batch) => {
                self.core.feed(offset, record.key.as_deref(), batch, &mut |output| said.hear(output))
            }
            None => self.core.feed_undecodable(),
        }
        self.core.advance(offset + 1);
        true
    }

    /// A tick without news from the end of the log, committed.
    pub fn tick(&mut self) -> TickReport {
        self.tick_with(&input())
    }

    /// `n` committed ticks at the end of the log, while other partitions have traffic.
    pub fn silence(&mut self, n: usize) {
        for _ in 0..n {
            self.tick_with(&TickInput { at_end: true, ..input() });
        }
    }

    pub fn tick_with(&mut self, input: &TickInput) -> TickReport {
        let report = self.run_tick(input);
        self.commit();
        report
    }

    /// A tick whose transaction aborts: the core is lost with it.
    pub fn tick_aborted(&mut self, input: &TickInput) -> Vec<Imbalance> {
        self.run_tick(input);
        self.windows_end += self.said.bodies.len() as u64 + 1; // aborted records and their marker stay
        self.marks_end += self.said.marks.len() as u64 + 1;
        self.crash()
    }

    pub fn run_tick(&mut self, input: &TickInput) -> TickReport {
        let said = &mut self.said;
        let report = self.core.tick(input, &mut |output| said.hear(output));
        // EK-SUM-1, at every tick
        assert!(self.core.ledger().sizes.iter().all(|s| s.imbalance() == 0), "{:?}", self.core.ledger());
        report
    }

    pub fn commit(&mut self) {
        let (offset, mut meta) = self.core.meta();
        let said = std::mem::take(&mut self.said);
        let (bodies, marks) = (said.bodies.len() as u64, said.marks.len() as u64);
        for (at, body) in said.bodies.into_iter().enumerate() {
            self.topic.push(Published { partition: 0, offset: self.windows_end + at as u64, body });
        }
        for (at, mark) in said.marks.into_iter().enumerate() {
            self.marks.push((self.marks_end + at as u64, mark));
        }
        self.dlq.extend(said.dlq);
        if bodies > 0 {
            meta.windows_to = self.windows_end + bodies;
            self.windows_end += bodies + 1; // the commit marker
        }
        if marks > 0 {
            meta.marks_to = self.marks_end + marks;
            self.marks_end += marks + 1;
        }
        self.core.committed(&meta, offset);
        self.commits.push((offset, meta.clone(), self.topic.len()));
        self.committed = Some((offset, meta));
    }

    /// The process dies; another recovers from the last commit (docs/recovery.md). What differs from it.
    pub fn crash(&mut self) -> Vec<Imbalance> {
        self.said = Said::default();
        let Some((offset, meta)) = self.committed.clone() else {
            self.core = Core::new(&self.settings, partition()).expect("the test's settings");
            return Vec::new();
        };
        let mut core = Core::recover(&self.settings, partition(), offset, &meta).expect("recovery");
        for (_, mark) in self.marks.iter().filter(|(at, _)| *at < meta.marks_to) {
            core.replay_mark(mark);
        }
        let rows = meta.windows_from..meta.windows_to;
        for record in self.topic.iter().filter(|r| rows.contains(&r.offset)) {
            if let Body::Row(row) = &record.body {
                core.replay_row(&sent(row, record.offset));
            }
        }
        for record in &self.log[meta.replay_from as usize..offset as usize] {
            let mute = &mut |output: Output<'_>| panic!("a replay says {output:?}");
            match &record.batch {
                Some(batch) => core.feed(record.offset, record.key.as_deref(), batch, mute),
                None => core.feed_undecodable(),
            }
        }
        self.core = core;
        self.core.finish_recovery()
    }

    /// Committed rows.
    pub fn rows(&self) -> impl Iterator<Item = &WindowRow> {
        self.topic.iter().filter_map(|r| match &r.body {
            Body::Row(row) => Some(&**row),
            Body::Late(_) => None,
        })
    }

    /// Committed late records.
    pub fn late(&self) -> impl Iterator<Item = &LateRecord> {
        self.topic.iter().filter_map(|r| match &r.body {
            Body::Late(late) => Some(&**late),
            Body::Row(_) => None,
        })
    }

    /// Committed rows as `(start after BASE in s, count, closed by)`.
    pub fn closed(&self) -> Vec<(i64, u64, ClosedBy)> {
        self.rows().map(|r| ((r.span.t_start() - BASE) / S, r.count, r.closed_by)).collect()
    }

    /// The ledger of a size.
    pub fn ledger(&self, size_ms: i64) -> &SizeLedger {
        self.core.ledger().sizes.iter().find(|s| s.size_ms == size_ms).expect("a configured size")
    }

    /// Events with this reason so far, in the ledger of the first size.
    pub fn reason(&self, reason: DropReason) -> u64 {
        self.core.ledger().sizes[0].reasons[reason.index()]
    }

    /// What the sink has stored once it has read everything, and what it diverted.
    pub fn stored(&self) -> (BTreeMap<RowKey, StoredRow>, Vec<Diverted>) {
        let (mut store, mut diverted) = (BTreeMap::new(), Vec::new());
        for record in &self.topic {
            match &record.body {
                Body::Row(row) => {
                    let stored = StoredRow { row: (**row).clone(), revision: 0, late_offset: -1 };
                    assert!(store.insert(record.key(), stored).is_none(), "EK-WIN-1, EK-LATE-0: {row:?}");
                }
                Body::Late(late) => {
                    let cap = self.settings.seq_intervals_max;
                    let merged = merge_late(store.get(&record.key()), late, record.offset as i64, cap);
                    diverted
                        .extend(merged.overflow.iter().map(|&at| refused(&late.events, at, late.size_ms)));
                    if let Some(row) = merged.row {
                        store.insert(record.key(), row);
                    }
                }
            }
        }
        (store, diverted)
    }
}

/// A tick with all the room there is.
pub fn input() -> TickInput {
    TickInput { at_end: false, worker_quiet_ms: 0, rows_max: 100_000, free_bytes: 0, ending: false }
}

/// Event `at` of refused events.
pub fn refused(events: &EventBatch, at: usize, size_ms: i64) -> Diverted {
    Diverted {
        stream_id: events.stream_id.clone(),
        size_ms: Some(size_ms),
        ts: events.ts[at],
        seq: events.seq.get(at).copied(),
    }
}

fn sent(row: &WindowRow, offset: u64) -> SentRow<'_> {
    SentRow {
        stream_id: &row.stream_id,
        span: row.span,
        max_ts: row.max_ts,
        last_arrival: row.last_arrival,
        offset,
    }
}
