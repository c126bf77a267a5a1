//! All unsent windows of a partition: where they live, and the orders in which they are looked for.
//!
//! Owns: the slab of windows; the list in order of creation (its head is `replay_from`); the queue of
//! closed windows by `t_end`; the lowest `t_start` per size. Never: streams, time.

use crate::open::{NONE, Window};
use crate::sabotage::Sabotage;
use crate::seqset::SeqSet;
use crate::shape::{ShapeId, Shapes};
use crate::slab::Slab;
use crate::stream::Series;
use evenkeel_model::ClosedBy;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// The unsent windows of one partition.
#[derive(Debug)]
pub struct Windows {
    slab: Slab<Window>,
    /// Field-name lists of the windows.
    pub shapes: Shapes,
    oldest: u32,
    newest: u32,
    due: BinaryHeap<Reverse<Due>>,
    /// Per (size, t_start): how many unsent windows, so that the floor never passes one.
    starts: BTreeMap<(i64, i64), u32>,
    heap_bytes: usize,
}

/// A closed window in the order its row leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Due {
    /// End of the window, ms.
    pub t_end: i64,
    /// Offset of its first event.
    pub first_offset: u64,
    /// Its slot.
    pub window: u32,
}

/// What a new window starts from.
#[derive(Debug, Clone, Copy)]
pub struct Birth {
    /// Start, ms.
    pub t_start: i64,
    /// Length, ms.
    pub size_ms: i64,
    /// Slot of its stream.
    pub stream: u32,
    /// Position of the size in the class.
    pub series: u8,
    /// Field names.
    pub shape: ShapeId,
    /// Whether it accumulates (not in buffered mode).
    pub folded: bool,
    /// Whether it keeps raw events.
    pub keeps_events: bool,
    /// Offset of the record.
    pub offset: u64,
    /// Log clock before the record, ms.
    pub clock_before: i64,
    /// Arrival, ms.
    pub arrival: i64,
}

impl Windows {
    /// None yet.
    pub fn new(seed: u64) -> Self {
        Self {
            slab: Slab::default(),
            shapes: Shapes::new(seed),
            oldest: NONE,
            newest: NONE,
            due: BinaryHeap::new(),
            starts: BTreeMap::new(),
            heap_bytes: 0,
        }
    }

    /// Number of unsent windows.
    pub fn len(&self) -> usize {
        self.slab.len()
    }

    /// A window.
    #[inline]
    pub fn get(&self, id: u32) -> Option<&Window> {
        self.slab.get(id)
    }

    /// A window. After a change of its heap, report it by [`Self::account`].
    #[inline]
    pub fn get_mut(&mut self, id: u32) -> Option<&mut Window> {
        self.slab.get_mut(id)
    }

    /// A window and the field names.
    #[inline]
    pub fn with_shapes(&mut self, id: u32) -> Option<(&mut Window, &mut Shapes)> {
        Some((self.slab.get_mut(id)?, &mut self.shapes))
    }

    /// Opens a window: the newest of the list.
    pub fn create(&mut self, birth: &Birth) -> u32 {
        let names = if birth.folded { self.shapes.names(birth.shape).len() } else { 0 };
        let mut fields = Vec::new();
        fields.reserve_exact(names);
        fields.resize(names, Default::default());
        let window = Window {
            t_start: birth.t_start,
            stream: birth.stream,
            series: birth.series,
            closed_by: None,
            folded: birth.folded,
            shape: birth.shape,
            fields,
            count: 0,
            first_offset: birth.offset,
            clock_before: birth.clock_before,
            first_arrival: birth.arrival,
            last_arrival: birth.arrival,
            seqs: SeqSet::default(),
            duplicates: 0,
            overflow: 0,
            ring: birth.keeps_events.then(Box::default),
            older: self.newest,
            newer: NONE,
        };
        self.shapes.acquire(birth.shape);
        self.heap_bytes += window.heap_bytes();
        let id = self.slab.insert(window);
        match self.slab.get_mut(self.newest) {
            Some(newest) => newest.newer = id,
            None => self.oldest = id,
        }
        self.newest = id;
        *self.starts.entry((birth.size_ms, birth.t_start)).or_default() += 1;
        id
    }

    /// Closes an open window of a series: it becomes pending, and the final mark moves (EK-WIN-2).
    pub fn close(&mut self, series: &mut Series, id: u32, size_ms: i64, by: ClosedBy) {
        let Some(window) = self.slab.get_mut(id) else { return };
        window.closed_by = Some(by);
        let t_end = window.t_start + size_ms;
        series.open.retain(|w| *w != id);
        series.pending.push_back(id);
        series.close_to(t_end);
        series.remember(window.t_start.div_euclid(size_ms), &window.seqs);
        self.due.push(Reverse(Due { t_end, first_offset: window.first_offset, window: id }));
    }

    /// Closes every open window that the final mark has reached.
    pub fn close_reached(&mut self, series: &mut Series, size_ms: i64) {
        while let Some(&id) = series.open.first() {
            let reached = self.slab.get(id).is_none_or(|w| w.t_start + size_ms <= series.closed_to);
            if !reached {
                break;
            }
            self.close(series, id, size_ms, ClosedBy::Watermark);
        }
    }

    /// Takes a window out: its row has left.
    pub fn remove(&mut self, id: u32, size_ms: i64) -> Option<Window> {
        let window = self.slab.remove(id)?;
        match self.slab.get_mut(window.older) {
            Some(older) => older.newer = window.newer,
            None => self.oldest = window.newer,
        }
        match self.slab.get_mut(window.newer) {
            Some(newer) => newer.older = window.older,
            None => self.newest = window.older,
        }
        self.shapes.release(window.shape);
        self.heap_bytes -= window.heap_bytes();
        if let Some(n) = self.starts.get_mut(&(size_ms, window.t_start)) {
            *n -= 1;
            if *n == 0 {
                self.starts.remove(&(size_ms, window.t_start));
            }
        }
        Some(window)
    }

    /// A window's heap changed from `before` bytes.
    pub fn account(&mut self, id: u32, before: usize) {
        let after = self.slab.get(id).map_or(0, Window::heap_bytes);
        self.heap_bytes = self.heap_bytes + after - before;
    }

    /// The next closed window by `(t_end, first_offset)` whose row has not left; it stays in the queue.
    pub fn peek_due(&mut self) -> Option<Due> {
        while let Some(Reverse(due)) = self.due.peek().copied() {
            let waits = |w: &Window| w.closed_by.is_some() && w.first_offset == due.first_offset;
            if self.slab.get(due.window).is_some_and(waits) {
                return Some(due);
            }
            self.due.pop();
        }
        if self.due.capacity() > 1024 && self.due.is_empty() {
            self.due.shrink_to(1024);
        }
        None
    }

    /// The oldest unsent window: `(first_offset, log clock before it)`.
    pub fn replay_from(&self) -> Option<(u64, i64)> {
        if Sabotage::PendingNotInReplayFrom.is_on() || Sabotage::ReplayFromBaseSizeOnly.is_on() {
            let pending = Sabotage::ReplayFromBaseSizeOnly.is_on();
            let counts = |w: &Window| if pending { w.series == 0 } else { w.closed_by.is_none() };
            return self.in_order().find(|(_, w)| counts(w)).map(|(_, w)| (w.first_offset, w.clock_before));
        }
        self.slab.get(self.oldest).map(|w| (w.first_offset, w.clock_before))
    }

    /// Windows in order of creation.
    pub fn in_order(&self) -> impl Iterator<Item = (u32, &Window)> {
        let mut next = self.oldest;
        std::iter::from_fn(move || {
            let window = self.slab.get(next)?;
            let id = std::mem::replace(&mut next, window.newer);
            Some((id, window))
        })
    }

    /// Lowest start of an unsent window, ms.
    pub fn lowest_start(&self) -> Option<i64> {
        let mut lowest = None;
        let mut size = i64::MIN;
        while let Some((&(s, start), _)) = self.starts.range((size, i64::MIN)..).next() {
            lowest = Some(lowest.map_or(start, |l: i64| l.min(start)));
            size = s + 1;
        }
        lowest
    }

    /// Lowest end of an unsent window, ms.
    pub fn lowest_end(&self) -> Option<i64> {
        let (mut lowest, mut size) = (None, i64::MIN);
        while let Some((&(s, start), _)) = self.starts.range((size, i64::MIN)..).next() {
            lowest = Some(lowest.map_or(start + s, |l: i64| l.min(start + s)));
            size = s + 1;
        }
        lowest
    }

    /// Closed windows that wait for their tick; some may have left another way.
    pub fn due_len(&self) -> usize {
        self.due.len().min(self.slab.len())
    }

    /// Bytes in use.
    pub fn used_bytes(&self) -> usize {
        self.slab.used_bytes()
            + self.heap_bytes
            + self.shapes.allocated_bytes()
            + self.due.len() * size_of::<Due>()
    }

    /// Bytes allocated.
    pub fn allocated_bytes(&self) -> usize {
        self.slab.allocated_bytes()
            + self.heap_bytes
            + self.shapes.allocated_bytes()
            + self.due.capacity() * size_of::<Due>()
            + self.starts.len() * 48
    }
}
