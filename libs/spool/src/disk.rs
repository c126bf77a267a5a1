//! The file operations, all of them, and the loops that make whole reads and writes of them.
//!
//! Owns: interrupted calls, short reads, short writes. Never: decides where or whether to write.

use rustix::fs::FallocateFlags;
use rustix::io::{Errno, ReadWriteFlags};
use std::fmt::Debug;
use std::fs::File;
use std::io::{self, ErrorKind, IoSliceMut};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Every call to the operating system that touches a file's content. The provided methods are the real ones;
/// who replaces one (tests put faults in) must keep its meaning, partial results and interruptions included.
pub trait Disk: Debug + Send + Sync {
    /// A new file without a name in `dir`: whatever happens to the process, nothing of it stays.
    ///
    /// # Errors
    /// The system's.
    fn unnamed(&self, dir: &Path) -> io::Result<File> {
        tempfile::tempfile_in(dir)
    }

    /// Some of the bytes at `offset`; 0 at the end of the file.
    ///
    /// # Errors
    /// The system's, [`ErrorKind::Interrupted`] among them.
    fn read_at(&self, file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        file.read_at(buf, offset)
    }

    /// The same, but only what the system has in memory.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] or [`ErrorKind::Unsupported`] when the caller must use a thread that may block.
    fn read_cached_at(&self, file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        match rustix::io::preadv2(file, &mut [IoSliceMut::new(buf)], offset, ReadWriteFlags::NOWAIT) {
            Ok(read) => Ok(read),
            Err(Errno::NOSYS | Errno::OPNOTSUPP) => Err(ErrorKind::Unsupported.into()),
            Err(other) => Err(other.into()),
        }
    }

    /// Some of the bytes at `offset`, behind what `into` holds, no more than its spare room.
    ///
    /// # Errors
    /// As [`Self::read_at`].
    fn read_spare_at(&self, file: &File, into: &mut Vec<u8>, offset: u64) -> io::Result<usize> {
        Ok(rustix::io::pread(file, rustix::buffer::spare_capacity(into), offset)?)
    }

    /// Writes some of the bytes at `offset`.
    ///
    /// # Errors
    /// The system's, [`ErrorKind::Interrupted`] among them.
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
        file.write_at(bytes, offset)
    }

    /// Gives the file its room on disk before it is written, without making it longer. Who cannot do it says so, and
    /// the file is written all the same.
    ///
    /// # Errors
    /// The system's.
    fn allocate(&self, file: &File, offset: u64, len: u64) -> io::Result<()> {
        Ok(rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, offset, len)?)
    }

    /// Cuts the file, and gives back the room behind `len` that was allocated and not written.
    ///
    /// # Errors
    /// The system's.
    fn trim(&self, file: &File, len: u64) -> io::Result<()> {
        file.set_len(len)
    }

    /// Makes the file's content and length last through a loss of power.
    ///
    /// # Errors
    /// The system's. What was written since the last success is then in doubt.
    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    /// Bytes that are free for us on the file system of `dir`.
    ///
    /// # Errors
    /// The system's.
    fn available_bytes(&self, dir: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(dir)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

/// The operating system's files.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsDisk;

impl Disk for OsDisk {}

/// Fills `buf` from `offset`. A file that ends before is an error: we know what we have written.
pub(crate) fn read_whole(disk: &dyn Disk, file: &File, buf: &mut [u8], offset: u64) -> io::Result<()> {
    let mut at = 0;
    while at < buf.len() {
        match disk.read_at(file, &mut buf[at..], offset + at as u64) {
            Ok(0) => return Err(cut()),
            Ok(read) => at += read,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Appends `len` bytes from `offset` to `into`, without filling them with zeros first if there is room.
pub(crate) fn append_whole(
    disk: &dyn Disk,
    file: &File,
    into: &mut Vec<u8>,
    len: usize,
    offset: u64,
) -> io::Result<()> {
    let before = into.len();
    into.reserve_exact(len);
    while into.len() < before + len {
        let at = offset + (into.len() - before) as u64;
        match disk.read_spare_at(file, into, at) {
            Ok(0) => return Err(cut()),
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    // There may have been more room, and more in the file than is ours to see.
    into.truncate(before + len);
    Ok(())
}

/// Fills the start of `buf` from what the system has in memory; answers how much that was.
pub(crate) fn read_cached(disk: &dyn Disk, file: &File, buf: &mut [u8], offset: u64) -> usize {
    let mut at = 0;
    while at < buf.len() {
        match disk.read_cached_at(file, &mut buf[at..], offset + at as u64) {
            Ok(0) => break,
            Ok(read) => at += read,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            // Whatever it is, the blocking read will say it.
            Err(_) => break,
        }
    }
    at
}

/// The most that one call writes, bytes. A file system that keeps large folios asks for as much contiguous memory as a
/// call writes, and where memory is fragmented that search costs more than the copy: 1 GiB in calls of 1 MiB took 0.3
/// to 3.6 s, in calls of 64 KiB 0.4 to 0.6 s.
const WRITE_BYTES_MAX: usize = 64 << 10;

/// Writes all of `bytes` at `offset`.
pub(crate) fn write_whole(disk: &dyn Disk, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    let mut at = 0;
    while at < bytes.len() {
        let some = &bytes[at..bytes.len().min(at + WRITE_BYTES_MAX)];
        match disk.write_at(file, some, offset + at as u64) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => at += written,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

fn cut() -> io::Error {
    io::Error::new(
        ErrorKind::UnexpectedEof,
        "the file is shorter than what was written; did somebody cut it?",
    )
}
