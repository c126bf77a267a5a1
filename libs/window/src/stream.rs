//! What the core holds of one stream: its clock, and per size its marks and unsent windows.
//!
//! Keeps: EK-WIN-2 (final moves forward only).

use crate::seqset::SeqSet;
use smallvec::SmallVec;
use std::collections::VecDeque;

/// Before every time.
pub const NEVER: i64 = i64::MIN;

/// How many closed windows of a series keep their seq set: a cost saver, not state.
pub const RECENT_MAX: usize = 2;

/// One stream.
#[derive(Debug)]
pub struct Stream {
    /// Its id.
    pub id: Box<str>,
    /// Position of its class.
    pub class: u8,
    /// Largest event time that passed `too_old`, ms; [`NEVER`] before the first.
    pub max_ts: i64,
    /// Largest arrival, ms.
    pub last_arrival: i64,
    /// When the wheel looks at it next, live clock, ms.
    pub check_at: i64,
    /// Live clock when its newest row that no Mark covers was sent; [`NEVER`] if there is none.
    pub row_sent: i64,
    /// Heap bytes as last accounted in the registry.
    pub accounted: usize,
    /// One per size of its class.
    pub series: SmallVec<[Series; 2]>,
}

/// One (stream, size).
#[derive(Debug)]
pub struct Series {
    /// Final mark, ms: windows with `t_end ≤ final` are closed.
    pub closed_to: i64,
    /// Largest `t_end` whose row has left, ms.
    pub emitted: i64,
    /// Open windows, rising by start.
    pub open: SmallVec<[u32; 2]>,
    /// Closed windows whose row has not left, rising by start.
    pub pending: VecDeque<u32>,
    /// The seq sets of the last closed windows, by window id.
    pub recent: Vec<(i64, SeqSet)>,
    /// The epoch (see `rows.rs`) of its newest row that no Mark covers.
    pub row_epoch: Option<u64>,
}

impl Stream {
    /// A stream without history.
    pub fn new(id: &str, class: u8, sizes: usize) -> Self {
        Self {
            id: id.into(),
            class,
            max_ts: NEVER,
            last_arrival: NEVER,
            check_at: NEVER,
            row_sent: NEVER,
            accounted: 0,
            series: (0..sizes).map(|_| Series::default()).collect(),
        }
    }

    /// Whether a window of any size is open or pending.
    pub fn has_unsent(&self) -> bool {
        self.series.iter().any(|s| !s.open.is_empty() || !s.pending.is_empty())
    }

    /// Bytes on the heap, without its windows.
    pub fn heap_bytes(&self) -> usize {
        let series = if self.series.spilled() { self.series.capacity() * size_of::<Series>() } else { 0 };
        self.id.len().max(8).next_multiple_of(8)
            + series
            + self.series.iter().map(Series::heap_bytes).sum::<usize>()
    }
}

impl Default for Series {
    fn default() -> Self {
        Self {
            closed_to: NEVER,
            emitted: NEVER,
            open: SmallVec::new(),
            pending: VecDeque::new(),
            recent: Vec::new(),
            row_epoch: None,
        }
    }
}

impl Series {
    /// The final mark moves to `to`, never back (EK-WIN-2).
    pub fn close_to(&mut self, to: i64) {
        self.closed_to = self.closed_to.max(to);
    }

    /// The oldest window whose row has not left.
    pub fn oldest_unsent(&self) -> Option<u32> {
        self.pending.front().or(self.open.first()).copied()
    }

    /// Every window whose row has not left, rising by start.
    pub fn unsent(&self) -> impl Iterator<Item = u32> {
        self.pending.iter().chain(self.open.iter()).copied()
    }

    /// Keeps the seq set of a closed window.
    pub fn remember(&mut self, window_id: i64, seqs: &SeqSet) {
        if seqs.ranges().is_empty() {
            return;
        }
        if self.recent.len() >= RECENT_MAX
            && let Some(oldest) = (0..self.recent.len()).min_by_key(|&i| self.recent[i].0)
        {
            if self.recent[oldest].0 > window_id {
                return;
            }
            self.recent[oldest] = (window_id, seqs.clone());
            return;
        }
        self.recent.reserve_exact(1);
        self.recent.push((window_id, seqs.clone()));
    }

    /// The kept seq set of a closed window.
    pub fn recent_mut(&mut self, window_id: i64) -> Option<&mut SeqSet> {
        self.recent.iter_mut().find(|(id, _)| *id == window_id).map(|(_, seqs)| seqs)
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        let open = if self.open.spilled() { self.open.capacity() * 4 } else { 0 };
        let seqs: usize = self.recent.iter().map(|(_, s)| s.heap_bytes()).sum();
        open + self.pending.capacity() * 4 + self.recent.capacity() * size_of::<(i64, SeqSet)>() + seqs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_final_mark_never_moves_back() {
        let mut series = Series::default(); // EK-WIN-2
        series.close_to(10);
        series.close_to(5);
        assert_eq!(series.closed_to, 10);
    }

    #[test]
    fn the_recent_memory_holds_the_last_windows_whole() {
        let mut series = Series::default();
        let mut set = SeqSet::default();
        set.add(7, 4);
        for window_id in [1, 2, 3] {
            series.remember(window_id, &set);
        }
        assert!(series.recent_mut(1).is_none());
        assert!(series.recent_mut(3).is_some());
        assert_eq!(series.recent.len(), RECENT_MAX);
    }
}
