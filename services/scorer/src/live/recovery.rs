//! How a partition comes back: which topics are read again, in which order, and what each feeds.

use crate::live::event::Event;
use evenkeel_codec::{WindowRecord, decode_alert, decode_score, decode_window_record};
use evenkeel_model::Topic;
use evenkeel_scoring::{Core, WayBack};
use evenkeel_seam::{CommitMeta, LogAction, RecordRef, ScorerMeta};

/// A running recovery of one partition.
#[derive(Debug)]
pub struct Recovery {
    offset: u64,
    meta: CommitMeta,
    scorer: ScorerMeta,
    step: Step,
    records: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Alerts,
    Scores,
    Windows,
    Done,
}

/// The way back that metadata names, and where the committed outputs end: `scores`, `alerts`.
pub fn way_back(meta: &CommitMeta, scorer: &ScorerMeta) -> (WayBack, (u64, u64)) {
    let back = WayBack {
        windows: (meta.replay_from, meta.log_clock_at_replay_from),
        scores: (scorer.scores_from, scorer.scores_clock),
        alerts_from: scorer.alerts_from,
        moving: scorer.moving.map(f64::from_bits),
    };
    (back, (scorer.scores_to, scorer.alerts_to))
}

impl Recovery {
    /// From a commit.
    pub fn new(offset: u64, meta: CommitMeta, scorer: ScorerMeta) -> Self {
        Self { offset, meta, scorer, step: Step::Alerts, records: 0 }
    }

    /// The committed position.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Records read so far.
    pub fn records_read(&self) -> u64 {
        self.records
    }

    /// The read of the current step, skipping empty ones; `None` = everything is read.
    pub fn next_read(&mut self, partition: u32, core: &Core) -> Option<LogAction> {
        loop {
            let (from, to) = match self.step {
                Step::Alerts => (self.scorer.alerts_from, self.scorer.alerts_to),
                Step::Scores if core.remembers_scores() => (self.scorer.scores_from, self.scorer.scores_to),
                Step::Scores => (0, 0),
                Step::Windows => (self.meta.replay_from, self.offset),
                Step::Done => return None,
            };
            if from < to {
                let topic = self.step.topic();
                return Some(LogAction::Read { partition, topic, from, to, committed_only: true });
            }
            self.step = self.step.next();
        }
    }

    /// Records of the current read.
    pub fn records(&mut self, core: &mut Core, partition: u32, topic: Topic, records: &[RecordRef<'_>]) {
        if topic != self.step.topic() {
            return;
        }
        self.records += records.len() as u64;
        for record in records {
            let value = record.value.unwrap_or_default();
            let read = match self.step {
                Step::Alerts => decode_alert(value).map(|alert| core.replay_alert(record.offset, &alert)),
                Step::Scores => decode_score(value).map(|score| core.replay_score(record.offset, &score)),
                Step::Windows | Step::Done => decode_window_record(value).map(|read| match read {
                    WindowRecord::Row(row) if core.looks_at(row.span.size_ms) => {
                        core.replay_row(record.offset, &row);
                    }
                    WindowRecord::Row(_) | WindowRecord::Late(_) => {}
                }),
            };
            if let Err(error) = read {
                // It was passed over the first time too, or somebody else wrote into our topics.
                tracing::debug!(partition, offset = record.offset, %topic, %error, "record skipped by recovery");
            }
        }
    }

    /// The current read is done. What of the log is gone, if it is shorter than needed.
    pub fn read_done(&mut self, partition: u32, topic: Topic, log_start: u64) -> Option<Event> {
        if topic != self.step.topic() {
            return None;
        }
        let needed = match self.step {
            Step::Alerts => self.scorer.alerts_from,
            Step::Scores => self.scorer.scores_from,
            Step::Windows | Step::Done => self.meta.replay_from,
        };
        self.step = self.step.next();
        (log_start > needed).then_some(Event::LogCut { topic, partition, needed, log_start })
    }
}

impl Step {
    const fn topic(self) -> Topic {
        match self {
            Self::Alerts => Topic::Alerts,
            Self::Scores => Topic::Scores,
            Self::Windows | Self::Done => Topic::Windows,
        }
    }

    const fn next(self) -> Self {
        match self {
            Self::Alerts => Self::Scores,
            Self::Scores => Self::Windows,
            Self::Windows | Self::Done => Self::Done,
        }
    }
}
