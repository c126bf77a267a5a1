//! When a refused client should come back: a base plus a random part, so that clients refused together
//! do not return together.

/// How long refused clients are asked to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryHint {
    /// The least wait, ms.
    pub base_ms: u64,
    /// The random part added to it is below this, ms.
    pub spread_ms: u64,
}

impl RetryHint {
    /// The wait for one refusal, ms: `base + random mod spread`. `random` is drawn per client by the caller.
    pub fn after_ms(&self, random: u64) -> u64 {
        self.at_least_ms(0, random)
    }

    /// As [`Self::after_ms`], but never below a wait that is already known to be needed.
    pub fn at_least_ms(&self, known_ms: u64, random: u64) -> u64 {
        self.base_ms.max(known_ms).saturating_add(random % self.spread_ms.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads_over_the_whole_range_and_never_below_the_base() {
        let hint = RetryHint { base_ms: 1000, spread_ms: 4000 };
        assert_eq!(hint.after_ms(0), 1000);
        assert_eq!(hint.after_ms(3999), 4999);
        assert_eq!(hint.after_ms(4000), 1000);
        assert_eq!(hint.at_least_ms(7000, 5), 7005);
        assert_eq!(RetryHint { base_ms: 10, spread_ms: 0 }.after_ms(u64::MAX), 10);
        assert_eq!(RetryHint { base_ms: u64::MAX, spread_ms: 2 }.after_ms(1), u64::MAX);
    }
}
