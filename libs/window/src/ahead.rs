//! Looking ahead: a partition's streams lie far apart in memory, and what a record costs is mostly waiting
//! for it. Who knows the next records says whose they are, and the processor fetches meanwhile.
//!
//! A pure hint: nothing here changes state that a decision depends on, and a wrong hint costs nothing but
//! its time. The way to a stream's accumulators is a chain (id table, stream, windows, fields), so that each
//! call moves three records on by one link.

use crate::core::Core;
use crate::open::{NONE, Window};
use crate::prefetch::{fetch, fetch_bytes, fetch_slice};
use crate::registry::Known;
use crate::stream::Stream;

/// How many records ahead of its [`Core::feed`] a record is best announced.
pub const AHEAD: usize = 3 * STEP;

/// Records between two links of the chain: about the time of one memory access.
const STEP: usize = 4;
/// Power of two above [`AHEAD`].
const RING: usize = 16;
const _: () = assert!(AHEAD < RING && RING.is_power_of_two());

/// The streams announced last.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ahead {
    slots: [u32; RING],
    turn: usize,
}

impl Default for Ahead {
    fn default() -> Self {
        Self { slots: [NONE; RING], turn: 0 }
    }
}

impl Ahead {
    /// The slot that was guessed for the record announced [`AHEAD`] calls before the last one.
    #[inline]
    pub fn due(&self) -> u32 {
        self.slots[self.turn.wrapping_sub(1 + AHEAD) % RING]
    }
}

impl Core {
    /// What is known of a stream. Who was announced in time is found without a search.
    #[inline]
    pub(crate) fn known(&self, id: &str) -> Known {
        let slot = self.ahead.due();
        match self.registry.streams.get(slot) {
            Some(stream) if *stream.id == *id => Known::Active(slot),
            _ => self.registry.find(id),
        }
    }

    /// A record of this stream will be fed, best [`AHEAD`] records from now.
    #[inline]
    pub fn expect(&mut self, id: &[u8]) {
        let turn = self.ahead.turn;
        self.ahead.turn = turn.wrapping_add(1);
        let slot = self.registry.guess(id);
        self.ahead.slots[turn % RING] = slot;
        if let Some(stream) = self.registry.streams.get(slot) {
            fetch(stream);
        }
        let earlier = |steps: usize| self.ahead.slots[turn.wrapping_sub(steps * STEP) % RING];
        let newest = |stream: &Stream, fetch: fn(&Window)| {
            let newest = stream.series.iter().filter_map(|s| s.open.last());
            newest.filter_map(|&id| self.windows.get(id)).for_each(fetch);
        };
        if let Some(stream) = self.registry.streams.get(earlier(1)) {
            fetch_bytes(stream.id.as_bytes());
            newest(stream, fetch);
        }
        if let Some(stream) = self.registry.streams.get(earlier(2)) {
            newest(stream, |window| fetch_slice(&window.fields));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Partition, Settings};

    #[test]
    fn a_hint_about_nobody_changes_nothing() {
        let place = Partition { number: 0, count: 1, writer: "w".into(), hash_seed: 1 };
        let mut core = Core::new(&Settings::default(), place).unwrap();
        let before = (core.meta(), core.sizes(), core.allocated_bytes());
        (0..3 * RING).for_each(|n| core.expect(format!("nobody/{n}").as_bytes()));
        assert_eq!((core.meta(), core.sizes(), core.allocated_bytes()), before);
    }
}
