//! The last values of something, and their quantiles.

use crate::report::quantile;
use std::collections::VecDeque;

/// At most `limit` values; the oldest goes first.
#[derive(Debug, Clone, PartialEq)]
pub struct Rolling {
    limit: usize,
    arrived: VecDeque<f64>,
    sorted: Vec<f64>,
}

impl Rolling {
    pub fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), arrived: VecDeque::new(), sorted: Vec::new() }
    }

    /// Takes a finite value.
    pub fn push(&mut self, value: f64) {
        if self.arrived.len() == self.limit
            && let Some(oldest) = self.arrived.pop_front()
            && let Ok(at) = self.sorted.binary_search_by(|x| x.total_cmp(&oldest))
        {
            self.sorted.remove(at);
        }
        let (Ok(at) | Err(at)) = self.sorted.binary_search_by(|x| x.total_cmp(&value));
        self.sorted.insert(at, value);
        self.arrived.push_back(value);
    }

    pub fn len(&self) -> usize {
        self.arrived.len()
    }

    pub fn quantile(&self, q: f64) -> f64 {
        quantile(&self.sorted, q)
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
        ) {
            let mut rolling = Rolling::new(limit);
            for n in 1..=values.len() {
                rolling.push(f64::from(values[n - 1]));
                let mut last: Vec<f64> = values[n.saturating_sub(limit)..n].iter().map(|&x| f64::from(x)).collect();
                last.sort_by(f64::total_cmp);
                prop_assert_eq!(rolling.len(), last.len());
                prop_assert_eq!(rolling.quantile(0.9), quantile(&last, 0.9));
            }
        }
    }
}
