//! Exact arithmetic for the reference: sums without any rounding, squares in twice the precision.
//!
//! Owns: Shewchuk's expansions (1997), the naive but exact way. Never: the compensated sums that the
//! product uses; the two must not share a mistake.

/// A sum of doubles without rounding, as non-overlapping parts of rising magnitude.
#[derive(Debug, Clone, Default)]
pub struct ExactSum {
    parts: Vec<f64>,
}

impl ExactSum {
    /// Adds a finite number.
    pub fn add(&mut self, x: f64) {
        let mut x = x;
        let mut kept = 0;
        for i in 0..self.parts.len() {
            let (hi, lo) = two_sum(x, self.parts[i]);
            if lo != 0.0 {
                self.parts[kept] = lo;
                kept += 1;
            }
            x = hi;
        }
        self.parts.truncate(kept);
        self.parts.push(x);
    }

    /// Adds `a · b` without rounding (short of underflow).
    pub fn add_product(&mut self, a: f64, b: f64) {
        let product = a * b;
        self.add(product);
        self.add(a.mul_add(b, -product));
    }

    /// The sum, rounded once (to within one unit in the last place).
    pub fn value(&self) -> f64 {
        self.parts.iter().sum()
    }

    /// `|self − (hi + lo)|`, with the difference taken before any rounding.
    pub fn distance(&self, hi: f64, lo: f64) -> f64 {
        let mut rest = self.clone();
        rest.add(-hi);
        rest.add(-lo);
        rest.value().abs()
    }
}

/// `a + b` as a rounded sum and its error (Knuth).
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let hi = a + b;
    let from_a = hi - b;
    let from_b = hi - from_a;
    (hi, (a - from_a) + (b - from_b))
}

/// Sum of squared distances from the mean, in two passes and about twice double precision.
pub fn squared_distances(values: &[f64]) -> f64 {
    let mut sum = ExactSum::default();
    for &x in values {
        sum.add(x);
    }
    let n = values.len().max(1) as f64;
    let mean = sum.value() / n;
    let (mut squares, mut rest) = (ExactSum::default(), ExactSum::default());
    for &x in values {
        let (hi, lo) = two_sum(x, -mean);
        squares.add_product(hi, hi);
        squares.add_product(2.0 * hi, lo);
        squares.add_product(lo, lo);
        rest.add(hi);
        rest.add(lo);
    }
    // The rounded mean is off by rest / n: Σ(x − m)² = Σ(x − mean)² − rest² / n.
    squares.add(-(rest.value() * rest.value() / n));
    squares.value().max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_cancel_without_a_trace() {
        let mut sum = ExactSum::default();
        for x in [1e100, 1.0, -1e100, 1e-100, 3.0] {
            sum.add(x);
        }
        assert_eq!(sum.value(), 4.0);
        assert_eq!(sum.distance(4.0, 1e-100), 0.0);
        assert_eq!(sum.distance(4.0, 0.0), 1e-100);
    }

    #[test]
    fn squared_distances_survive_a_huge_offset() {
        let values: Vec<f64> = [4.0, 7.0, 13.0, 16.0].iter().map(|x| x + 1e15).collect();
        assert_eq!(squared_distances(&values), 90.0);
        assert_eq!(squared_distances(&[0.1; 10]), 0.0);
        assert_eq!(squared_distances(&[5.0]), 0.0);
        assert_eq!(squared_distances(&[]), 0.0);
    }
}
