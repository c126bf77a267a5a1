//! Window rows, late records, marks, stored rows.

use crate::{ClosedBy, DropReason, EventBatch, FieldStats};

/// Where a window lies: aligned to the epoch, `[t_start, t_end)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WindowSpan {
    /// Length, ms. At least 1.
    pub size_ms: i64,
    /// `floor(ts / size)`.
    pub window_id: i64,
}

impl WindowSpan {
    /// The window of `size_ms` that holds `ts`.
    pub const fn of(ts: i64, size_ms: i64) -> Self {
        Self { size_ms, window_id: ts.div_euclid(size_ms) }
    }

    /// First millisecond of the window.
    pub const fn t_start(self) -> i64 {
        self.window_id * self.size_ms
    }

    /// First millisecond after the window.
    pub const fn t_end(self) -> i64 {
        (self.window_id + 1) * self.size_ms
    }
}

/// An interval of counted sequence numbers, both ends included. `count < hi - lo + 1` = fuzzy: it is not
/// known which of them are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeqRange {
    /// Lowest seq.
    pub lo: u64,
    /// Highest seq, not below `lo`.
    pub hi: u64,
    /// How many seqs of the interval are counted: 1 ..= hi − lo + 1.
    pub count: u64,
}

impl SeqRange {
    /// Whether every seq of the interval is counted.
    pub const fn is_exact(&self) -> bool {
        self.count == (self.hi - self.lo).saturating_add(1)
    }
}

/// What a window came to: sent once by the coalescer when the window closes (`kind = row`).
#[derive(Debug, Clone, PartialEq)]
pub struct WindowRow {
    /// The stream.
    pub stream_id: String,
    /// Size and id of the window.
    pub span: WindowSpan,
    /// What closed it.
    pub closed_by: ClosedBy,
    /// Largest event time of the stream when the row was sent, ms.
    pub max_ts: i64,
    /// Arrival of the first counted event, ms.
    pub first_arrival: i64,
    /// Arrival of the last counted event, ms.
    pub last_arrival: i64,
    /// Number of counted events.
    pub count: u64,
    /// The counted seqs, rising, disjoint. Empty for events without seq.
    pub seqs: Vec<SeqRange>,
    /// What this window refused, by reason, rising by reason, no zeros. Informative only.
    pub dropped: Vec<(DropReason, u64)>,
    /// Statistics by field, rising by name.
    pub stats: Vec<FieldStats>,
    /// The raw events in log order, if the class includes them.
    pub events: Option<EventBatch>,
}

impl WindowRow {
    /// Lowest and highest counted seq, if any.
    pub fn seq_bounds(&self) -> Option<(u64, u64)> {
        Some((self.seqs.first()?.lo, self.seqs.last()?.hi))
    }

    /// How many seqs between the lowest and the highest are not counted: gaps inside the window.
    pub fn missing(&self) -> u64 {
        let Some((lo, hi)) = self.seq_bounds() else { return 0 };
        let counted = self.seqs.iter().fold(0u64, |sum, r| sum.saturating_add(r.count));
        (hi - lo).saturating_add(1).saturating_sub(counted)
    }
}

/// The late events of one (stream, size, window) of one tick, in log order (`kind = late`).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LateRecord {
    /// Window size, ms.
    pub size_ms: i64,
    /// `floor(ts / size)` of every event in `events`.
    pub window_id: i64,
    /// Arrival per event, ms (the events may stem from several batches).
    pub arrivals: Vec<i64>,
    /// The events; `stream_id` names the stream, `arrival_ms` is the smallest of `arrivals`.
    pub events: EventBatch,
}

/// How far the rows of a quiet stream have left.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mark {
    /// The stream.
    pub stream_id: String,
    /// `(size_ms, emitted)`, rising by size: the largest `t_end` whose row has left, ms.
    pub emitted: Vec<(i64, i64)>,
    /// Largest event time of the stream, ms.
    pub max_ts: i64,
}

/// A row as the store holds it: the sent row, and what late events added since.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredRow {
    /// The content.
    pub row: WindowRow,
    /// Number of late events merged so far; 0 = as the coalescer sent it. At most
    /// [`crate::limits::LATE_MERGED_MAX`].
    pub revision: u32,
    /// Offset of the last late record that merged something; −1 = none yet.
    pub late_offset: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_align_to_the_epoch_also_before_it() {
        let span = WindowSpan::of(12_345, 5_000);
        assert_eq!((span.window_id, span.t_start(), span.t_end()), (2, 10_000, 15_000));
        assert_eq!(WindowSpan::of(15_000, 5_000).window_id, 3);
        assert_eq!(WindowSpan::of(-1, 5_000).t_start(), -5_000);
    }

    #[test]
    fn missing_counts_gaps_and_fuzzy_holes() {
        let mut row = WindowRow {
            stream_id: "s".into(),
            span: WindowSpan::of(0, 5),
            closed_by: ClosedBy::End,
            max_ts: 0,
            first_arrival: 0,
            last_arrival: 0,
            count: 6,
            seqs: vec![SeqRange { lo: 1, hi: 4, count: 4 }, SeqRange { lo: 7, hi: 10, count: 2 }],
            dropped: vec![],
            stats: vec![],
            events: None,
        };
        assert_eq!(row.missing(), 4);
        assert_eq!(row.seq_bounds(), Some((1, 10)));
        row.seqs = vec![SeqRange { lo: 0, hi: u64::MAX, count: 1 }];
        assert_eq!(row.missing(), u64::MAX - 1);
        row.seqs.clear();
        assert_eq!((row.missing(), row.seq_bounds()), (0, None));
    }
}
