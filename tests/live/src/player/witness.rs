//! Sees what a scenario leaves behind: the topics, the groups' commits, the stored rows.
//!
//! Owns: the evidence, and the judgement whether the run has come to rest. Never: an opinion on what is right
//! (tests/scenarios judges).

use super::commits::{OffsetCommit, parse};
use super::stage::Stage;
use super::tail::Tail;
use anyhow::Context;
use evenkeel_cql::{CqlReader, WindowQuery};
use evenkeel_model::{StoredRow, Topic, partition_of};
use evenkeel_scenarios::{Body, Evidence, Published, Reference};
use evenkeel_seam::{CommitMeta, RowKey};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long one topic is waited for in one round.
const WAIT: Duration = Duration::from_millis(20);

/// The readers of one scenario.
pub struct Witness {
    stage: Arc<Stage>,
    events: Tail,
    windows: Tail,
    dlq: Tail,
    offsets: Tail,
    evidence: Evidence,
    /// The coalescers' commits, in order.
    commits: Vec<OffsetCommit>,
    /// The sinks' newest commit of each partition.
    sunk: BTreeMap<u32, u64>,
    /// The offset after the last record of each partition.
    ends: BTreeMap<(Topic, u32), u64>,
}

impl Witness {
    /// Joins. The services must have begun: the broker makes the topic of offsets for them.
    pub fn join(stage: &Arc<Stage>) -> anyhow::Result<Self> {
        let config = &stage.kafka;
        Ok(Self {
            stage: Arc::clone(stage),
            events: Tail::of(config, Topic::Events)?,
            windows: Tail::of(config, Topic::Windows)?,
            dlq: Tail::of(config, Topic::Dlq)?,
            offsets: Tail::of_offsets(config)?,
            evidence: Evidence::default(),
            commits: Vec::new(),
            sunk: BTreeMap::new(),
            ends: BTreeMap::new(),
        })
    }

    /// Takes in what is new.
    pub fn look(&mut self) -> anyhow::Result<()> {
        let (evidence, ends) = (&mut self.evidence, &mut self.ends);
        self.events.poll(WAIT, &mut |partition, record| {
            ends.insert((Topic::Events, partition), record.offset + 1);
            evidence.event(partition, record);
        })?;
        self.windows.poll(WAIT, &mut |partition, record| {
            ends.insert((Topic::Windows, partition), record.offset + 1);
            evidence.window(partition, record);
        })?;
        self.dlq.poll(WAIT, &mut |_, record| evidence.refusal(record))?;
        let config = &self.stage.kafka;
        let coalescers = (config.group_of("coalescer"), config.topic(Topic::Events));
        let sinks = (config.group_of("sink"), config.topic(Topic::Windows));
        let (commits, sunk) = (&mut self.commits, &mut self.sunk);
        self.offsets.poll(WAIT, &mut |_, record| {
            let commit = parse(record.key.unwrap_or_default(), record.value.unwrap_or_default());
            let Some(commit) = commit else { return };
            if (&commit.group, &commit.topic) == (&coalescers.0, &coalescers.1) {
                commits.push(commit);
            } else if (&commit.group, &commit.topic) == (&sinks.0, &sinks.1) {
                sunk.insert(commit.partition, commit.offset);
            }
        })
    }

    /// Whether every topic was read to an end that was looked up later than `since`.
    pub fn has_seen_all(&self, since: Instant) -> bool {
        [&self.events, &self.windows, &self.dlq, &self.offsets].iter().all(|tail| tail.is_at_end(since))
    }

    /// Whether the coalescers have consumed all events, and hold none in a window but those of `open`.
    /// `Err` says what is missing.
    pub fn is_coalesced(&self, open: &BTreeSet<RowKey>) -> Result<(), String> {
        let settings = &self.stage.settings;
        let reference = Reference::of(settings, self.evidence.events.iter().cloned());
        let has_row: BTreeSet<RowKey> = (self.evidence.published.iter())
            .filter(|published| matches!(published.body, Body::Row(_)))
            .map(Published::key)
            .collect();
        for partition in 0..settings.partitions {
            let end = self.ends.get(&(Topic::Events, partition)).copied().unwrap_or(0);
            let newest = self.commits.iter().rev().find(|commit| commit.partition == partition);
            let Some(newest) = newest else {
                if end > 0 {
                    return Err(format!("partition {partition}: no commit, {end} records"));
                }
                continue;
            };
            if newest.offset < end {
                return Err(format!("partition {partition}: consumed to {} of {end}", newest.offset));
            }
            let meta = CommitMeta::decode(&newest.metadata).map_err(|e| e.to_string())?;
            for size in &meta.ledger.sizes {
                let here = |key: &&RowKey| {
                    key.span.size_ms == size.size_ms
                        && partition_of(&key.stream_id, settings.partitions) == partition
                        && !has_row.contains(*key)
                };
                let events = |key| reference.windows.get(key).map_or(0, Vec::len) as u64;
                let may: u64 = open.iter().filter(here).map(events).sum();
                if size.in_open != may {
                    return Err(format!(
                        "partition {partition}, size {}: {} events in windows, {may} may be",
                        size.size_ms, size.in_open
                    ));
                }
            }
        }
        Ok(())
    }

    /// Whether the sinks have consumed every row. `Err` says what is missing.
    pub fn is_sunk(&self) -> Result<(), String> {
        for partition in 0..self.stage.settings.partitions {
            let end = self.ends.get(&(Topic::Windows, partition)).copied().unwrap_or(0);
            let sunk = self.sunk.get(&partition).copied().unwrap_or(0);
            if sunk < end {
                return Err(format!("partition {partition}: {sunk} of {end} rows and late records stored"));
            }
        }
        Ok(())
    }

    /// The evidence, once everything is seen: each commit with what its transaction published, which lies
    /// between the ends that it and the one before it tell.
    pub fn conclude(mut self) -> anyhow::Result<Evidence> {
        let mut written: BTreeMap<u32, u64> = BTreeMap::new();
        for commit in std::mem::take(&mut self.commits) {
            let meta = CommitMeta::decode(&commit.metadata)
                .with_context(|| format!("commit of partition {} at {}", commit.partition, commit.offset))?;
            let from = written.insert(commit.partition, meta.windows_to).unwrap_or(0);
            let inside = |record: &&Published| {
                record.partition == commit.partition && (from..meta.windows_to).contains(&record.offset)
            };
            let published = self.evidence.published.iter().filter(inside).cloned().collect();
            self.evidence.commit(commit.partition, commit.offset, meta, published);
        }
        Ok(self.evidence)
    }
}

/// Every stored row.
pub fn stored_rows(stage: &Stage) -> anyhow::Result<Vec<StoredRow>> {
    let mut rows = Vec::new();
    CqlReader::open(&stage.cql)?.windows(&WindowQuery::default(), &mut |row| {
        rows.push(row);
        ControlFlow::Continue(())
    })?;
    Ok(rows)
}
