//! The metronome's tick: which rows leave, in which order, and the closings that are facts (idle, age,
//! evicted, end), which happen only together with their row.
//!
//! Keeps: EK-WIN-1 (a row leaves once, in t_end order per series), EK-WIN-3, EK-LATE-0.

use crate::core::Core;
use crate::output::{Out, Output};
use crate::sabotage::Sabotage;
use crate::stream::NEVER;
use evenkeel_model::ClosedBy;

/// What a tick needs to know.
#[derive(Debug, Clone, Copy)]
pub struct TickInput {
    /// A fetch of this partition was answered since the last tick and nothing more was there.
    pub at_end: bool,
    /// How long no partition of the worker has had a record, ms.
    pub worker_quiet_ms: i64,
    /// How many rows may leave.
    pub rows_max: usize,
    /// How many bytes the budget wants back.
    pub free_bytes: usize,
    /// The input has ended: close everything.
    pub ending: bool,
}

/// What a tick did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TickReport {
    /// Rows that left. More than `rows_max` only for late records (EK-LATE-0).
    pub rows: usize,
    /// Late records that left.
    pub late: usize,
    /// Marks that left.
    pub marks: usize,
    /// Due rows that had no room.
    pub waiting: bool,
}

impl Core {
    /// One tick. Everything it says belongs in one transaction with [`Core::meta`].
    pub fn tick(&mut self, input: &TickInput, out: &mut Out<'_>) -> TickReport {
        self.move_live_clock(input);
        let mut report = TickReport::default();
        self.send_before_late(&mut report, out);
        self.send_overdue(input, &mut report, out);
        self.send_due(input, &mut report, out);
        if !(Sabotage::LateWaitsForRoom.is_on() && report.rows >= input.rows_max) {
            self.send_late(&mut report, out);
        }
        self.visit_due(input, &mut report, out);
        if input.free_bytes > 0 {
            self.free_memory(input, &mut report, out);
        }
        if input.ending {
            self.end_all(input, &mut report, out);
        }
        self.forget_old_marks();
        report.waiting = self.windows.peek_due().is_some();
        self.counters.late_records += report.late as u64;
        self.counters.marks += report.marks as u64;
        report
    }

    /// At the end of the log the live clock advances by one interval per tick, never to the wall; while the
    /// whole worker is without records it stands, up to `outage-max`.
    fn move_live_clock(&mut self, input: &TickInput) {
        if !input.at_end || self.clocks.live == NEVER {
            return;
        }
        let silence = self.settings.classes.last().map_or(0, |c| c.idle_timeout_ms);
        let outage = silence..=silence.saturating_add(self.settings.outage_max_ms);
        let stands = input.worker_quiet_ms > *outage.start() && input.worker_quiet_ms <= *outage.end();
        if !stands {
            self.clocks.live += self.settings.interval_ms;
        }
    }

    /// A late record never precedes its window's row: pending rows up to its window go along, whatever the
    /// room (EK-LATE-0).
    fn send_before_late(&mut self, report: &mut TickReport, out: &mut Out<'_>) {
        if Sabotage::LateBeforePendingRow.is_on() {
            return;
        }
        for (slot, series_at, window_id, _) in self.late.keys() {
            while let Some(stream) = self.registry.streams.get(slot) {
                let size_ms = self.settings.classes[stream.class as usize].sizes_ms[series_at as usize];
                let front = stream.series[series_at as usize].pending.front();
                let t_start = front.and_then(|id| self.windows.get(*id)).map(|w| w.t_start);
                if t_start.is_none_or(|t| t > window_id * size_ms) {
                    break;
                }
                self.send_oldest(slot, series_at, ClosedBy::Late, report, out);
            }
        }
    }

    fn send_late(&mut self, report: &mut TickReport, out: &mut Out<'_>) {
        for record in self.late.take() {
            report.late += 1;
            out(Output::Late(&record));
        }
    }

    /// Windows past `open-age-max` go first in the room, oldest arrival first, each with the pending rows
    /// ahead of it in its series: the log must not be pinned by a stuck clock.
    fn send_overdue(&mut self, input: &TickInput, report: &mut TickReport, out: &mut Out<'_>) {
        if self.clocks.live == NEVER || Sabotage::NoAgeClose.is_on() {
            return;
        }
        let limit = self.clocks.live - self.settings.open_age_max_ms;
        let slack = self.settings.clock_slack_ms;
        // Windows stand in log order; none arrived earlier than the log clock then − clock-slack.
        let early =
            self.windows.in_order().take_while(|(_, w)| w.clock_before.saturating_sub(slack) <= limit);
        let mut overdue: Vec<_> = early
            .filter(|(_, w)| w.first_arrival <= limit)
            .map(|(_, w)| (w.first_arrival, w.first_offset, w.stream, w.series))
            .collect();
        overdue.sort_unstable();
        for (_, _, slot, series_at) in overdue {
            while report.rows < input.rows_max && self.is_overdue(slot, series_at, limit) {
                if Sabotage::AgeWaitsForPending.is_on() && self.has_pending(slot, series_at) {
                    break;
                }
                self.send_oldest(slot, series_at, ClosedBy::Age, report, out);
            }
        }
    }

    fn is_overdue(&self, slot: u32, series_at: u8, limit: i64) -> bool {
        let Some(stream) = self.registry.streams.get(slot) else { return false };
        let mut unsent = stream.series[series_at as usize].unsent();
        unsent.any(|id| self.windows.get(id).is_some_and(|w| w.first_arrival <= limit))
    }

    fn has_pending(&self, slot: u32, series_at: u8) -> bool {
        self.registry.streams.get(slot).is_some_and(|s| !s.series[series_at as usize].pending.is_empty())
    }

    /// Closed windows by `(t_end, first_offset)` while there is room; the rest stays pending.
    fn send_due(&mut self, input: &TickInput, report: &mut TickReport, out: &mut Out<'_>) {
        while report.rows < input.rows_max {
            let Some(due) = self.windows.peek_due() else { return };
            let Some((slot, series_at)) = self.windows.get(due.window).map(|w| (w.stream, w.series)) else {
                return;
            };
            self.send_oldest(slot, series_at, ClosedBy::Watermark, report, out);
        }
    }

    /// The input's end: every window closes, in log order of their first events, while there is room; then
    /// every stream is covered by a Mark.
    fn end_all(&mut self, input: &TickInput, report: &mut TickReport, out: &mut Out<'_>) {
        while report.rows < input.rows_max {
            let first = self.windows.in_order().next().map(|(_, w)| (w.stream, w.series));
            let Some((slot, series_at)) = first else { break };
            self.send_oldest(slot, series_at, ClosedBy::End, report, out);
        }
        if self.windows.len() == 0 {
            let slots: Vec<u32> = self.registry.streams.iter().map(|(slot, _)| slot).collect();
            slots.into_iter().for_each(|slot| self.cover(slot, report, out));
        }
    }

    /// Sends the row of a series' oldest unsent window. If that is still open, `fact` closes it: closing
    /// and row are one.
    pub(crate) fn send_oldest(
        &mut self,
        slot: u32,
        series_at: u8,
        fact: ClosedBy,
        report: &mut TickReport,
        out: &mut Out<'_>,
    ) {
        let Some(stream) = self.registry.streams.get_mut(slot) else { return };
        let class = &self.settings.classes[stream.class as usize];
        let size_ms = class.sizes_ms[series_at as usize];
        let series = &mut stream.series[series_at as usize];
        if series.pending.is_empty() {
            let Some(&open) = series.open.first() else { return };
            self.windows.close(series, open, size_ms, fact);
        }
        let last = Sabotage::AnyPendingRowFirst.is_on();
        let Some(id) = (if last { series.pending.pop_back() } else { series.pending.pop_front() }) else {
            return;
        };
        let Some(window) = self.windows.get(id) else { return };
        series.emitted = series.emitted.max(window.t_start + size_ms);
        let epoch = self.rows.acquire(self.offsets.windows_to);
        if let Some(older) = series.row_epoch.replace(epoch) {
            self.rows.release(older);
        }
        stream.row_sent = self.clocks.live;
        let ledger_at = self.ledger_at[stream.class as usize][series_at as usize];
        let ledger = &mut self.ledger.sizes[ledger_at];
        ledger.in_open -= window.count;
        ledger.in_rows += window.count;
        let row = &mut self.scratch.row;
        window.write_row(&stream.id, size_ms, stream.max_ts, &self.windows.shapes, class.include_events, row);
        if !self.watch.is_idle() {
            self.watch.row_left(row, self.settings.watch.history_bytes_max);
        }
        out(Output::Row(row));
        report.rows += 1;
        self.counters.rows[ledger_at][row.closed_by.index()] += 1;
        self.windows.remove(id, size_ms);
        self.registry.account(slot);
        self.visit_by(slot, self.clocks.live.saturating_add(self.settings.mark_refresh_ms));
    }
}
