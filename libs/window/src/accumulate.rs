//! The accumulator of one numeric field in one window: 96 bytes, folded by runs of a column.
//!
//! Sum: TwoSum in four lanes (Knuth; Ogita, Rump, Oishi 2005), |error| ≤ 4 ε Σ|x|. Mean and m2: a run's
//! corrected two-pass values (Chan, Golub, LeVeque 1983) joined by the pairwise update of the same paper.
//! The result depends on how events came in runs, which the log fixes, so a replay gives the same bits.

use evenkeel_model::FieldStats;

/// Statistics of one field, times relative to the window's start.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Accumulator {
    min: f64,
    max: f64,
    sum: f64,
    sum_lo: f64,
    mean: f64,
    m2: f64,
    first: f64,
    last: f64,
    first_seq: u64,
    last_seq: u64,
    count: u32,
    first_ms: u32,
    last_ms: u32,
}

/// When an event happened within its window, the order of `first` and `last`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// Milliseconds after the window's start.
    pub offset_ms: u32,
    /// The event's seq; 0 without one.
    pub seq: u64,
}

/// The ends of a run of events by (ts, seq): equal moments keep log order.
#[derive(Debug, Clone, Copy)]
pub struct Ends {
    /// Position of the earliest event in the run.
    pub first_at: usize,
    /// Its moment.
    pub first: Moment,
    /// Position of the latest event in the run.
    pub last_at: usize,
    /// Its moment.
    pub last: Moment,
}

impl Accumulator {
    /// Number of values so far.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Folds one value.
    #[inline]
    pub fn fold_one(&mut self, value: f64, at: Moment) {
        if self.count == 0 {
            *self = Self {
                min: value,
                max: value,
                sum: value,
                mean: value,
                first: value,
                last: value,
                first_seq: at.seq,
                last_seq: at.seq,
                count: 1,
                first_ms: at.offset_ms,
                last_ms: at.offset_ms,
                ..Self::default()
            };
            return;
        }
        self.count += 1;
        self.min = if value < self.min { value } else { self.min };
        self.max = if value > self.max { value } else { self.max };
        let (sum, low) = two_sum(self.sum, value);
        self.sum = sum;
        self.sum_lo += low;
        let delta = value - self.mean;
        self.mean += delta / f64::from(self.count);
        self.m2 += delta * (value - self.mean);
        self.place_ends(value, at, value, at);
    }

    /// Folds a run of values, all present. `ends` belongs to this run.
    #[inline]
    pub fn fold_run(&mut self, values: &[f64], ends: &Ends) {
        if values.len() >= RUN_MIN {
            return self.fold_moments(values, &Moments::of(values), ends);
        }
        // Short runs are cheaper one by one; `ends` still decides first and last.
        for value in values {
            self.fold_value(*value);
        }
        self.place_ends(values[ends.first_at], ends.first, values[ends.last_at], ends.last);
    }

    /// [`Self::fold_run`] of at least [`RUN_MIN`] values whose moments are known already.
    #[inline]
    pub fn fold_moments(&mut self, values: &[f64], moments: &Moments, ends: &Ends) {
        self.join(moments);
        self.place_ends(values[ends.first_at], ends.first, values[ends.last_at], ends.last);
    }

    /// Writes the statistics. `t_start`: the window's start, ms.
    pub fn write(&self, t_start: i64, name: &str, to: &mut FieldStats) {
        to.name.clear();
        to.name.push_str(name);
        to.count = u64::from(self.count);
        (to.min, to.max) = (self.min, self.max);
        (to.sum, to.sum_lo) = (self.sum, self.sum_lo);
        (to.mean, to.m2) = (self.mean(), self.m2);
        (to.first, to.first_ts, to.first_seq) =
            (self.first, t_start + i64::from(self.first_ms), self.first_seq);
        (to.last, to.last_ts, to.last_seq) = (self.last, t_start + i64::from(self.last_ms), self.last_seq);
    }

    /// The running mean drifts by a rounding per event, the compensated sum does not: the mean is taken from
    /// the sum, unless that went beyond the largest double.
    fn mean(&self) -> f64 {
        let sum = self.sum + self.sum_lo;
        if sum.is_finite() { sum / f64::from(self.count) } else { self.mean }
    }

    /// The accumulator that wrote `from`: late events continue it.
    pub fn read(from: &FieldStats, t_start: i64) -> Self {
        Self {
            min: from.min,
            max: from.max,
            sum: from.sum,
            sum_lo: from.sum_lo,
            mean: from.mean,
            m2: from.m2,
            first: from.first,
            last: from.last,
            first_seq: from.first_seq,
            last_seq: from.last_seq,
            count: u32::try_from(from.count).unwrap_or(u32::MAX),
            first_ms: (from.first_ts - t_start) as u32,
            last_ms: (from.last_ts - t_start) as u32,
        }
    }

    /// Everything of [`Self::fold_one`] but first and last.
    #[inline]
    fn fold_value(&mut self, value: f64) {
        if self.count == 0 {
            (self.min, self.max, self.sum, self.mean) = (value, value, value, value);
            self.count = 1;
            // Whatever run this value opens sets both ends.
            (self.first_ms, self.first_seq) = (u32::MAX, u64::MAX);
            (self.last_ms, self.last_seq) = (0, 0);
            return;
        }
        self.count += 1;
        self.min = if value < self.min { value } else { self.min };
        self.max = if value > self.max { value } else { self.max };
        let (sum, low) = two_sum(self.sum, value);
        self.sum = sum;
        self.sum_lo += low;
        let delta = value - self.mean;
        self.mean += delta / f64::from(self.count);
        self.m2 += delta * (value - self.mean);
    }

    #[inline]
    fn join(&mut self, run: &Moments) {
        if self.count == 0 {
            (self.min, self.max) = (run.min, run.max);
            (self.sum, self.sum_lo, self.mean, self.m2) = (run.sum, run.sum_lo, run.mean, run.m2);
            self.count = run.count;
            (self.first_ms, self.first_seq) = (u32::MAX, u64::MAX);
            (self.last_ms, self.last_seq) = (0, 0);
            return;
        }
        let (have, come) = (f64::from(self.count), f64::from(run.count));
        let all = have + come;
        let delta = run.mean - self.mean;
        self.mean += delta * (come / all);
        self.m2 += run.m2 + delta * delta * (have * come / all);
        let (sum, low) = two_sum(self.sum, run.sum);
        self.sum = sum;
        self.sum_lo += low + run.sum_lo;
        self.min = self.min.min(run.min);
        self.max = self.max.max(run.max);
        self.count += run.count;
    }

    #[inline]
    fn place_ends(&mut self, first: f64, first_at: Moment, last: f64, last_at: Moment) {
        if first_at < (Moment { offset_ms: self.first_ms, seq: self.first_seq }) {
            (self.first, self.first_ms, self.first_seq) = (first, first_at.offset_ms, first_at.seq);
        }
        if last_at >= (Moment { offset_ms: self.last_ms, seq: self.last_seq }) {
            (self.last, self.last_ms, self.last_seq) = (last, last_at.offset_ms, last_at.seq);
        }
    }
}

/// From so many values on, a run is folded by its moments.
pub const RUN_MIN: usize = 4;

/// Sum, mean and m2 of one run.
#[derive(Debug, Clone, Copy)]
pub struct Moments {
    count: u32,
    min: f64,
    max: f64,
    sum: f64,
    sum_lo: f64,
    mean: f64,
    m2: f64,
}

const LANES: usize = 4;

impl Moments {
    /// The moments of at least one value.
    #[inline]
    pub fn of(values: &[f64]) -> Self {
        let (mut sums, mut lows) = ([0.0; LANES], [0.0; LANES]);
        let (mut mins, mut maxs) = ([f64::INFINITY; LANES], [f64::NEG_INFINITY; LANES]);
        let mut chunks = values.chunks_exact(LANES);
        for chunk in chunks.by_ref() {
            for lane in 0..LANES {
                let (sum, low) = two_sum(sums[lane], chunk[lane]);
                sums[lane] = sum;
                lows[lane] += low;
                mins[lane] = if chunk[lane] < mins[lane] { chunk[lane] } else { mins[lane] };
                maxs[lane] = if chunk[lane] > maxs[lane] { chunk[lane] } else { maxs[lane] };
            }
        }
        let (mut min, mut max) = (f64::INFINITY, f64::NEG_INFINITY);
        let (mut sum, mut sum_lo) = (0.0, 0.0);
        for lane in 0..LANES {
            let (high, low) = two_sum(sum, sums[lane]);
            sum = high;
            sum_lo += low + lows[lane];
            (min, max) = (min.min(mins[lane]), max.max(maxs[lane]));
        }
        for value in chunks.remainder() {
            let (high, low) = two_sum(sum, *value);
            sum = high;
            sum_lo += low;
            (min, max) = (min.min(*value), max.max(*value));
        }
        let mean = (sum + sum_lo) / values.len() as f64;
        let m2 = second_moment(values, mean);
        Self { count: values.len() as u32, min, max, sum, sum_lo, mean, m2 }
    }
}

/// Σ(x − mean)², corrected by (Σ(x − mean))² / n for the rounding of `mean`.
#[inline]
fn second_moment(values: &[f64], mean: f64) -> f64 {
    let (mut squares, mut rests) = ([0.0; LANES], [0.0; LANES]);
    let mut chunks = values.chunks_exact(LANES);
    for chunk in chunks.by_ref() {
        for lane in 0..LANES {
            let rest = chunk[lane] - mean;
            squares[lane] += rest * rest;
            rests[lane] += rest;
        }
    }
    for value in chunks.remainder() {
        let rest = value - mean;
        squares[0] += rest * rest;
        rests[0] += rest;
    }
    let rest: f64 = rests.iter().sum();
    squares.iter().sum::<f64>() - rest * rest / values.len() as f64
}

/// a + b = sum + low exactly (Knuth's TwoSum, no branch).
#[inline]
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let b_virtual = sum - a;
    let a_virtual = sum - b_virtual;
    (sum, (a - a_virtual) + (b - b_virtual))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ends_of(times: &[u32]) -> Ends {
        let at = |i: usize| Moment { offset_ms: times[i], seq: 0 };
        let (mut first, mut last) = (0, 0);
        for i in 1..times.len() {
            if at(i) < at(first) {
                first = i;
            }
            if at(i) >= at(last) {
                last = i;
            }
        }
        Ends { first_at: first, first: at(first), last_at: last, last: at(last) }
    }

    /// Exact sum of doubles by expansions (Shewchuk 1997), the plain reference.
    fn exact_sum(values: &[f64]) -> f64 {
        let mut parts: Vec<f64> = Vec::new();
        for value in values {
            let mut x = *value;
            let mut kept = Vec::new();
            for part in &parts {
                let (sum, low) = two_sum(x, *part);
                if low != 0.0 {
                    kept.push(low);
                }
                x = sum;
            }
            kept.push(x);
            parts = kept;
        }
        parts.iter().rev().sum()
    }

    proptest! {
        #[test]
        fn any_cut_into_runs_keeps_the_promised_accuracy(
            values in prop::collection::vec(-1e6f64..1e6, 1..200),
            offset in prop::sample::select(vec![0.0, 1.0, 1e7, -1e9]),
            times in prop::collection::vec(0u32..50, 200),
            cuts in prop::collection::vec(1usize..40, 1..20),
        ) {
            let values: Vec<f64> = values.iter().map(|v| v + offset).collect();
            let times = &times[..values.len()];
            let mut acc = Accumulator::default();
            let (mut at, mut cut) = (0, cuts.iter().cycle());
            while at < values.len() {
                let end = (at + cut.next().copied().unwrap_or(1)).min(values.len());
                if end - at == 1 {
                    acc.fold_one(values[at], Moment { offset_ms: times[at], seq: 0 });
                } else {
                    acc.fold_run(&values[at..end], &ends_of(&times[at..end]));
                }
                at = end;
            }
            let mut got = FieldStats::default();
            acc.write(1_000, "x", &mut got);
            let n = values.len() as f64;
            prop_assert_eq!(got.count, values.len() as u64);
            prop_assert_eq!(got.min, values.iter().copied().fold(f64::INFINITY, f64::min));
            prop_assert_eq!(got.max, values.iter().copied().fold(f64::NEG_INFINITY, f64::max));
            let ends = ends_of(times);
            prop_assert_eq!((got.first, got.first_ts), (values[ends.first_at], 1_000 + i64::from(times[ends.first_at])));
            prop_assert_eq!((got.last, got.last_ts), (values[ends.last_at], 1_000 + i64::from(times[ends.last_at])));
            let magnitude: f64 = values.iter().map(|v| v.abs()).sum();
            prop_assert!(((got.sum + got.sum_lo) - exact_sum(&values)).abs() <= 4.0 * f64::EPSILON * magnitude);
            let mean = exact_sum(&values) / n;
            let m2 = exact_sum(&values.iter().map(|v| (v - mean) * (v - mean)).collect::<Vec<_>>());
            let floor = f64::EPSILON * f64::EPSILON * magnitude * magnitude * 16.0;
            prop_assert!((got.m2 - m2).abs() <= 1e-9 * m2 + floor, "{} {}", got.m2, m2);
            prop_assert!((got.mean - mean).abs() <= 8.0 * f64::EPSILON * magnitude / n * 4.0);
            let mut again = FieldStats::default();
            Accumulator::read(&got, 1_000).write(1_000, "x", &mut again);
            prop_assert_eq!(again, got, "late events continue what the row says");
        }
    }

    #[test]
    fn a_compensated_sum_keeps_what_a_plain_one_loses() {
        let mut acc = Accumulator::default();
        let values = [1.0, 1e100, 1.0, -1e100, 1.0, 1.0, 1.0, 1.0];
        acc.fold_run(&values, &ends_of(&[0; 8]));
        assert_eq!(acc.sum + acc.sum_lo, 6.0);
        assert_eq!(size_of::<Accumulator>(), 96);
    }
}
