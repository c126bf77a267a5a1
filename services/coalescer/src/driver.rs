//! The coalescer's driver: a worker's partitions, from assignment over recovery and ticks to release.
//!
//! Synchronous and total: `apply` takes one input and says what to do; no clock, no lock, no IO. Its price:
//! what an async function would remember in its stack (a running recovery, a commit in flight, partitions
//! about to leave) is explicit state here. The simulator (tests/sim) drives this very code.
//!
//! Keeps: one transaction per tick, offsets and metadata always together; a revocation commits first, a loss
//! does not; outputs of records consumed during a commit wait for the next one.

use crate::encode::encode;
use crate::event::{Event, Stop};
use crate::feed::{Records, expect_after, feed};
use crate::live::Live;
use crate::recovery::{Cut, Recovery};
use evenkeel_model::{EventBatch, Topic};
use evenkeel_plan::{Fleet, plan};
#[cfg(feature = "sabotage")]
use evenkeel_seam::CommitMeta;
use evenkeel_seam::{Commit, LogAction, LogInput, Outputs, Position, RecordRef, TxnResult};
#[cfg(feature = "sabotage")]
use evenkeel_window::Sabotage;
use evenkeel_window::{Core, Partition, RecoverError, Settings, TickInput};
use std::collections::BTreeMap;

/// Every reason to wake.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "one lives at a time, on the stack; a box would be an allocation per poll"
)]
pub enum Input<'a> {
    /// The log says something.
    Log(LogInput<'a>),
    /// The metronome.
    Tick,
    /// The clock of the frames: whatever gateways look at and is due is sent. Has no bearing on anything else.
    Frames,
    /// The input has ended for good: windows close with `closed_by = end`, over as many ticks as it takes.
    End,
    /// The process is asked to leave: last tick, commit, release.
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
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Windowing.
    pub settings: Settings,
    /// The worker's transactional id.
    pub writer: String,
    /// Rows per tick, all partitions together.
    pub rows_per_tick_max: usize,
    /// Bytes of state, all partitions together.
    pub memory_budget_bytes: usize,
    /// Bytes of waiting outputs at which consumption pauses until the next tick.
    pub output_bytes_max: usize,
    /// Refuse (or go on, and count `lost`) when the log is shorter than recovery needs.
    pub refuse_cut_log: bool,
    /// Seed of the id hash.
    pub hash_seed: u64,
    /// What the records of `events` are.
    pub records: Records,
}

/// One worker.
#[derive(Debug)]
pub struct Driver {
    pub(crate) options: Options,
    pub(crate) held: BTreeMap<u32, Held>,
    /// Partitions of the topic, as the first assignment of those that are held said.
    count: u32,
    filling: Outputs,
    spare: Outputs,
    /// Offsets of the commit in flight, by partition.
    in_flight: Option<Vec<(u32, u64)>>,
    leaving: Vec<u32>,
    farewell_done: bool,
    draining: bool,
    ending: bool,
    quiet_ms: i64,
    turn: usize,
    paused: bool,
    batch: EventBatch,
    /// Of the newest event read, until it is taken.
    skew_ms: Option<i64>,
    pub(crate) live: Live,
    #[cfg(feature = "sabotage")]
    last_meta: BTreeMap<u32, (u64, CommitMeta)>,
}

/// One partition of the worker.
#[derive(Debug)]
pub(crate) struct Held {
    pub core: Core,
    /// `None` once live.
    pub recovery: Option<Recovery>,
    /// A fetch was answered at the end of the log since the last tick.
    pub at_end: bool,
    /// A record came since the last tick.
    pub busy: bool,
    /// The last delivery reached the end of the log.
    pub caught_up: bool,
}

impl Driver {
    /// A worker without partitions.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            held: BTreeMap::new(),
            count: 0,
            skew_ms: None,
            filling: Outputs::new(),
            spare: Outputs::new(),
            in_flight: None,
            leaving: Vec::new(),
            farewell_done: false,
            draining: false,
            ending: false,
            quiet_ms: 0,
            turn: 0,
            paused: false,
            batch: EventBatch::default(),
            live: Live::default(),
            #[cfg(feature = "sabotage")]
            last_meta: BTreeMap::new(),
        }
    }

    /// Takes one input; what to do is appended to `out`, in order.
    pub fn apply(&mut self, now_ms: i64, input: Input<'_>, out: &mut Vec<Action>) {
        match input {
            Input::Log(LogInput::Assigned { partition, partitions, committed }) => {
                self.assigned(partition, partitions, committed, out);
            }
            Input::Log(LogInput::Records { partition, topic: Topic::Interest, records, .. }) => {
                self.hear(now_ms, partition, records, out);
            }
            Input::Log(LogInput::Sent { outputs, dropped }) => self.sent(outputs, dropped, out),
            Input::Log(LogInput::Records { partition, topic, records, next, at_end }) => {
                self.records(partition, topic, records, next, at_end, out);
            }
            Input::Log(LogInput::ReadDone { partition, topic, log_start, .. }) => {
                self.read_done(partition, topic, log_start, out);
            }
            Input::Log(LogInput::TxnDone { result, outputs }) => self.txn_done(now_ms, result, outputs, out),
            Input::Log(LogInput::Revoking { partitions, lost }) => {
                self.revoking(now_ms, partitions, lost, out)
            }
            Input::Tick => self.tick(now_ms, out),
            Input::Frames => self.frames(now_ms, out),
            Input::End => self.ending = true,
            Input::Drain => {
                self.draining = true;
                self.leaving = self.held.keys().copied().collect();
                self.farewell_done = false;
                self.leave(now_ms, out);
            }
        }
    }

    /// The live cores.
    pub fn cores(&self) -> impl Iterator<Item = (u32, &Core)> {
        self.held.iter().filter(|(_, h)| h.recovery.is_none()).map(|(p, h)| (*p, &h.core))
    }

    /// Arrival minus event time of the newest event read since the last call, ms: a sample for a metric.
    pub fn take_skew_ms(&mut self) -> Option<i64> {
        self.skew_ms.take()
    }

    /// Whether anybody watches a stream of this worker.
    pub fn is_watched(&self) -> bool {
        self.held.values().any(|held| held.core.is_watched())
    }

    /// Bytes of state this worker may hold.
    pub fn budget_bytes(&self) -> usize {
        self.options.memory_budget_bytes
    }

    /// What the plan says of so many streams and quiet ones, of the default class, bytes.
    pub fn planned_bytes(&self, streams: u64, quiet_streams: u64) -> u64 {
        let settings = &self.options.settings;
        let fleet = Fleet { streams, quiet_streams, ..Fleet::default() };
        settings.classes.last().map_or(0, |class| plan(&fleet, settings, class).steady_bytes)
    }

    /// Partitions in recovery.
    pub fn recovering(&self) -> usize {
        self.held.values().filter(|h| h.recovery.is_some()).count()
    }

    /// Whether nothing is open, pending, waiting or in flight: after `End`, everything has left.
    pub fn is_quiet(&self) -> bool {
        let idle = |h: &Held| h.recovery.is_none() && h.core.sizes().2 == 0 && !h.core.moved();
        self.in_flight.is_none() && self.filling.is_empty() && self.held.values().all(idle)
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
        if self.count != partitions {
            // The topic grew while this worker ran: some streams have another partition from now on.
            let error = RecoverError::PartitionCount { committed: self.count, now: partitions };
            return out.push(Action::Stop(Stop::Refused(error)));
        }
        let place = Partition {
            number: partition,
            count: partitions,
            writer: self.options.writer.clone(),
            hash_seed: self.options.hash_seed,
        };
        self.tell_removed_sizes(partition, committed.as_ref(), out);
        let settings = &self.options.settings;
        let (core, recovery) = match committed {
            Some(Position { offset, meta: Some(meta), .. }) => {
                (Core::recover(settings, place, offset, &meta), Some(Recovery::new(offset, meta)))
            }
            other => {
                let offset = other.map(|p| p.offset);
                let core = Core::new(settings, place).map(|mut core| {
                    core.advance(offset.unwrap_or(0));
                    core
                });
                out.push(Action::Log(LogAction::Start { partition, from: offset }));
                self.follow(partition, out);
                (core.map_err(RecoverError::from), None)
            }
        };
        match core {
            Ok(core) => {
                let held = Held { core, recovery, at_end: false, busy: false, caught_up: false };
                self.held.insert(partition, held);
                self.step_recovery(partition, out);
            }
            Err(error) => out.push(Action::Stop(Stop::Refused(error))),
        }
    }

    /// Open windows of a size that left the configuration are not written.
    fn tell_removed_sizes(&self, partition: u32, committed: Option<&Position>, out: &mut Vec<Action>) {
        let sizes = self.options.settings.sizes_ms();
        let Some(meta) = committed.and_then(|p| p.meta.as_ref()) else { return };
        for size in meta.ledger.sizes.iter().filter(|s| s.in_open > 0 && !sizes.contains(&s.size_ms)) {
            let (size_ms, events) = (size.size_ms, size.in_open);
            out.push(Action::Say(Event::SizeRemoved { partition, size_ms, events }));
        }
    }

    fn records(
        &mut self,
        partition: u32,
        topic: Topic,
        records: &[RecordRef<'_>],
        next: u64,
        at_end: bool,
        out: &mut Vec<Action>,
    ) {
        let Some(held) = self.held.get_mut(&partition) else { return };
        if let Some(recovery) = &mut held.recovery {
            let kind = &self.options.records;
            recovery.records(kind, &mut held.core, &mut self.batch, partition, topic, records);
            return;
        }
        if topic != Topic::Events {
            return; // a read that a newer assignment has overtaken
        }
        for (n, record) in records.iter().enumerate() {
            expect_after(&mut held.core, records, n);
            let kind = &self.options.records;
            feed(kind, &mut held.core, partition, record, &mut self.batch, &mut self.filling, out);
        }
        if !records.is_empty() {
            self.skew_ms = self.batch.ts.last().map(|ts| self.batch.arrival_ms.saturating_sub(*ts));
        }
        held.core.advance(next);
        held.at_end = at_end;
        held.caught_up = at_end;
        held.busy |= !records.is_empty();
        self.pause_if_full(out);
    }

    fn read_done(&mut self, partition: u32, topic: Topic, log_start: u64, out: &mut Vec<Action>) {
        let Some(held) = self.held.get_mut(&partition) else { return };
        let Some(recovery) = &mut held.recovery else { return };
        if let Some(Cut { needed, gone_ms }) = recovery.read_done(&mut held.core, topic, log_start) {
            let event = Event::LogCut { topic, partition, needed, log_start, gone_ms };
            if self.options.refuse_cut_log {
                return out.push(Action::Stop(Stop::LogCut(event)));
            }
            out.push(Action::Say(event));
        }
        self.step_recovery(partition, out);
    }

    /// The next read of a recovery, or the start.
    fn step_recovery(&mut self, partition: u32, out: &mut Vec<Action>) {
        let Some(held) = self.held.get_mut(&partition) else { return };
        let Some(recovery) = &mut held.recovery else { return };
        if let Some(read) = recovery.next_read(partition) {
            return out.push(Action::Log(read));
        }
        let (offset, records) = (recovery.offset(), recovery.records_read());
        held.recovery = None;
        let imbalances = held.core.finish_recovery();
        out.push(Action::Say(Event::Recovered { partition, records, imbalances }));
        out.push(Action::Log(LogAction::Start { partition, from: Some(offset) }));
        self.follow(partition, out);
    }

    /// One tick of every live core, one transaction.
    fn tick(&mut self, now_ms: i64, out: &mut Vec<Action>) {
        if !self.leaving.is_empty() {
            return self.leave(now_ms, out);
        }
        if self.in_flight.is_some() {
            return out.push(Action::Say(Event::TickMerged));
        }
        let busy = self.held.values().any(|h| h.busy);
        let answered = self.held.values().any(|h| h.at_end);
        let interval_ms = self.options.settings.interval_ms;
        self.quiet_ms = if busy { 0 } else { self.quiet_ms + if answered { interval_ms } else { 0 } };
        self.run_tick(now_ms, out);
        if std::mem::take(&mut self.paused) {
            out.extend(self.held.keys().map(|p| Action::Log(LogAction::Resume { partition: *p })));
        }
    }

    fn run_tick(&mut self, now_ms: i64, out: &mut Vec<Action>) {
        let used: usize = self.cores().map(|(_, core)| core.used_bytes()).sum();
        let over = used.saturating_sub(self.options.memory_budget_bytes);
        let order: Vec<u32> =
            self.held.iter().filter(|(_, h)| h.recovery.is_none()).map(|(p, _)| *p).collect();
        let mut rows = 0;
        let (mut said, mut waiting) = (!self.filling.is_empty(), false);
        self.turn = self.turn.wrapping_add(1); // room is shared fairly: another partition goes first each time
        for at in 0..order.len() {
            let partition = order[(at + self.turn) % order.len()];
            let Some(held) = self.held.get_mut(&partition) else { continue };
            let at_end = std::mem::take(&mut held.at_end);
            held.busy = false;
            #[cfg(feature = "sabotage")]
            if at_end && Sabotage::WallAtEnd.is_on() {
                held.core.sabotage_live_clock(now_ms);
            }
            let input = TickInput {
                at_end,
                worker_quiet_ms: self.quiet_ms,
                rows_max: self.options.rows_per_tick_max.saturating_sub(rows),
                free_bytes: share(over, held.core.used_bytes(), used),
                ending: self.ending,
            };
            let filling = &mut self.filling;
            let report = held.core.tick(&input, &mut |output| encode(partition, output, filling));
            rows += report.rows;
            said |= report.rows + report.late + report.marks > 0 || held.core.moved();
            waiting |= report.waiting;
        }
        let _ = now_ms;
        out.push(Action::Say(Event::Ticked { rows, waiting }));
        if said {
            self.commit(out);
        }
    }

    /// Offsets and metadata of every live partition go along, also where nothing moved.
    fn commit(&mut self, out: &mut Vec<Action>) {
        let mut positions = Vec::new();
        for (partition, held) in self.held.iter().filter(|(_, h)| h.recovery.is_none()) {
            let (offset, meta) = held.core.meta();
            positions.push(Position { partition: *partition, offset, meta: Some(meta) });
        }
        #[cfg(feature = "sabotage")]
        self.keep_old_metadata(&mut positions);
        self.in_flight = Some(positions.iter().map(|p| (p.partition, p.offset)).collect());
        let outputs = std::mem::replace(&mut self.filling, std::mem::take(&mut self.spare));
        out.push(Action::Log(LogAction::Commit(Commit { outputs, positions })));
    }

    #[cfg(feature = "sabotage")]
    fn keep_old_metadata(&mut self, positions: &mut [Position]) {
        for position in positions {
            let old =
                self.last_meta.get(&position.partition).filter(|(offset, _)| *offset == position.offset);
            if let Some((_, meta)) = old.filter(|_| Sabotage::MetadataOnlyWhenOffsetMoves.is_on()) {
                position.meta = Some(meta.clone());
            }
            if let Some(meta) = &position.meta {
                self.last_meta.insert(position.partition, (position.offset, meta.clone()));
            }
        }
    }

    fn txn_done(&mut self, now_ms: i64, result: TxnResult, outputs: Outputs, out: &mut Vec<Action>) {
        self.spare = outputs;
        self.spare.clear();
        let offsets = self.in_flight.take().unwrap_or_default();
        match result {
            TxnResult::Committed(metas) => {
                for ((partition, meta), (_, offset)) in metas.into_iter().zip(offsets) {
                    let held = self.held.get_mut(&partition);
                    if let (Some(held), Some(meta)) = (held, meta) {
                        held.core.committed(&meta, offset);
                    }
                }
            }
            TxnResult::Aborted { error } => {
                self.held.clear(); // every partition comes back as Assigned
                self.filling.clear();
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

    /// Last tick and commit of partitions that leave, then their release.
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
            out.push(Action::Log(LogAction::Release { partition }));
        }
        if self.draining {
            out.push(Action::Stop(Stop::Drained));
        }
    }

    /// Consumption pauses until the next tick when outputs or memory are at their bound: the tick empties
    /// the one and evicts for the other, so this cannot deadlock.
    fn pause_if_full(&mut self, out: &mut Vec<Action>) {
        let hard_limit = self.options.memory_budget_bytes + self.options.memory_budget_bytes / 20;
        let used = || self.cores().map(|(_, core)| core.used_bytes()).sum::<usize>();
        if self.paused || (self.filling.bytes() < self.options.output_bytes_max && used() < hard_limit) {
            return;
        }
        self.paused = true;
        out.push(Action::Say(Event::Paused));
        out.extend(self.held.keys().map(|p| Action::Log(LogAction::Pause { partition: *p })));
    }
}

/// The part of `over` that one of several holders of `all` gives back.
fn share(over: usize, used: usize, all: usize) -> usize {
    if over == 0 || all == 0 {
        return 0;
    }
    ((over as u128 * used as u128).div_ceil(all as u128)) as usize
}
