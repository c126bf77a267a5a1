//! The recent points of a watched stream, by field: a bounded ring per field, in event time.
//!
//! Owns: the points and from when on they are complete. Never: an aggregate. What does not fit costs history and is
//! said so; a frame never claims a stretch in which a point is missing.

use evenkeel_model::EventBatch;
use evenkeel_model::limits::FIELDS_MAX;
use std::collections::VecDeque;

/// A value at an event time.
pub type Point = (i64, f64);

/// Bounds of one history.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Most points of one field.
    pub points_max: usize,
    /// How far back from the newest event time points are kept, ms.
    pub horizon_ms: i64,
    /// Bytes that it may still grow by.
    pub room_bytes: usize,
}

/// The points of one stream.
#[derive(Debug, Default)]
pub struct History {
    fields: Vec<Field>,
    span: Option<Span>,
    heap_bytes: usize,
    dropped: u64,
}

/// One field, by rising name in its history.
#[derive(Debug)]
struct Field {
    name: Box<str>,
    points: VecDeque<Point>,
}

/// What a history knows of time, ms.
#[derive(Debug, Clone, Copy)]
struct Span {
    /// Every point at or after this is here, of each field.
    complete_from: i64,
    newest: i64,
    /// A bound took points up to this time; `i64::MIN` = none.
    cut_to: i64,
}

impl History {
    /// Takes a batch's points, at times `ts`. Answers the earliest time at which something was added.
    pub fn take(&mut self, batch: &EventBatch, ts: &[i64], bounds: &Bounds) -> Option<i64> {
        let (first, last) = (*ts.iter().min()?, *ts.iter().max()?);
        let span = self.span.get_or_insert(Span { complete_from: first, newest: last, cut_to: i64::MIN });
        span.newest = span.newest.max(last);
        span.complete_from = span.complete_from.max(span.newest.saturating_sub(bounds.horizon_ms));
        let mut room_bytes = bounds.room_bytes;
        let mut earliest: Option<i64> = None;
        for column in &batch.fields {
            let Some(at) = self.field(&column.name, &mut room_bytes) else {
                self.cut(last);
                continue;
            };
            for (i, value) in column.values.iter().enumerate() {
                let row = column.rows.get(i).map_or(i, |row| *row as usize);
                let Some(&ts) = ts.get(row) else { continue };
                if self.put(at, (ts, *value), bounds.points_max, &mut room_bytes) {
                    earliest = Some(earliest.map_or(ts, |e| e.min(ts)));
                }
            }
        }
        self.forget_old();
        earliest
    }

    /// From when on every point is here, and the newest event time, ms; `None` before the first event.
    pub fn covers(&self) -> Option<(i64, i64)> {
        self.span.map(|span| (span.complete_from, span.newest))
    }

    /// Whether a bound took points within the last `horizon_ms`.
    pub fn is_cut(&self, horizon_ms: i64) -> bool {
        self.span.is_some_and(|span| span.cut_to >= span.newest.saturating_sub(horizon_ms))
    }

    /// Number of fields.
    pub fn fields(&self) -> usize {
        self.fields.len()
    }

    /// Each field with its points from `from` on, by rising name and time.
    pub fn since(&self, from: i64) -> impl Iterator<Item = (&str, impl Iterator<Item = Point>)> {
        self.fields.iter().map(move |field| {
            let first = field.points.partition_point(|(ts, _)| *ts < from);
            (&*field.name, field.points.range(first..).copied())
        })
    }

    /// Lets every point go; what comes from now on is kept again.
    pub fn clear(&mut self) {
        if self.fields.iter().any(|field| !field.points.is_empty()) {
            self.dropped += self.fields.iter().map(|field| field.points.len() as u64).sum::<u64>();
            let newest = self.span.map_or(0, |span| span.newest);
            self.cut(newest);
        }
        self.fields = Vec::new();
        self.heap_bytes = 0;
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.heap_bytes
    }

    /// Points that a bound took, or never let in, since the last call.
    pub fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    /// The place of a field, made if there is room; a window has at most so many names, too.
    fn field(&mut self, name: &str, room_bytes: &mut usize) -> Option<usize> {
        let at = match self.fields.binary_search_by(|field| (*field.name).cmp(name)) {
            Ok(at) => return Some(at),
            Err(at) => at,
        };
        let bytes = name.len() + 2 * size_of::<Field>();
        if self.fields.len() >= FIELDS_MAX || *room_bytes < bytes {
            self.dropped += 1;
            return None;
        }
        *room_bytes -= bytes;
        self.heap_bytes += bytes;
        self.fields.insert(at, Field { name: name.into(), points: VecDeque::new() });
        Some(at)
    }

    /// Adds a point in its place, unless the very same one is there. Whether it was added.
    fn put(&mut self, at: usize, point: Point, points_max: usize, room_bytes: &mut usize) -> bool {
        let complete_from = self.span.map_or(point.0, |span| span.complete_from);
        if point.0 < complete_from {
            return false; // before what can be claimed: it would stand there without its neighbours
        }
        let points = &mut self.fields[at].points;
        // Mostly it is the newest. Among equal times the order of arrival stays.
        let place = match points.back() {
            Some((ts, _)) if *ts > point.0 => points.partition_point(|(ts, _)| *ts <= point.0),
            _ => points.len(),
        };
        let same_time = points.range(..place).rev().take_while(|(ts, _)| *ts == point.0);
        if same_time.into_iter().any(|(_, value)| value.to_bits() == point.1.to_bits()) {
            return false;
        }
        if points.len() == points.capacity() && !grow(points, points_max, room_bytes, &mut self.heap_bytes) {
            self.dropped += 1;
            // The oldest leaves, and that may be the new one.
            let gone = if place == 0 { None } else { points.pop_front() };
            if gone.is_some() {
                points.insert(place - 1, point);
            }
            self.cut(gone.map_or(point.0, |(ts, _)| ts));
            return gone.is_some();
        }
        points.insert(place, point);
        true
    }

    /// Points at or before `ts` may be missing.
    fn cut(&mut self, ts: i64) {
        if let Some(span) = &mut self.span {
            span.cut_to = span.cut_to.max(ts);
            span.complete_from = span.complete_from.max(ts.saturating_add(1));
        }
    }

    /// What lies before the complete stretch is of no use any more.
    fn forget_old(&mut self) {
        let Some(span) = self.span else { return };
        for field in &mut self.fields {
            while field.points.front().is_some_and(|(ts, _)| *ts < span.complete_from) {
                field.points.pop_front();
            }
        }
    }
}

/// Makes room for more points, by doubling; `false` at `points_max` or without room in bytes.
fn grow(
    points: &mut VecDeque<Point>,
    points_max: usize,
    room_bytes: &mut usize,
    heap_bytes: &mut usize,
) -> bool {
    const LEAST: usize = 16;
    let before = points.capacity();
    let wanted = (2 * before).max(LEAST).min(points_max.max(1));
    let bytes = wanted.saturating_sub(before) * size_of::<Point>();
    if bytes == 0 || bytes > *room_bytes {
        return false;
    }
    points.reserve_exact(wanted - points.len());
    *room_bytes -= bytes;
    *heap_bytes += (points.capacity() - before) * size_of::<Point>();
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_model::FieldColumn;
    use proptest::prelude::*;

    const BOUNDS: Bounds = Bounds { points_max: 8, horizon_ms: 100, room_bytes: 1 << 20 };

    fn batch(ts: &[i64], value: impl Fn(usize) -> f64) -> EventBatch {
        let values = (0..ts.len()).map(value).collect();
        let fields = vec![FieldColumn { name: "g".into(), rows: vec![], values }];
        EventBatch { stream_id: "s".into(), ts: ts.to_vec(), fields, ..EventBatch::default() }
    }

    fn points(history: &History) -> Vec<Point> {
        history.since(i64::MIN).flat_map(|(_, points)| points).collect()
    }

    #[test]
    fn what_does_not_fit_is_the_oldest_and_shortens_what_is_claimed() {
        let mut history = History::default();
        let ts: Vec<i64> = (0..10).collect();
        assert_eq!(history.take(&batch(&ts, |i| i as f64), &ts, &BOUNDS), Some(0));
        assert_eq!(history.covers(), Some((2, 9)));
        assert!(history.is_cut(100) && !history.is_cut(7));
        assert_eq!(history.take_dropped(), 2);
        // Older than all that is kept: it would claim what is gone.
        assert_eq!(history.take(&batch(&[1], |_| 0.0), &[1], &BOUNDS), None);
        assert_eq!(points(&history).len(), 8);
    }

    #[test]
    fn a_history_claims_nothing_from_before_it_began() {
        let mut history = History::default();
        history.take(&batch(&[50], |_| 1.0), &[50], &BOUNDS);
        history.take(&batch(&[40], |_| 2.0), &[40], &BOUNDS);
        assert_eq!((history.covers(), points(&history)), (Some((50, 50)), vec![(50, 1.0)]));
        assert!(!history.is_cut(100));
    }

    #[test]
    fn a_repeated_point_is_one_point() {
        let mut history = History::default();
        assert_eq!(history.take(&batch(&[5, 5], |_| 1.0), &[5, 5], &BOUNDS), Some(5));
        assert_eq!(history.take(&batch(&[5, 5], |i| i as f64), &[5, 5], &BOUNDS), Some(5));
        assert_eq!(points(&history), vec![(5, 1.0), (5, 0.0)]);
    }

    #[test]
    fn without_room_nothing_is_kept_and_nothing_is_claimed() {
        let mut history = History::default();
        let bounds = Bounds { room_bytes: 64, ..BOUNDS };
        assert_eq!(history.take(&batch(&[5], |_| 1.0), &[5], &bounds), None);
        assert_eq!((points(&history).len(), history.covers()), (0, Some((6, 5))));
        history.take(&batch(&[7], |_| 1.0), &[7], &BOUNDS);
        assert_eq!((points(&history), history.covers()), (vec![(7, 1.0)], Some((6, 7))));
        history.clear();
        assert_eq!((points(&history).len(), history.covers(), history.heap_bytes()), (0, Some((8, 7)), 0));
    }

    proptest! {
        /// Whatever comes in whatever order: every point of the stretch that is claimed is there, in order, and
        /// bytes and points stay within their bounds.
        #[test]
        fn what_is_claimed_is_complete(
            steps in prop::collection::vec((-20i64..60, 0u8..4, prop::collection::vec(-30i64..=0, 0..5)), 1..60),
            points_max in 1usize..40,
            room in 0usize..4_000,
        ) {
            let (mut history, mut all, mut now) = (History::default(), Vec::<Point>::new(), 1_000);
            for (step, value, back) in steps {
                now += step.max(0);
                let ts: Vec<i64> = back.iter().map(|b| now + b).chain([now]).collect();
                let values = batch(&ts, |i| f64::from(value) + i as f64);
                let room_bytes = room.saturating_sub(history.heap_bytes());
                history.take(&values, &ts, &Bounds { points_max, horizon_ms: 100, room_bytes });
                all.extend(ts.iter().copied().zip(values.fields[0].values.iter().copied()));
                let claimed = history.covers().unwrap();
                prop_assert_eq!(claimed.1, all.iter().map(|p| p.0).max().unwrap());
                let mut want: Vec<Point> = all.iter().copied().filter(|p| p.0 >= claimed.0).collect();
                want.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
                want.dedup_by(|a, b| a == b);
                let mut got = points(&history);
                prop_assert!(got.is_sorted_by_key(|p| p.0));
                got.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
                prop_assert_eq!(got, want);
                prop_assert!(points(&history).len() <= points_max);
                prop_assert!(history.heap_bytes() <= room, "{} bytes", history.heap_bytes());
            }
        }
    }
}
