//! One partition's records in work: in order per key, settled in any order across keys.

use evenkeel_model::{LateRecord, StoredRow, StoredScore, partition_of};
use evenkeel_seam::RowKey;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What a record asks of the store.
#[derive(Debug, Clone, PartialEq)]
pub enum Work {
    /// Write this row.
    Write(Box<StoredRow>),
    /// Read the stored row and fold these late events into it.
    Merge(Box<LateRecord>),
    /// Write this score.
    Score(Box<StoredScore>),
    /// Write this row, whose record's overflow is in `dlq` now.
    WriteAfterDlq(Box<StoredRow>),
    /// Nothing to write; the record's overflow must be in `dlq` before the next record of its key.
    SettleAfterDlq,
}

/// One record in work.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// Its offset in `windows`.
    pub offset: u64,
    /// Its row.
    pub key: RowKey,
    /// What to do.
    pub work: Work,
}

/// The records in work of one partition.
#[derive(Debug, Default)]
pub struct Lane {
    tasks: BTreeMap<u64, Task>,
    /// Offsets by key, in order; the first is being worked on.
    by_key: BTreeMap<RowKey, VecDeque<u64>>,
    /// Partitions of the topic.
    count: u32,
    position: u64,
    committed: Option<u64>,
    committing: Option<u64>,
    retries: BTreeSet<(i64, u64)>,
    /// Waits for a commit that holds its `dlq` records: the ones of the next, and of the running commit.
    held: Vec<u64>,
    held_by_running: Vec<u64>,
}

impl Lane {
    /// A lane of a topic of `count` partitions that starts at `position`.
    pub fn new(count: u32, position: u64) -> Self {
        Self { count, position, committed: Some(position), ..Self::default() }
    }

    /// Why a record about `stream_id` under `key` does not belong here; `None` = it does. A stream with two
    /// lanes would have no order.
    pub fn misrouted(&self, partition: u32, key: Option<&[u8]>, stream_id: &str) -> Option<&'static str> {
        if key.is_some_and(|key| key != stream_id.as_bytes()) {
            return Some("the record's key differs from its stream_id");
        }
        let owner = partition_of(stream_id, self.count);
        (owner != partition).then_some("murmur2 of the stream_id belongs to another partition")
    }

    /// Adds a task; whether it is the first of its key and may begin.
    pub fn push(&mut self, task: Task) -> bool {
        let queue = self.by_key.entry(task.key.clone()).or_default();
        queue.push_back(task.offset);
        let first = queue.len() == 1;
        self.tasks.insert(task.offset, task);
        first
    }

    /// Everything before `next` has been pushed.
    pub fn advance(&mut self, next: u64) {
        self.position = self.position.max(next);
    }

    /// A task in work.
    pub fn task(&self, offset: u64) -> Option<&Task> {
        self.tasks.get(&offset)
    }

    /// Changes what a task does next.
    pub fn replace(&mut self, offset: u64, work: Work) {
        if let Some(task) = self.tasks.get_mut(&offset) {
            task.work = work;
        }
    }

    /// The task goes on once the next commit is through.
    pub fn hold_for_dlq(&mut self, offset: u64, work: Work) {
        self.replace(offset, work);
        self.held.push(offset);
    }

    /// The task is tried again at `at`, ms.
    pub fn retry_at(&mut self, offset: u64, at: i64) {
        self.retries.insert((at, offset));
    }

    /// Tasks to try again by now.
    pub fn take_retries(&mut self, now_ms: i64) -> Vec<u64> {
        let later = self.retries.split_off(&(now_ms + 1, 0));
        std::mem::replace(&mut self.retries, later).into_iter().map(|(_, offset)| offset).collect()
    }

    /// The task is done; the next of its key, if any, may begin.
    pub fn settle(&mut self, offset: u64) -> Option<u64> {
        let task = self.tasks.remove(&offset)?;
        let queue = self.by_key.get_mut(&task.key)?;
        queue.pop_front();
        let next = queue.front().copied();
        if next.is_none() {
            self.by_key.remove(&task.key);
        }
        next
    }

    /// The offset below which everything is settled.
    pub fn settled(&self) -> u64 {
        self.tasks.first_key_value().map_or(self.position, |(offset, _)| *offset)
    }

    /// The consumed position.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// A commit takes this offset along.
    pub fn begin_commit(&mut self) -> u64 {
        self.held_by_running = std::mem::take(&mut self.held);
        let offset = self.settled();
        self.committing = Some(offset);
        offset
    }

    /// The commit is through; tasks whose `dlq` records it held go on.
    pub fn end_commit(&mut self) -> Vec<u64> {
        if let Some(offset) = self.committing.take() {
            self.committed = Some(offset);
        }
        std::mem::take(&mut self.held_by_running)
    }

    /// Whether everything settled is committed.
    pub fn is_committed(&self) -> bool {
        self.committed == Some(self.settled())
    }

    /// Records in work.
    pub fn in_work(&self) -> usize {
        self.tasks.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_model::WindowSpan;

    fn task(offset: u64, stream: &str) -> Task {
        let key = RowKey { stream_id: stream.into(), span: WindowSpan { size_ms: 5, window_id: 0 } };
        Task { offset, key, work: Work::Merge(Box::default()) }
    }

    #[test]
    fn a_key_keeps_its_order_and_an_offset_waits_for_all_below_it() {
        let mut lane = Lane::new(1, 3);
        assert!(lane.push(task(3, "a")));
        assert!(!lane.push(task(4, "a")));
        assert!(lane.push(task(6, "b")));
        lane.advance(9);
        assert_eq!(lane.settle(6), None);
        assert_eq!(lane.settled(), 3);
        assert_eq!(lane.settle(3), Some(4));
        assert_eq!(lane.settled(), 4);
        assert_eq!(lane.settle(4), None);
        assert_eq!((lane.settled(), lane.in_work()), (9, 0));
        assert!(!lane.is_committed());
        assert_eq!(lane.begin_commit(), 9);
        lane.end_commit();
        assert!(lane.is_committed());
    }

    #[test]
    fn retries_come_when_due_and_held_tasks_after_their_commit() {
        let mut lane = Lane::new(1, 0);
        lane.push(task(0, "a"));
        lane.push(task(1, "b"));
        lane.retry_at(0, 50);
        assert!(lane.take_retries(49).is_empty());
        assert_eq!(lane.take_retries(50), vec![0]);
        lane.begin_commit();
        lane.hold_for_dlq(1, Work::Merge(Box::default())); // its records miss the running commit
        assert!(lane.end_commit().is_empty());
        lane.begin_commit();
        assert_eq!(lane.end_commit(), vec![1]);
    }
}
