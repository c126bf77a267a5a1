//! The read path: what is in memory without a copy where one page has it all, what is on disk by one call into
//! the place where it is wanted.
//!
//! Owns: the loop over pieces. Never: a cursor (each read is on its own), the filler's or the spiller's lock,
//! a wait for bytes that were not asked for.

use crate::disk::{append_whole, read_cached, read_whole};
use crate::error::ReadError;
use crate::gate::{Sink, Took};
use crate::spool::Spool;
use bytes::Bytes;
use std::fs::File;
use std::io;
use std::sync::Arc;

/// The most that [`Spool::read_some`] takes from disk at once, bytes.
const SOME_BYTES_MAX: usize = 256 << 10;

/// A read of bytes that are all here: those from `offset` on are in `out`.
struct Reading {
    offset: u64,
    len: usize,
    out: Vec<u8>,
}

/// What a read needs next.
enum Step {
    Done(Bytes),
    /// So many bytes from disk, behind `out`.
    Disk(usize),
}

impl Spool {
    pub(crate) async fn read_at(self: &Arc<Self>, offset: u64, len: usize) -> Result<Bytes, ReadError> {
        let filled = self.gate.wait(target(offset, len)).await?;
        let mut reading = self.begin(offset, len, filled);
        loop {
            match self.step(&mut reading) {
                Step::Done(bytes) => return Ok(bytes),
                Step::Disk(len) => self.step_disk(&mut reading, len).await?,
            }
        }
    }

    pub(crate) fn read_at_blocking(&self, offset: u64, len: usize) -> Result<Bytes, ReadError> {
        let filled = self.gate.wait_blocking(target(offset, len))?;
        let mut reading = self.begin(offset, len, filled);
        loop {
            match self.step(&mut reading) {
                Step::Done(bytes) => return Ok(bytes),
                Step::Disk(len) => {
                    let at = reading.offset + reading.out.len() as u64;
                    self.append_from_disk(&mut reading.out, at, len)?;
                }
            }
        }
    }

    pub(crate) async fn read_into(self: &Arc<Self>, offset: u64, buf: &mut [u8]) -> Result<usize, ReadError> {
        let filled = self.gate.wait(target(offset, buf.len())).await?;
        let len = self.begin(offset, buf.len(), filled).len;
        let mut at = 0;
        while at < len {
            let from = offset + at as u64;
            match self.take_into(from, &mut buf[at..len]) {
                Ok(copied) => at += copied,
                Err(on_disk) => {
                    self.slice_from_disk(from, &mut buf[at..at + on_disk]).await?;
                    at += on_disk;
                }
            }
        }
        Ok(len)
    }

    pub(crate) fn read_into_blocking(&self, offset: u64, buf: &mut [u8]) -> Result<usize, ReadError> {
        let filled = self.gate.wait_blocking(target(offset, buf.len()))?;
        let len = self.begin(offset, buf.len(), filled).len;
        let mut at = 0;
        while at < len {
            let from = offset + at as u64;
            match self.take_into(from, &mut buf[at..len]) {
                Ok(copied) => at += copied,
                Err(on_disk) => {
                    let read = |file: &File| read_whole(&*self.disk, file, &mut buf[at..at + on_disk], from);
                    self.with_file(from, on_disk, read)?;
                    at += on_disk;
                }
            }
        }
        Ok(len)
    }

    /// What is here at `offset`, at most `max` bytes, waiting for the first of them only; empty at the end. What
    /// is in memory is not copied, but for the page that still grows.
    pub(crate) async fn read_some(self: &Arc<Self>, offset: u64, max: usize) -> Result<Bytes, ReadError> {
        let filled = self.gate.wait(target(offset, max.min(1))).await?;
        let mut reading = self.begin(offset, max, filled);
        match self.gate.take(offset, reading.len, &mut Sink::Vec(&mut reading.out)) {
            Took::Page(page) => return Ok(page),
            Took::Disk(len) => self.step_disk(&mut reading, len.min(SOME_BYTES_MAX)).await?,
            Took::Copied(_) | Took::Nothing => {}
        }
        Ok(reading.out.into())
    }

    /// The same into a slice, for a thread; 0 at the end.
    pub(crate) fn read_some_blocking(&self, offset: u64, buf: &mut [u8]) -> Result<usize, ReadError> {
        let filled = self.gate.wait_blocking(target(offset, buf.len().min(1)))?;
        let len = self.begin(offset, buf.len(), filled).len;
        self.read_into_blocking(offset, &mut buf[..len])
    }

    /// A read of what is here of the range.
    fn begin(&self, offset: u64, len: usize, filled: u64) -> Reading {
        self.touch();
        let here = usize::try_from(filled.saturating_sub(offset)).unwrap_or(usize::MAX);
        Reading { offset, len: len.min(here), out: Vec::new() }
    }

    fn step(&self, reading: &mut Reading) -> Step {
        while reading.out.len() < reading.len {
            let at = reading.offset + reading.out.len() as u64;
            let left = reading.len - reading.out.len();
            match self.gate.take(at, left, &mut Sink::Vec(&mut reading.out)) {
                Took::Page(page) if page.len() == reading.len => return Step::Done(page),
                Took::Page(page) => {
                    reading.out.reserve_exact(left);
                    reading.out.extend_from_slice(&page);
                }
                Took::Disk(len) => {
                    reading.out.reserve_exact(left);
                    return Step::Disk(len);
                }
                Took::Copied(_) => {}
                Took::Nothing => break,
            }
        }
        Step::Done(std::mem::take(&mut reading.out).into())
    }

    /// Bytes from disk for a task: what the system has in memory at once, the rest on a thread that may block.
    async fn step_disk(self: &Arc<Self>, reading: &mut Reading, len: usize) -> Result<(), ReadError> {
        let before = reading.out.len();
        let at = reading.offset + before as u64;
        reading.out.resize(before + len, 0);
        let cached = self
            .with_file(at, len, |file| Ok(read_cached(&*self.disk, file, &mut reading.out[before..], at)))?;
        reading.out.truncate(before + cached);
        if cached < len {
            let out = std::mem::take(&mut reading.out);
            reading.out = self.hop(out, at + cached as u64, len - cached).await?;
        }
        Ok(())
    }

    async fn slice_from_disk(self: &Arc<Self>, at: u64, buf: &mut [u8]) -> Result<(), ReadError> {
        let len = buf.len();
        let cached = self.with_file(at, len, |file| Ok(read_cached(&*self.disk, file, buf, at)))?;
        if cached < len {
            let rest = self.hop(Vec::new(), at + cached as u64, len - cached).await?;
            buf[cached..].copy_from_slice(&rest);
        }
        Ok(())
    }

    /// [`Self::append_from_disk`] on a thread that may block.
    async fn hop(self: &Arc<Self>, mut out: Vec<u8>, at: u64, len: usize) -> Result<Vec<u8>, ReadError> {
        let spool = Arc::clone(self);
        let read = move || spool.append_from_disk(&mut out, at, len).map(|()| out);
        let gone = |_| self.unreadable(at, len, io::Error::other("the runtime is shutting down"));
        tokio::task::spawn_blocking(read).await.map_err(gone)?
    }

    fn append_from_disk(&self, out: &mut Vec<u8>, at: u64, len: usize) -> Result<(), ReadError> {
        self.with_file(at, len, |file| append_whole(&*self.disk, file, out, len, at))
    }

    /// Copies the first piece at `from` that is in memory, or tells how many bytes are on disk.
    fn take_into(&self, from: u64, buf: &mut [u8]) -> Result<usize, usize> {
        let len = buf.len();
        match self.gate.take(from, len, &mut Sink::Slice(buf)) {
            Took::Page(page) => {
                buf[..page.len()].copy_from_slice(&page);
                Ok(page.len())
            }
            Took::Copied(copied) => Ok(copied),
            Took::Disk(on_disk) => Err(on_disk),
            // Cannot be: the range was here. Without progress the caller would not end.
            Took::Nothing => Ok(len),
        }
    }

    fn with_file<T>(
        &self,
        at: u64,
        len: usize,
        read: impl FnOnce(&File) -> io::Result<T>,
    ) -> Result<T, ReadError> {
        let file = self.file().ok_or_else(|| io::Error::other("the file is closed"));
        file.and_then(|file| read(&file)).map_err(|source| self.unreadable(at, len, source))
    }

    fn unreadable(&self, offset: u64, len: usize, source: io::Error) -> ReadError {
        ReadError::Disk { offset, len, place: self.place.clone(), source: Arc::new(source) }
    }
}

/// The first byte past a range.
fn target(offset: u64, len: usize) -> u64 {
    // Nothing is asked of nobody: an empty range is here from the start.
    if len == 0 { 0 } else { offset.saturating_add(len as u64) }
}
