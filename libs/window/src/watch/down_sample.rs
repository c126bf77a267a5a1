//! Down-sampling for a chart: of each bucket the first, the lowest, the highest and the last point.
//!
//! After U. Jugel et al., "M4: A Visualization-Oriented Time Series Data Aggregation", VLDB 2014: a line through these
//! four points of each pixel column draws what a line through all points would. Buckets lie at multiples of their
//! width, so that the same points come out whichever stretch is asked for.

use crate::watch::history::Point;
use evenkeel_model::Series;
use evenkeel_model::frame::limits::FRAME_POINTS_MAX;

/// Most buckets over a horizon.
pub const BUCKETS_MAX: i64 = 240;
/// Points of a bucket at most.
const PER_BUCKET: usize = 4;

/// The width of a bucket, ms, so that a frame over the whole horizon has at most [`BUCKETS_MAX`] buckets and
/// [`FRAME_POINTS_MAX`] points, the two half buckets at its ends included.
pub fn bucket_ms(horizon_ms: i64, fields: usize) -> i64 {
    let by_points = FRAME_POINTS_MAX / (PER_BUCKET * fields.max(1));
    let buckets = BUCKETS_MAX.min(by_points as i64).saturating_sub(2).max(1);
    (horizon_ms / buckets + 1).max(1)
}

/// Appends what is left of `points`, which rise by time, to `out`.
pub fn down_sample(points: impl Iterator<Item = Point>, bucket_ms: i64, out: &mut Series) {
    let mut bucket: Option<Bucket> = None;
    for point in points {
        let number = point.0.div_euclid(bucket_ms);
        match &mut bucket {
            Some(open) if open.number == number => open.add(point),
            _ => {
                if let Some(full) = bucket.replace(Bucket::new(number, point)) {
                    full.write(out);
                }
            }
        }
    }
    if let Some(last) = bucket {
        last.write(out);
    }
}

/// The points of a bucket that count, each with its place among all.
struct Bucket {
    number: i64,
    points: u32,
    first: (u32, Point),
    low: (u32, Point),
    high: (u32, Point),
    last: (u32, Point),
}

impl Bucket {
    fn new(number: i64, point: Point) -> Self {
        let first = (0, point);
        Self { number, points: 1, first, low: first, high: first, last: first }
    }

    fn add(&mut self, point: Point) {
        let placed = (self.points, point);
        self.points += 1;
        if point.1 < self.low.1.1 {
            self.low = placed;
        }
        if point.1 > self.high.1.1 {
            self.high = placed;
        }
        self.last = placed;
    }

    fn write(self, out: &mut Series) {
        let mut chosen = [self.first, self.low, self.high, self.last];
        chosen.sort_unstable_by_key(|(place, _)| *place);
        let mut before = None;
        for (place, (ts, value)) in chosen {
            if before.replace(place) != Some(place) {
                out.ts.push(ts);
                out.values.push(value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(points: &[Point], bucket_ms: i64) -> Vec<Point> {
        let mut series = Series::default();
        down_sample(points.iter().copied(), bucket_ms, &mut series);
        series.ts.into_iter().zip(series.values).collect()
    }

    #[test]
    fn a_bucket_keeps_four_points_in_their_order() {
        let points = [(10, 3.0), (11, 9.0), (12, 4.0), (13, 1.0), (14, 5.0), (20, 2.0)];
        assert_eq!(of(&points, 10), [(10, 3.0), (11, 9.0), (13, 1.0), (14, 5.0), (20, 2.0)]);
        assert_eq!(of(&points[..1], 10), [(10, 3.0)]);
        assert_eq!(of(&[], 10), []);
    }

    #[test]
    fn a_whole_horizon_fits_a_frame_whatever_the_number_of_fields() {
        for (horizon_ms, fields) in [(30_000, 1), (30_000, 64), (1, 64), (3_600_000, 17)] {
            let width = bucket_ms(horizon_ms, fields);
            let buckets = (horizon_ms + width - 1) / width + 1; // of any alignment
            assert!(buckets <= BUCKETS_MAX, "{buckets}");
            assert!(buckets as usize * PER_BUCKET * fields <= FRAME_POINTS_MAX, "{horizon_ms} {fields}");
        }
    }

    proptest! {
        /// Against a plain reference: per bucket the same first, last, lowest and highest, nothing invented.
        #[test]
        fn keeps_first_low_high_and_last(
            steps in prop::collection::vec((0i64..40, -5i32..5), 0..200),
            bucket_ms in 1i64..100,
        ) {
            let mut at = -500;
            let points: Vec<Point> = steps.iter().map(|(step, v)| { at += step; (at, f64::from(*v)) }).collect();
            let kept = of(&points, bucket_ms);
            let summary = |points: &[Point]| {
                let mut buckets: Vec<(i64, Vec<Point>)> = Vec::new();
                for point in points {
                    let number = point.0.div_euclid(bucket_ms);
                    match buckets.last_mut() {
                        Some((n, points)) if *n == number => points.push(*point),
                        _ => buckets.push((number, vec![*point])),
                    }
                }
                let values = |p: &[Point]| p.iter().map(|p| p.1).collect::<Vec<_>>();
                let low = |p: &[Point]| values(p).into_iter().fold(f64::INFINITY, f64::min);
                let high = |p: &[Point]| values(p).into_iter().fold(f64::NEG_INFINITY, f64::max);
                buckets.iter().map(|(n, p)| (*n, p[0], p[p.len() - 1], low(p), high(p))).collect::<Vec<_>>()
            };
            prop_assert_eq!(summary(&kept), summary(&points));
            let mut rest = points.iter();
            prop_assert!(kept.iter().all(|k| rest.any(|p| p == k)), "a subsequence");
            prop_assert!(kept.len() <= PER_BUCKET * summary(&points).len());
        }
    }
}
