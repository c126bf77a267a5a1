//! What state costs, bytes: the same numbers the account of a core is made of, for `evenkeel plan`.

use crate::accumulate::Accumulator;
use crate::open::Window;
use crate::ring::{RawEvent, Ring};
use crate::seqset::SeqSet;
use crate::stream::{RECENT_MAX, Series, Stream};
use crate::windows::Due;
use evenkeel_model::SeqRange;

/// What one stream looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamShape {
    /// Length of its id, bytes.
    pub id_bytes: usize,
    /// Window sizes of its class.
    pub sizes: usize,
    /// Numeric fields of its events.
    pub fields: usize,
    /// Whether its events carry seqs.
    pub has_seq: bool,
    /// Seq intervals a window holds: 1 without loss or disorder.
    pub seq_intervals: usize,
    /// Raw events a window holds: 0 where nothing keeps them.
    pub raw_events: usize,
}

/// An allocation's size class: what the allocator really takes (jemalloc: four classes per doubling).
pub const fn allocation_bytes(bytes: usize) -> usize {
    if bytes == 0 {
        return 0;
    }
    if bytes <= 128 {
        return bytes.next_multiple_of(16);
    }
    let group = bytes.next_power_of_two() / 2;
    bytes.next_multiple_of(group / 4)
}

impl StreamShape {
    /// A stream with state, without its windows.
    pub fn stream_bytes(&self) -> usize {
        const TABLE_ENTRY: usize = 8; // 5 bytes at a load of 7/8, between two doublings
        const WHEEL_ENTRY: usize = 8;
        let spilled = if self.sizes > 2 { self.sizes * size_of::<Series>() } else { 0 };
        let recent = if self.has_seq { self.recent_bytes() } else { 0 };
        // The queue of pending windows keeps its first four places.
        let series = self.sizes * (recent + allocation_bytes(16));
        size_of::<Option<Stream>>()
            + allocation_bytes(self.id_bytes)
            + allocation_bytes(spilled)
            + series
            + TABLE_ENTRY
            + WHEEL_ENTRY
    }

    /// One open or pending window.
    pub fn window_bytes(&self) -> usize {
        const EVENT_FIELD: usize = 16;
        let ring = match self.raw_events {
            0 => 0,
            n => {
                let event = size_of::<RawEvent>() + allocation_bytes(self.fields * EVENT_FIELD);
                allocation_bytes(size_of::<Ring>()) + n * event
            }
        };
        size_of::<Option<Window>>()
            + allocation_bytes(self.fields * size_of::<Accumulator>())
            + self.seq_heap_bytes()
            + size_of::<Due>()
            + ring
    }

    /// A stream of which only marks are left.
    pub fn quiet_bytes(&self) -> usize {
        const SLOT: usize = 40;
        const TABLE_ENTRY: usize = 8;
        SLOT + allocation_bytes(self.id_bytes + 8 * self.sizes) + TABLE_ENTRY
    }

    fn recent_bytes(&self) -> usize {
        allocation_bytes(RECENT_MAX * (8 + size_of::<SeqSet>())) + RECENT_MAX * self.seq_heap_bytes()
    }

    fn seq_heap_bytes(&self) -> usize {
        if !self.has_seq || self.seq_intervals <= 1 {
            return 0;
        }
        allocation_bytes(self.seq_intervals.next_power_of_two() * size_of::<SeqRange>())
    }
}
