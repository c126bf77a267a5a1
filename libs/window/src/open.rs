//! One window, open or pending: where events fold until its row leaves.
//!
//! Owns: accumulators, counted seqs, raw events. Never: a clock, a log, another window.

use crate::accumulate::{Accumulator, Ends, Moment, Moments, RUN_MIN};
use crate::ring::{RawEvent, Ring, seal};
use crate::seqset::SeqSet;
use crate::shape::{ShapeId, Shapes};
use evenkeel_model::limits::FIELDS_MAX;
use evenkeel_model::{ClosedBy, DropReason, EventBatch, FieldColumn, FieldStats, WindowRow, WindowSpan};
use std::ops::Range;

/// About how many bytes of raw events a row carries at most, the newest ones: the log would not take a
/// larger record. The row's statistics are of all its events.
pub const ROW_EVENTS_BYTES_MAX: usize = 512 * 1024;

/// No window: the end of a list.
pub const NONE: u32 = u32::MAX;

/// A window that has events and whose row has not left.
#[derive(Debug)]
pub struct Window {
    /// Start, ms.
    pub t_start: i64,
    /// Its stream's slot.
    pub stream: u32,
    /// Its series: position of the size in the class.
    pub series: u8,
    /// `None` while open.
    pub closed_by: Option<ClosedBy>,
    /// Whether events fold into `fields` on arrival; else the row is computed from the ring.
    pub folded: bool,
    /// Field names, in the order of `fields`.
    pub shape: ShapeId,
    /// One accumulator per name; empty in buffered mode.
    pub fields: Vec<Accumulator>,
    /// Counted events.
    pub count: u64,
    /// Offset of the record of its first event.
    pub first_offset: u64,
    /// The log clock just before that record, ms.
    pub clock_before: i64,
    /// Smallest arrival of a counted event, ms.
    pub first_arrival: i64,
    /// Largest arrival of a counted event, ms.
    pub last_arrival: i64,
    /// Counted seqs.
    pub seqs: SeqSet,
    /// Duplicates it refused.
    pub duplicates: u32,
    /// Overflow it refused.
    pub overflow: u32,
    /// Raw events, where the class keeps them.
    pub ring: Option<Box<Ring>>,
    /// Neighbours in order of creation (= of `first_offset`).
    pub older: u32,
    /// See `older`.
    pub newer: u32,
}

/// A run of consecutive events of one batch that fall into one window.
#[derive(Debug, Clone)]
pub struct Run<'a> {
    /// The batch.
    pub batch: &'a EventBatch,
    /// Event times (the batch's own, or its arrival where the class says so), ms.
    pub ts: &'a [i64],
    /// Which events.
    pub rows: Range<usize>,
    /// Arrival of the batch, ms.
    pub arrival: i64,
}

impl Window {
    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.fields.capacity() * size_of::<Accumulator>()
            + self.seqs.heap_bytes()
            + self.ring.as_ref().map_or(0, |r| r.heap_bytes() + size_of::<Ring>())
    }

    /// The positions of a batch's columns in this window, adding names it lacks; `None` if more than
    /// [`FIELDS_MAX`] names would be needed (nothing is added then).
    pub fn positions(&mut self, batch: &EventBatch, shapes: &mut Shapes) -> Option<Vec<u16>> {
        let have = shapes.names(self.shape);
        let mut fresh: Vec<&str> = Vec::new();
        let mut positions = Vec::with_capacity(batch.fields.len());
        for column in &batch.fields {
            let known = have.iter().position(|n| **n == *column.name);
            positions.push(known.unwrap_or_else(|| {
                fresh.push(&column.name);
                have.len() + fresh.len() - 1
            }) as u16);
        }
        if have.len() + fresh.len() > FIELDS_MAX {
            return None;
        }
        if !fresh.is_empty() {
            let all: Vec<Box<str>> = have.iter().cloned().chain(fresh.into_iter().map(Box::from)).collect();
            let shape = shapes.intern(all.iter().map(|n| &**n));
            shapes.acquire(shape);
            shapes.release(self.shape);
            self.shape = shape;
            if self.folded {
                self.fields.reserve_exact(all.len() - self.fields.len());
                self.fields.resize(all.len(), Accumulator::default());
            }
        }
        Some(positions)
    }

    /// Folds one event one to one: [`Self::fold`] for a run of one, which is what most devices send.
    #[inline]
    fn fold_single(&mut self, run: &Run<'_>) {
        let row = run.rows.start;
        let at = run.moment(row, self.t_start);
        for (field, column) in self.fields.iter_mut().zip(&run.batch.fields) {
            let value = match column.rows.is_empty() {
                true => column.values.get(row),
                false => column.rows.binary_search(&(row as u32)).ok().and_then(|i| column.values.get(i)),
            };
            if let Some(value) = value {
                field.fold_one(*value, at);
            }
        }
        self.count_events(1, run.arrival);
    }

    /// Folds a run whose columns stand at `positions` (`None` = one to one).
    #[inline]
    pub fn fold(&mut self, run: &Run<'_>, positions: Option<&[u16]>) {
        if run.rows.len() == 1 && positions.is_none() {
            return self.fold_single(run);
        }
        let ends = run.ends(self.t_start);
        for (at, column) in run.batch.fields.iter().enumerate() {
            let slot = positions.map_or(at, |p| p[at] as usize);
            let Some(field) = self.fields.get_mut(slot) else { continue };
            if column.rows.is_empty() {
                field.fold_run(&column.values[run.rows.clone()], &ends);
            } else {
                fold_sparse(field, column, run, self.t_start);
            }
        }
        self.count_events(run.rows.len() as u64, run.arrival);
    }

    /// [`Self::fold`] one to one, with the moments of the run's columns shared with the other sizes.
    #[inline]
    pub fn fold_shared(&mut self, run: &Run<'_>, shared: &mut SharedMoments) {
        if run.rows.len() < RUN_MIN {
            return self.fold(run, None);
        }
        let ends = run.ends(self.t_start);
        let columns = run.batch.fields.iter().zip(shared.of(run));
        for (field, (column, moments)) in self.fields.iter_mut().zip(columns) {
            match moments {
                Some(moments) => field.fold_moments(&column.values[run.rows.clone()], moments, &ends),
                None => fold_sparse(field, column, run, self.t_start),
            }
        }
        self.count_events(run.rows.len() as u64, run.arrival);
    }

    /// Counts `events` that arrived at `arrival`.
    #[inline]
    pub fn count_events(&mut self, events: u64, arrival: i64) {
        self.count += events;
        self.first_arrival = self.first_arrival.min(arrival);
        self.last_arrival = self.last_arrival.max(arrival);
    }

    /// Writes the row. `max_ts`: largest event time of the stream now, ms.
    pub fn write_row(
        &self,
        id: &str,
        size_ms: i64,
        max_ts: i64,
        shapes: &Shapes,
        include_events: bool,
        row: &mut WindowRow,
    ) {
        row.stream_id.clear();
        row.stream_id.push_str(id);
        row.span = WindowSpan { size_ms, window_id: self.t_start.div_euclid(size_ms) };
        row.closed_by = self.closed_by.unwrap_or(ClosedBy::End);
        row.max_ts = max_ts;
        (row.first_arrival, row.last_arrival, row.count) =
            (self.first_arrival, self.last_arrival, self.count);
        row.seqs.clear();
        row.seqs.extend_from_slice(self.seqs.ranges());
        row.dropped.clear();
        for (reason, n) in [(DropReason::Duplicate, self.duplicates), (DropReason::Overflow, self.overflow)] {
            if n > 0 {
                row.dropped.push((reason, u64::from(n)));
            }
        }
        row.events = None;
        if let Some(ring) = &self.ring {
            row.events =
                include_events.then(|| self.raw_events(id, ring.newest(ROW_EVENTS_BYTES_MAX), shapes));
            if !self.folded {
                let arrivals = || ring.iter().map(|e| e.arrival);
                row.first_arrival = arrivals().min().unwrap_or(self.first_arrival);
                row.last_arrival = arrivals().max().unwrap_or(self.last_arrival);
                return stats_of(&self.raw_events(id, ring.iter(), shapes), self.t_start, &mut row.stats);
            }
        }
        let names = shapes.names(self.shape);
        let present = shapes.by_name(self.shape).iter().map(|&at| at as usize);
        let present = present.filter(|&at| self.fields.get(at).is_some_and(|f| f.count() > 0));
        let mut written = 0;
        for at in present {
            if row.stats.len() <= written {
                row.stats.push(FieldStats::default());
            }
            self.fields[at].write(self.t_start, &names[at], &mut row.stats[written]);
            written += 1;
        }
        row.stats.truncate(written);
    }

    fn raw_events<'a>(
        &self,
        id: &str,
        events: impl Iterator<Item = &'a RawEvent>,
        shapes: &Shapes,
    ) -> EventBatch {
        let names = shapes.names(self.shape);
        let column = |name: &str| FieldColumn { name: name.to_owned(), ..FieldColumn::default() };
        let mut batch = EventBatch {
            stream_id: id.to_owned(),
            arrival_ms: self.first_arrival,
            fields: names.iter().map(|name| column(name)).collect(),
            ..EventBatch::default()
        };
        events.for_each(|event| event.append_to(&mut batch));
        seal(&mut batch);
        batch
    }
}

/// The moments of the newest run's columns. Windows of several sizes fold the same runs; each is still folded
/// from events, the sums over a run are just not done twice.
#[derive(Debug, Default)]
pub struct SharedMoments {
    rows: Range<usize>,
    /// `None` = a sparse column.
    columns: Vec<Option<Moments>>,
}

impl SharedMoments {
    /// Another batch comes.
    pub fn forget(&mut self) {
        self.rows = 0..0;
    }

    fn of(&mut self, run: &Run<'_>) -> &[Option<Moments>] {
        if self.rows != run.rows {
            self.rows = run.rows.clone();
            self.columns.clear();
            let columns = run.batch.fields.iter();
            self.columns
                .extend(columns.map(|c| c.rows.is_empty().then(|| Moments::of(&c.values[run.rows.clone()]))));
        }
        &self.columns
    }
}

/// The statistics of a batch computed at once: buffered mode.
fn stats_of(events: &EventBatch, t_start: i64, stats: &mut Vec<FieldStats>) {
    let run = Run { batch: events, ts: &events.ts, rows: 0..events.len(), arrival: 0 };
    stats.clear();
    for column in &events.fields {
        let mut field = Accumulator::default();
        if column.rows.is_empty() {
            field.fold_run(&column.values, &run.ends(t_start));
        } else {
            fold_sparse(&mut field, column, &run, t_start);
        }
        let mut out = FieldStats::default();
        field.write(t_start, &column.name, &mut out);
        stats.push(out);
    }
    stats.sort_unstable_by(|a, b| a.name.cmp(&b.name));
}

fn fold_sparse(field: &mut Accumulator, column: &FieldColumn, run: &Run<'_>, t_start: i64) {
    let from = column.rows.partition_point(|&r| (r as usize) < run.rows.start);
    for (row, value) in column.rows[from..].iter().zip(&column.values[from..]) {
        if *row as usize >= run.rows.end {
            break;
        }
        field.fold_one(*value, run.moment(*row as usize, t_start));
    }
}

impl Run<'_> {
    #[inline]
    fn moment(&self, row: usize, t_start: i64) -> Moment {
        Moment {
            offset_ms: (self.ts[row] - t_start) as u32,
            seq: self.batch.seq.get(row).copied().unwrap_or(0),
        }
    }

    /// The earliest and the latest event of the run.
    #[inline]
    fn ends(&self, t_start: i64) -> Ends {
        let mut first = self.moment(self.rows.start, t_start);
        let seqs = self.batch.seq.get(self.rows.clone()).unwrap_or_default();
        if self.ts[self.rows.clone()].is_sorted() && seqs.is_sorted() {
            let last = self.moment(self.rows.end - 1, t_start);
            return Ends { first_at: 0, first, last_at: self.rows.len() - 1, last };
        }
        let (mut last, mut first_at, mut last_at) = (first, 0, 0);
        for (at, row) in self.rows.clone().enumerate().skip(1) {
            let moment = self.moment(row, t_start);
            if moment < first {
                (first, first_at) = (moment, at);
            }
            if moment >= last {
                (last, last_at) = (moment, at);
            }
        }
        Ends { first_at, first, last_at, last }
    }
}
