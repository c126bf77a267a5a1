//! The handle of a buffer.
//!
//! Owns: the filling task; with the last handle it ends, and memory and disk are free. Never: a cursor.

use crate::account::Account;
use crate::core::End;
use crate::error::{OpenError, ReadError, SpillError};
use crate::filler::fill;
use crate::options::SpoolOptions;
use crate::source::Source;
use crate::spill::Left;
use crate::spool::Spool;
use crate::view::{AsyncSpoolReader, SpoolReader};
use bytes::Bytes;
use std::fmt;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

/// A stream that can be read anywhere, while it still arrives, by any number of readers.
///
/// `read_at(offset, len)` is `content[offset .. offset + len]`, always: it waits for exactly these bytes, and is
/// shorter only where the content ends. What is filled never waits for the source. A range past the end is empty.
/// Clones are handles of the same buffer; the last one to go stops the source and frees memory and disk.
///
/// The `_blocking` forms are for threads; on a thread that drives async tasks they would stop it.
#[derive(Clone)]
pub struct SpoolBuffer {
    owner: Arc<Owner>,
}

pub(crate) struct Owner {
    pub(crate) spool: Arc<Spool>,
    filler: Option<AbortHandle>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        if let Some(filler) = &self.filler {
            filler.abort();
        }
        self.spool.close();
    }
}

/// How a stream stands.
#[derive(Debug, Clone)]
pub enum Progress {
    /// The source has not ended; it may wait for demand.
    Arriving,
    /// The source has ended: what is filled is the content.
    Complete,
    /// Nothing comes any more; what is filled stays readable.
    Failed(ReadError),
}

/// The announced size was wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SizeMismatch {
    /// What was announced, bytes.
    pub announced: u64,
    /// What came, bytes; while the stream still arrives, so far.
    pub actual: u64,
}

/// The figures of a buffer at one moment. Sizes are bytes.
#[derive(Debug, Clone)]
pub struct SpoolStatus {
    /// Content that is readable at once.
    pub filled_bytes: u64,
    /// What of that is in memory, reserves with it.
    pub memory_bytes: u64,
    /// What of that is on disk.
    pub disk_bytes: u64,
    /// What the source had announced.
    pub size_hint: Option<u64>,
    /// How the stream stands.
    pub progress: Progress,
    /// Readers that wait now.
    pub waiting: usize,
    /// How often a reader had to wait so far.
    pub waits_total: u64,
}

impl SpoolBuffer {
    /// Begins to buffer `source`.
    ///
    /// # Errors
    /// [`OpenError`] if there is no tokio runtime here, or the options cannot be kept.
    pub fn new(source: Source, options: SpoolOptions) -> Result<Self, OpenError> {
        Self::charged(source, options, Account::default())
    }

    pub(crate) fn charged(
        source: Source,
        options: SpoolOptions,
        account: Account,
    ) -> Result<Self, OpenError> {
        let runtime = Handle::try_current().map_err(|_| OpenError::NoRuntime)?;
        let spool = Arc::new(Spool::spooled(options, account)?);
        let filler = runtime.spawn(fill(Arc::clone(&spool), source)).abort_handle();
        Ok(Self { owner: Arc::new(Owner { spool, filler: Some(filler) }) })
    }

    pub(crate) fn around(spool: Arc<Spool>) -> Self {
        Self { owner: Arc::new(Owner { spool, filler: None }) }
    }

    pub(crate) fn spool(&self) -> &Arc<Spool> {
        &self.owner.spool
    }

    /// `content[offset .. offset + len]`. In memory and inside one page it is a part of that page, not a copy; else
    /// it is allocated whole, so who passes much on takes [`Self::read_some`].
    ///
    /// # Errors
    /// [`ReadError`], if the stream failed before the range was whole, or the disk could not be read.
    pub async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes, ReadError> {
        self.spool().read_at(offset, len).await
    }

    /// [`Self::read_at`] for a thread.
    ///
    /// # Errors
    /// As [`Self::read_at`].
    pub fn read_at_blocking(&self, offset: u64, len: usize) -> Result<Bytes, ReadError> {
        self.spool().read_at_blocking(offset, len)
    }

    /// `content[range]`. An open end is the end of the content, so it waits for that.
    ///
    /// # Errors
    /// As [`Self::read_at`].
    pub async fn slice(&self, range: impl RangeBounds<u64>) -> Result<Bytes, ReadError> {
        let (offset, len) = span(&range);
        self.read_at(offset, len).await
    }

    /// [`Self::slice`] for a thread.
    ///
    /// # Errors
    /// As [`Self::read_at`].
    pub fn slice_blocking(&self, range: impl RangeBounds<u64>) -> Result<Bytes, ReadError> {
        let (offset, len) = span(&range);
        self.read_at_blocking(offset, len)
    }

    /// Fills `buf` with `content[offset ..]`; answers how many bytes, fewer than asked at the end only.
    ///
    /// # Errors
    /// As [`Self::read_at`].
    pub async fn read_into(&self, offset: u64, buf: &mut [u8]) -> Result<usize, ReadError> {
        self.spool().read_into(offset, buf).await
    }

    /// [`Self::read_into`] for a thread.
    ///
    /// # Errors
    /// As [`Self::read_at`].
    pub fn read_into_blocking(&self, offset: u64, buf: &mut [u8]) -> Result<usize, ReadError> {
        self.spool().read_into_blocking(offset, buf)
    }

    /// What is here at `offset`, at least 1 and at most `max` bytes, waiting for the first of them only; empty
    /// at the end. For who passes the content on: it never waits for more than there is, and never copies a
    /// whole page.
    ///
    /// # Errors
    /// As [`Self::read_at`], of the first byte.
    pub async fn read_some(&self, offset: u64, max: usize) -> Result<Bytes, ReadError> {
        self.spool().read_some(offset, max).await
    }

    /// [`Self::read_some`] into `buf`, for a thread; 0 at the end.
    ///
    /// # Errors
    /// As [`Self::read_some`].
    pub fn read_some_blocking(&self, offset: u64, buf: &mut [u8]) -> Result<usize, ReadError> {
        self.spool().read_some_blocking(offset, buf)
    }

    /// The true length, bytes, once the source has ended. Waiting for it pulls the whole source.
    ///
    /// # Errors
    /// The stream's failure.
    pub async fn wait_end(&self) -> Result<u64, ReadError> {
        self.spool().gate.wait(u64::MAX).await
    }

    /// [`Self::wait_end`] for a thread.
    ///
    /// # Errors
    /// The stream's failure.
    pub fn wait_end_blocking(&self) -> Result<u64, ReadError> {
        self.spool().gate.wait_blocking(u64::MAX)
    }

    /// The length, bytes, if the source has ended. Announced sizes do not count.
    #[expect(clippy::len_without_is_empty, reason = "an unfinished stream is neither empty nor not")]
    pub fn len(&self) -> Option<u64> {
        let core = self.spool().gate.core();
        matches!(core.end(), Some(End::Eof)).then(|| core.filled())
    }

    /// Bytes that are readable at once.
    pub fn filled(&self) -> u64 {
        self.spool().gate.core().filled()
    }

    /// Whether the announced size is known to be wrong: more came, or the source ended elsewhere.
    pub fn size_mismatch(&self) -> Option<SizeMismatch> {
        let announced = self.spool().size_hint?;
        let core = self.spool().gate.core();
        let actual = core.filled();
        let wrong = match core.end() {
            Some(End::Eof) => actual != announced,
            Some(End::Failed(_)) | None => actual > announced,
        };
        wrong.then_some(SizeMismatch { announced, actual })
    }

    /// Moves what is in memory to disk; answers how many bytes. What comes later is kept in memory as before.
    ///
    /// # Errors
    /// [`SpillError`]; what did not leave memory is still there.
    pub async fn spill(&self) -> Result<u64, SpillError> {
        let (buffer, spool) = (self.clone(), self.spool());
        let gone = |_| SpillError::Disk {
            dir: spool.place.clone(),
            len: 0,
            source: Arc::new(std::io::Error::other("the runtime is shutting down")),
        };
        tokio::task::spawn_blocking(move || buffer.spill_blocking()).await.map_err(gone)?
    }

    /// [`Self::spill`] for a thread.
    ///
    /// # Errors
    /// As [`Self::spill`].
    pub fn spill_blocking(&self) -> Result<u64, SpillError> {
        self.spool().gate.core().seal_tail();
        self.spool().spill(0, Left::Free)
    }

    /// A view with a cursor of its own: [`std::io::Read`] and [`std::io::Seek`].
    pub fn reader(&self) -> SpoolReader {
        SpoolReader::new(self.clone())
    }

    /// A view with a cursor of its own: [`tokio::io::AsyncRead`] and [`tokio::io::AsyncSeek`].
    pub fn async_reader(&self) -> AsyncSpoolReader {
        AsyncSpoolReader::new(self.clone())
    }

    /// The figures of this moment.
    pub fn status(&self) -> SpoolStatus {
        let spool = self.spool();
        let core = spool.gate.core();
        SpoolStatus {
            filled_bytes: core.filled(),
            memory_bytes: core.memory_bytes(),
            disk_bytes: core.disk_bytes(),
            size_hint: spool.size_hint,
            progress: match core.end() {
                None => Progress::Arriving,
                Some(End::Eof) => Progress::Complete,
                Some(End::Failed(error)) => Progress::Failed(error.clone()),
            },
            waiting: core.waiting(),
            waits_total: spool.gate.waits(),
        }
    }
}

/// Offset and length of a range; an empty or reversed one has length 0.
fn span(range: &impl RangeBounds<u64>) -> (u64, usize) {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(last) => last.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    (start, usize::try_from(end.saturating_sub(start)).unwrap_or(usize::MAX))
}

impl fmt::Debug for SpoolBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = self.status();
        f.debug_struct("SpoolBuffer")
            .field("filled_bytes", &status.filled_bytes)
            .field("memory_bytes", &status.memory_bytes)
            .field("disk_bytes", &status.disk_bytes)
            .field("size_hint", &status.size_hint)
            .field("progress", &status.progress)
            .field("waiting", &status.waiting)
            .finish_non_exhaustive()
    }
}

/// One line for a log: `spool: 1048576 of 4194304? bytes, 786432 on disk, arriving, 2 waiting`.
impl fmt::Display for SpoolBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = self.status();
        write!(f, "spool: {}", status.filled_bytes)?;
        if let (Progress::Arriving, Some(hint)) = (&status.progress, status.size_hint) {
            write!(f, " of {hint}?")?;
        }
        write!(f, " bytes, {} on disk, ", status.disk_bytes)?;
        match status.progress {
            Progress::Arriving => write!(f, "arriving, {} waiting", status.waiting)?,
            Progress::Complete => f.write_str("complete")?,
            Progress::Failed(error) => write!(f, "failed: {error}")?,
        }
        match self.size_mismatch() {
            Some(lie) => write!(f, ", announced {}", lie.announced),
            None => Ok(()),
        }
    }
}
