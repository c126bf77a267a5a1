//! The driver of a worker of the scorer: its partitions, from assignment over recovery and commits to release.
//!
//! Synchronous and total, like the coalescer's; the models run inside it, because they are pure. What a record means
//! is in feed.rs. Its price: a running recovery, a commit in flight and partitions about to leave are explicit state.
//!
//! Keeps: scores, alerts and offsets in one transaction; no commit while a row below its offset waits for its score;
//! a revocation commits first, a loss does not; what is said during a commit waits for the next one.

use crate::live::batch::{Job, Scoring};
use crate::live::event::{Event, Stop};
use crate::live::feed::tell;
use crate::live::models::{Loaded, Models, Role};
use crate::live::recovery::{Recovery, way_back};
use evenkeel_model::Topic;
use evenkeel_scoring::{Core, Policy, Queue, Settings};
use evenkeel_seam::{
    Commit, CommitMeta, LogAction, LogInput, Outputs, Position, RecordRef, ScorerMeta, TxnResult,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Every reason to wake.
#[derive(Debug)]
pub enum Input<'a> {
    /// The log says something.
    Log(LogInput<'a>),
    /// The log was polled: rows that have waited long enough are scored.
    Turn,
    /// The metronome: commit.
    Tick,
    /// A new version of a model.
    Model(Role, Loaded),
    /// The process is asked to leave: last commit, release.
    Drain,
}

/// Everything the driver can do.
#[derive(Debug)]
pub enum Action {
    /// To the log.
    Log(LogAction),
    /// To logs and metrics.
    Say(Event),
    /// The worker is done.
    Stop(Stop),
}

/// What a worker works with.
#[derive(Debug, Clone)]
pub struct Options {
    /// Rules, thresholds, bounds.
    pub settings: Arc<Settings>,
    /// What the models take.
    pub columns: Vec<String>,
    /// A model scores each raw event of a row, not the row.
    pub of_events: bool,
    /// The worker's transactional id.
    pub writer: String,
    /// Rows that may wait for the model.
    pub queue_max: usize,
    /// What a full queue does.
    pub policy: Policy,
    /// Rows scored at once.
    pub batch_max: usize,
    /// How long a row waits for others, ms.
    pub batch_wait_ms: i64,
    /// Bytes of waiting outputs at which consumption pauses until the next tick.
    pub output_bytes_max: usize,
    /// Rows per measurement of drift.
    pub drift_rows: u64,
}

/// What became of rows (or events, where a model scores these) since the worker began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Rows that were looked at.
    pub rows: u64,
    /// Scores of the model that counts.
    pub scored: u64,
    /// What the model cannot score.
    pub errors: u64,
    /// Dropped by a full queue.
    pub dropped: u64,
    /// Late records: they change no score.
    pub late: u64,
    /// Rows that should carry their events and do not.
    pub without_events: u64,
    /// Records that could not be decoded, or lie in the wrong partition.
    pub refused: u64,
}

/// One worker.
#[derive(Debug)]
pub struct Driver {
    pub(crate) options: Options,
    pub(crate) scoring: Scoring,
    pub(crate) held: BTreeMap<u32, Held>,
    pub(crate) queue: Queue<Job>,
    pub(crate) filling: Outputs,
    /// The last arrival of each score in `filling`.
    pub(crate) arrivals: Vec<i64>,
    pub(crate) counts: Counts,
    /// Partitions of the topic, as the first assignment of those that are held said.
    pub(crate) count: u32,
    spare: Outputs,
    in_flight: Option<InFlight>,
    leaving: Vec<u32>,
    farewell_done: bool,
    draining: bool,
    paused: bool,
}

/// One partition of the worker.
#[derive(Debug)]
pub(crate) struct Held {
    pub core: Core,
    /// `None` once live.
    pub recovery: Option<Recovery>,
    /// The offset of the next record.
    pub position: u64,
    /// As it was committed last.
    pub committed: Option<u64>,
}

/// A commit that has no outcome yet.
#[derive(Debug)]
struct InFlight {
    offsets: Vec<(u32, u64)>,
    arrivals: Vec<i64>,
}

impl Driver {
    /// A worker without partitions.
    pub fn new(options: Options, models: Models) -> Self {
        Self {
            queue: Queue::new(options.queue_max, options.policy),
            options,
            scoring: Scoring::new(models),
            held: BTreeMap::new(),
            filling: Outputs::new(),
            arrivals: Vec::new(),
            counts: Counts::default(),
            count: 0,
            spare: Outputs::new(),
            in_flight: None,
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
                self.assigned(partition, partitions, committed, out);
            }
            Input::Log(LogInput::Records { partition, topic, records, next, .. }) => {
                self.records(now_ms, partition, topic, (records, next), out);
            }
            Input::Log(LogInput::ReadDone { partition, topic, log_start, .. }) => {
                self.read_done(partition, topic, log_start, out);
            }
            Input::Log(LogInput::TxnDone { result, outputs }) => self.txn_done(now_ms, result, outputs, out),
            Input::Log(LogInput::Revoking { partitions, lost }) => {
                self.revoking(now_ms, partitions, lost, out);
            }
            Input::Log(LogInput::Sent { .. }) => {} // it sends nothing beside a commit
            Input::Turn => self.turn(now_ms, out),
            Input::Tick => self.tick(now_ms, out),
            Input::Model(role, model) => {
                self.score_all(now_ms, out); // what waits was meant for the one before
                self.scoring.replace(role, model);
            }
            Input::Drain => {
                self.draining = true;
                self.leaving = self.held.keys().copied().collect();
                self.farewell_done = false;
                self.leave(now_ms, out);
            }
        }
    }

    /// When rows that wait must be scored, ms; `None` = none waits.
    pub fn due_ms(&self) -> Option<i64> {
        self.queue.first().map(|job| job.since_ms + self.options.batch_wait_ms)
    }

    /// What became of rows.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Rows that wait, and how many may.
    pub fn queue(&self) -> (usize, usize) {
        (self.queue.len(), self.queue.limit())
    }

    /// The live cores.
    pub fn cores(&self) -> impl Iterator<Item = (u32, &Core)> {
        self.held.iter().filter(|(_, h)| h.recovery.is_none()).map(|(p, h)| (*p, &h.core))
    }

    /// Partitions in recovery.
    pub fn recovering(&self) -> usize {
        self.held.values().filter(|h| h.recovery.is_some()).count()
    }

    /// Series that each partition may remember.
    pub fn series_max(&self) -> usize {
        self.options.settings.series_max
    }

    /// The consumed position per partition.
    pub fn positions(&self) -> impl Iterator<Item = (u32, u64)> {
        self.held.iter().map(|(p, h)| (*p, h.position))
    }

    /// Whether everything consumed is scored and committed.
    pub fn is_quiet(&self) -> bool {
        let idle = |h: &Held| h.recovery.is_none() && h.committed == Some(h.position);
        self.in_flight.is_none()
            && self.queue.is_empty()
            && self.filling.is_empty()
            && self.held.values().all(idle)
    }

    fn assigned(
        &mut self,
        partition: u32,
        partitions: u32,
        committed: Option<Position>,
        out: &mut Vec<Action>,
    ) {
        if self.held.is_empty() {
            self.count = partitions;
        }
        let meta = committed.as_ref().and_then(|position| position.meta.as_ref());
        let then = meta.map_or(self.count, |meta| meta.partitions);
        if then != partitions || self.count != partitions {
            let committed = if then == partitions { self.count } else { then };
            return out.push(Action::Stop(Stop::Partitions { committed, now: partitions }));
        }
        let from = committed.as_ref().map(|position| position.offset);
        let back = committed.and_then(|p| Some((p.offset, p.meta.clone()?, p.meta?.scorer?)));
        let core = match &back {
            None => Core::new(&self.options.settings),
            Some((_, meta, scorer)) => {
                let (back, ends) = way_back(meta, scorer);
                Core::recover(&self.options.settings, &back, ends)
            }
        };
        // The threshold was checked when the options were made.
        let Ok(core) = core else { return };
        let recovery = back.map(|(offset, meta, scorer)| Recovery::new(offset, meta, scorer));
        if recovery.is_none() {
            out.push(Action::Log(LogAction::Start { partition, from }));
        }
        let position = from.unwrap_or(0);
        self.held.insert(partition, Held { core, recovery, position, committed: from });
        self.step_recovery(partition, out);
    }

    fn records(
        &mut self,
        now_ms: i64,
        partition: u32,
        topic: Topic,
        (records, next): (&[RecordRef<'_>], u64),
        out: &mut Vec<Action>,
    ) {
        let Some(held) = self.held.get_mut(&partition) else { return };
        if let Some(recovery) = &mut held.recovery {
            return recovery.records(&mut held.core, partition, topic, records);
        }
        if topic != Topic::Windows {
            return; // a read that a newer assignment has overtaken
        }
        for record in records {
            self.record(now_ms, partition, record, out);
        }
        if let Some(held) = self.held.get_mut(&partition) {
            held.position = held.position.max(next);
        }
        self.pause_if_full(out);
    }

    fn read_done(&mut self, partition: u32, topic: Topic, log_start: u64, out: &mut Vec<Action>) {
        let Some(held) = self.held.get_mut(&partition) else { return };
        let Some(recovery) = &mut held.recovery else { return };
        out.extend(recovery.read_done(partition, topic, log_start).map(Action::Say));
        self.step_recovery(partition, out);
    }

    /// The next read of a recovery, or the start.
    fn step_recovery(&mut self, partition: u32, out: &mut Vec<Action>) {
        let Some(held) = self.held.get_mut(&partition) else { return };
        let Some(recovery) = &mut held.recovery else { return };
        if let Some(read) = recovery.next_read(partition, &held.core) {
            return out.push(Action::Log(read));
        }
        let (offset, records) = (recovery.offset(), recovery.records_read());
        held.recovery = None;
        let filling = &mut self.filling;
        held.core.finish(&mut |output| tell(partition, &output, filling, out));
        out.push(Action::Say(Event::Recovered { partition, records }));
        out.push(Action::Log(LogAction::Start { partition, from: Some(offset) }));
        if self.paused {
            out.push(Action::Log(LogAction::Pause { partition }));
        }
    }

    fn turn(&mut self, now_ms: i64, out: &mut Vec<Action>) {
        let due = self.due_ms().is_some_and(|due| due <= now_ms);
        if due || self.queue.len() >= self.options.batch_max {
            self.score_batch(now_ms, out);
        }
    }

    fn tick(&mut self, now_ms: i64, out: &mut Vec<Action>) {
        if !self.leaving.is_empty() {
            return self.leave(now_ms, out);
        }
        if self.in_flight.is_some() {
            return out.push(Action::Say(Event::TickMerged));
        }
        self.run_tick(now_ms, out);
        if std::mem::take(&mut self.paused) {
            out.extend(self.held.keys().map(|p| Action::Log(LogAction::Resume { partition: *p })));
        }
    }

    fn run_tick(&mut self, now_ms: i64, out: &mut Vec<Action>) {
        self.score_all(now_ms, out);
        let filling = &mut self.filling;
        for (partition, held) in self.held.iter_mut().filter(|(_, h)| h.recovery.is_none()) {
            held.core.hold(&mut |output| tell(*partition, &output, filling, out));
        }
        out.extend(self.scoring.drift(self.options.drift_rows).map(|d| Action::Say(Event::Drift(d))));
        let live = |h: &&Held| h.recovery.is_none();
        let moved = self.held.values().filter(live).any(|h| h.committed != Some(h.position));
        if moved || !self.filling.is_empty() {
            self.commit(out);
        }
    }

    /// Offsets and metadata of every live partition go along, also where nothing moved.
    fn commit(&mut self, out: &mut Vec<Action>) {
        let mut positions = Vec::new();
        for (partition, held) in self.held.iter_mut().filter(|(_, h)| h.recovery.is_none()) {
            held.core.begin_commit();
            let meta = meta(held, self.count, &self.options.writer);
            positions.push(Position { partition: *partition, offset: held.position, meta: Some(meta) });
        }
        let offsets = positions.iter().map(|p| (p.partition, p.offset)).collect();
        self.in_flight = Some(InFlight { offsets, arrivals: std::mem::take(&mut self.arrivals) });
        let outputs = std::mem::replace(&mut self.filling, std::mem::take(&mut self.spare));
        out.push(Action::Log(LogAction::Commit(Commit { outputs, positions })));
    }

    fn txn_done(&mut self, now_ms: i64, result: TxnResult, outputs: Outputs, out: &mut Vec<Action>) {
        self.spare = outputs;
        self.spare.clear();
        let in_flight = self.in_flight.take();
        match (result, in_flight) {
            (TxnResult::Committed(metas), Some(InFlight { offsets, arrivals })) => {
                for ((partition, meta), (_, offset)) in metas.into_iter().zip(offsets) {
                    let Some(held) = self.held.get_mut(&partition) else { continue };
                    held.committed = Some(offset);
                    if let Some(scorer) = meta.and_then(|meta| meta.scorer) {
                        held.core.committed(scorer.scores_to, scorer.alerts_to);
                    }
                }
                out.push(Action::Say(Event::Committed { arrivals }));
            }
            (TxnResult::Committed(_), None) => {}
            (TxnResult::Aborted { error }, _) => {
                self.held.clear(); // every partition comes back as Assigned
                self.queue.withdraw(|_| true);
                self.filling.clear();
                self.arrivals.clear();
                self.farewell_done = true;
                out.push(Action::Say(Event::Aborted(error)));
            }
        }
        if !self.leaving.is_empty() || self.draining {
            self.leave(now_ms, out);
        }
    }

    fn revoking(&mut self, now_ms: i64, partitions: Vec<u32>, lost: bool, out: &mut Vec<Action>) {
        if lost {
            for partition in partitions {
                self.held.remove(&partition);
                self.leaving.retain(|p| *p != partition);
                self.queue.withdraw(|job| job.partition == partition);
                self.filling.drop_partition(partition); // its next owner says it again
                out.push(Action::Log(LogAction::Release { partition }));
            }
            return;
        }
        self.leaving.extend(partitions);
        self.leaving.sort_unstable();
        self.leaving.dedup();
        self.farewell_done = false;
        self.leave(now_ms, out);
    }

    /// Last commit of partitions that leave, then their release.
    fn leave(&mut self, now_ms: i64, out: &mut Vec<Action>) {
        if self.in_flight.is_some() {
            return;
        }
        if !std::mem::replace(&mut self.farewell_done, true) {
            self.run_tick(now_ms, out);
            if self.in_flight.is_some() {
                return;
            }
        }
        for partition in std::mem::take(&mut self.leaving) {
            self.held.remove(&partition);
            self.queue.withdraw(|job| job.partition == partition);
            self.filling.drop_partition(partition);
            out.push(Action::Log(LogAction::Release { partition }));
        }
        if self.draining {
            out.push(Action::Stop(Stop::Drained));
        }
    }

    /// Consumption pauses until the next tick when outputs are at their bound: the tick empties them.
    fn pause_if_full(&mut self, out: &mut Vec<Action>) {
        if self.paused || self.filling.bytes() < self.options.output_bytes_max {
            return;
        }
        self.paused = true;
        out.push(Action::Say(Event::Paused));
        out.extend(self.held.keys().map(|p| Action::Log(LogAction::Pause { partition: *p })));
    }
}

/// The metadata of a partition's commit.
fn meta(held: &Held, partitions: u32, writer: &str) -> CommitMeta {
    let back = held.core.way_back(held.position);
    let (scores_to, alerts_to) = held.core.ends_at();
    CommitMeta {
        replay_from: back.windows.0,
        log_clock: held.core.clock(),
        log_clock_at_replay_from: back.windows.1,
        partitions,
        writer: writer.to_owned(),
        scorer: Some(ScorerMeta {
            scores_from: back.scores.0,
            scores_clock: back.scores.1,
            scores_to,
            alerts_from: back.alerts_from,
            alerts_to,
            moving: back.moving.map(f64::to_bits),
        }),
        ..CommitMeta::default()
    }
}
