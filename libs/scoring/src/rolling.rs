//! The last values of something, not older than a memory reaches, and their quantiles.

use crate::report::quantile;
use std::collections::VecDeque;

/// At most `limit` values; the oldest goes first.
#[derive(Debug, Clone, PartialEq)]
pub struct Rolling {
    limit: usize,
    /// (when it came, value), in order.
    arrived: VecDeque<(i64, f64)>,
    sorted: Vec<f64>,
}

impl Rolling {
    pub fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), arrived: VecDeque::new(), sorted: Vec::new() }
    }

    /// Takes a finite value that came at `clock`.
    pub fn push(&mut self, clock: i64, value: f64) {
        if self.arrived.len() == self.limit {
            self.drop_oldest();
        }
        let (Ok(at) | Err(at)) = self.sorted.binary_search_by(|x| x.total_cmp(&value));
        self.sorted.insert(at, value);
        self.arrived.push_back((clock, value));
    }

    /// Forgets what came before `horizon`.
    pub fn forget(&mut self, horizon: i64) {
        while self.arrived.front().is_some_and(|(clock, _)| *clock < horizon) {
            self.drop_oldest();
        }
    }

    pub fn len(&self) -> usize {
        self.arrived.len()
    }

    pub fn quantile(&self, q: f64) -> f64 {
        quantile(&self.sorted, q)
    }

    fn drop_oldest(&mut self) {
        if let Some((_, oldest)) = self.arrived.pop_front()
            && let Ok(at) = self.sorted.binary_search_by(|x| x.total_cmp(&oldest))
        {
            self.sorted.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_the_quantile_of_the_last_values(
            values in prop::collection::vec(-4_i8..5, 1..80),
            limit in 1..12_usize,
            memory in 1..20_usize,
        ) {
            let mut rolling = Rolling::new(limit);
            for n in 1..=values.len() {
                rolling.push(n as i64, f64::from(values[n - 1]));
                rolling.forget((n - memory.min(n)) as i64 + 1);
                let first = n.saturating_sub(limit.min(memory));
                let mut last: Vec<f64> = values[first..n].iter().map(|&x| f64::from(x)).collect();
                last.sort_by(f64::total_cmp);
                prop_assert_eq!(rolling.len(), last.len());
                prop_assert_eq!(rolling.quantile(0.9), quantile(&last, 0.9));
            }
        }
    }
}
