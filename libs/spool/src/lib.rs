//! A stream buffer: in memory, then on disk, readable anywhere while the stream still arrives. Source E made
//! right: a read is `content[offset .. offset + len]`, always.
//!
//! Owns: [`SpoolBuffer`] (one stream, any number of readers), [`SpoolCache`] (buffers by key under one budget),
//! [`Recording`] (content that survives a crash, appended at an offset). Never: knows what the bytes are, reads
//! a clock (time is an argument), leaves a file behind that is not a recording.
//!
//! ```text
//! Source ─► filler ─► page that grows ─► pages in memory ─► unnamed file        oldest page first
//!              ▲             │                  │                │
//!           demand           └──────────────────┴────────────────┴──► readers   no cursor, no common lock in IO
//! ```
//! * A reader waits for the bytes it asked for and for nothing else. What is filled never waits for the source.
//! * The announced size is a hint. The source's own end decides; [`SpoolBuffer::size_mismatch`] tells the lie.
//! * Past the end there is nothing, which is no error. A failure of the source is the same for everybody and for
//!   ever; what came before it stays readable.
//! * Memory: at most `memory_bytes_max` (three pages, if that is more), and one page per slice that a reader
//!   still holds; with a [`Source::chunks`] also the chunk that it has handed over.
//! * Disk: what has left memory; of a long stream that still arrives half as much again, at most 64 MiB, taken ahead.
//! * A full disk stops the pull: readers that want more get [`ReadError::Full`], which says where and what to do.
//!   Nothing that was filled is lost, because a page leaves memory when the disk has it.
//!
//! ```
//! use evenkeel_spool::{Source, SpoolBuffer, SpoolOptions};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let runtime = tokio::runtime::Builder::new_multi_thread().build()?;
//! # runtime.block_on(async {
//! let video: &[u8] = b"....moov........mdat....";
//! let options = SpoolOptions { size_hint: Some(1_000), ..SpoolOptions::default() };
//! let buffer = SpoolBuffer::new(Source::read(video), options)?;
//!
//! assert_eq!(buffer.read_at(16, 4).await?, "mdat"); // pulls the stream as far as this
//! assert_eq!(buffer.slice(4..8).await?, "moov"); // is there already
//! assert_eq!(buffer.read_at(20, 100).await?, "...."); // shorter at the end
//! assert_eq!(buffer.read_at(500, 4).await?, ""); // nothing is there
//! assert_eq!(buffer.size_mismatch().map(|lie| lie.actual), Some(24));
//! assert_eq!(buffer.to_string(), "spool: 24 bytes, 0 on disk, complete, announced 1000");
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! # })
//! # }
//! ```
//!
//! A recording grows by appends whose place is checked, and tells after a crash how much of it is whole:
//!
//! ```
//! use evenkeel_spool::{AppendError, Recording, RecordingOptions};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! let path = dir.path().join("bowl-7");
//! let (recording, recovered) = Recording::open(&path, RecordingOptions::default())?;
//! recording.append_blocking(recovered.kept_bytes, b"412.5\n")?;
//! let elsewhere = recording.append_blocking(0, b"again");
//! assert!(matches!(elsewhere, Err(AppendError::Offset { expected: 6, .. })));
//! assert_eq!(recording.buffer().read_at_blocking(0, 5)?, "412.5"); // while it grows
//! assert_eq!(recording.finish_blocking()?, recording.len_durable());
//! # Ok(())
//! # }
//! ```

mod account;
mod buffer;
mod cache;
mod core;
mod disk;
mod durable;
mod error;
mod filler;
mod gate;
mod options;
mod reading;
mod save;
mod source;
mod spill;
mod spool;
mod sync;
mod view;
mod waiters;

pub use buffer::{Progress, SizeMismatch, SpoolBuffer, SpoolStatus};
pub use cache::{CacheError, CacheOptions, CacheStatus, Evictions, Pinned, SpoolCache};
pub use disk::{Disk, OsDisk};
pub use durable::{AppendError, Recording, RecordingOptions, RecoverError, Recovered, SyncPolicy, Verify};
pub use error::{OpenError, ReadError, SaveError, SpillError};
pub use options::{Fill, OptionsError, PAGE_BYTES_MAX, SpoolOptions};
pub use source::Source;
pub use view::{AsyncSpoolReader, SpoolReader};
