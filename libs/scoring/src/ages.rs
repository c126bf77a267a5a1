//! How far back a memory reaches: a clock that arrivals move, and the place in a topic from which on it must be
//! read to have the same memory again.
//!
//! The clock is the largest arrival seen, a function of the topic's records alone. A thing is remembered while
//! `clock − memory ≤ the clock when it was seen`; as that clock never falls from offset to offset, what is
//! remembered lies behind one offset, and whoever begins there, with the clock as it was just before, remembers
//! the same.

use std::collections::VecDeque;

/// Places kept per memory: more would only make the replay a little shorter.
const PLACES: i64 = 64;

/// Clock and stretch of one topic's partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ages {
    memory_ms: i64,
    clock: i64,
    /// (first offset, clock just before it), rising. At most `PLACES` + 2.
    places: VecDeque<(u64, i64)>,
}

impl Ages {
    /// The clock before any record.
    pub const BEGINNING: i64 = i64::MIN;

    /// Nothing seen yet. `memory_ms`: how long a thing is remembered, at least 1.
    pub fn new(memory_ms: i64) -> Self {
        Self { memory_ms: memory_ms.max(1), clock: Self::BEGINNING, places: VecDeque::new() }
    }

    /// Goes on at `from`, where the clock was `clock` just before.
    pub fn at(memory_ms: i64, from: u64, clock: i64) -> Self {
        Self { clock, places: [(from, clock)].into(), ..Self::new(memory_ms) }
    }

    /// The largest arrival seen, ms since the epoch.
    pub fn clock(&self) -> i64 {
        self.clock
    }

    /// What was seen when the clock stood below this is forgotten.
    pub fn horizon(&self) -> i64 {
        self.clock.saturating_sub(self.memory_ms)
    }

    /// The horizon once a thing with this arrival is seen.
    pub fn horizon_at(&self, arrival: i64) -> i64 {
        self.clock.max(arrival).saturating_sub(self.memory_ms)
    }

    /// The records from `offset` on were seen when the clock stood at `clock` or later.
    pub fn place(&mut self, offset: u64, clock: i64) {
        let step = (self.memory_ms - 1) / PLACES + 1;
        if self.places.back().is_none_or(|(_, last)| clock >= last.saturating_add(step)) {
            self.places.push_back((offset, clock));
        }
        // All that lies before the second place was seen at or below that place's clock.
        while self.places.get(1).is_some_and(|(_, clock)| *clock < self.horizon()) {
            self.places.pop_front();
        }
    }

    /// Sees a thing.
    pub fn see(&mut self, arrival: i64) {
        self.clock = self.clock.max(arrival);
    }

    /// Sees the record at `offset`.
    pub fn see_at(&mut self, offset: u64, arrival: i64) {
        let before = self.clock;
        self.see(arrival);
        self.place(offset, before);
    }

    /// Where reading must begin, and the clock just before; `next` = the offset after the last record, for when
    /// there was none.
    pub fn from(&self, next: u64) -> (u64, i64) {
        self.places.front().copied().unwrap_or((next, self.clock))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whoever begins at `from` remembers the same, and the places are bounded.
        #[test]
        fn a_stretch_holds_all_that_is_remembered(
            arrivals in prop::collection::vec(0..3_000_i64, 1..300),
            memory in 1..500_i64,
        ) {
            let mut ages = Ages::new(memory);
            let mut seen: Vec<(u64, i64)> = Vec::new();
            for (offset, arrival) in arrivals.iter().enumerate() {
                ages.see_at(offset as u64, *arrival);
                seen.push((offset as u64, ages.clock()));
                let (from, clock) = ages.from(0);
                let oldest = seen.iter().find(|(_, at)| *at >= ages.horizon()).unwrap().0;
                prop_assert!(from <= oldest, "{from} is behind {oldest}");
                let mut again = Ages::at(memory, from, clock);
                for at in from as usize..=offset {
                    again.see_at(at as u64, arrivals[at]);
                    prop_assert_eq!(again.clock(), seen[at].1);
                }
                prop_assert!(ages.places.len() <= PLACES as usize + 3);
            }
        }
    }

    #[test]
    fn nothing_seen_is_nothing_to_read() {
        assert_eq!(Ages::new(10).from(7), (7, Ages::BEGINNING));
    }
}
