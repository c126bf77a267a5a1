//! When each connection of a server that leaves comes back.

/// When the `index`-th of `connections` is to come back, ms: they are spread evenly over `spread_ms`, so that the
/// servers that stay take `connections / spread_ms` at any time, not all at once.
pub fn drain_hint(index: usize, connections: usize, spread_ms: u64) -> u64 {
    let share = index as u128 * u128::from(spread_ms) / connections.max(1) as u128;
    u64::try_from(share).unwrap_or(spread_ms).min(spread_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_is_a_straight_line() {
        let hints: Vec<u64> = (0..5000).map(|n| drain_hint(n, 5000, 10_000)).collect();
        for (second, until) in (1..=10).map(|s| (s, s * 1000)) {
            assert_eq!(hints.iter().filter(|hint| **hint < until).count() as u64, second * 500);
        }
        assert_eq!(drain_hint(0, 0, 10), 0);
        assert_eq!(drain_hint(7, 1, 10), 10);
    }
}
