//! Memory to disk, page by page. A page is readable all the time: in memory until the disk has it, from then
//! on from disk.
//!
//! Owns: the order room, file, write, picture. Never: keeps a reader waiting, or drops a page that the disk
//! did not take.

use crate::disk::write_whole;
use crate::error::SpillError;
use crate::spool::{Allocated, Spool};
use bytes::Bytes;
use std::io;
use std::sync::{Arc, PoisonError};

/// The most that is written beside a filling before its thread is somebody else's for a while, bytes: threads that may
/// block are few, and readers need them too.
const TURN_BYTES_MAX: u64 = 64 << 20;

/// From this length on a stream takes room on disk ahead, bytes.
const LONG_BYTES: u64 = 8 << 20;
/// The most room on disk that is taken ahead, bytes.
const AHEAD_BYTES_MAX: u64 = 64 << 20;

/// What becomes of the memory of a page that is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    /// It is given back.
    Free,
    /// The filler takes it for the next page, if no reader has it.
    Reuse,
}

impl Spool {
    /// Writes pages out, oldest first, until pages hold at most `keep_bytes`; answers how many bytes left. A filler
    /// that waits for room is told as it goes, so the disk has work while pages are filled.
    pub(crate) fn spill(&self, keep_bytes: u64, memory: Left) -> Result<u64, SpillError> {
        let mut allocated = self.spiller.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut left, mut untold) = (0, 0);
        let result = loop {
            if memory == Left::Reuse && left >= TURN_BYTES_MAX {
                break Ok(left);
            }
            let Some((start, page)) = self.gate.core().spill_next(keep_bytes) else { break Ok(left) };
            if let Err(error) = self.spill_page(start, &page, &mut allocated) {
                break Err(error);
            }
            left += page.len() as u64;
            untold += page.len() as u64;
            let mut core = self.gate.core();
            core.spilled(start);
            if memory == Left::Reuse
                && let Ok(page) = page.try_into_mut()
            {
                core.keep_spare(page);
            }
            drop(core);
            if untold >= self.limits.step() {
                untold = 0;
                self.room.notify_one();
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

    fn spill_page(&self, start: u64, page: &Bytes, allocated: &mut Allocated) -> Result<(), SpillError> {
        let (len, before) = (page.len() as u64, allocated.end);
        if start + len > self.limits.disk {
            return Err(SpillError::TooLong { limit_bytes: self.limits.disk });
        }
        let refused = |source: io::Error| self.refused(page.len(), source);
        if start + len > allocated.end {
            self.allocate(start + len, allocated, page.len())?;
        }
        let file = self.file_or_new();
        let written = file.and_then(|file| write_whole(&*self.disk, &file, page, start));
        written.map_err(|source| {
            if allocated.end == start + len {
                self.account.give_disk(allocated.end - before);
                allocated.end = before;
            }
            refused(source)
        })
    }

    /// Takes the room up to `needed`, and for a long stream some ahead: a file system that is asked for much at once
    /// writes it with less work.
    fn allocate(&self, needed: u64, allocated: &mut Allocated, len: usize) -> Result<(), SpillError> {
        let more = needed - allocated.end;
        let available_bytes =
            self.disk.available_bytes(&self.place).map_err(|source| self.refused(len, source))?;
        let reserve_bytes = self.limits.disk_reserve;
        let fits = |bytes: u64| available_bytes >= reserve_bytes.saturating_add(bytes);
        if !fits(more) {
            return Err(SpillError::Reserve { dir: self.place.clone(), available_bytes, reserve_bytes });
        }
        let over = |(used_bytes, limit_bytes)| SpillError::Quota { used_bytes, limit_bytes };
        self.account.take_disk(more).map_err(over)?;
        let begin = std::mem::replace(&mut allocated.end, needed);
        // In proportion, so that a stream takes at most half as much again as it has.
        let ahead = (needed / 2).min(AHEAD_BYTES_MAX).min(self.limits.disk - needed);
        let long = allocated.ahead && needed >= LONG_BYTES && fits(more + ahead);
        if long && self.account.take_free_disk(ahead) {
            let file = self.file_or_new();
            match file.and_then(|file| self.disk.allocate(&file, begin, more + ahead)) {
                Ok(()) => allocated.end += ahead,
                Err(_) => self.account.give_disk(ahead), // it is written all the same, or says why not
            }
        }
        Ok(())
    }

    /// Gives back the room that was taken ahead and not needed, and takes no more. Blocks.
    pub(crate) fn trim(&self) {
        let mut allocated = self.spiller.lock().unwrap_or_else(PoisonError::into_inner);
        allocated.ahead = false;
        let written = self.gate.core().disk_bytes();
        if let Some(file) = self.file().filter(|_| allocated.end > written)
            && self.disk.trim(&file, written).is_ok()
        {
            self.account.give_disk(allocated.end - written);
            allocated.end = written;
        }
    }

    fn refused(&self, len: usize, source: io::Error) -> SpillError {
        SpillError::Disk { dir: self.place.clone(), len, source: Arc::new(source) }
    }
}
