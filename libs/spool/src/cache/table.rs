//! Which entry goes next: the one that was left alone longest, of those nobody holds.
//!
//! Owns: pins, the order of use, expiry. Never: a clock (`now_ms` is an argument), IO, what an entry is. Whether
//! an entry was read since somebody looked is asked when it is about to go, so that reads cost nothing here.

use std::collections::BTreeMap;

/// When an entry was used last, ms, and a number that tells equal times apart.
type Used = (u64, u64);

#[derive(Debug)]
struct Slot<T> {
    value: T,
    number: u64,
    pins: usize,
    used: Used,
}

/// Entries by key. Bound: the caller's.
#[derive(Debug)]
pub(crate) struct Table<T> {
    by_key: BTreeMap<String, Slot<T>>,
    /// Entries without pins, the longest unused first.
    idle: BTreeMap<Used, String>,
    next: u64,
    now_ms: u64,
}

impl<T> Table<T> {
    pub(crate) fn new() -> Self {
        Self { by_key: BTreeMap::new(), idle: BTreeMap::new(), next: 0, now_ms: 0 }
    }

    /// It is at least this late now. Time does not go back.
    pub(crate) fn advance(&mut self, now_ms: u64) {
        self.now_ms = self.now_ms.max(now_ms);
    }

    pub(crate) fn len(&self) -> usize {
        self.by_key.len()
    }

    pub(crate) fn pinned(&self) -> usize {
        self.by_key.len() - self.idle.len()
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.by_key.values().map(|slot| &slot.value)
    }

    pub(crate) fn get(&self, key: &str) -> Option<&T> {
        self.by_key.get(key).map(|slot| &slot.value)
    }

    /// Somebody holds the entry from now on; answers it, with the number to let go by.
    pub(crate) fn pin(&mut self, key: &str) -> Option<(&T, u64)> {
        let slot = self.by_key.get_mut(key)?;
        slot.pins += 1;
        self.idle.remove(&slot.used);
        Some((&slot.value, slot.number))
    }

    /// A new entry that somebody holds; answers its number, and what it takes the place of.
    pub(crate) fn insert_pinned(&mut self, key: String, value: T) -> (u64, Option<T>) {
        let replaced = self.remove(&key);
        let used = self.now();
        self.by_key.insert(key, Slot { value, number: used.1, pins: 1, used });
        (used.1, replaced)
    }

    /// Somebody lets go. An entry that was replaced meanwhile is not ours any more.
    pub(crate) fn unpin(&mut self, key: &str, number: u64) {
        let used = self.now();
        let Some(slot) = self.by_key.get_mut(key).filter(|slot| slot.number == number) else { return };
        slot.pins = slot.pins.saturating_sub(1);
        if slot.pins == 0 {
            slot.used = used;
            self.idle.insert(used, key.to_owned());
        }
    }

    /// Takes an entry out, held or not.
    pub(crate) fn remove(&mut self, key: &str) -> Option<T> {
        let slot = self.by_key.remove(key)?;
        self.idle.remove(&slot.used);
        Some(slot.value)
    }

    /// What was read since the last call was used now.
    pub(crate) fn notice_reads(&mut self, read_since: impl Fn(&T) -> bool) {
        for (key, slot) in &mut self.by_key {
            if read_since(&slot.value) && self.idle.remove(&slot.used).is_some() {
                self.next += 1;
                slot.used = (self.now_ms, self.next);
                self.idle.insert(slot.used, key.clone());
            }
        }
    }

    /// Takes out the entry that nobody holds and nobody has used for longest.
    pub(crate) fn take_oldest(&mut self, read_since: impl Fn(&T) -> bool) -> Option<T> {
        self.take_idle(u64::MAX, read_since)
    }

    /// Takes out one entry that nobody holds and nobody has used for `ttl_ms`.
    pub(crate) fn take_expired(&mut self, ttl_ms: u64, read_since: impl Fn(&T) -> bool) -> Option<T> {
        self.take_idle(self.now_ms.checked_sub(ttl_ms)?, read_since)
    }

    fn take_idle(&mut self, used_max_ms: u64, read_since: impl Fn(&T) -> bool) -> Option<T> {
        // Each entry that was read moves back once, so this ends.
        for _ in 0..=self.idle.len() {
            let oldest = self.idle.first_entry().filter(|oldest| oldest.key().0 <= used_max_ms)?;
            let key = oldest.remove();
            let slot = self.by_key.get_mut(&key)?;
            if !read_since(&slot.value) {
                return self.by_key.remove(&key).map(|slot| slot.value);
            }
            self.next += 1;
            slot.used = (self.now_ms, self.next);
            self.idle.insert(slot.used, key);
        }
        None
    }

    fn now(&mut self) -> Used {
        self.next += 1;
        (self.now_ms, self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cell::Cell;

    #[test]
    fn the_longest_unused_goes_first_and_a_held_one_never() {
        let mut table = Table::new();
        let numbers: Vec<u64> = ["a", "b", "c"].map(|k| table.insert_pinned(k.to_owned(), k).0).to_vec();
        assert_eq!((table.take_oldest(|_| false), table.pinned()), (None, 3));
        table.unpin("b", numbers[1]);
        table.unpin("a", numbers[0]);
        table.unpin("c", numbers[2]);
        assert_eq!(table.pin("b").map(|(v, _)| *v), Some("b"));
        assert_eq!(table.take_oldest(|_| false), Some("a"));
        assert_eq!(table.take_oldest(|_| false), Some("c"));
        assert_eq!((table.take_oldest(|_| false), table.len()), (None, 1));
    }

    #[test]
    fn an_entry_expires_ttl_after_it_was_read_last_and_not_a_moment_before() {
        let mut table = Table::new();
        table.advance(1_000);
        let (number, _) = table.insert_pinned("a".to_owned(), Cell::new(false));
        table.unpin("a", number);
        let read = |value: &Cell<bool>| value.take();
        table.advance(1_099);
        assert!(table.take_expired(100, read).is_none());
        table.get("a").unwrap().set(true);
        table.advance(1_100);
        assert!(table.take_expired(100, read).is_none(), "it was read: its time begins anew");
        table.advance(1_150);
        table.notice_reads(read);
        assert_eq!(table.idle.keys().next().unwrap().0, 1_100, "it was not read since");
        table.get("a").unwrap().set(true);
        table.notice_reads(read);
        table.advance(1_249);
        assert!(table.take_expired(100, read).is_none());
        table.advance(1_250);
        assert!(table.take_expired(100, read).is_some());
    }

    #[test]
    fn letting_go_of_a_replaced_entry_does_not_let_go_of_its_successor() {
        let mut table = Table::new();
        let (old, _) = table.insert_pinned("a".to_owned(), 1);
        let (_, replaced) = table.insert_pinned("a".to_owned(), 2);
        assert_eq!(replaced, Some(1));
        table.unpin("a", old);
        assert_eq!((table.take_oldest(|_| false), table.pinned()), (None, 1));
    }

    proptest! {
        // Against a plain list of (key, pins), in the order of their last use.
        #[test]
        fn idle_entries_leave_in_order_of_use(
            steps in prop::collection::vec((0u8..4, 0usize..5), 0..80),
        ) {
            let mut table = Table::new();
            let mut held: Vec<(String, u64)> = Vec::new();
            let mut idle: Vec<String> = Vec::new();
            for (step, key) in steps {
                let key = format!("k{key}");
                match step {
                    0 if table.get(&key).is_none() => {
                        let (number, _) = table.insert_pinned(key.clone(), key.clone());
                        held.push((key, number));
                    }
                    0 | 1 => if let Some((_, number)) = table.pin(&key) {
                        idle.retain(|k| *k != key);
                        held.push((key, number));
                    },
                    2 => if let Some(at) = held.iter().position(|(k, _)| *k == key) {
                        let (_, number) = held.remove(at);
                        table.unpin(&key, number);
                        if held.iter().all(|(k, _)| *k != key) {
                            idle.push(key);
                        }
                    },
                    _ => {
                        let want = if idle.is_empty() { None } else { Some(idle.remove(0)) };
                        prop_assert_eq!(table.take_oldest(|_| false), want);
                    }
                }
                prop_assert_eq!(table.idle.len(), idle.len());
                prop_assert_eq!(table.len() - table.pinned(), idle.len());
            }
        }
    }
}
