//! Placing admitted events into the windows of each size, run by run, and the closings that are functions
//! of the log: watermark and crowded.
//!
//! A run = consecutive events of one batch in one window. Within a run the final mark cannot reach the
//! run's own window (lateness ≥ 0), so the rules event by event are kept.

use crate::admit::restart;
use crate::core::{Core, Counters, Met};
use crate::late::LateEvents;
use crate::open::{Run, SharedMoments};
use crate::output::{Out, Output, Refused};
use crate::ring::{Pushed, RawEvent};
use crate::sabotage::Sabotage;
use crate::seqset::Held;
use crate::settings::{Aggregation, Class, Settings};
use crate::shape::ShapeId;
use crate::stream::{NEVER, Series};
use crate::windows::{Birth, Windows};
use evenkeel_model::{ClosedBy, DropReason, EventBatch, FieldColumn};
use evenkeel_seam::SizeLedger;
use std::ops::Range;

/// One size's view of one batch.
struct Placing<'a, 'o> {
    settings: &'a Settings,
    class: &'a Class,
    windows: &'a mut Windows,
    late: &'a mut LateEvents,
    ledger: &'a mut SizeLedger,
    counters: &'a mut Counters,
    moments: &'a mut SharedMoments,
    out: &'a mut Out<'o>,
    batch: &'a EventBatch,
    ts: &'a [i64],
    met: Met,
    shape: ShapeId,
    size_ms: i64,
    stream: u32,
    series_at: u8,
    floor: i64,
    log_clock: i64,
    replaying: bool,
    /// A window was opened, or the stream's heap changed otherwise.
    touched: bool,
}

impl Core {
    /// Places events whose times are `ts` (their own, or their arrival), ms.
    pub(crate) fn place(&mut self, met: &Met, batch: &EventBatch, ts: &[i64], out: &mut Out<'_>) {
        let slot = self.stream_slot(met.known, &batch.stream_id, met.class);
        let shape = self.windows.shapes.intern(batch.fields.iter().map(|f| &*f.name));
        let Some(stream) = self.registry.streams.get_mut(slot) else { return };
        let class = &self.settings.classes[met.class];
        stream.last_arrival = stream.last_arrival.max(met.arrival);
        let (mut max_ts, mut touched) = (stream.max_ts, false);
        self.scratch.moments.forget();
        self.windows.shapes.acquire(shape); // ours until the batch is placed, window or not
        for (series_at, series) in stream.series.iter_mut().enumerate() {
            let mut placing = Placing {
                settings: &self.settings,
                class,
                windows: &mut self.windows,
                late: &mut self.late,
                ledger: &mut self.ledger.sizes[self.ledger_at[met.class][series_at]],
                counters: &mut self.counters,
                moments: &mut self.scratch.moments,
                out: &mut *out,
                batch,
                ts,
                met: *met,
                shape,
                size_ms: class.sizes_ms[series_at],
                stream: slot,
                series_at: series_at as u8,
                floor: if Sabotage::NoFloor.is_on() { NEVER } else { self.clocks.floor },
                log_clock: self.clocks.log,
                replaying: self.replay.is_some(),
                touched: false,
            };
            max_ts = placing.place_all(series, stream.max_ts);
            touched |= placing.touched;
        }
        self.windows.shapes.release(shape);
        stream.max_ts = max_ts;
        let visit = stream.last_arrival.saturating_add(class.idle_timeout_ms);
        let visited = stream.check_at != NEVER && (!touched || stream.check_at <= visit);
        if touched {
            self.registry.account(slot);
        }
        if !visited {
            self.visit_by(slot, visit);
        }
    }
}

impl Placing<'_, '_> {
    /// Places the whole batch; the largest event time afterwards.
    fn place_all(&mut self, series: &mut Series, mut max_ts: i64) -> i64 {
        let ts = self.ts;
        let mut row = 0;
        while row < ts.len() {
            let open = self.newest_holds(series, ts[row]);
            let t_start = match open {
                Some((_, t_start)) => t_start,
                None => ts[row].div_euclid(self.size_ms) * self.size_ms,
            };
            let t_end = t_start + self.size_ms;
            let mut end = row + 1;
            max_ts = max_ts.max(ts[row]);
            let alone = open.is_none() && self.crowds(series, t_start);
            while !alone && end < ts.len() && ts[end] >= t_start && ts[end] < t_end {
                max_ts = max_ts.max(ts[end]);
                end += 1;
            }
            self.place_run(series, t_start, open.map(|(id, _)| id), row..end);
            self.close_by_log(series, max_ts);
            row = end;
        }
        max_ts
    }

    /// The newest open window and its start, if it is the one of this time: mostly it is.
    fn newest_holds(&self, series: &Series, ts: i64) -> Option<(u32, i64)> {
        let id = *series.open.last()?;
        let t_start = self.windows.get(id)?.t_start;
        (t_start <= ts && ts < t_start + self.size_ms).then_some((id, t_start))
    }

    /// Whether a window at `t_start` would be opened only to be closed as the oldest of too many: then the
    /// run's next event already meets it closed.
    fn crowds(&self, series: &Series, t_start: i64) -> bool {
        if series.open.len() < self.settings.open_windows_max {
            return false;
        }
        let oldest = series.open.first().and_then(|&id| self.windows.get(id));
        oldest.is_some_and(|w| t_start < w.t_start)
    }

    /// `open`: the window, if it is known to be open.
    fn place_run(&mut self, series: &mut Series, t_start: i64, open: Option<u32>, rows: Range<usize>) {
        let t_end = t_start + self.size_ms;
        if self.replaying && (t_end <= series.emitted || self.met.offset < self.ledger.since) {
            return; // its row has left, or the size was not configured yet
        }
        if !self.replaying {
            self.ledger.consumed += rows.len() as u64;
        }
        if t_end <= series.closed_to.max(self.floor) || self.past_all(series, t_start) {
            return self.place_late(series, t_start, rows);
        }
        if Sabotage::MemoryAboveFinal.is_on() && self.held_by_recent(series, &rows) {
            return self.count(DropReason::Duplicate, rows.len());
        }
        let id = open.unwrap_or_else(|| self.window_at(series, t_start));
        let run = Run { batch: self.batch, ts: self.ts, rows, arrival: self.met.arrival };
        if self.fold_fast(id, &run) {
            if !self.replaying {
                self.ledger.in_open += run.rows.len() as u64;
            }
            return;
        }
        for row in run.rows.clone() {
            self.place_one(id, row);
        }
    }

    /// Whether a backfill event comes for a window that is not open and that no event without the flag can
    /// open any more, on any later clock: it is late. One that could still be opened is opened: its row must
    /// not follow its late events (EK-LATE-0).
    fn past_all(&self, series: &Series, t_start: i64) -> bool {
        let youngest = self.log_clock - self.settings.clock_slack_ms - self.settings.max_age_ms;
        let open = |id: &u32| self.windows.get(*id).is_some_and(|w| w.t_start == t_start);
        self.batch.backfill && t_start + self.size_ms <= youngest && !series.open.iter().any(open)
    }

    /// The open window at `t_start`, new if need be.
    fn window_at(&mut self, series: &mut Series, t_start: i64) -> u32 {
        let start = |id: &u32| self.windows.get(*id).map_or(NEVER, |w| w.t_start);
        let at = series.open.iter().rposition(|id| start(id) <= t_start).map_or(0, |i| i + 1);
        if at > 0 && start(&series.open[at - 1]) == t_start {
            return series.open[at - 1];
        }
        let id = self.windows.create(&Birth {
            t_start,
            size_ms: self.size_ms,
            stream: self.stream,
            series: self.series_at,
            shape: self.shape,
            folded: self.class.aggregation == Aggregation::Folded,
            keeps_events: self.class.keeps_events(),
            offset: self.met.offset,
            clock_before: self.met.clock_before,
            arrival: self.met.arrival,
        });
        series.open.insert(at, id);
        self.touched = true;
        id
    }

    /// Folds a whole run at once if nothing about it is special: no ring, one shape, seqs rising by one
    /// above all that the window holds.
    fn fold_fast(&mut self, id: u32, run: &Run<'_>) -> bool {
        let Some(window) = self.windows.get_mut(id) else { return false };
        if window.shape != self.shape || window.ring.is_some() {
            return false;
        }
        if self.batch.has_seq() {
            let seqs = &self.batch.seq[run.rows.clone()];
            let (lo, hi) = (seqs[0], seqs[seqs.len() - 1]);
            let rising = seqs.windows(2).all(|w| w[1] == w[0].wrapping_add(1)) && lo <= hi;
            let before = window.seqs.heap_bytes();
            if !rising || !window.seqs.add_above(lo, hi, self.settings.seq_intervals_max) {
                return false;
            }
            if window.seqs.heap_bytes() != before {
                let before = window.heap_bytes() - window.seqs.heap_bytes() + before;
                window.fold_shared(run, self.moments);
                self.windows.account(id, before);
                return true;
            }
        }
        window.fold_shared(run, self.moments);
        true
    }

    /// One event, every rule by itself.
    fn place_one(&mut self, id: u32, row: usize) {
        let Some(window) = self.windows.get_mut(id) else { return };
        let before = window.heap_bytes();
        let seq = self.batch.seq.get(row).copied();
        match seq.map_or(Held::No, |s| window.seqs.held(s)) {
            Held::Exact => {
                window.duplicates = window.duplicates.saturating_add(1);
                return self.count(DropReason::Duplicate, 1);
            }
            Held::Fuzzy => {
                window.overflow = window.overflow.saturating_add(1);
                return self.overflow(row, "its seq lies in an interval of which not all are known");
            }
            Held::No => {}
        }
        if window.shape == self.shape && window.ring.is_none() {
            if let Some(seq) = seq {
                window.seqs.add(seq, self.settings.seq_intervals_max);
            }
            window.fold(
                &Run { batch: self.batch, ts: self.ts, rows: row..row + 1, arrival: self.met.arrival },
                None,
            );
            self.windows.account(id, before);
            self.ledger.in_open += u64::from(!self.replaying);
            return;
        }
        self.place_special(id, row, before);
    }

    /// One event that brings other fields than its window has, or whose window keeps raw events.
    fn place_special(&mut self, id: u32, row: usize, before: usize) {
        let Some((window, shapes)) = self.windows.with_shapes(id) else { return };
        let folded = self.class.aggregation == Aggregation::Folded;
        let single = one_event(self.batch, row, self.ts[row]);
        let Some(positions) = window.positions(&single, shapes) else {
            window.overflow = window.overflow.saturating_add(1);
            return self.overflow(row, "its window already has 64 fields");
        };
        let mut gone = Vec::new();
        if let Some(ring) = &mut window.ring {
            let event = RawEvent::of(&single, 0, self.ts[row], self.met.arrival, &positions);
            match ring.push(event, self.class.ring_events_max, self.class.overflow, self.class.horizon_ms) {
                Pushed::Kept => {}
                Pushed::Evicted(old) => gone = old,
                Pushed::Refused(_) if folded => self.counters.history_dropped += 1,
                Pushed::Refused(_) => {
                    window.overflow = window.overflow.saturating_add(1);
                    self.windows.account(id, before);
                    return self.overflow(row, "its window's ring is full");
                }
            }
        }
        // What has left is not counted any more: sent again, it is no duplicate.
        for seq in gone.iter().filter(|_| !folded).filter_map(|event| event.seq) {
            window.seqs.remove(seq, self.settings.seq_intervals_max);
        }
        if let Some(seq) = self.batch.seq.get(row) {
            window.seqs.add(*seq, self.settings.seq_intervals_max);
        }
        let run = Run { batch: &single, ts: &single.ts, rows: 0..1, arrival: self.met.arrival };
        match folded {
            true => window.fold(&run, Some(&positions)),
            false => window.count_events(1, self.met.arrival),
        }
        self.windows.account(id, before);
        if !self.replaying {
            self.ledger.in_open += 1;
        }
        self.evict_raw(id, &gone, folded);
    }

    /// Events that left a ring: history in folded mode, refused by `overflow` in buffered mode.
    fn evict_raw(&mut self, id: u32, gone: &[RawEvent], folded: bool) {
        if folded {
            self.counters.history_dropped += gone.len() as u64;
            return;
        }
        for event in gone {
            let Some(window) = self.windows.get_mut(id) else { return };
            window.count -= 1;
            window.overflow = window.overflow.saturating_add(1);
            if self.replaying {
                continue;
            }
            self.ledger.in_open -= 1;
            self.ledger.reasons[DropReason::Overflow.index()] += 1;
            let shape = window.shape;
            let names = self.windows.shapes.names(shape).iter();
            let mut batch =
                EventBatch { fields: names.map(|n| column(n)).collect(), ..EventBatch::default() };
            batch.stream_id.clone_from(&self.batch.stream_id);
            batch.arrival_ms = event.arrival;
            event.append_to(&mut batch);
            crate::ring::seal(&mut batch);
            self.send_refused(&batch, "it was the oldest of a full ring");
        }
    }

    fn overflow(&mut self, row: usize, detail: &'static str) {
        self.count(DropReason::Overflow, 1);
        if !self.replaying {
            let single = one_event(self.batch, row, self.ts[row]);
            self.send_refused(&single, detail);
        }
    }

    fn send_refused(&mut self, events: &EventBatch, detail: &'static str) {
        let (size_ms, offset) = (Some(self.size_ms), self.met.offset);
        (self.out)(Output::Refused(Refused {
            reason: DropReason::Overflow,
            detail,
            size_ms,
            offset,
            events,
        }));
    }

    fn count(&mut self, reason: DropReason, events: usize) {
        if !self.replaying {
            self.ledger.reasons[reason.index()] += events as u64;
        }
    }

    /// Events of a closed window: duplicates that the recent memory knows, else the late path.
    fn place_late(&mut self, series: &mut Series, t_start: i64, rows: Range<usize>) {
        if self.replaying {
            return; // the first run has sent them
        }
        self.touched = true;
        let window_id = t_start.div_euclid(self.size_ms);
        let key = (self.stream, self.series_at, window_id, self.batch.has_seq());
        for row in rows {
            if let Some(seq) = self.batch.seq.get(row).copied()
                && let Some(known) = series.recent_mut(window_id)
            {
                match known.held(seq) {
                    Held::Exact => {
                        self.count(DropReason::Duplicate, 1);
                        continue;
                    }
                    Held::Fuzzy => {}
                    // Into the copy, never into the row's set: the row has left.
                    Held::No => known.add(seq, self.settings.seq_intervals_max),
                }
            }
            self.late.push(key, self.size_ms, self.batch, row, self.ts[row], self.met.arrival);
            self.count(DropReason::Late, 1);
        }
    }

    /// The final mark follows the watermark; then at most `open-windows-max` windows stay open.
    fn close_by_log(&mut self, series: &mut Series, max_ts: i64) {
        let watermark = max_ts.saturating_sub(self.class.lateness_ms);
        if watermark >= series.closed_to.saturating_add(self.size_ms) || series.closed_to == NEVER {
            series.close_to(watermark.div_euclid(self.size_ms) * self.size_ms);
            let open = series.open.len();
            self.windows.close_reached(series, self.size_ms);
            self.touched |= series.open.len() != open;
        }
        while series.open.len() > self.settings.open_windows_max {
            let oldest = series.open[0];
            self.windows.close(series, oldest, self.size_ms, ClosedBy::Crowded);
        }
    }

    fn held_by_recent(&self, series: &mut Series, rows: &Range<usize>) -> bool {
        let seq = self.batch.seq.get(rows.start).copied();
        seq.is_some_and(|s| series.recent.iter().any(|(_, set)| set.held(s) != Held::No))
    }
}

fn column(name: &str) -> FieldColumn {
    FieldColumn { name: name.to_owned(), ..FieldColumn::default() }
}

/// Event `row` alone, at time `ts`.
fn one_event(batch: &EventBatch, row: usize, ts: i64) -> EventBatch {
    let mut single = EventBatch::default();
    restart(&mut single, batch);
    single.push_from(batch, row);
    single.ts[0] = ts;
    single
}
