//! The core of one partition: events in, rows out, everything else follows from the log.
//!
//! Order of use:
//! * a new partition: [`Core::new`]; one with a commit: [`Core::recover`] (see `recover.rs`);
//! * [`Core::feed`] each record in log order, [`Core::advance`] to the position after it;
//! * [`Core::tick`] on the metronome while no transaction is in flight, then [`Core::meta`] for the commit,
//!   then [`Core::committed`] with what came back. An aborted transaction ends the core: recover a new one;
//! * [`Core::hear`] what gateways look at, [`Core::frames`] on a clock of its own: neither changes anything above.
//!
//! Keeps: EK-WIN-1, EK-WIN-2, EK-WIN-3, EK-SUM-1, EK-LATE-0. Never: a clock, IO, another partition.

use crate::ahead::Ahead;
use crate::late::LateEvents;
use crate::open::SharedMoments;
use crate::output::{Out, Output, Refused};
use crate::registry::{Known, Registry};
use crate::rows::RowEpochs;
use crate::sabotage::Sabotage;
use crate::settings::{Settings, SettingsError};
use crate::stream::{NEVER, Stream};
use crate::watch::Watch;
use crate::wheel::Wheel;
use crate::windows::Windows;
use evenkeel_model::{ClosedBy, DropReason, EventBatch, Mark, WindowRow, WindowSpan};
use evenkeel_seam::{CommitMeta, Ledger, SizeLedger};
use std::collections::BTreeMap;

/// The windowing state of one partition.
#[derive(Debug)]
pub struct Core {
    pub(crate) settings: Settings,
    pub(crate) partition: Partition,
    pub(crate) registry: Registry,
    pub(crate) windows: Windows,
    pub(crate) late: LateEvents,
    pub(crate) wheel: Wheel,
    pub(crate) rows: RowEpochs,
    pub(crate) ledger: Ledger,
    /// Per class, per series: the size's position in the ledger.
    pub(crate) ledger_at: Vec<Vec<usize>>,
    pub(crate) clocks: Clocks,
    pub(crate) offsets: Offsets,
    pub(crate) replay: Option<Replay>,
    pub(crate) scratch: Scratch,
    pub(crate) counters: Counters,
    pub(crate) recovered_ledger: Ledger,
    pub(crate) ahead: Ahead,
    pub(crate) watch: Watch,
}

/// Which partition this is, and who works on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Its number.
    pub number: u32,
    /// How many partitions the events topic has.
    pub count: u32,
    /// The worker's transactional id, for the commit metadata.
    pub writer: String,
    /// Seed of the id hash.
    pub hash_seed: u64,
}

/// The partition clocks and the floor, ms.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clocks {
    /// Largest arrival seen: per-event decisions use nothing else.
    pub log: i64,
    /// For silence: see "partition clock".
    pub live: i64,
    /// Final mark of every stream without state.
    pub floor: i64,
    /// The floor as last committed.
    pub floor_committed: i64,
}

/// Places in the log.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Offsets {
    /// Next record to consume.
    pub position: u64,
    /// The position as last committed; `None` before the first commit.
    pub committed: Option<u64>,
    pub windows_to: u64,
    pub marks_to: u64,
    pub epoch: u64,
}

/// What a recovery holds until the replay is done.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    /// max_ts of rows and Marks by stream slot: counts only after the replay.
    pub max_ts: BTreeMap<u32, i64>,
    /// Clocks of the commit.
    pub meta: CommitMeta,
}

/// Counts since the core began, for metrics.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// Rows sent, per size of the ledger, by [`ClosedBy::index`].
    pub rows: Vec<[u64; ClosedBy::ALL.len()]>,
    /// Late records sent.
    pub late_records: u64,
    /// Marks sent.
    pub marks: u64,
    /// Streams whose state was evicted.
    pub evicted: u64,
    /// Raw events that found a full ring in folded mode: history, not aggregates.
    pub history_dropped: u64,
}

/// Buffers used again and again.
#[derive(Debug)]
pub(crate) struct Scratch {
    pub admitted: EventBatch,
    pub refused: EventBatch,
    pub ts: Vec<i64>,
    pub moments: SharedMoments,
    pub row: WindowRow,
    pub mark: Mark,
}

impl Default for Scratch {
    fn default() -> Self {
        let (admitted, refused, ts, moments, mark) = Default::default();
        Self { admitted, refused, ts, moments, row: blank_row(), mark }
    }
}

/// A row to be written over.
pub(crate) fn blank_row() -> WindowRow {
    WindowRow {
        stream_id: String::new(),
        span: WindowSpan { size_ms: 1, window_id: 0 },
        closed_by: ClosedBy::End,
        max_ts: 0,
        first_arrival: 0,
        last_arrival: 0,
        count: 0,
        seqs: Vec::new(),
        dropped: Vec::new(),
        stats: Vec::new(),
        events: None,
    }
}

impl Core {
    /// A partition without history.
    pub fn new(settings: &Settings, partition: Partition) -> Result<Self, SettingsError> {
        settings.check()?;
        let sizes = settings.sizes_ms();
        let at = |size: &i64| sizes.binary_search(size).unwrap_or(0);
        let ledger_at = settings.classes.iter().map(|c| c.sizes_ms.iter().map(at).collect()).collect();
        let ledger_of = |size_ms: &i64| SizeLedger { size_ms: *size_ms, ..SizeLedger::default() };
        Ok(Self {
            ledger: Ledger { sizes: sizes.iter().map(ledger_of).collect(), lost: 0 },
            ledger_at,
            registry: Registry::new(partition.hash_seed),
            windows: Windows::new(partition.hash_seed),
            late: LateEvents::default(),
            wheel: Wheel::new(settings.interval_ms),
            rows: RowEpochs::default(),
            clocks: Clocks { log: NEVER, live: NEVER, floor: NEVER, floor_committed: NEVER },
            offsets: Offsets::default(),
            replay: None,
            scratch: Scratch::default(),
            counters: Counters { rows: vec![[0; ClosedBy::ALL.len()]; sizes.len()], ..Counters::default() },
            recovered_ledger: Ledger::default(),
            ahead: Ahead::default(),
            watch: Watch::default(),
            settings: settings.clone(),
            partition,
        })
    }

    /// Everything before `position` has been fed: the true position, beyond markers and aborted records.
    pub fn advance(&mut self, position: u64) {
        if self.replay.is_none() {
            self.offsets.position = position;
        }
    }

    /// A record that cannot be decoded: it counts 1. The caller sends its bytes to `dlq`.
    pub fn feed_undecodable(&mut self) {
        if self.replay.is_none() {
            for size in &mut self.ledger.sizes {
                size.consumed += 1;
                size.reasons[DropReason::Malformed.index()] += 1;
            }
        }
    }

    /// Feeds one record. `batch` has passed the decoder's shape check.
    pub fn feed(&mut self, offset: u64, key: Option<&[u8]>, batch: &EventBatch, out: &mut Out<'_>) {
        let known = self.known(&batch.stream_id);
        let class = match known {
            Known::Active(slot) => self.registry.streams.get(slot).map_or(0, |s| s.class as usize),
            _ => self.settings.class_of(&batch.stream_id),
        };
        if let Some((reason, detail)) = self.refuse_record(key, known, batch) {
            let refused = Refused { reason, detail, size_ms: None, offset, events: batch };
            return self.refuse(class, refused, out);
        }
        let clock_before = self.clocks.log;
        self.clocks.log = clock_before.max(batch.arrival_ms);
        if self.replay.is_none() {
            self.clocks.live = self.clocks.live.max(self.clocks.log);
        }
        let arrival = batch.arrival_ms.max(self.clocks.log - self.settings.clock_slack_ms);
        let met = Met { offset, clock_before, arrival, class, known };
        self.admit(&met, batch, out);
    }

    /// What makes a whole record unfit, whatever its events are.
    fn refuse_record(
        &self,
        key: Option<&[u8]>,
        known: Known,
        batch: &EventBatch,
    ) -> Option<(DropReason, &'static str)> {
        use evenkeel_model::limits::{TS_MAX_MS, TS_MIN_MS};
        if !(TS_MIN_MS..=TS_MAX_MS).contains(&batch.arrival_ms) {
            return Some((DropReason::Malformed, "arrival_ms is outside 1970 to 9999"));
        }
        if self.settings.trusts_partitions {
            return None;
        }
        if key != Some(batch.stream_id.as_bytes()) {
            return Some((DropReason::Misrouted, "the record's key is not its stream_id"));
        }
        // A known stream was checked when it came; its id hashes to the same partition for ever.
        let owner = || evenkeel_model::partition_of(&batch.stream_id, self.partition.count);
        if !matches!(known, Known::Active(_)) && owner() != self.partition.number {
            return Some((DropReason::Misrouted, "murmur2 of the stream_id belongs to another partition"));
        }
        None
    }

    /// Counts refused events in the ledger of every size of their class and sends them to `dlq`.
    pub(crate) fn refuse(&mut self, class: usize, refused: Refused<'_>, out: &mut Out<'_>) {
        if self.replay.is_some() {
            return;
        }
        let events = refused.events.len() as u64;
        for &at in &self.ledger_at[class] {
            let size = &mut self.ledger.sizes[at];
            size.consumed += events;
            size.reasons[refused.reason.index()] += events;
        }
        out(Output::Refused(refused));
    }

    /// The slot of a stream, with state from now on. A quiet one brings its marks along.
    pub(crate) fn stream_slot(&mut self, known: Known, id: &str, class: usize) -> u32 {
        let quiet = match known {
            Known::Active(slot) => return slot,
            Known::Quiet(slot) => self.registry.remove_quiet(slot),
            Known::Unknown => None,
        };
        let mut stream = Stream::new(id, class as u8, self.settings.classes[class].sizes_ms.len());
        let mut seen_ts = NEVER;
        if let Some(marks) = quiet {
            seen_ts = marks.max_ts;
            for (series, emitted) in stream.series.iter_mut().zip(marks.emitted) {
                (series.emitted, series.closed_to) = (emitted, emitted);
            }
        }
        if self.replay.is_none() || Sabotage::MaxTsSeededBeforeReplay.is_on() {
            stream.max_ts = seen_ts;
        }
        let slot = self.registry.insert(stream);
        if let Some(replay) = &mut self.replay {
            replay.max_ts.insert(slot, seen_ts);
        }
        slot
    }

    /// Sees to it that the wheel visits a stream at `at` or before.
    pub(crate) fn visit_by(&mut self, slot: u32, at: i64) {
        if let Some(stream) = self.registry.streams.get_mut(slot)
            && (stream.check_at == NEVER || stream.check_at > at)
        {
            stream.check_at = self.wheel.schedule(slot, at);
        }
    }

    /// Transaction outcome: the metadata as written. Rows sent from now on lie at or after its ends.
    pub fn committed(&mut self, meta: &CommitMeta, offset: u64) {
        self.offsets.windows_to = meta.windows_to;
        self.offsets.marks_to = meta.marks_to;
        self.offsets.committed = Some(offset);
        self.clocks.floor_committed = meta.floor;
    }

    /// The offset and metadata to commit now.
    pub fn meta(&self) -> (u64, CommitMeta) {
        let here = (self.offsets.position, self.clocks.log);
        let (replay_from, clock) = self.windows.replay_from().unwrap_or(here);
        let meta = CommitMeta {
            scorer: None,
            replay_from,
            windows_from: self.rows.oldest().unwrap_or(self.offsets.windows_to),
            windows_to: self.offsets.windows_to,
            marks_to: self.offsets.marks_to,
            floor: self.clocks.floor,
            log_clock: self.clocks.log,
            log_clock_at_replay_from: clock,
            live_clock: self.clocks.live,
            ledger: self.ledger.clone(),
            partitions: self.partition.count,
            epoch: self.offsets.epoch,
            writer: self.partition.writer.clone(),
        };
        (self.offsets.position, meta)
    }

    /// Whether position or floor moved since the last commit.
    pub fn moved(&self) -> bool {
        self.offsets.committed != Some(self.offsets.position)
            || self.clocks.floor != self.clocks.floor_committed
    }

    /// Breaks [`Sabotage::WallAtEnd`]'s rule.
    #[cfg(feature = "sabotage")]
    pub fn sabotage_live_clock(&mut self, wall_ms: i64) {
        self.clocks.live = self.clocks.live.max(wall_ms);
    }

    /// The ledger (EK-SUM-1).
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The ledger as the commit that this core was recovered from had it; empty for a new partition.
    pub fn ledger_at_recovery(&self) -> &Ledger {
        &self.recovered_ledger
    }

    /// The next record to consume.
    pub fn position(&self) -> u64 {
        self.offsets.position
    }

    /// Counts for metrics.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Streams with state, quiet streams, unsent windows.
    pub fn sizes(&self) -> (usize, usize, usize) {
        (self.registry.streams.len(), self.registry.quiet_len(), self.windows.len())
    }

    /// How far the oldest unsent window's end is behind the live clock, ms; 0 where none is.
    pub fn behind_ms(&self) -> i64 {
        self.windows.lowest_end().map_or(0, |end| self.clocks.live.saturating_sub(end).max(0))
    }

    /// Closed windows whose rows wait for a tick with room, about.
    pub fn pending(&self) -> usize {
        self.windows.due_len()
    }

    /// Largest arrival seen and the live clock, ms; `i64::MIN` before the first record.
    pub fn clocks(&self) -> (i64, i64) {
        (self.clocks.log, self.clocks.live)
    }

    /// Bytes in use by streams, marks, windows and what frames need: what the budget is compared with.
    pub fn used_bytes(&self) -> usize {
        self.registry.used_bytes()
            + self.windows.used_bytes()
            + self.late.allocated_bytes()
            + self.watch.used_bytes()
    }

    /// Bytes allocated for all state of the partition.
    pub fn allocated_bytes(&self) -> usize {
        self.registry.allocated_bytes()
            + self.windows.allocated_bytes()
            + self.late.allocated_bytes()
            + self.wheel.allocated_bytes()
            + self.rows.allocated_bytes()
            + self.watch.allocated_bytes()
    }
}

/// How a record was met.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Met {
    pub offset: u64,
    /// Log clock before the record, ms.
    pub clock_before: i64,
    /// Its arrival as counted, ms.
    pub arrival: i64,
    /// Position of the stream's class.
    pub class: usize,
    /// What is known of its stream.
    pub known: Known,
}
