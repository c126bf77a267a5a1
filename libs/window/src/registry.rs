//! Who is known: streams with state, and quiet streams of which only marks are left.
//!
//! Owns: the id table. A quiet stream costs about 90 bytes; they stand in the order in which they went
//! quiet, the order in which their marks are forgotten.

use crate::slab::Slab;
use crate::stream::Stream;
use hashbrown::HashTable;
use std::hash::BuildHasher;

const QUIET_BIT: u32 = 1 << 31;
const NONE: u32 = u32::MAX;

/// Streams and quiet streams by id.
#[derive(Debug)]
pub struct Registry {
    /// Streams with state.
    pub streams: Slab<Stream>,
    quiet: Slab<Quiet>,
    table: HashTable<u32>,
    hasher: foldhash::quality::FixedState,
    first_quiet: u32,
    last_quiet: u32,
    heap_bytes: usize,
}

/// What is left of a stream without state.
#[derive(Debug)]
struct Quiet {
    /// `emitted` per size (8 bytes each), then the id.
    packed: Box<[u8]>,
    max_ts: i64,
    older: u32,
    newer: u32,
    sizes: u8,
}

/// The marks of a quiet stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuietMarks {
    /// The stream.
    pub id: String,
    /// `emitted` per size of its class, ms.
    pub emitted: Vec<i64>,
    /// Largest event time, ms.
    pub max_ts: i64,
}

/// What is known of an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// It has state, in this slot.
    Active(u32),
    /// Only marks, in this slot.
    Quiet(u32),
    /// Nothing.
    Unknown,
}

impl Quiet {
    fn new(marks: &QuietMarks) -> Self {
        let mut packed = Vec::with_capacity(marks.emitted.len() * 8 + marks.id.len());
        marks.emitted.iter().for_each(|t| packed.extend_from_slice(&t.to_le_bytes()));
        packed.extend_from_slice(marks.id.as_bytes());
        let sizes = marks.emitted.len() as u8;
        Self { packed: packed.into(), max_ts: marks.max_ts, older: NONE, newer: NONE, sizes }
    }

    fn id(&self) -> &[u8] {
        &self.packed[usize::from(self.sizes) * 8..]
    }

    fn emitted(&self) -> impl Iterator<Item = i64> {
        let (numbers, _) = self.packed[..usize::from(self.sizes) * 8].as_chunks::<8>();
        numbers.iter().map(|n| i64::from_le_bytes(*n))
    }

    fn heap_bytes(&self) -> usize {
        self.packed.len().next_multiple_of(16)
    }
}

impl Registry {
    /// Nobody yet. `seed` keys the hash of ids.
    pub fn new(seed: u64) -> Self {
        Self {
            streams: Slab::default(),
            quiet: Slab::default(),
            table: HashTable::new(),
            hasher: foldhash::quality::FixedState::with_seed(seed),
            first_quiet: NONE,
            last_quiet: NONE,
            heap_bytes: 0,
        }
    }

    /// What is known of an id.
    #[inline]
    pub fn find(&self, id: &str) -> Known {
        let hash = self.hasher.hash_one(id.as_bytes());
        match self.table.find(hash, |&e| self.id_of(e) == id.as_bytes()) {
            Some(&entry) if entry & QUIET_BIT != 0 => Known::Quiet(entry & !QUIET_BIT),
            Some(&entry) => Known::Active(entry),
            None => Known::Unknown,
        }
    }

    /// The slot of the stream that most likely has this id, without a look at the stream: for hints only.
    #[inline]
    pub fn guess(&self, id: &[u8]) -> u32 {
        let hash = self.hasher.hash_one(id);
        self.table.iter_hash(hash).next().copied().unwrap_or(NONE)
    }

    /// Adds a stream whose id is unknown.
    pub fn insert(&mut self, mut stream: Stream) -> u32 {
        stream.accounted = stream.heap_bytes();
        self.heap_bytes += stream.accounted;
        let hash = self.hasher.hash_one(stream.id.as_bytes());
        let slot = self.streams.insert(stream);
        self.insert_entry(hash, slot);
        slot
    }

    /// Forgets a stream's state.
    pub fn remove(&mut self, slot: u32) -> Option<Stream> {
        let hash = self.hasher.hash_one(self.streams.get(slot)?.id.as_bytes());
        self.remove_entry(hash, slot);
        let stream = self.streams.remove(slot)?;
        self.heap_bytes -= stream.accounted;
        Some(stream)
    }

    /// A stream's heap has changed.
    pub fn account(&mut self, slot: u32) {
        let Some(stream) = self.streams.get_mut(slot) else { return };
        let now = stream.heap_bytes();
        let before = std::mem::replace(&mut stream.accounted, now);
        self.heap_bytes = self.heap_bytes + now - before;
    }

    /// Adds a quiet stream whose id is unknown, the newest of the order.
    pub fn insert_quiet(&mut self, marks: &QuietMarks) -> u32 {
        let mut quiet = Quiet::new(marks);
        quiet.older = self.last_quiet;
        self.heap_bytes += quiet.heap_bytes();
        let slot = self.quiet.insert(quiet);
        match self.quiet.get_mut(self.last_quiet) {
            Some(last) => last.newer = slot,
            None => self.first_quiet = slot,
        }
        self.last_quiet = slot;
        self.insert_entry(self.hasher.hash_one(marks.id.as_bytes()), slot | QUIET_BIT);
        slot
    }

    /// The marks of a quiet stream.
    pub fn quiet(&self, slot: u32) -> Option<QuietMarks> {
        let quiet = self.quiet.get(slot)?;
        Some(QuietMarks {
            id: String::from_utf8_lossy(quiet.id()).into_owned(),
            emitted: quiet.emitted().collect(),
            max_ts: quiet.max_ts,
        })
    }

    /// Forgets a quiet stream; its marks.
    pub fn remove_quiet(&mut self, slot: u32) -> Option<QuietMarks> {
        let marks = self.quiet(slot)?;
        self.remove_entry(self.hasher.hash_one(marks.id.as_bytes()), slot | QUIET_BIT);
        let quiet = self.quiet.remove(slot)?;
        match self.quiet.get_mut(quiet.older) {
            Some(older) => older.newer = quiet.newer,
            None => self.first_quiet = quiet.newer,
        }
        match self.quiet.get_mut(quiet.newer) {
            Some(newer) => newer.older = quiet.older,
            None => self.last_quiet = quiet.older,
        }
        self.heap_bytes -= quiet.heap_bytes();
        Some(marks)
    }

    /// The stream that has been quiet longest, and its largest mark.
    pub fn first_quiet(&self) -> Option<(u32, i64)> {
        let quiet = self.quiet.get(self.first_quiet)?;
        Some((self.first_quiet, quiet.emitted().max().unwrap_or(i64::MIN)))
    }

    /// Every quiet stream.
    pub fn quiet_slots(&self) -> Vec<u32> {
        self.quiet.iter().map(|(slot, _)| slot).collect()
    }

    /// Number of quiet streams.
    pub fn quiet_len(&self) -> usize {
        self.quiet.len()
    }

    /// Bytes in use, of which free slots and buckets are not counted.
    pub fn used_bytes(&self) -> usize {
        self.streams.used_bytes() + self.quiet.used_bytes() + self.heap_bytes + self.table.len() * 5
    }

    /// Bytes in use by quiet streams, about.
    pub fn quiet_bytes(&self) -> usize {
        self.quiet.used_bytes() + self.quiet.len() * 48
    }

    /// Bytes allocated.
    pub fn allocated_bytes(&self) -> usize {
        let buckets = (self.table.capacity() * 8 / 7).next_power_of_two();
        self.streams.allocated_bytes() + self.quiet.allocated_bytes() + self.heap_bytes + buckets * 5
    }

    fn id_of(&self, entry: u32) -> &[u8] {
        if entry & QUIET_BIT != 0 {
            return self.quiet.get(entry & !QUIET_BIT).map_or(&[], Quiet::id);
        }
        self.streams.get(entry).map_or(&[], |s| s.id.as_bytes())
    }

    fn insert_entry(&mut self, hash: u64, entry: u32) {
        let (streams, quiet, hasher) = (&self.streams, &self.quiet, &self.hasher);
        let rehash = |&e: &u32| {
            let id = match e & QUIET_BIT {
                0 => streams.get(e).map_or(&[][..], |s| s.id.as_bytes()),
                _ => quiet.get(e & !QUIET_BIT).map_or(&[][..], Quiet::id),
            };
            hasher.hash_one(id)
        };
        self.table.insert_unique(hash, entry, rehash);
    }

    fn remove_entry(&mut self, hash: u64, entry: u32) {
        if let Ok(found) = self.table.find_entry(hash, |&e| e == entry) {
            found.remove();
        }
        if self.table.capacity() > 1024 && self.table.len() < self.table.capacity() / 4 {
            let (streams, quiet, hasher) = (&self.streams, &self.quiet, &self.hasher);
            let room = self.table.len() * 2;
            self.table.shrink_to(room, |&e| {
                let id = match e & QUIET_BIT {
                    0 => streams.get(e).map_or(&[][..], |s| s.id.as_bytes()),
                    _ => quiet.get(e & !QUIET_BIT).map_or(&[][..], Quiet::id),
                };
                hasher.hash_one(id)
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(id: &str, t: i64) -> QuietMarks {
        QuietMarks { id: id.into(), emitted: vec![t, t + 1], max_ts: t + 5 }
    }

    #[test]
    fn ids_are_found_whether_active_or_quiet() {
        let mut registry = Registry::new(3);
        let ids: Vec<String> = (0..5000).map(|i| format!("device/{i}")).collect();
        for (i, id) in ids.iter().enumerate() {
            match i % 2 {
                0 => drop(registry.insert(Stream::new(id, 0, 2))),
                _ => drop(registry.insert_quiet(&marks(id, i as i64))),
            }
        }
        for (i, id) in ids.iter().enumerate() {
            match registry.find(id) {
                Known::Active(slot) if i % 2 == 0 => {
                    assert_eq!(*registry.streams.get(slot).unwrap().id, **id)
                }
                Known::Quiet(slot) if i % 2 == 1 => {
                    assert_eq!(registry.quiet(slot), Some(marks(id, i as i64)))
                }
                other => panic!("{id}: {other:?}"),
            }
        }
        assert_eq!(registry.find("nobody"), Known::Unknown);
        for id in &ids {
            match registry.find(id) {
                Known::Active(slot) => drop(registry.remove(slot)),
                Known::Quiet(slot) => drop(registry.remove_quiet(slot)),
                Known::Unknown => panic!("{id}"),
            }
            assert_eq!(registry.find(id), Known::Unknown);
        }
        assert_eq!((registry.quiet_len(), registry.streams.len(), registry.heap_bytes), (0, 0, 0));
    }

    #[test]
    fn quiet_streams_keep_their_order_when_some_come_back() {
        let mut registry = Registry::new(3);
        let slots: Vec<u32> =
            (0..5).map(|i| registry.insert_quiet(&marks(&format!("s{i}"), 100 - i))).collect();
        registry.remove_quiet(slots[0]);
        registry.remove_quiet(slots[2]);
        registry.remove_quiet(slots[4]);
        assert_eq!(registry.first_quiet(), Some((slots[1], 100)));
        registry.remove_quiet(slots[1]);
        registry.remove_quiet(slots[3]);
        assert_eq!(registry.first_quiet(), None);
    }
}
