//! Recovery: what a core holds is a function of three bounded reads of the log (docs/recovery.md).
//!
//! Order of use: [`Core::recover`] with the commit, [`Core::replay_mark`] for `marks` up to `marks_to`,
//! [`Core::replay_row`] for the rows of `windows` in `[windows_from, windows_to)`, [`Core::feed`] for
//! `events` in `[replay_from, offset)`, [`Core::finish_recovery`]. Nothing is said or counted before the end.

use crate::core::{Core, Partition, Replay};
use crate::registry::{Known, QuietMarks};
use crate::sabotage::Sabotage;
use crate::settings::{Settings, SettingsError};
use crate::stream::NEVER;
use evenkeel_model::{Mark, WindowSpan};
use evenkeel_seam::{CommitMeta, Ledger, SizeLedger};

/// Why a partition cannot be recovered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecoverError {
    /// The settings themselves.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// Streams would have two owners.
    #[error(
        "the events topic has {now} partitions, the committed state was made with {committed}: a stream would \
         have two owners. Create topics with the new count under another prefix and replay into them \
         (docs/operations.md, \"Changing the partition count\")"
    )]
    PartitionCount {
        /// Count in the metadata.
        committed: u32,
        /// Count now.
        now: u32,
    },
}

/// A size whose rebuilt windows hold another number of events than the commit says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Imbalance {
    /// Window size, ms.
    pub size_ms: i64,
    /// Events in open and pending windows at the commit.
    pub committed: u64,
    /// Events in the windows rebuilt.
    pub rebuilt: u64,
}

/// What recovery needs to know of a row.
#[derive(Debug, Clone, Copy)]
pub struct SentRow<'a> {
    /// The stream.
    pub stream_id: &'a str,
    /// The window.
    pub span: WindowSpan,
    /// Largest event time of the stream when it was sent, ms.
    pub max_ts: i64,
    /// Arrival of its last event, ms.
    pub last_arrival: i64,
    /// Its offset in `windows`.
    pub offset: u64,
}

impl Core {
    /// A partition as committed at `offset`. It is mute until [`Core::finish_recovery`].
    pub fn recover(
        settings: &Settings,
        partition: Partition,
        offset: u64,
        meta: &CommitMeta,
    ) -> Result<Self, RecoverError> {
        if meta.partitions != partition.count {
            return Err(RecoverError::PartitionCount { committed: meta.partitions, now: partition.count });
        }
        let mut core = Self::new(settings, partition)?;
        let known = |size_ms: i64| meta.ledger.sizes.iter().find(|s| s.size_ms == size_ms).cloned();
        let fresh = |size_ms| SizeLedger { size_ms, since: offset, ..SizeLedger::default() };
        let sizes =
            settings.sizes_ms().into_iter().map(|size_ms| known(size_ms).unwrap_or_else(|| fresh(size_ms)));
        core.ledger = Ledger { sizes: sizes.collect(), lost: meta.ledger.lost };
        core.recovered_ledger = core.ledger.clone();
        core.clocks.floor = if Sabotage::FloorAfterReplay.is_on() { NEVER } else { meta.floor };
        let one_clock = Sabotage::OneLogClock.is_on();
        core.clocks.log = if one_clock { meta.log_clock } else { meta.log_clock_at_replay_from };
        core.offsets.position = offset;
        core.offsets.windows_to = meta.windows_to;
        core.offsets.marks_to = meta.marks_to;
        core.offsets.epoch = meta.epoch + 1;
        core.replay = Some(Replay { meta: meta.clone(), ..Replay::default() });
        Ok(core)
    }

    /// Step 1: a Mark. A later one of the same stream replaces it.
    pub fn replay_mark(&mut self, mark: &Mark) {
        if let Known::Quiet(slot) = self.registry.find(&mark.stream_id) {
            self.registry.remove_quiet(slot);
        }
        let class = self.settings.class_of(&mark.stream_id);
        let emitted_of =
            |size_ms: &i64| mark.emitted.iter().find(|(s, _)| s == size_ms).map_or(NEVER, |(_, t)| *t);
        let emitted = self.settings.classes[class].sizes_ms.iter().map(emitted_of).collect();
        let marks = QuietMarks { id: mark.stream_id.clone(), emitted, max_ts: mark.max_ts };
        self.registry.insert_quiet(&marks);
    }

    /// Step 2: a row that has left. It vouches for its own `t_end` only, never for later windows.
    pub fn replay_row(&mut self, row: &SentRow<'_>) {
        let class = self.settings.class_of(row.stream_id);
        let Ok(series_at) = self.settings.classes[class].sizes_ms.binary_search(&row.span.size_ms) else {
            return;
        };
        let slot = self.stream_slot(self.registry.find(row.stream_id), row.stream_id, class);
        let Some(replay) = &mut self.replay else { return };
        let Some(stream) = self.registry.streams.get_mut(slot) else { return };
        let mut t_end = row.span.t_end();
        if Sabotage::RowVouchesForFinal.is_on() {
            let watermark = row.max_ts - self.settings.classes[class].lateness_ms;
            t_end = t_end.max(watermark.div_euclid(row.span.size_ms) * row.span.size_ms);
        }
        let series = &mut stream.series[series_at];
        series.emitted = series.emitted.max(t_end);
        series.close_to(series.emitted);
        let epoch = self.rows.acquire(row.offset);
        if let Some(older) = series.row_epoch.replace(epoch) {
            self.rows.release(older);
        }
        stream.row_sent = replay.meta.live_clock;
        stream.last_arrival = stream.last_arrival.max(row.last_arrival);
        let seen = replay.max_ts.entry(slot).or_insert(NEVER);
        *seen = (*seen).max(row.max_ts);
        if Sabotage::MaxTsSeededBeforeReplay.is_on() {
            stream.max_ts = stream.max_ts.max(*seen);
        }
    }

    /// The windows topic no longer holds all rows the commit points to: which rows have left is not known
    /// below this point, so the floor rises to the last `t_end` that could be lost.
    pub fn rows_are_cut(&mut self) {
        let Some(replay) = &self.replay else { return };
        let highest = replay.meta.log_clock.saturating_add(self.settings.max_future_ms);
        let size_ms = self.ledger.sizes.last().map_or(1, |s| s.size_ms);
        let floor = (highest.div_euclid(size_ms) + 1) * size_ms;
        self.clocks.floor = self.clocks.floor.max(floor);
        if let Some(replay) = &mut self.replay {
            replay.meta.floor = replay.meta.floor.max(floor);
        }
    }

    /// Step 4: unmutes the core. Returns what differs from the commit: empty unless the log was cut (then it
    /// is moved to `lost`) or something is wrong (then it is an alarm).
    pub fn finish_recovery(&mut self) -> Vec<Imbalance> {
        let Some(replay) = self.replay.take() else { return Vec::new() };
        for (slot, max_ts) in replay.max_ts {
            if let Some(stream) = self.registry.streams.get_mut(slot) {
                stream.max_ts = stream.max_ts.max(max_ts);
            }
        }
        self.clocks.floor = replay.meta.floor;
        self.clocks.floor_committed = replay.meta.floor;
        self.clocks.log = self.clocks.log.max(replay.meta.log_clock);
        self.clocks.live = replay.meta.live_clock.max(replay.meta.log_clock);
        for slot in self.registry.quiet_slots() {
            let highest = self.registry.quiet(slot).and_then(|q| q.emitted.iter().max().copied());
            if highest.is_none_or(|t| t <= self.clocks.floor) {
                self.registry.remove_quiet(slot);
            }
        }
        let slots: Vec<u32> = self.registry.streams.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            self.visit_by(slot, self.clocks.live);
        }
        self.balance()
    }

    fn balance(&mut self) -> Vec<Imbalance> {
        let mut rebuilt = vec![0u64; self.ledger.sizes.len()];
        for (_, window) in self.windows.in_order() {
            let class = self.registry.streams.get(window.stream).map_or(0, |s| s.class as usize);
            rebuilt[self.ledger_at[class][window.series as usize]] += window.count;
        }
        let mut differs = Vec::new();
        for (size, rebuilt) in self.ledger.sizes.iter_mut().zip(rebuilt) {
            if size.in_open == rebuilt {
                continue;
            }
            differs.push(Imbalance { size_ms: size.size_ms, committed: size.in_open, rebuilt });
            let lost = size.in_open.saturating_sub(rebuilt);
            self.ledger.lost += lost;
            size.consumed = (size.consumed - lost.min(size.consumed)) + rebuilt.saturating_sub(size.in_open);
            size.in_open = rebuilt;
        }
        differs
    }
}
