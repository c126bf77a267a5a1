//! What `log.db` ought to hold, in plain maps: no SQL, no files, no threads.

use crate::machine::{Entry, Stretch};
use evenkeel_model::Topic;
use evenkeel_seam::{CommitMeta, Outputs, Position};
use std::collections::BTreeMap;

/// One partition of one topic.
#[derive(Debug, Clone, Default)]
pub struct Partition {
    pub log_start: u64,
    pub next: u64,
    pub records: BTreeMap<u64, Entry>,
}

/// The log.
#[derive(Debug, Default)]
pub struct Model {
    pub partitions: BTreeMap<(Topic, u32), Partition>,
    /// Of the group `coalescer`, by partition of `events`.
    pub committed: BTreeMap<u32, Position>,
}

impl Model {
    pub fn partition(&mut self, topic: Topic, partition: u32) -> &mut Partition {
        self.partitions.entry((topic, partition)).or_default()
    }

    pub fn append(&mut self, outputs: &Outputs) {
        for record in outputs.records() {
            let entry = (outputs.key(record).map(<[u8]>::to_vec), outputs.value(record).map(<[u8]>::to_vec));
            let partition = self.partition(record.topic, record.partition);
            if record.topic == Topic::Marks && entry.0.is_some() {
                partition.records.retain(|_, (key, _)| *key != entry.0); // compaction
            }
            partition.records.insert(partition.next, entry);
            partition.next += 1;
        }
    }

    /// Returns the metadata as it is to be written.
    pub fn commit(
        &mut self,
        outputs: &Outputs,
        mut positions: Vec<Position>,
    ) -> Vec<(u32, Option<CommitMeta>)> {
        self.append(outputs);
        for position in &mut positions {
            let partition = position.partition;
            let wrote = |t| outputs.records().iter().any(|r| r.topic == t && r.partition == partition);
            let Some(meta) = &mut position.meta else { continue };
            if wrote(Topic::Windows) {
                meta.windows_to = self.partition(Topic::Windows, partition).next;
            }
            if wrote(Topic::Marks) {
                meta.marks_to = self.partition(Topic::Marks, partition).next;
            }
        }
        let written = positions.iter().map(|p| (p.partition, p.meta.clone())).collect();
        self.committed.extend(positions.into_iter().map(|p| (p.partition, p)));
        written
    }

    /// Everything below `before` goes.
    pub fn cut(&mut self, topic: Topic, partition: u32, before: u64) {
        let partition = self.partition(topic, partition);
        partition.log_start = before.clamp(partition.log_start, partition.next);
        partition.records = partition.records.split_off(&partition.log_start);
    }

    /// What a read brings.
    pub fn read(&mut self, topic: Topic, partition: u32, from: u64, to: u64) -> Stretch {
        let partition = self.partition(topic, partition);
        let (first, end) = (from.max(partition.log_start), to.min(partition.next));
        let records = partition.records.range(first.min(end)..end).map(|(o, e)| (*o, e.clone())).collect();
        let next = if to <= partition.next { to } else { partition.next };
        Stretch { log_start: partition.log_start, next, records }
    }

    /// The first offset of a partition that the committed position needs.
    pub fn needed(&self, topic: Topic, partition: u32) -> Option<u64> {
        let position = self.committed.get(&partition)?;
        let meta = position.meta.as_ref();
        match topic {
            Topic::Events => Some(meta.map_or(position.offset, |m| m.replay_from.min(position.offset))),
            Topic::Windows => meta.map(|m| m.windows_from),
            Topic::Dlq | Topic::Marks | Topic::Scores | Topic::Alerts => None,
        }
    }

    /// Keys, values and headers of a topic's records.
    pub fn bytes(&self, topic: Topic) -> u64 {
        let of_topic = self.partitions.iter().filter(|((t, _), _)| *t == topic);
        let entries = of_topic.flat_map(|(_, p)| p.records.values());
        let len = |part: &Option<Vec<u8>>| part.as_ref().map_or(0, Vec::len) as u64;
        entries.map(|(key, value)| len(key) + len(value)).sum()
    }
}
