//! What can fail, one enum per operation: what, where, why, what to do.
//!
//! Owns: the errors of buffers. Never: an error for what is an answer (past the end there is nothing to read;
//! that is empty, not wrong).

use crate::options::OptionsError;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// A buffer could not be made.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OpenError {
    /// The options cannot be kept.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The task that fills the buffer needs a runtime.
    #[error(
        "there is no tokio runtime on this thread to fill the buffer; call this inside one, or enter its handle"
    )]
    NoRuntime,
}

/// A read could not be answered. Errors of the stream itself are sticky: every reader that wants more than was
/// filled gets the same one, and what was filled stays readable.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// The source failed; nothing comes after `at`.
    #[error("the source failed at byte {at}: {source}; the bytes before it stay readable")]
    Source {
        /// How many bytes came before.
        at: u64,
        /// The source's own words.
        source: Arc<io::Error>,
    },
    /// There was no room for more; nothing comes after `at`.
    #[error("filling stopped at byte {at}, the bytes before it stay readable: {source}")]
    Full {
        /// How many bytes came before.
        at: u64,
        /// Why there is no room.
        source: SpillError,
    },
    /// Who filled it is gone: the runtime ended, the source panicked, the recording was closed unfinished.
    #[error("filling stopped at byte {at}: {why}; the bytes before it stay readable")]
    Abandoned {
        /// How many bytes came before.
        at: u64,
        /// What happened.
        why: &'static str,
    },
    /// The file could not be read. Only this read is hurt.
    #[error("reading {len} bytes at {offset} from disk ({place}) failed: {source}")]
    Disk {
        /// Where in the content.
        offset: u64,
        /// How many bytes.
        len: usize,
        /// The directory, or the recording.
        place: PathBuf,
        /// The system's own words.
        source: Arc<io::Error>,
    },
}

/// Memory could not be moved to disk. The content stays in memory and readable.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SpillError {
    /// The disk refused.
    #[error("writing {len} bytes to an unnamed file in {} failed: {source}; free space there, or set another dir", dir.display())]
    Disk {
        /// Where the file is.
        dir: PathBuf,
        /// How many bytes were to be written.
        len: usize,
        /// The system's own words.
        source: Arc<io::Error>,
    },
    /// The file system would have less left than it must.
    #[error(
        "only {available_bytes} bytes are free in {}, and {reserve_bytes} must stay free; free space there, lower disk_reserve_bytes, or set another dir",
        dir.display()
    )]
    Reserve {
        /// Where the file is.
        dir: PathBuf,
        /// What is free, bytes.
        available_bytes: u64,
        /// What must stay free, bytes.
        reserve_bytes: u64,
    },
    /// The buffer has its share of the disk.
    #[error("{limit_bytes} bytes are on disk, which is the limit of one buffer; raise disk_bytes_max")]
    TooLong {
        /// The limit, bytes.
        limit_bytes: u64,
    },
    /// All buffers of the cache together have theirs, and none of them is idle.
    #[error(
        "{used_bytes} of {limit_bytes} bytes of the cache's disk quota are in use by buffers that are open; close some, or raise disk_bytes_max"
    )]
    Quota {
        /// What is in use, bytes.
        used_bytes: u64,
        /// The quota, bytes.
        limit_bytes: u64,
    },
}

/// The whole content could not be saved.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// The content could not be read to its end.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The file could not be written; nothing is left at its name.
    #[error("saving to {} failed: {source}; free space there, or choose another place", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's own words.
        source: io::Error,
    },
}

impl From<ReadError> for io::Error {
    fn from(error: ReadError) -> Self {
        let kind = match &error {
            ReadError::Source { source, .. } | ReadError::Disk { source, .. } => source.kind(),
            ReadError::Full { .. } => io::ErrorKind::StorageFull,
            ReadError::Abandoned { .. } => io::ErrorKind::BrokenPipe,
        };
        Self::new(kind, error)
    }
}
