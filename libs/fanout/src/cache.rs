//! Bytes that were made for one connection and are good for others.

use crate::connection::Format;
use std::sync::Arc;

/// Most of them per topic. Subscriptions of one class have seen the same version, so a topic needs one per format,
/// class and answer; past the bound the oldest makes room.
const ENTRIES_MAX: usize = 12;

/// What a fragment was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Need {
    pub(crate) format: Format,
    /// The version the receiver has; `None` = nothing.
    pub(crate) since: Option<u32>,
    pub(crate) recovered: Option<bool>,
}

/// The encoded forms of a topic's newest version.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    entries: Vec<(Need, Arc<[u8]>)>,
    next: usize,
}

impl Cache {
    /// Something newer was published. What the entries took goes with them.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.next = 0;
    }

    pub(crate) fn get(&self, need: &Need) -> Option<&Arc<[u8]>> {
        self.entries.iter().find(|(of, _)| of == need).map(|(_, bytes)| bytes)
    }

    pub(crate) fn put(&mut self, need: Need, bytes: Arc<[u8]>) {
        if self.entries.len() < ENTRIES_MAX {
            self.entries.push((need, bytes));
            return;
        }
        self.entries[self.next] = (need, bytes);
        self.next = (self.next + 1) % ENTRIES_MAX;
    }

    pub(crate) fn bytes(&self) -> usize {
        self.entries.iter().map(|(_, bytes)| bytes.len()).sum()
    }
}
