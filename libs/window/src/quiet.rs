//! Silence: idle closing, Marks for quiet streams, eviction of their state, the budget, and the floor that
//! rises over marks that are forgotten.
//!
//! Keeps: "Bounded memory" of docs/semantics.md; EK-WIN-2 (the floor stands for every forgotten mark).

use crate::core::Core;
use crate::output::{Out, Output};
use crate::registry::QuietMarks;
use crate::sabotage::Sabotage;
use crate::stream::{NEVER, Stream};
use crate::tick::{TickInput, TickReport};
use evenkeel_model::ClosedBy;

impl Core {
    /// Visits the streams whose time has come.
    pub(crate) fn visit_due(&mut self, input: &TickInput, report: &mut TickReport, out: &mut Out<'_>) {
        while let Some((at, slots)) = self.wheel.take_due(self.clocks.live) {
            for slot in slots {
                // An entry counts only if the stream still waits for this bucket.
                if self.registry.streams.get(slot).is_some_and(|s| s.check_at == at) {
                    self.visit(slot, input, report, out);
                }
            }
        }
    }

    /// Closes what silence closes, covers old rows, evicts, and comes back when the next of these is due.
    fn visit(&mut self, slot: u32, input: &TickInput, report: &mut TickReport, out: &mut Out<'_>) {
        let starved = self.close_idle(slot, input, report, out);
        let live = self.clocks.live;
        let Some(stream) = self.registry.streams.get(slot) else { return };
        let silence = live.saturating_sub(stream.last_arrival);
        if stream.row_sent != NEVER && stream.row_sent <= live - self.settings.mark_refresh_ms {
            self.cover(slot, report, out);
        }
        let Some(stream) = self.registry.streams.get(slot) else { return };
        if !stream.has_unsent() && silence >= self.settings.idle_evict_ms {
            return self.evict(slot, report, out);
        }
        let next = if starved { live } else { self.next_visit(slot) };
        let next = next.max(live + 1);
        if let Some(stream) = self.registry.streams.get_mut(slot) {
            stream.check_at = self.wheel.schedule(slot, next);
        }
    }

    /// Silence closes a stream's windows, oldest first, each only with its row and only when nothing of its
    /// series is pending. Whether one had to wait for room.
    fn close_idle(
        &mut self,
        slot: u32,
        input: &TickInput,
        report: &mut TickReport,
        out: &mut Out<'_>,
    ) -> bool {
        let Some(stream) = self.registry.streams.get(slot) else { return false };
        let class = &self.settings.classes[stream.class as usize];
        let silence = self.clocks.live.saturating_sub(stream.last_arrival);
        if silence < class.idle_timeout_ms {
            return false;
        }
        let reach = stream.max_ts.saturating_add(silence).saturating_sub(class.lateness_ms);
        let sizes = class.sizes_ms.clone();
        for (series_at, size_ms) in sizes.into_iter().enumerate() {
            loop {
                let Some(stream) = self.registry.streams.get_mut(slot) else { return false };
                let series = &mut stream.series[series_at];
                let oldest = series.open.first().and_then(|&id| Some((id, self.windows.get(id)?.t_start)));
                let Some((id, t_start)) = oldest else { break };
                if reach < t_start + size_ms || !series.pending.is_empty() {
                    break;
                }
                if Sabotage::IdleNotAFact.is_on() && report.rows >= input.rows_max {
                    self.windows.close(series, id, size_ms, ClosedBy::Idle);
                    self.registry.account(slot);
                    break;
                }
                if report.rows >= input.rows_max {
                    return true;
                }
                self.send_oldest(slot, series_at as u8, ClosedBy::Idle, report, out);
            }
        }
        false
    }

    /// When the next rule about silence can apply to a stream, live clock, ms.
    fn next_visit(&self, slot: u32) -> i64 {
        let Some(stream) = self.registry.streams.get(slot) else { return i64::MAX };
        let class = &self.settings.classes[stream.class as usize];
        let silent = stream.last_arrival.saturating_add(class.idle_timeout_ms);
        let mut next = match stream.has_unsent() {
            false => stream.last_arrival.saturating_add(self.settings.idle_evict_ms),
            true if self.clocks.live < silent => silent,
            true => i64::MAX,
        };
        if next == i64::MAX {
            // Silent already: its oldest windows wait for the time in which their clock would have run out.
            for (series, size_ms) in stream.series.iter().zip(&class.sizes_ms) {
                let oldest = series.oldest_unsent().and_then(|id| self.windows.get(id));
                let wait = oldest.map(|w| w.t_start + size_ms + class.lateness_ms - stream.max_ts);
                next = next.min(wait.map_or(i64::MAX, |w| stream.last_arrival.saturating_add(w)));
            }
        }
        if stream.row_sent != NEVER {
            next = next.min(stream.row_sent.saturating_add(self.settings.mark_refresh_ms));
        }
        next
    }

    /// A Mark covers every row of the stream: recovery need not read them any more.
    pub(crate) fn cover(&mut self, slot: u32, report: &mut TickReport, out: &mut Out<'_>) {
        let Some(stream) = self.registry.streams.get_mut(slot) else { return };
        if stream.row_sent == NEVER {
            return;
        }
        let sizes = &self.settings.classes[stream.class as usize].sizes_ms;
        let mark = &mut self.scratch.mark;
        mark.stream_id.clear();
        mark.stream_id.push_str(&stream.id);
        mark.max_ts = stream.max_ts;
        mark.emitted.clear();
        for (series, size_ms) in stream.series.iter_mut().zip(sizes) {
            if series.emitted != NEVER {
                mark.emitted.push((*size_ms, series.emitted));
            }
            if let Some(epoch) = series.row_epoch.take() {
                self.rows.release(epoch);
            }
        }
        stream.row_sent = NEVER;
        out(Output::Mark(mark));
        report.marks += 1;
    }

    /// Forgets the state of a stream without unsent windows; its marks stay.
    fn evict(&mut self, slot: u32, report: &mut TickReport, out: &mut Out<'_>) {
        if !Sabotage::EvictedWithoutMark.is_on() {
            self.cover(slot, report, out);
        }
        let Some(stream) = self.registry.remove(slot) else { return };
        for epoch in stream.series.iter().filter_map(|s| s.row_epoch) {
            self.rows.release(epoch);
        }
        self.counters.evicted += 1;
        let emitted: Vec<i64> = stream.series.iter().map(|s| s.emitted).collect();
        if emitted.iter().any(|t| *t != NEVER) {
            let marks = QuietMarks { id: stream.id.into(), emitted, max_ts: stream.max_ts };
            self.registry.insert_quiet(&marks);
        }
    }

    /// The budget wants bytes back. What is kept for frames goes first. Then marks, where they hold most of it
    /// (the floor rises early); else the longest-silent streams lose their windows (as rows, the late path
    /// repairs them) and their state.
    pub(crate) fn free_memory(&mut self, input: &TickInput, report: &mut TickReport, out: &mut Out<'_>) {
        let target = self.used_bytes().saturating_sub(input.free_bytes);
        self.watch.drop_history(input.free_bytes);
        let marks_fill = |core: &Self| core.used_bytes() > target && core.registry.quiet_bytes() > target / 2;
        while marks_fill(self) && self.forget_first_mark() {}
        if marks_fill(self) {
            self.clear_floor(input, report, out);
            while marks_fill(self) && self.forget_first_mark() {}
        }
        let mut visits = self.registry.streams.len();
        while self.used_bytes() > target && visits > 0 && report.rows < input.rows_max {
            let Some((at, mut slots)) = self.wheel.take_first() else { break };
            while let Some(slot) = slots.pop() {
                if self.registry.streams.get(slot).is_none_or(|s| s.check_at != at) {
                    continue;
                }
                visits = visits.saturating_sub(1);
                self.squeeze(slot, at, input, report, out);
                if self.used_bytes() <= target || report.rows >= input.rows_max {
                    break;
                }
            }
            for slot in slots {
                if let Some(stream) = self.registry.streams.get_mut(slot)
                    && stream.check_at == at
                {
                    stream.check_at = self.wheel.schedule(slot, at);
                }
            }
        }
    }

    /// Streams whose windows start below the first mark keep the floor down: they are evicted, lowest first.
    /// One look at the windows per tick; what is still in the way then waits for the next.
    fn clear_floor(&mut self, input: &TickInput, report: &mut TickReport, out: &mut Out<'_>) {
        let Some((_, mark)) = self.registry.first_quiet() else { return };
        let below = self.windows.in_order().filter(|(_, w)| w.t_start < mark);
        let mut below: Vec<_> = below.map(|(_, w)| (w.t_start, w.stream)).collect();
        below.sort_unstable();
        for (_, slot) in below {
            if report.rows >= input.rows_max {
                return;
            }
            if self.registry.streams.get(slot).is_some_and(Stream::has_unsent) {
                self.squeeze(slot, i64::MAX, input, report, out);
            }
        }
    }

    /// Evicts a stream for the budget, unless it turns out to have been active since it was scheduled.
    fn squeeze(&mut self, slot: u32, at: i64, input: &TickInput, report: &mut TickReport, out: &mut Out<'_>) {
        let Some(stream) = self.registry.streams.get(slot) else { return };
        let class = &self.settings.classes[stream.class as usize];
        let due = stream.last_arrival.saturating_add(class.idle_timeout_ms);
        let series = stream.series.len();
        if due > at.saturating_add(self.settings.interval_ms) {
            if let Some(stream) = self.registry.streams.get_mut(slot) {
                stream.check_at = self.wheel.schedule(slot, due);
            }
            return;
        }
        for series_at in 0..series as u8 {
            while report.rows < input.rows_max {
                let Some(stream) = self.registry.streams.get(slot) else { return };
                if stream.series[series_at as usize].oldest_unsent().is_none() {
                    break;
                }
                self.send_oldest(slot, series_at, ClosedBy::Evicted, report, out);
            }
        }
        match self.registry.streams.get_mut(slot) {
            Some(stream) if stream.has_unsent() => {
                stream.check_at = self.wheel.schedule(slot, self.clocks.live)
            }
            Some(_) => self.evict(slot, report, out),
            None => {}
        }
    }

    /// Marks older than `max-age` go; the floor rises to them, but never past the start of a window whose
    /// row has not left.
    pub(crate) fn forget_old_marks(&mut self) {
        let limit = self.clocks.log.saturating_sub(self.settings.max_age_ms);
        while self.registry.first_quiet().is_some_and(|(_, mark)| mark < limit) {
            if !self.forget_first_mark() {
                break;
            }
        }
    }

    fn forget_first_mark(&mut self) -> bool {
        let Some((slot, mark)) = self.registry.first_quiet() else { return false };
        let lowest = self.windows.lowest_start().unwrap_or(i64::MAX);
        if mark > lowest && !Sabotage::FloorOverOpen.is_on() {
            return false;
        }
        self.registry.remove_quiet(slot);
        self.clocks.floor = self.clocks.floor.max(mark);
        true
    }
}
