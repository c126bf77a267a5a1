//! When each standing alert was last spoken of, and where in the topic: what is said again, and how far back the
//! topic must be read to hear of all that stand.

use crate::past::SeriesKey;
use std::collections::BTreeMap;

/// The records about standing alerts, oldest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SaidAlerts {
    said: BTreeMap<u64, Said>,
    next: u64,
    /// From here on no transaction has taken them along yet.
    uncommitted: u64,
}

/// One of them.
#[derive(Debug, Clone, PartialEq)]
struct Said {
    key: SeriesKey,
    rule: usize,
    clock: i64,
    /// The record lies here or later.
    from: u64,
}

impl SaidAlerts {
    /// An alert was spoken of when the clock stood at `clock`; the record's number. `from`: it lies at this offset
    /// or later; `None` = in the next transaction.
    pub fn say(&mut self, key: &SeriesKey, rule: usize, clock: i64, from: Option<u64>) -> u64 {
        let number = self.next;
        self.next += 1;
        if from.is_some() && self.uncommitted == number {
            self.uncommitted = self.next;
        }
        let from = from.unwrap_or(u64::MAX);
        self.said.insert(number, Said { key: key.clone(), rule, clock, from });
        number
    }

    /// The alert stands no more, or is spoken of anew.
    pub fn drop(&mut self, number: u64) {
        self.said.remove(&number);
    }

    /// A transaction begins that takes along all that was said; its records lie at `from` or later.
    pub fn commit(&mut self, from: u64) {
        self.said.range_mut(self.uncommitted..).for_each(|(_, said)| said.from = from);
        self.uncommitted = self.next;
    }

    /// Where reading must begin; `end` = where nothing is to be read.
    pub fn from(&self, end: u64) -> u64 {
        self.said.values().next().map_or(end, |said| said.from)
    }

    /// Takes out the alert that was spoken of longest ago, if that was before `horizon`: it must be said again.
    pub fn take_due(&mut self, horizon: i64) -> Option<(SeriesKey, usize)> {
        let first = self.said.first_entry().filter(|said| said.get().clock < horizon)?;
        let Said { key, rule, .. } = first.remove();
        Some((key, rule))
    }

    /// All of them count as said when the clock stands at `clock`.
    pub fn all_said(&mut self, clock: i64) {
        self.said.values_mut().for_each(|said| said.clock = clock);
    }

    /// Alerts that stand.
    pub fn len(&self) -> usize {
        self.said.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_begins_at_the_oldest_that_stands() {
        let key: SeriesKey = ("a".into(), 5);
        let mut said = SaidAlerts::default();
        assert_eq!(said.from(9), 9);
        let first = said.say(&key, 0, 100, Some(3));
        let second = said.say(&key, 1, 110, None);
        assert_eq!((said.from(9), said.len()), (3, 2));
        said.commit(7);
        said.drop(first);
        assert_eq!(said.from(9), 7);
        assert_eq!(said.take_due(110), None);
        assert_eq!(said.take_due(111), Some((key.clone(), 1)));
        said.drop(second);
        said.say(&key, 1, 200, None);
        said.commit(8);
        assert_eq!((said.from(9), said.take_due(111)), (8, None));
    }
}
