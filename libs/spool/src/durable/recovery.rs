//! Opening a recording: what of it is whole.
//!
//! Owns: the verdict per block, and cutting what is torn. Never: cuts behind a mark (`synced`, `finished`): there
//! a wrong checksum is damage, which is reported and left as it is.

use super::journal::{BLOCK_BYTES_MAX, ENTRY_BYTES, Entry, Scan};
use crate::disk::{Disk, read_whole};
use std::fs::File;
use std::io;
use std::path::PathBuf;

/// Which checksums are compared when a recording is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verify {
    /// Those behind the last mark, where a crash may have torn something. Quick, however long the recording.
    Tail,
    /// All; finds what the medium has lost since, and reads everything for it.
    All,
}

/// What was found when a recording was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovered {
    /// Content that is there, bytes: the next append goes here.
    pub kept_bytes: u64,
    /// What was written behind that and cut, bytes: the torn tail of a crash.
    pub cut_bytes: u64,
    /// The recording was finished: this is all of it.
    pub finished: bool,
    /// Content whose checksums were compared, bytes.
    pub verified_bytes: u64,
}

/// A recording could not be opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// There is none, and none was to be begun.
    #[error("there is no recording at {}", path.display())]
    Absent {
        /// The data file.
        path: PathBuf,
    },
    /// Somebody has it open.
    #[error("{} is open in this process or another; close it there first", path.display())]
    Held {
        /// The data file.
        path: PathBuf,
    },
    /// There is a file of that name with another purpose.
    #[error("{} is not a recording of ours; it is left alone, choose another name", path.display())]
    NotARecording {
        /// The file.
        path: PathBuf,
    },
    /// Content that was on stable storage is not what it was.
    #[error(
        "{} is damaged at byte {at}, before the mark at {synced}: the medium has lost something; the first {at} bytes are good, copy them out and remove the recording",
        path.display()
    )]
    Damaged {
        /// The data file.
        path: PathBuf,
        /// The first byte in doubt.
        at: u64,
        /// Up to where it was on stable storage, bytes.
        synced: u64,
    },
    /// The operating system refused.
    #[error("opening the recording {} failed: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's own words.
        source: io::Error,
    },
}

/// The outcome of [`examine`].
pub(super) struct Found {
    pub(super) recovered: Recovered,
    /// What of the journal stands, bytes.
    pub(super) journal_bytes: u64,
    /// What the last mark covers, bytes.
    pub(super) synced: u64,
}

/// Why [`examine`] found nothing to go on with.
pub(super) enum Trouble {
    Io(io::Error),
    Damaged { at: u64, synced: u64 },
}

impl From<io::Error> for Trouble {
    fn from(source: io::Error) -> Self {
        Self::Io(source)
    }
}

/// Reads journal and data, and says what is whole. Changes nothing.
pub(super) fn examine(
    disk: &dyn Disk,
    journal: &File,
    data: &File,
    verify: Verify,
) -> Result<Found, Trouble> {
    let mut scan = Scan::default();
    let slots = journal.metadata()?.len() / ENTRY_BYTES as u64;
    each_entry(disk, journal, slots, |slot| {
        scan.push(slot);
        Ok(true)
    })?;
    let (synced, data_bytes) = (scan.synced, data.metadata()?.len());
    if scan.damaged {
        return Err(Trouble::Damaged { at: scan.end.min(data_bytes), synced });
    }
    if data_bytes < synced {
        return Err(Trouble::Damaged { at: data_bytes, synced });
    }
    let trusted = match verify {
        Verify::Tail => synced,
        Verify::All => 0,
    };
    let (mut kept, mut entries, mut verified) = (0, 0, 0);
    let mut buffer = Vec::new();
    each_entry(disk, journal, scan.entries, |slot| {
        if let Some(Entry::Block { len, end, crc }) = Entry::decode(slot) {
            if end > trusted {
                if !block_is_whole(disk, data, data_bytes, end - u64::from(len)..end, crc, &mut buffer)? {
                    return Ok(false);
                }
                verified += u64::from(len);
            }
            kept = end;
        }
        entries += 1;
        Ok(true)
    })?;
    if kept < synced {
        return Err(Trouble::Damaged { at: kept, synced });
    }
    let cut_bytes = data_bytes - kept;
    let recovered =
        Recovered { kept_bytes: kept, cut_bytes, finished: scan.finished, verified_bytes: verified };
    Ok(Found { recovered, journal_bytes: entries * ENTRY_BYTES as u64, synced })
}

fn block_is_whole(
    disk: &dyn Disk,
    data: &File,
    data_bytes: u64,
    block: std::ops::Range<u64>,
    crc: u32,
    buffer: &mut Vec<u8>,
) -> io::Result<bool> {
    let len = usize::try_from(block.end - block.start).unwrap_or(usize::MAX);
    if block.end > data_bytes || len > BLOCK_BYTES_MAX {
        return Ok(false);
    }
    buffer.resize(len, 0);
    read_whole(disk, data, buffer, block.start)?;
    Ok(crc32fast::hash(buffer) == crc)
}

/// Calls `each` for so many entries, until it answers false.
fn each_entry(
    disk: &dyn Disk,
    journal: &File,
    entries: u64,
    mut each: impl FnMut(&[u8; ENTRY_BYTES]) -> io::Result<bool>,
) -> io::Result<()> {
    const AT_ONCE: u64 = 4_096;
    let mut buffer = vec![0; ENTRY_BYTES * usize::try_from(entries.min(AT_ONCE)).unwrap_or(0)];
    let mut done = 0;
    while done < entries {
        let now = usize::try_from((entries - done).min(AT_ONCE)).unwrap_or(0);
        let slots = &mut buffer[..now * ENTRY_BYTES];
        read_whole(disk, journal, slots, done * ENTRY_BYTES as u64)?;
        for slot in slots.as_chunks::<ENTRY_BYTES>().0 {
            if !each(slot)? {
                return Ok(());
            }
        }
        done += now as u64;
    }
    Ok(())
}
