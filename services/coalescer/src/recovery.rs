//! "Assigned a partition" of docs/recovery.md: which reads, in which order, and what each feeds.

use crate::feed::{Records, Unreadable, expect_after};
use evenkeel_codec::{decode_mark, decode_row_head};
use evenkeel_model::{EventBatch, Topic};
use evenkeel_seam::{CommitMeta, LogAction, RecordRef};
use evenkeel_window::{Core, Sabotage, SentRow};

/// A running recovery of one partition.
#[derive(Debug)]
pub struct Recovery {
    offset: u64,
    meta: CommitMeta,
    step: Step,
    records: u64,
    undecodable: u64,
    /// Arrival of the first event record that was read, ms.
    first_arrival: Option<i64>,
}

/// What of the log is gone that recovery needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// First offset needed.
    pub needed: u64,
    /// Time between the last event before the gap and the first after it, ms; `None` = not known.
    pub gone_ms: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Marks,
    Windows,
    Events,
    Done,
}

impl Recovery {
    /// From a commit.
    pub fn new(offset: u64, meta: CommitMeta) -> Self {
        Self { offset, meta, step: Step::Marks, records: 0, undecodable: 0, first_arrival: None }
    }

    /// The committed position.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Records read so far.
    pub fn records_read(&self) -> u64 {
        self.records
    }

    /// The read of the current step, skipping empty ones; `None` = the replay is done.
    pub fn next_read(&mut self, partition: u32) -> Option<LogAction> {
        loop {
            let (topic, from, to) = match self.step {
                Step::Marks => (Topic::Marks, 0, self.meta.marks_to),
                Step::Windows => (Topic::Windows, self.meta.windows_from, self.meta.windows_to),
                Step::Events => (Topic::Events, self.meta.replay_from, self.offset),
                Step::Done => return None,
            };
            if from < to {
                let committed_only = self.step != Step::Events;
                let stable_end = committed_only && Sabotage::NoWindowsToWait.is_on();
                let to = if stable_end { u64::MAX } else { to };
                return Some(LogAction::Read { partition, topic, from, to, committed_only });
            }
            self.step = self.step.next();
        }
    }

    /// Records of the current read; `kind` is what those of `events` are.
    pub fn records(
        &mut self,
        kind: &Records,
        core: &mut Core,
        batch: &mut EventBatch,
        partition: u32,
        topic: Topic,
        records: &[RecordRef<'_>],
    ) {
        if topic != self.step.topic() {
            return;
        }
        self.records += records.len() as u64;
        for (n, record) in records.iter().enumerate() {
            expect_after(core, records, n);
            let value = record.value.unwrap_or_default();
            let read: Result<(), Unreadable> = match self.step {
                Step::Marks => decode_mark(value).map(|mark| core.replay_mark(&mark)).map_err(Into::into),
                Step::Windows => decode_row_head(value).map_err(Into::into).map(|head| {
                    let Some(head) = head else { return }; // a late record
                    core.replay_row(&SentRow {
                        stream_id: head.stream_id,
                        span: head.span,
                        max_ts: head.max_ts,
                        last_arrival: head.last_arrival,
                        offset: record.offset,
                    });
                }),
                Step::Events => kind.read(record, batch).map(|()| {
                    self.first_arrival.get_or_insert(batch.arrival_ms);
                    core.feed(record.offset, record.key, batch, &mut |_| {});
                }),
                Step::Done => Ok(()),
            };
            if let Err(error) = read {
                // An event record that cannot be decoded was counted the first time. A row or Mark of ours
                // cannot be broken unless somebody else wrote into the topic.
                self.undecodable += 1;
                let step = self.step;
                tracing::debug!(partition, offset = record.offset, ?step, %error, "record skipped by recovery");
            }
        }
    }

    /// The current read is done. If the log is shorter than needed: what is gone.
    pub fn read_done(&mut self, core: &mut Core, topic: Topic, log_start: u64) -> Option<Cut> {
        if topic != self.step.topic() {
            return None;
        }
        let needed = match self.step {
            Step::Marks | Step::Done => None, // compacted: the beginning goes, what counts stays
            Step::Windows => Some(self.meta.windows_from),
            Step::Events => Some(self.meta.replay_from),
        };
        let cut = needed.filter(|needed| log_start > *needed);
        if cut.is_some() && self.step == Step::Windows {
            core.rows_are_cut();
        }
        let gone_ms = if self.step == Step::Events { self.gone_ms() } else { None };
        self.step = self.step.next();
        cut.map(|needed| Cut { needed, gone_ms })
    }

    /// The commit says how late it was just before `replay_from`; what is left says when it goes on.
    fn gone_ms(&self) -> Option<i64> {
        let before = Some(self.meta.log_clock_at_replay_from).filter(|ms| *ms >= 0)?;
        let after = self.first_arrival.unwrap_or(self.meta.log_clock);
        Some(after.saturating_sub(before).max(0))
    }
}

impl Step {
    const fn topic(self) -> Topic {
        match self {
            Self::Marks => Topic::Marks,
            Self::Windows => Topic::Windows,
            Self::Events | Self::Done => Topic::Events,
        }
    }

    const fn next(self) -> Self {
        match self {
            Self::Marks => Self::Windows,
            Self::Windows => Self::Events,
            Self::Events | Self::Done => Self::Done,
        }
    }
}
