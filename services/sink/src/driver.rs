//! The sink's driver: records of `windows` become stored rows, those of `scores` stored scores, in order per key, pipelined across keys.
//!
//! Synchronous and total, like the coalescer's. A key's next action starts only after the last one's result;
//! an offset is committed when everything below it is settled. A store that is away pauses consumption:
//! nothing is dropped, memory stays flat. A row the store refuses for ever goes to `dlq` and blocks nobody.
//!
//! Keeps: EK-LATE-1 (with window::merge_late); a late record's overflow is in `dlq` before its row is written.

use crate::dlq;
use crate::lane::{Lane, Task, Work};
use evenkeel_codec::{DecodeError, WindowRecord, decode_score, decode_window_record};
use evenkeel_model::{StoredRow, StoredScore, Topic, WindowSpan};
use evenkeel_seam::{
    Commit, LogAction, LogInput, Outputs, Position, RecordRef, RowAction, RowKey, RowResult, TxnResult,
};
use evenkeel_window::merge_late;
use std::collections::BTreeMap;

/// Every reason to wake.
#[derive(Debug)]
pub enum Input<'a> {
    /// The log says something.
    Log(LogInput<'a>),
    /// The store answers.
    Row(u64, RowResult),
    /// The metronome: commit, retry.
    Tick,
    /// The process is asked to leave.
    Drain,
}

/// Everything the driver can do.
#[derive(Debug)]
pub enum Action {
    /// To the log.
    Log(LogAction),
    /// To the store.
    Row(u64, RowAction),
    /// To logs and metrics.
    Say(Event),
    /// The worker is done.
    Drained,
}

/// What is worth telling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A row is stored: revision, and its end, ms, to tell its age.
    Stored {
        /// Late events merged into it so far.
        revision: u32,
        /// End of its window, ms.
        t_end: i64,
        /// Its size, ms.
        size_ms: i64,
    },
    /// A score is stored.
    ScoreStored,
    /// A late record: how many of its events were merged, held already, refused as overflow.
    Merged {
        /// Merged into the stored row.
        merged: u32,
        /// Held already.
        held: u32,
        /// To `dlq`.
        overflow: u32,
    },
    /// Its time to live had passed.
    Expired,
    /// The store refuses the row for ever; it is in `dlq`.
    Refused(String),
    /// The store is away; the action is tried again.
    Unavailable(String),
    /// A record could not be decoded; it is in `dlq`.
    Undecodable {
        /// The partition of `windows`.
        partition: u32,
        /// The offset.
        offset: u64,
        /// Why.
        error: String,
    },
    /// A record of a stream that belongs elsewhere, from somebody else; it is in `dlq`.
    Misrouted {
        /// The partition of `windows`.
        partition: u32,
        /// The offset.
        offset: u64,
    },
    /// A transaction was aborted; its partitions start again.
    Aborted(String),
}

/// What a worker works with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Most records in work per worker.
    pub in_flight_max: usize,
    /// Most seq intervals of a row.
    pub seq_intervals_max: usize,
    /// Wait before an action is tried again after the store was away, ms.
    pub retry_ms: i64,
}

/// One worker.
#[derive(Debug)]
pub struct Driver {
    options: Options,
    lanes: BTreeMap<u32, Lane>,
    /// Which task an action belongs to: partition and offset.
    asked: BTreeMap<u64, (u32, u64)>,
    next_id: u64,
    outputs: Outputs,
    spare: Outputs,
    in_flight: bool,
    leaving: Vec<u32>,
    farewell_done: bool,
    draining: bool,
    paused: bool,
}

impl Driver {
    /// A worker without partitions.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            lanes: BTreeMap::new(),
            asked: BTreeMap::new(),
            next_id: 0,
            outputs: Outputs::new(),
            spare: Outputs::new(),
            in_flight: false,
            leaving: Vec::new(),
            farewell_done: false,
            draining: false,
            paused: false,
        }
    }

    /// Takes one input; what to do is appended to `out`, in order.
    pub fn apply(&mut self, now_ms: i64, input: Input<'_>, out: &mut Vec<Action>) {
        match input {
            Input::Log(LogInput::Assigned { partition, partitions, committed }) => {
                let from = committed.map(|p| p.offset);
                self.forget(partition);
                self.lanes.insert(partition, Lane::new(partitions, from.unwrap_or(0)));
                out.push(Action::Log(LogAction::Start { partition, from }));
                if self.paused {
                    out.push(Action::Log(LogAction::Pause { partition }));
                }
            }
            Input::Log(LogInput::Records {
                partition,
                topic: topic @ (Topic::Windows | Topic::Scores),
                records,
                next,
                ..
            }) => self.records(partition, topic, (records, next), out),
            Input::Log(LogInput::Records { .. } | LogInput::ReadDone { .. } | LogInput::Sent { .. }) => {}
            Input::Log(LogInput::TxnDone { result, outputs }) => self.txn_done(result, outputs, out),
            Input::Log(LogInput::Revoking { partitions, lost }) => self.revoking(partitions, lost, out),
            Input::Row(id, result) => self.row_result(now_ms, id, result, out),
            Input::Tick => self.tick(now_ms, out),
            Input::Drain => {
                self.draining = true;
                self.leaving = self.lanes.keys().copied().collect();
                self.farewell_done = false;
                self.leave(out);
            }
        }
        self.pause_or_resume(out);
    }

    /// Records that may be in work.
    pub fn in_flight_max(&self) -> usize {
        self.options.in_flight_max
    }

    /// Partitions that are paused.
    pub fn paused_partitions(&self) -> usize {
        if self.paused { self.lanes.len() } else { 0 }
    }

    /// Records in work.
    pub fn in_work(&self) -> usize {
        self.lanes.values().map(Lane::in_work).sum()
    }

    /// Whether everything consumed is settled and committed.
    pub fn is_quiet(&self) -> bool {
        self.in_work() == 0
            && !self.in_flight
            && self.outputs.is_empty()
            && self.lanes.values().all(Lane::is_committed)
    }

    /// The consumed position per partition.
    pub fn positions(&self) -> impl Iterator<Item = (u32, u64)> {
        self.lanes.iter().map(|(p, lane)| (*p, lane.position()))
    }

    fn records(
        &mut self,
        partition: u32,
        topic: Topic,
        (records, next): (&[RecordRef<'_>], u64),
        out: &mut Vec<Action>,
    ) {
        let Some(lane) = self.lanes.get_mut(&partition) else { return };
        let mut ready = Vec::new();
        for record in records {
            let (key, work) = match work_of(topic, record) {
                Ok(work) => work,
                Err(error) => {
                    let error = error.to_string();
                    dlq::undecodable(topic, partition, record, &error, &mut self.outputs);
                    out.push(Action::Say(Event::Undecodable { partition, offset: record.offset, error }));
                    continue;
                }
            };
            if let Some(why) = lane.misrouted(partition, record.key, &key.stream_id) {
                dlq::misrouted(topic, partition, record, why, &mut self.outputs);
                out.push(Action::Say(Event::Misrouted { partition, offset: record.offset }));
                continue;
            }
            if lane.push(Task { offset: record.offset, key, work }) {
                ready.push(record.offset);
            }
        }
        lane.advance(next);
        for offset in ready {
            self.start(partition, offset, out);
        }
    }

    /// Begins the task at `offset`, the first of its key.
    fn start(&mut self, partition: u32, offset: u64, out: &mut Vec<Action>) {
        let Some(task) = self.lanes.get(&partition).and_then(|l| l.task(offset)) else { return };
        let action = match &task.work {
            Work::Write(row) | Work::WriteAfterDlq(row) => RowAction::Write(row.clone()),
            Work::Score(stored) => RowAction::Score(stored.clone()),
            Work::Merge(_) => RowAction::Read(task.key.clone()),
            Work::SettleAfterDlq => return self.settle(partition, offset, out),
        };
        let id = self.next_id;
        self.next_id += 1;
        self.asked.insert(id, (partition, offset));
        out.push(Action::Row(id, action));
    }

    fn row_result(&mut self, now_ms: i64, id: u64, result: RowResult, out: &mut Vec<Action>) {
        let Some((partition, offset)) = self.asked.remove(&id) else { return };
        let Some(lane) = self.lanes.get_mut(&partition) else { return };
        match result {
            RowResult::Unavailable(error) => {
                lane.retry_at(offset, now_ms + self.options.retry_ms);
                out.push(Action::Say(Event::Unavailable(error)));
            }
            RowResult::Read(stored) => self.merge(partition, offset, stored.as_deref(), out),
            RowResult::Written => {
                match lane.task(offset).map(|task| &task.work) {
                    Some(Work::Write(row) | Work::WriteAfterDlq(row)) => {
                        let (t_end, size_ms) = (row.row.span.t_end(), row.row.span.size_ms);
                        out.push(Action::Say(Event::Stored { revision: row.revision, t_end, size_ms }));
                    }
                    Some(Work::Score(_)) => out.push(Action::Say(Event::ScoreStored)),
                    Some(Work::Merge(_) | Work::SettleAfterDlq) | None => {}
                }
                self.settle(partition, offset, out);
            }
            RowResult::Expired => {
                out.push(Action::Say(Event::Expired));
                self.settle(partition, offset, out);
            }
            RowResult::Refused(error) => {
                if let Some(task) = lane.task(offset) {
                    dlq::refused_row(partition, task, &error, &mut self.outputs);
                }
                out.push(Action::Say(Event::Refused(error)));
                self.settle(partition, offset, out);
            }
        }
    }

    /// The stored row is known: fold the late record into it.
    fn merge(&mut self, partition: u32, offset: u64, stored: Option<&StoredRow>, out: &mut Vec<Action>) {
        let Some(lane) = self.lanes.get_mut(&partition) else { return };
        let Some(Task { work: Work::Merge(late), .. }) = lane.task(offset) else { return };
        let merged = merge_late(stored, late, offset as i64, self.options.seq_intervals_max);
        out.push(Action::Say(Event::Merged {
            merged: merged.merged,
            held: merged.held,
            overflow: merged.overflow.len() as u32,
        }));
        if !merged.overflow.is_empty() {
            dlq::overflow(partition, offset, late, &merged.overflow, &mut self.outputs);
        }
        match merged.row {
            None if merged.overflow.is_empty() => self.settle(partition, offset, out),
            // A later record of the key may be written and move late_offset past this one: `dlq` first here, too.
            None => lane.hold_for_dlq(offset, Work::SettleAfterDlq),
            Some(row) if merged.overflow.is_empty() => {
                lane.replace(offset, Work::Write(Box::new(row)));
                self.start(partition, offset, out);
            }
            // Once the row is written, a repetition of this record says nothing any more: so `dlq` first.
            Some(row) => lane.hold_for_dlq(offset, Work::WriteAfterDlq(Box::new(row))),
        }
    }

    /// The task is done; the next one of its key begins.
    fn settle(&mut self, partition: u32, offset: u64, out: &mut Vec<Action>) {
        let next = self.lanes.get_mut(&partition).and_then(|lane| lane.settle(offset));
        if let Some(next) = next {
            self.start(partition, next, out);
        }
    }

    fn tick(&mut self, now_ms: i64, out: &mut Vec<Action>) {
        let partitions: Vec<u32> = self.lanes.keys().copied().collect();
        for partition in partitions {
            let due =
                self.lanes.get_mut(&partition).map(|lane| lane.take_retries(now_ms)).unwrap_or_default();
            for offset in due {
                self.start(partition, offset, out);
            }
        }
        if !self.leaving.is_empty() {
            return self.leave(out);
        }
        self.commit(out);
    }

    fn commit(&mut self, out: &mut Vec<Action>) {
        let moved = self.lanes.values().any(|lane| !lane.is_committed());
        if self.in_flight || (!moved && self.outputs.is_empty()) {
            return;
        }
        let mut positions = Vec::new();
        for (partition, lane) in &mut self.lanes {
            let offset = lane.begin_commit();
            positions.push(Position { partition: *partition, offset, meta: None });
        }
        self.in_flight = true;
        let outputs = std::mem::replace(&mut self.outputs, std::mem::take(&mut self.spare));
        out.push(Action::Log(LogAction::Commit(Commit { outputs, positions })));
    }

    fn txn_done(&mut self, result: TxnResult, outputs: Outputs, out: &mut Vec<Action>) {
        self.in_flight = false;
        self.spare = outputs;
        self.spare.clear();
        match result {
            TxnResult::Committed(_) => {
                let partitions: Vec<u32> = self.lanes.keys().copied().collect();
                for partition in partitions {
                    let held = self.lanes.get_mut(&partition).map(Lane::end_commit).unwrap_or_default();
                    for offset in held {
                        self.start(partition, offset, out);
                    }
                }
            }
            TxnResult::Aborted { error } => {
                self.lanes.clear();
                self.asked.clear();
                self.outputs.clear();
                self.farewell_done = true;
                out.push(Action::Say(Event::Aborted(error)));
            }
        }
        if !self.leaving.is_empty() || self.draining {
            self.leave(out);
        }
    }

    fn revoking(&mut self, partitions: Vec<u32>, lost: bool, out: &mut Vec<Action>) {
        if lost {
            for partition in partitions {
                self.forget(partition);
                self.leaving.retain(|p| *p != partition);
                self.outputs.drop_partition(partition); // its next owner says it again
                out.push(Action::Log(LogAction::Release { partition }));
            }
            return;
        }
        self.leaving.extend(partitions);
        self.leaving.sort_unstable();
        self.leaving.dedup();
        self.farewell_done = false;
        self.leave(out);
    }

    /// What is settled is committed; the rest is the next owner's (it writes the same bytes).
    fn leave(&mut self, out: &mut Vec<Action>) {
        if self.in_flight {
            return;
        }
        if !std::mem::replace(&mut self.farewell_done, true) {
            self.commit(out);
            if self.in_flight {
                return;
            }
        }
        for partition in std::mem::take(&mut self.leaving) {
            self.forget(partition);
            out.push(Action::Log(LogAction::Release { partition }));
        }
        if self.draining {
            out.push(Action::Drained);
        }
    }

    fn forget(&mut self, partition: u32) {
        self.lanes.remove(&partition);
        self.asked.retain(|_, (p, _)| *p != partition);
    }

    /// Consumption pauses while too much is in work (also what waits for a store that is away).
    fn pause_or_resume(&mut self, out: &mut Vec<Action>) {
        let in_work = self.in_work();
        if !self.paused && in_work >= self.options.in_flight_max {
            self.paused = true;
            out.extend(self.lanes.keys().map(|p| Action::Log(LogAction::Pause { partition: *p })));
        } else if self.paused && in_work <= self.options.in_flight_max / 2 {
            self.paused = false;
            out.extend(self.lanes.keys().map(|p| Action::Log(LogAction::Resume { partition: *p })));
        }
    }
}

/// What a record asks of the store, and of which row.
fn work_of(topic: Topic, record: &RecordRef<'_>) -> Result<(RowKey, Work), DecodeError> {
    let value = record.value.unwrap_or_default();
    if topic == Topic::Scores {
        let score = decode_score(value)?;
        let key = RowKey { stream_id: score.stream_id.clone(), span: score.span };
        return Ok((key, Work::Score(Box::new(StoredScore::at(record.offset, score)))));
    }
    Ok(match decode_window_record(value)? {
        WindowRecord::Row(row) => {
            let key = RowKey { stream_id: row.stream_id.clone(), span: row.span };
            (key, Work::Write(Box::new(StoredRow { row: *row, revision: 0, late_offset: -1 })))
        }
        WindowRecord::Late(late) => {
            let span = WindowSpan { size_ms: late.size_ms, window_id: late.window_id };
            (RowKey { stream_id: late.events.stream_id.clone(), span }, Work::Merge(late))
        }
    })
}
