//! Field-name lists, shared by all windows whose events carry the same fields: a fleet has few.
//!
//! Owns: the names. Bounded: a shape lives as long as a window uses it, and some unused ones stay for the
//! next window (`SPARE_MAX`).

use hashbrown::HashTable;
use std::hash::{BuildHasher, Hasher};

/// A shape's number.
pub type ShapeId = u32;

/// How many shapes without a window are kept.
const SPARE_MAX: usize = 64;

#[derive(Debug)]
struct Shape {
    hash: u64,
    names: Vec<Box<str>>,
    /// Positions of `names`, rising by name: the order of a row's statistics.
    by_name: Vec<u16>,
    windows: u32,
    /// It stands in the list of those that may be unused.
    listed: bool,
}

/// Every known field-name list.
#[derive(Debug)]
pub struct Shapes {
    shapes: Vec<Option<Shape>>,
    free: Vec<ShapeId>,
    table: HashTable<ShapeId>,
    hasher: foldhash::quality::FixedState,
    last: Option<ShapeId>,
    /// Every shape without a window, and some that have got one since.
    unused: Vec<ShapeId>,
    heap_bytes: usize,
}

/// Equality of two names, most of which are a few bytes long: too short to be worth a call.
#[inline]
fn same(a: &str, b: &str) -> bool {
    if a.len() != b.len() {
        return false;
    }
    match a.len() {
        0..=8 => a.bytes().zip(b.bytes()).all(|(a, b)| a == b),
        _ => a == b,
    }
}

impl Shapes {
    /// None yet.
    pub fn new(seed: u64) -> Self {
        Self {
            shapes: Vec::new(),
            free: Vec::new(),
            table: HashTable::new(),
            hasher: foldhash::quality::FixedState::with_seed(seed),
            last: None,
            unused: Vec::new(),
            heap_bytes: 0,
        }
    }

    /// The shape of these names in this order. One comparison when it is the shape asked for last.
    pub fn intern<'a>(&mut self, names: impl Iterator<Item = &'a str> + Clone) -> ShapeId {
        if let Some(last) = self.last
            && self.is(last, names.clone())
        {
            return last;
        }
        let mut hasher = self.hasher.build_hasher();
        for name in names.clone() {
            hasher.write(name.as_bytes());
            hasher.write_u8(0xff);
        }
        let hash = hasher.finish();
        let found = self.table.find(hash, |&id| self.is(id, names.clone())).copied();
        let id = match found {
            Some(id) => id,
            None => self.insert(hash, names.map(Box::from).collect()),
        };
        self.last = Some(id);
        id
    }

    /// The names of a shape, in column order.
    pub fn names(&self, id: ShapeId) -> &[Box<str>] {
        self.shapes[id as usize].as_ref().map_or(&[], |s| &s.names)
    }

    /// Positions of the names, rising by name.
    pub fn by_name(&self, id: ShapeId) -> &[u16] {
        self.shapes[id as usize].as_ref().map_or(&[], |s| &s.by_name)
    }

    /// A window uses the shape from now on.
    pub fn acquire(&mut self, id: ShapeId) {
        if let Some(shape) = &mut self.shapes[id as usize] {
            shape.windows += 1;
        }
    }

    /// A window stops using the shape.
    pub fn release(&mut self, id: ShapeId) {
        if let Some(shape) = &mut self.shapes[id as usize] {
            shape.windows -= 1;
            if shape.windows == 0 && !std::mem::replace(&mut shape.listed, true) {
                self.unused.push(id);
            }
        }
        self.drop_unused();
    }

    /// Bytes allocated.
    pub fn allocated_bytes(&self) -> usize {
        self.heap_bytes
            + self.shapes.capacity() * size_of::<Option<Shape>>()
            + (self.free.capacity() + self.unused.capacity()) * size_of::<ShapeId>()
            + self.table.capacity() * (size_of::<ShapeId>() + 1)
    }

    fn is<'a>(&self, id: ShapeId, mut names: impl Iterator<Item = &'a str>) -> bool {
        let Some(shape) = &self.shapes[id as usize] else { return false };
        shape.names.iter().all(|have| names.next().is_some_and(|n| same(have, n))) && names.next().is_none()
    }

    fn insert(&mut self, hash: u64, names: Vec<Box<str>>) -> ShapeId {
        self.drop_unused();
        let mut by_name: Vec<u16> = (0..names.len() as u16).collect();
        by_name.sort_unstable_by(|&a, &b| names[a as usize].cmp(&names[b as usize]));
        let shape = Shape { hash, names, by_name, windows: 0, listed: true };
        self.heap_bytes += shape.heap_bytes();
        let id = match self.free.pop() {
            Some(id) => {
                self.shapes[id as usize] = Some(shape);
                id
            }
            None => {
                self.shapes.push(Some(shape));
                (self.shapes.len() - 1) as ShapeId
            }
        };
        self.unused.push(id);
        let shapes = &self.shapes;
        self.table.insert_unique(hash, id, |&id| shapes[id as usize].as_ref().map_or(0, |s| s.hash));
        id
    }

    /// Drops what is unused once that is too much. Walks the list only, never every shape.
    fn drop_unused(&mut self) {
        if self.unused.len() <= SPARE_MAX {
            return;
        }
        for id in self.unused.drain(..) {
            let slot = &mut self.shapes[id as usize];
            if let Some(used) = slot.as_mut().filter(|s| s.windows > 0) {
                used.listed = false;
                continue;
            }
            let Some(shape) = slot.take() else { continue };
            if let Ok(entry) = self.table.find_entry(shape.hash, |&e| e == id) {
                entry.remove();
            }
            self.heap_bytes -= shape.heap_bytes();
            self.free.push(id);
        }
        self.last = None;
    }
}

impl Shape {
    fn heap_bytes(&self) -> usize {
        let texts: usize = self.names.iter().map(|n| n.len().max(8).next_multiple_of(8)).sum();
        texts + self.names.capacity() * size_of::<Box<str>>() + self.by_name.capacity() * 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_lists_are_one_shape_and_order_matters() {
        let mut shapes = Shapes::new(1);
        let ab = shapes.intern(["a", "b"].into_iter());
        let ba = shapes.intern(["b", "a"].into_iter());
        let none = shapes.intern(std::iter::empty());
        assert_ne!(ab, ba);
        assert_eq!(shapes.intern(["a", "b"].into_iter()), ab);
        assert_eq!(shapes.intern(std::iter::empty()), none);
        assert_ne!(shapes.intern(["ab"].into_iter()), ab);
        assert_eq!(shapes.by_name(ba), &[1, 0]);
    }

    #[test]
    fn shapes_without_a_window_do_not_pile_up() {
        let mut shapes = Shapes::new(1);
        let kept = shapes.intern(["kept"].into_iter());
        shapes.acquire(kept);
        let names: Vec<String> = (0..10_000).map(|i| format!("field-{i}")).collect();
        for name in &names {
            let id = shapes.intern(std::iter::once(name.as_str()));
            shapes.acquire(id);
            shapes.release(id);
        }
        assert!(shapes.table.len() <= SPARE_MAX + 2, "{}", shapes.table.len());
        assert_eq!(shapes.names(kept), &["kept".into()]);
        assert_eq!(shapes.intern(["kept"].into_iter()), kept);
        assert!(shapes.allocated_bytes() < 100_000);
    }

    #[test]
    fn a_used_shape_is_never_dropped_and_stands_in_the_list_once() {
        let mut shapes = Shapes::new(1);
        let names: Vec<String> = (0..1_000).map(|i| format!("field-{i}")).collect();
        let mut used = Vec::new();
        for name in &names {
            let again = shapes.intern(["again"].into_iter());
            shapes.acquire(again);
            let other = shapes.intern(std::iter::once(name.as_str()));
            shapes.acquire(other); // for good
            used.push(other);
            assert_eq!(&*shapes.names(again)[0], "again");
            shapes.release(again);
            assert!(shapes.unused.len() <= SPARE_MAX + 1);
        }
        for (id, name) in used.into_iter().zip(&names) {
            assert_eq!(&*shapes.names(id)[0], name.as_str());
        }
    }
}
