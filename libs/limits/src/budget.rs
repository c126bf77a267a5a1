//! One budget for every byte in flight: who holds how much, and who was refused.
//!
//! Owns: the sum. Never: frees by itself; a hold lives until it is given back, so that a caller's states
//! name each place where bytes return. Bound: a hold is charged at least [`HOLD_BYTES_MIN`], so there are
//! never more holds than `limit / HOLD_BYTES_MIN`.

use std::collections::BTreeMap;

/// The least a hold is charged, bytes: its own entry in the table, rounded up.
pub const HOLD_BYTES_MIN: u64 = 64;

/// A part of the budget in somebody's hands. Not a guard: dropping it returns nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hold(u64);

/// The budget cannot give what was asked. Nothing changed but the count of refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{asked_bytes} bytes more do not fit: {free_bytes} of {limit_bytes} bytes are free")]
pub struct OverBudget {
    /// What was asked on top of what the caller already held, bytes.
    pub asked_bytes: u64,
    /// What was free, bytes.
    pub free_bytes: u64,
    /// The whole budget, bytes.
    pub limit_bytes: u64,
}

/// A fixed number of bytes, shared by everything in flight.
#[derive(Debug)]
pub struct ByteBudget {
    limit_bytes: u64,
    used_bytes: u64,
    refused_total: u64,
    next: u64,
    holds: BTreeMap<u64, u64>,
}

impl ByteBudget {
    /// A budget of `limit_bytes`, all of it free.
    pub fn new(limit_bytes: u64) -> Self {
        Self { limit_bytes, used_bytes: 0, refused_total: 0, next: 0, holds: BTreeMap::new() }
    }

    /// Another limit from now on. What is held stays, also above a smaller limit.
    pub fn set_limit(&mut self, limit_bytes: u64) {
        self.limit_bytes = limit_bytes;
    }

    /// Takes `bytes` (at least [`HOLD_BYTES_MIN`]) or nothing.
    pub fn take(&mut self, bytes: u64) -> Result<Hold, OverBudget> {
        let bytes = bytes.max(HOLD_BYTES_MIN);
        self.charge(bytes)?;
        self.next += 1;
        self.holds.insert(self.next, bytes);
        Ok(Hold(self.next))
    }

    /// Makes `hold` hold `bytes` in all, more or less than before. Shrinking always succeeds; growing
    /// that does not fit leaves the hold as it was. A hold already given back is refused what it asks.
    pub fn resize(&mut self, hold: Hold, bytes: u64) -> Result<(), OverBudget> {
        let bytes = bytes.max(HOLD_BYTES_MIN);
        let Some(&held) = self.holds.get(&hold.0) else {
            return Err(self.refuse(bytes));
        };
        if bytes > held {
            self.charge(bytes - held)?;
        } else {
            self.used_bytes -= held - bytes;
        }
        self.holds.insert(hold.0, bytes);
        Ok(())
    }

    /// Gives everything of `hold` back; answers how much it was, 0 for one already given back.
    pub fn give(&mut self, hold: Hold) -> u64 {
        let bytes = self.holds.remove(&hold.0).unwrap_or(0);
        self.used_bytes -= bytes;
        bytes
    }

    /// The whole budget, bytes.
    pub fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }

    /// Bytes in somebody's hands.
    pub fn used_bytes(&self) -> u64 {
        self.used_bytes
    }

    /// How often somebody was refused since the start.
    pub fn refused_total(&self) -> u64 {
        self.refused_total
    }

    /// How many holds there are.
    pub fn holds(&self) -> usize {
        self.holds.len()
    }

    fn charge(&mut self, bytes: u64) -> Result<(), OverBudget> {
        if bytes > self.limit_bytes.saturating_sub(self.used_bytes) {
            return Err(self.refuse(bytes));
        }
        self.used_bytes += bytes;
        Ok(())
    }

    fn refuse(&mut self, asked_bytes: u64) -> OverBudget {
        self.refused_total += 1;
        let free_bytes = self.limit_bytes.saturating_sub(self.used_bytes);
        OverBudget { asked_bytes, free_bytes, limit_bytes: self.limit_bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn passes_at_the_limit_and_fails_one_byte_past_it() {
        let mut budget = ByteBudget::new(1000);
        let a = budget.take(600).unwrap();
        let b = budget.take(400).unwrap();
        let over = budget.take(64).unwrap_err();
        assert_eq!(over, OverBudget { asked_bytes: 64, free_bytes: 0, limit_bytes: 1000 });
        assert_eq!(budget.give(b), 400);
        assert!(budget.resize(a, 1001).is_err());
        budget.resize(a, 1000).unwrap();
        budget.resize(a, 1).unwrap();
        assert_eq!((budget.used_bytes(), budget.refused_total(), budget.holds()), (HOLD_BYTES_MIN, 2, 1));
    }

    #[test]
    fn a_hold_given_back_twice_gives_nothing_and_cannot_grow() {
        let mut budget = ByteBudget::new(1000);
        let hold = budget.take(100).unwrap();
        assert_eq!((budget.give(hold), budget.give(hold)), (100, 0));
        assert!(budget.resize(hold, 200).is_err());
        assert_eq!(budget.used_bytes(), 0);
    }

    proptest! {
        // Against the naive version: used is the sum of what is held, and never passes the limit.
        #[test]
        fn used_is_the_sum_of_the_holds(steps in prop::collection::vec((0u8..3, 0u64..700, 0usize..8), 0..200)) {
            let mut budget = ByteBudget::new(2000);
            let mut held: Vec<(Hold, u64)> = Vec::new();
            for (step, bytes, at) in steps {
                let charged = bytes.max(HOLD_BYTES_MIN);
                match step {
                    0 => if let Ok(hold) = budget.take(bytes) { held.push((hold, charged)) },
                    1 if !held.is_empty() => {
                        let at = at % held.len();
                        if budget.resize(held[at].0, bytes).is_ok() { held[at].1 = charged }
                    }
                    2 if !held.is_empty() => {
                        let (hold, bytes) = held.swap_remove(at % held.len());
                        prop_assert_eq!(budget.give(hold), bytes);
                    }
                    _ => {}
                }
                prop_assert_eq!(budget.used_bytes(), held.iter().map(|h| h.1).sum::<u64>());
                prop_assert!(budget.used_bytes() <= budget.limit_bytes());
                prop_assert_eq!(budget.holds(), held.len());
            }
        }
    }
}
