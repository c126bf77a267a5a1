//! When rows arrive in a replayed stream: gaps of a normal distribution, from a seed.

use rand_pcg::Pcg64;
use rand_pcg::rand_core::{Rng, SeedableRng};

/// Gaps between arrivals: normal, mean `jitter_ms`, standard deviation a quarter of it, never negative (a
/// negative draw is 0). Source C.
#[derive(Debug, Clone)]
pub struct Arrivals {
    random: Pcg64,
    jitter_ms: f64,
    /// Box and Muller (1958) draw two at a time.
    spare: Option<f64>,
}

impl Arrivals {
    /// A negative or non-finite jitter counts as 0.
    pub fn new(jitter_ms: f64, seed: u64) -> Self {
        let jitter_ms = if jitter_ms.is_finite() { jitter_ms.max(0.0) } else { 0.0 };
        Self { random: Pcg64::seed_from_u64(seed), jitter_ms, spare: None }
    }

    /// The gap before the next arrival, ms.
    pub fn gap_ms(&mut self) -> f64 {
        let gap = self.jitter_ms + self.jitter_ms / 4.0 * self.normal();
        gap.max(0.0)
    }

    /// The first `rows` arrivals, µs since the start.
    pub fn times_us(mut self, rows: usize) -> Vec<u64> {
        let mut at_ms = 0.0;
        (0..rows)
            .map(|_| {
                at_ms += self.gap_ms();
                (at_ms * 1000.0) as u64
            })
            .collect()
    }

    fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        // (0, 1]: its logarithm is finite.
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        let angle = std::f64::consts::TAU * self.uniform();
        self.spare = Some(radius * angle.sin());
        radius * angle.cos()
    }

    /// [0, 1) in steps of 2^-53.
    fn uniform(&mut self) -> f64 {
        (self.random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_have_the_mean_and_spread_of_the_source_and_are_never_negative() {
        let mut arrivals = Arrivals::new(5.0, 7);
        let gaps: Vec<f64> = (0..40_000).map(|_| arrivals.gap_ms()).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let spread = (gaps.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / gaps.len() as f64).sqrt();
        assert!((mean - 5.0).abs() < 0.03 && (spread - 1.25).abs() < 0.03, "{mean} {spread}");
        assert!(gaps.iter().all(|&gap| gap >= 0.0));
        // Four standard deviations below the mean is 0, so only a long draw meets it; a hundred million would.
        assert!(Arrivals { spare: Some(-9.0), ..Arrivals::new(5.0, 7) }.gap_ms() == 0.0);
    }

    #[test]
    fn a_seed_is_one_history() {
        assert_eq!(Arrivals::new(2.0, 3).times_us(50), Arrivals::new(2.0, 3).times_us(50));
        assert_ne!(Arrivals::new(2.0, 3).times_us(50), Arrivals::new(2.0, 4).times_us(50));
        assert_eq!(Arrivals::new(f64::NAN, 3).times_us(2), [0, 0]);
    }
}
