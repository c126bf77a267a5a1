//! Random numbers as a function of (seed, stream, slot): whoever asks for a moment gets that moment's number.
//!
//! Owns: the hash (SplitMix64's finalizer) and the two shapes drawn from it. Never: a state.

fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Above 0, at most 1.
pub(super) fn uniform(seed: u64, stream: u64, slot: u64) -> f64 {
    let hash = mix(mix(mix(seed) ^ stream) ^ slot);
    ((hash >> 11) + 1) as f64 / (1u64 << 53) as f64
}

/// Pareto: at least 1, heavy tail of the given shape, cut at `max`.
pub(super) fn pareto(seed: u64, stream: u64, slot: u64, shape: f64, max: f64) -> f64 {
    uniform(seed, stream, slot).powf(-1.0 / shape).min(max)
}

/// Exponential with mean 1.
pub(super) fn exponential(seed: u64, stream: u64, slot: u64) -> f64 {
    -uniform(seed, stream, slot).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shapes_have_their_means() {
        let mean = |f: &dyn Fn(u64) -> f64| (0..100_000).map(f).sum::<f64>() / 100_000.0;
        assert!((mean(&|i| uniform(1, 2, i)) - 0.5).abs() < 0.01);
        assert!((mean(&|i| exponential(1, 2, i)) - 1.0).abs() < 0.02);
        assert!((mean(&|i| pareto(1, 2, i, 3.0, 1e9)) - 1.5).abs() < 0.03);
        assert_ne!(uniform(1, 2, 3), uniform(1, 3, 2));
    }
}
