//! Memory to disk, page by page. A page is readable all the time: in memory until the disk has it, from then
//! on from disk.
//!
//! Owns: the order room, file, write, picture. Never: keeps a reader waiting, or drops a page that the disk
//! did not take.

use crate::disk::write_whole;
use crate::error::SpillError;
use crate::spool::Spool;
use bytes::Bytes;
use std::io;
use std::sync::{Arc, PoisonError};

/// What becomes of the memory of a page that is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    /// It is given back.
    Free,
    /// The filler takes it for the next page, if no reader has it.
    Reuse,
}

impl Spool {
    /// Writes pages out, oldest first, until pages hold at most `keep_bytes`; answers how many bytes left.
    pub(crate) fn spill(&self, keep_bytes: u64, memory: Left) -> Result<u64, SpillError> {
        let _one_at_a_time = self.spiller.lock().unwrap_or_else(PoisonError::into_inner);
        let mut left = 0;
        let result = loop {
            let Some((start, page)) = self.gate.core().spill_next(keep_bytes) else { break Ok(left) };
            if let Err(error) = self.spill_page(start, &page) {
                break Err(error);
            }
            left += page.len() as u64;
            let mut core = self.gate.core();
            core.spilled(start);
            if memory == Left::Reuse
                && let Ok(page) = page.try_into_mut()
            {
                core.keep_spare(page);
            }
        };
        if memory == Left::Free {
            self.gate.core().drop_spares();
        }
        if left > 0 {
            self.account.set_memory(self.memory_needed());
        }
        result
    }

    fn spill_page(&self, start: u64, page: &Bytes) -> Result<(), SpillError> {
        let len = page.len();
        if start + len as u64 > self.limits.disk {
            return Err(SpillError::TooLong { limit_bytes: self.limits.disk });
        }
        let refused =
            |source: io::Error| SpillError::Disk { dir: self.place.clone(), len, source: Arc::new(source) };
        let available_bytes = self.disk.available_bytes(&self.place).map_err(refused)?;
        let reserve_bytes = self.limits.disk_reserve;
        if available_bytes < reserve_bytes.saturating_add(len as u64) {
            return Err(SpillError::Reserve { dir: self.place.clone(), available_bytes, reserve_bytes });
        }
        let over = |(used_bytes, limit_bytes)| SpillError::Quota { used_bytes, limit_bytes };
        self.account.take_disk(len as u64).map_err(over)?;
        let file = self.file_or_new();
        let written = file.and_then(|file| write_whole(&*self.disk, &file, page, start));
        written.map_err(|source| {
            self.account.give_disk(len as u64);
            refused(source)
        })
    }
}
