//! Slots in chunks: numbers stay valid while a slot lives, and memory of emptied chunks goes back.
//!
//! A new value takes a slot of the lowest chunk with room, so that after a burst the high chunks empty and
//! are freed: memory returns to its band (docs/semantics.md, "Bounded memory").

use std::collections::BTreeSet;

const CHUNK: usize = 256;

/// A slab of `T`.
#[derive(Debug)]
pub struct Slab<T> {
    chunks: Vec<Option<Chunk<T>>>,
    /// Chunks with room (allocated or not) below `chunks.len()`.
    roomy: BTreeSet<u32>,
    len: usize,
    allocated: usize,
}

#[derive(Debug)]
struct Chunk<T> {
    slots: Vec<Option<T>>,
    /// Bit set = free, 64 slots a word.
    free: [u64; CHUNK / 64],
    live: u16,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { chunks: Vec::new(), roomy: BTreeSet::new(), len: 0, allocated: 0 }
    }
}

impl<T> Slab<T> {
    /// Number of values.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Bytes allocated for slots.
    pub fn allocated_bytes(&self) -> usize {
        self.allocated * (CHUNK * size_of::<Option<T>>())
            + self.chunks.capacity() * size_of::<Option<Chunk<T>>>()
            + self.roomy.len() * 8
    }

    /// Bytes of the slots in use.
    pub fn used_bytes(&self) -> usize {
        self.len * size_of::<Option<T>>()
    }

    /// Stores a value; its number.
    pub fn insert(&mut self, value: T) -> u32 {
        let chunk = match self.roomy.first() {
            Some(&chunk) => chunk,
            None => {
                self.chunks.push(None);
                let chunk = (self.chunks.len() - 1) as u32;
                self.roomy.insert(chunk);
                chunk
            }
        };
        let allocated = &mut self.allocated;
        let slots = self.chunks[chunk as usize].get_or_insert_with(|| {
            *allocated += 1;
            Chunk { slots: (0..CHUNK).map(|_| None).collect(), free: [u64::MAX; CHUNK / 64], live: 0 }
        });
        let word = slots.free.iter().position(|w| *w != 0).unwrap_or(0);
        let slot = word * 64 + slots.free[word].trailing_zeros() as usize;
        slots.free[word] &= !(1 << (slot % 64));
        slots.slots[slot] = Some(value);
        slots.live += 1;
        if slots.live as usize == CHUNK {
            self.roomy.remove(&chunk);
        }
        self.len += 1;
        chunk * CHUNK as u32 + slot as u32
    }

    /// The value of a number.
    #[inline]
    pub fn get(&self, id: u32) -> Option<&T> {
        let chunk = self.chunks.get(id as usize / CHUNK)?.as_ref()?;
        chunk.slots[id as usize % CHUNK].as_ref()
    }

    /// The value of a number.
    #[inline]
    pub fn get_mut(&mut self, id: u32) -> Option<&mut T> {
        let chunk = self.chunks.get_mut(id as usize / CHUNK)?.as_mut()?;
        chunk.slots[id as usize % CHUNK].as_mut()
    }

    /// Takes a value out.
    pub fn remove(&mut self, id: u32) -> Option<T> {
        let at = id as usize / CHUNK;
        let chunk = self.chunks.get_mut(at)?.as_mut()?;
        let slot = id as usize % CHUNK;
        let value = chunk.slots[slot].take()?;
        chunk.free[slot / 64] |= 1 << (slot % 64);
        chunk.live -= 1;
        self.len -= 1;
        self.roomy.insert(at as u32);
        if chunk.live == 0 {
            self.chunks[at] = None;
            self.allocated -= 1;
            while matches!(self.chunks.last(), Some(None)) {
                self.chunks.pop();
                self.roomy.remove(&(self.chunks.len() as u32));
            }
        }
        Some(value)
    }

    /// Every value with its number, rising.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.chunks.iter().enumerate().flat_map(|(c, chunk)| {
            let slots = chunk.as_ref().map_or(&[][..], |chunk| &chunk.slots);
            slots.iter().enumerate().filter_map(move |(s, v)| Some(((c * CHUNK + s) as u32, v.as_ref()?)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn emptied_chunks_go_back() {
        let mut slab = Slab::default();
        let ids: Vec<u32> = (0..10 * CHUNK).map(|i| slab.insert(i)).collect();
        let full = slab.allocated_bytes();
        for id in &ids[CHUNK..] {
            slab.remove(*id);
        }
        assert!(slab.allocated_bytes() < full / 5);
        assert_eq!((slab.len(), slab.chunks.len()), (CHUNK, 1));
    }

    proptest! {
        #[test]
        fn agrees_with_a_map(steps in prop::collection::vec((any::<bool>(), any::<u16>()), 1..2000)) {
            let (mut slab, mut plain) = (Slab::default(), BTreeMap::new());
            for (insert, x) in steps {
                if insert || plain.is_empty() {
                    let id = slab.insert(x);
                    prop_assert!(plain.insert(id, x).is_none());
                } else {
                    let id = *plain.keys().nth(x as usize % plain.len()).unwrap();
                    prop_assert_eq!(slab.remove(id), plain.remove(&id));
                    prop_assert_eq!(slab.remove(id), None);
                }
                prop_assert_eq!(slab.len(), plain.len());
            }
            prop_assert!(slab.iter().map(|(i, v)| (i, *v)).eq(plain.iter().map(|(i, v)| (*i, *v))));
        }
    }
}
