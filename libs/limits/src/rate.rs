//! So much per second for each key: GCRA cells in a bounded table.
//!
//! Owns: one theoretical arrival time per key that is ahead of now. Never: a timer; a cell whose time
//! has come says the same as no cell, so forgetting it loses nothing.
//! Bound: at most `keys_max` cells. A new key that finds the table full of busy cells shares one
//! common cell with all others in that position: it is limited harder, never unlimited.

use std::collections::BTreeMap;
use std::ops::Bound;

/// What one key may use. Units are events, or bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Sustained, units per second, at least 1.
    pub per_s: u64,
    /// How many units may come at once after a pause, at least 1.
    pub burst: u64,
}

/// The rates of all keys: devices, or tenants.
#[derive(Debug)]
pub struct Rates {
    rate: Rate,
    burst_ns: u64,
    keys_max: usize,
    // Theoretical arrival time of the next unit, ns on the caller's clock.
    cells: BTreeMap<Box<str>, u64>,
    shared_cell: u64,
    sweep_from: Option<Box<str>>,
}

/// How many old cells each new one looks at. More than one, so that forgetting outruns creating.
const SWEEP_CELLS: usize = 4;
const SECOND_NS: u128 = 1_000_000_000;

impl Rates {
    /// Nobody has sent anything yet. `keys_max` bounds the table.
    pub fn new(rate: Rate, keys_max: usize) -> Self {
        let rate = Rate { per_s: rate.per_s.max(1), burst: rate.burst.max(1) };
        let mut rates =
            Self { rate, burst_ns: 0, keys_max, cells: BTreeMap::new(), shared_cell: 0, sweep_from: None };
        rates.burst_ns = rates.cost_ns(rate.burst);
        rates
    }

    /// The most that may come at once, units.
    pub fn burst(&self) -> u64 {
        self.rate.burst
    }

    /// How many units may pass at `now_ns`. Charges nothing: several limits may have to agree first.
    pub fn room(&mut self, key: &str, now_ns: u64) -> u64 {
        let ahead_ns = self.cell(key, now_ns).saturating_sub(now_ns);
        let room =
            u128::from(self.burst_ns.saturating_sub(ahead_ns)) * u128::from(self.rate.per_s) / SECOND_NS;
        u64::try_from(room).unwrap_or(u64::MAX)
    }

    /// Charges units that pass.
    pub fn charge(&mut self, key: &str, units: u64, now_ns: u64) {
        if units > 0 {
            let cost_ns = self.cost_ns(units);
            let cell = self.cell(key, now_ns);
            *cell = (*cell).max(now_ns).saturating_add(cost_ns);
        }
    }

    /// When `units` would pass, ms from now; what is over the burst waits as long as a whole burst.
    pub fn wait_ms(&mut self, key: &str, units: u64, now_ns: u64) -> u64 {
        let cost_ns = self.cost_ns(units.min(self.rate.burst));
        let ahead_ns = self.cell(key, now_ns).saturating_sub(now_ns);
        ahead_ns.saturating_add(cost_ns).saturating_sub(self.burst_ns).div_ceil(1_000_000)
    }

    /// How many keys have a cell.
    pub fn keys(&self) -> usize {
        self.cells.len()
    }

    /// Rounded up, so that no rate is passed by rounding.
    fn cost_ns(&self, units: u64) -> u64 {
        let cost_ns = (u128::from(units) * SECOND_NS).div_ceil(u128::from(self.rate.per_s));
        u64::try_from(cost_ns).unwrap_or(u64::MAX)
    }

    fn cell(&mut self, key: &str, now_ns: u64) -> &mut u64 {
        if !self.cells.contains_key(key) {
            self.sweep(now_ns);
            if self.cells.len() >= self.keys_max {
                return &mut self.shared_cell;
            }
        }
        self.cells.entry(key.into()).or_insert(0)
    }

    /// Looks at the next few cells, round robin, and forgets those that are no longer ahead.
    fn sweep(&mut self, now_ns: u64) {
        let from = match self.sweep_from.take() {
            Some(name) => Bound::Excluded(name),
            None => Bound::Unbounded,
        };
        let mut expired = Vec::new();
        let mut last = None;
        let range = self.cells.range::<str, _>((from.as_ref().map(|n| &**n), Bound::Unbounded));
        for (name, cell) in range.take(SWEEP_CELLS) {
            last = Some(name.clone());
            if *cell <= now_ns {
                expired.push(name.clone());
            }
        }
        for name in &expired {
            self.cells.remove(name);
        }
        self.sweep_from = last; // None at the end of the table: the next sweep starts over
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const S: u64 = 1_000_000_000;

    /// What passes of `units`, and when the next would.
    fn admit(rates: &mut Rates, key: &str, units: u64, now_ns: u64) -> (u64, u64) {
        let admitted = rates.room(key, now_ns).min(units);
        rates.charge(key, admitted, now_ns);
        let wait_ms = if admitted < units { rates.wait_ms(key, 1, now_ns) } else { 0 };
        (admitted, wait_ms)
    }

    #[test]
    fn a_burst_passes_then_the_rate_does() {
        let mut rates = Rates::new(Rate { per_s: 10, burst: 20 }, 8);
        assert_eq!(admit(&mut rates, "a", 25, S), (20, 100));
        assert_eq!(admit(&mut rates, "a", 1, S + S / 20), (0, 50));
        assert_eq!(admit(&mut rates, "a", 3, S + S / 10), (1, 100));
        assert_eq!(admit(&mut rates, "b", 20, S), (20, 0));
        assert_eq!(admit(&mut rates, "a", 20, 10 * S).0, 20);
    }

    #[test]
    fn a_full_table_of_busy_keys_limits_newcomers_together() {
        let mut rates = Rates::new(Rate { per_s: 1, burst: 5 }, 3);
        for name in ["a", "b", "c"] {
            assert_eq!(admit(&mut rates, name, 5, S).0, 5);
        }
        assert_eq!(admit(&mut rates, "d", 4, S).0, 4);
        assert_eq!(admit(&mut rates, "e", 4, S).0, 1);
        assert_eq!(rates.keys(), 3);
        // Once the old ones have been silent, newcomers get cells of their own.
        assert_eq!(admit(&mut rates, "f", 5, 60 * S).0, 5);
        assert_eq!(admit(&mut rates, "g", 5, 60 * S).0, 5);
        assert!(rates.keys() <= 3);
    }

    #[test]
    fn high_rates_are_exact_and_what_exceeds_a_burst_is_not_told_to_wait_for_ever() {
        let mut rates = Rates::new(Rate { per_s: 300_000_000, burst: 300_000_000 }, 8);
        assert_eq!(admit(&mut rates, "a", u64::MAX, S), (300_000_000, 1));
        assert_eq!(rates.room("a", S + S / 2), 150_000_000);
        assert_eq!(rates.wait_ms("a", u64::MAX, S), 1000);
    }

    proptest! {
        // Over any span a key passes at most burst + rate * span.
        #[test]
        fn never_more_than_burst_plus_rate(
            per_s in 1u64..100_000_000,
            asks in prop::collection::vec((1u64..50, 0u64..300_000_000), 1..100),
        ) {
            let mut rates = Rates::new(Rate { per_s, burst: 40 }, 4);
            let (mut now_ns, mut passed) = (S, 0u128);
            for (units, pause_ns) in asks {
                now_ns += pause_ns;
                passed += u128::from(admit(&mut rates, "a", units, now_ns).0);
                let most = 40 + u128::from(now_ns - S) * u128::from(per_s) / u128::from(S) + 1;
                prop_assert!(passed <= most);
            }
        }
    }
}
