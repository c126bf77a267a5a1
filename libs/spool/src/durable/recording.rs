//! A recording: append at an offset, read anywhere meanwhile, come back after a crash with what was told.
//!
//! Owns: the data file, its journal, the lock on both. Never: publishes bytes before they are in the file with
//! their checksum (and, where the policy says so, on stable storage); tries again after a failed sync, because
//! what the system holds is then in doubt.

use super::journal::{BLOCK_BYTES_MAX, ENTRY_BYTES, Entry};
use super::recovery::{Found, RecoverError, Recovered, Trouble, Verify, examine};
use crate::buffer::SpoolBuffer;
use crate::core::{Core, End};
use crate::disk::{Disk, OsDisk, read_whole, write_whole};
use crate::error::ReadError;
use crate::spool::Spool;
use bytes::Bytes;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// When appended bytes are made to survive a loss of power. A crash of the process alone loses nothing that was
/// answered, whatever the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncPolicy {
    /// Before each append is answered: two syncs each.
    Each,
    /// When so many bytes have come since the last time, and at the end.
    Bytes(u64),
    /// At the end, and when [`Recording::sync`] is called.
    AtEnd,
}

/// Manners of a recording.
#[derive(Debug, Clone)]
pub struct RecordingOptions {
    /// Begin one that is not there; else that is [`RecoverError::Absent`]. Yes.
    pub create: bool,
    /// When appended bytes are made to survive a loss of power. Every 8 MiB.
    pub sync: SyncPolicy,
    /// Which checksums are compared at the opening. Those that a crash may have torn.
    pub verify: Verify,
    /// The most content, bytes; an append beyond is refused. 64 GiB.
    pub bytes_max: u64,
    /// What must stay free on the file system, bytes. 256 MiB.
    pub disk_reserve_bytes: u64,
    /// The file operations; tests put faults in.
    pub disk: Arc<dyn Disk>,
}

impl Default for RecordingOptions {
    fn default() -> Self {
        Self {
            create: true,
            sync: SyncPolicy::Bytes(8 << 20),
            verify: Verify::Tail,
            bytes_max: 64 << 30,
            disk_reserve_bytes: 256 << 20,
            disk: Arc::new(OsDisk),
        }
    }
}

/// Bytes were not appended. Unless it says otherwise, the recording is as before and the append may be repeated.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// The bytes do not belong here.
    #[error("the recording has {expected} bytes, so the next append starts there, not at {offset}")]
    Offset {
        /// Where the append was to start.
        offset: u64,
        /// Where the next one must start.
        expected: u64,
    },
    /// There is nothing to append to.
    #[error("the recording is finished with {len} bytes")]
    Finished {
        /// Its length, bytes.
        len: u64,
    },
    /// The recording would be too long.
    #[error("{asked} bytes would be more than the {limit} that a recording may have; raise bytes_max")]
    TooLong {
        /// The length with these bytes.
        asked: u64,
        /// The most, bytes.
        limit: u64,
    },
    /// The file system would have less left than it must.
    #[error(
        "only {available_bytes} bytes are free for {}, and {reserve_bytes} must stay free; free space there, or lower disk_reserve_bytes",
        path.display()
    )]
    Reserve {
        /// The data file.
        path: PathBuf,
        /// What is free, bytes.
        available_bytes: u64,
        /// What must stay free, bytes.
        reserve_bytes: u64,
    },
    /// The disk refused.
    #[error("writing to {} failed: {source}; free space there, then append again", path.display())]
    Disk {
        /// The data file.
        path: PathBuf,
        /// The system's own words.
        source: Arc<io::Error>,
    },
    /// Somebody has removed it.
    #[error("the recording {} was removed", path.display())]
    Removed {
        /// Where the data file was.
        path: PathBuf,
    },
    /// A sync failed, now or before. What survives is known only after the recording was opened anew.
    #[error("syncing {} failed: {source}; close the recording and open it again to see what survived", path.display())]
    Broken {
        /// The data file.
        path: PathBuf,
        /// The system's own words.
        source: Arc<io::Error>,
    },
}

/// Content that is appended to, durable, and readable as a [`SpoolBuffer`] while it grows. The file at its path
/// holds the content and nothing else; the checksums are in a journal beside it, `PATH.journal`: 24 bytes per
/// append, per MiB of a long one, and per sync.
///
/// Dropped unfinished, its readers get the bytes so far and then an error; it can be opened again.
#[derive(Debug)]
pub struct Recording {
    inner: Arc<Inner>,
    buffer: SpoolBuffer,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    options: RecordingOptions,
    spool: Arc<Spool>,
    data: Arc<File>,
    /// Locked as long as it is open.
    journal: File,
    writer: Mutex<Writer>,
    durable: AtomicU64,
    on_disk: AtomicU64,
}

#[derive(Debug)]
struct Writer {
    end: u64,
    journal_bytes: u64,
    finished: bool,
    removed: bool,
    broken: Option<Arc<io::Error>>,
}

impl Recording {
    /// Opens the recording whose content is in the file `path`, or begins it. A tail that a crash has torn is
    /// cut; the answer says how much is there.
    ///
    /// # Errors
    /// [`RecoverError`], and then nothing was changed.
    pub fn open(
        path: impl Into<PathBuf>,
        options: RecordingOptions,
    ) -> Result<(Self, Recovered), RecoverError> {
        let path: PathBuf = path.into();
        let failed = |source| RecoverError::Io { path: path.clone(), source };
        let (journal, data) = open_files(&path, &options)?;
        let Found { recovered, journal_bytes, synced } =
            examine(&*options.disk, &journal, &data, options.verify).map_err(|trouble| match trouble {
                Trouble::Io(source) => failed(source),
                Trouble::Damaged { at, synced } => RecoverError::Damaged { path: path.clone(), at, synced },
            })?;
        // Cut now: what is appended next must not be followed by what was torn.
        journal.set_len(journal_bytes).map_err(failed)?;
        data.set_len(recovered.kept_bytes).map_err(failed)?;
        let data = Arc::new(data);
        let core = Core::on_disk(recovered.kept_bytes, recovered.finished);
        let spool = Spool::recorded(Arc::clone(&options.disk), path.clone(), Arc::clone(&data), core);
        let spool = Arc::new(spool);
        let (end, finished) = (recovered.kept_bytes, recovered.finished);
        let writer = Mutex::new(Writer { end, journal_bytes, finished, removed: false, broken: None });
        let buffer = SpoolBuffer::around(Arc::clone(&spool));
        let (durable, on_disk) = (AtomicU64::new(synced), AtomicU64::new(end + journal_bytes));
        let inner = Arc::new(Inner { path, options, spool, data, journal, writer, durable, on_disk });
        Ok((Self { inner, buffer }, recovered))
    }

    /// The content, to be read while it grows. It stays readable after the recording is closed.
    pub fn buffer(&self) -> SpoolBuffer {
        self.buffer.clone()
    }

    /// Appends `bytes`, which start at `offset` of the content; answers the new length. Readers can go on.
    ///
    /// Dropped under way, it may still happen; the length tells.
    ///
    /// # Errors
    /// [`AppendError`]; [`AppendError::Offset`] says which offset was expected.
    pub async fn append(&self, offset: u64, bytes: Bytes) -> Result<u64, AppendError> {
        let inner = Arc::clone(&self.inner);
        self.inner.on_thread(move || inner.append(offset, &bytes)).await
    }

    /// [`Self::append`] for a thread.
    ///
    /// # Errors
    /// As [`Self::append`].
    pub fn append_blocking(&self, offset: u64, bytes: &[u8]) -> Result<u64, AppendError> {
        self.inner.append(offset, bytes)
    }

    /// Says that this is all, and makes it last; answers the length. Once more changes nothing.
    ///
    /// # Errors
    /// [`AppendError`]
    pub async fn finish(&self) -> Result<u64, AppendError> {
        let inner = Arc::clone(&self.inner);
        self.inner.on_thread(move || inner.finish()).await
    }

    /// [`Self::finish`] for a thread.
    ///
    /// # Errors
    /// As [`Self::finish`].
    pub fn finish_blocking(&self) -> Result<u64, AppendError> {
        self.inner.finish()
    }

    /// Makes what was appended survive a loss of power; answers how much that is.
    ///
    /// # Errors
    /// [`AppendError`]
    pub async fn sync(&self) -> Result<u64, AppendError> {
        let inner = Arc::clone(&self.inner);
        self.inner.on_thread(move || inner.sync()).await
    }

    /// [`Self::sync`] for a thread.
    ///
    /// # Errors
    /// As [`Self::sync`].
    pub fn sync_blocking(&self) -> Result<u64, AppendError> {
        self.inner.sync()
    }

    /// Appended so far, bytes: where the next append starts.
    #[expect(clippy::len_without_is_empty, reason = "a length to continue at, not a collection")]
    pub fn len(&self) -> u64 {
        self.inner.spool.gate.core().filled()
    }

    /// What survives a loss of power, bytes.
    pub fn len_durable(&self) -> u64 {
        self.inner.durable.load(Relaxed)
    }

    /// Whether it was finished.
    pub fn is_finished(&self) -> bool {
        self.buffer.len().is_some()
    }

    /// What content and journal take on disk, bytes.
    pub fn disk_bytes(&self) -> u64 {
        self.inner.on_disk.load(Relaxed)
    }

    /// Removes the recording from disk. Nothing can be appended any more; who reads what is there can go on. A crash
    /// under way leaves an empty recording.
    ///
    /// # Errors
    /// [`RecoverError::Io`]
    pub fn remove(&self) -> Result<(), RecoverError> {
        let path = &self.inner.path;
        let failed = |source| RecoverError::Io { path: path.clone(), source };
        let mut writer = self.inner.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.removed = true;
        self.inner.journal.set_len(ENTRY_BYTES as u64).map_err(failed)?;
        self.inner.options.disk.sync(&self.inner.journal).map_err(failed)?;
        fs::remove_file(path).map_err(failed)?;
        fs::remove_file(journal_path(path)).map_err(failed)?;
        let (at, why) = (self.len(), "the recording was removed");
        self.inner.spool.finish(End::Failed(ReadError::Abandoned { at, why }));
        Ok(())
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let at = self.len();
        let why = "the recording was closed before it was finished; open it again to go on";
        self.inner.spool.finish(End::Failed(ReadError::Abandoned { at, why }));
    }
}

impl Inner {
    async fn on_thread(
        &self,
        work: impl FnOnce() -> Result<u64, AppendError> + Send + 'static,
    ) -> Result<u64, AppendError> {
        let gone = |_| self.refused(io::Error::other("the runtime is shutting down"));
        tokio::task::spawn_blocking(work).await.map_err(gone)?
    }

    fn append(&self, offset: u64, bytes: &[u8]) -> Result<u64, AppendError> {
        let mut writer = self.writer()?;
        if writer.finished {
            return Err(AppendError::Finished { len: writer.end });
        }
        if offset != writer.end {
            return Err(AppendError::Offset { offset, expected: writer.end });
        }
        if bytes.is_empty() {
            return Ok(writer.end);
        }
        self.check_room(offset, bytes.len() as u64)?;
        let (mut end, mut entries) = (offset, Vec::new());
        for block in bytes.chunks(BLOCK_BYTES_MAX) {
            write_whole(self.disk(), &self.data, block, end).map_err(|e| self.refused(e))?;
            end += block.len() as u64;
            entries.extend_from_slice(&Entry::block(block, end).encode());
        }
        let at = writer.journal_bytes;
        write_whole(self.disk(), &self.journal, &entries, at).map_err(|e| self.refused(e))?;
        let before = (writer.end, at);
        (writer.end, writer.journal_bytes) = (end, at + entries.len() as u64);
        let due = match self.options.sync {
            SyncPolicy::Each => true,
            SyncPolicy::Bytes(bytes) => end - self.durable.load(Relaxed) >= bytes,
            SyncPolicy::AtEnd => false,
        };
        if due && let Err(error) = self.mark(&mut writer, Entry::Synced { end }) {
            // Not answered, so not there: who repeats it must find the offset as it was.
            (writer.end, writer.journal_bytes) = before;
            return Err(error);
        }
        self.on_disk.store(writer.end + writer.journal_bytes, Relaxed);
        self.spool.gate.appended(bytes.len() as u64);
        Ok(end)
    }

    fn finish(&self) -> Result<u64, AppendError> {
        let mut writer = self.writer()?;
        let end = writer.end;
        if !writer.finished {
            self.mark(&mut writer, Entry::Finished { end })?;
            writer.finished = true;
            self.spool.finish(End::Eof);
        }
        Ok(end)
    }

    fn sync(&self) -> Result<u64, AppendError> {
        let mut writer = self.writer()?;
        let end = writer.end;
        if self.durable.load(Relaxed) < end {
            self.mark(&mut writer, Entry::Synced { end })?;
        }
        Ok(end)
    }

    /// Data to stable storage, then the mark that says so, then that as well.
    fn mark(&self, writer: &mut Writer, mark: Entry) -> Result<(), AppendError> {
        self.disk().sync(&self.data).map_err(|e| self.broken(writer, e))?;
        let at = writer.journal_bytes;
        write_whole(self.disk(), &self.journal, &mark.encode(), at).map_err(|e| self.refused(e))?;
        self.disk().sync(&self.journal).map_err(|e| self.broken(writer, e))?;
        writer.journal_bytes += ENTRY_BYTES as u64;
        self.on_disk.store(writer.end + writer.journal_bytes, Relaxed);
        self.durable.store(writer.end, Relaxed);
        Ok(())
    }

    fn check_room(&self, offset: u64, len: u64) -> Result<(), AppendError> {
        let (asked, limit) = (offset.saturating_add(len), self.options.bytes_max);
        if asked > limit {
            return Err(AppendError::TooLong { asked, limit });
        }
        let available_bytes =
            self.disk().available_bytes(directory(&self.path)).map_err(|e| self.refused(e))?;
        let reserve_bytes = self.options.disk_reserve_bytes;
        if available_bytes < reserve_bytes.saturating_add(len) {
            return Err(AppendError::Reserve { path: self.path.clone(), available_bytes, reserve_bytes });
        }
        Ok(())
    }

    fn writer(&self) -> Result<MutexGuard<'_, Writer>, AppendError> {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if writer.removed {
            return Err(AppendError::Removed { path: self.path.clone() });
        }
        match &writer.broken {
            Some(source) => Err(AppendError::Broken { path: self.path.clone(), source: Arc::clone(source) }),
            None => Ok(writer),
        }
    }

    fn disk(&self) -> &dyn Disk {
        &*self.options.disk
    }

    fn refused(&self, source: io::Error) -> AppendError {
        AppendError::Disk { path: self.path.clone(), source: Arc::new(source) }
    }

    fn broken(&self, writer: &mut Writer, source: io::Error) -> AppendError {
        let source = Arc::new(source);
        writer.broken = Some(Arc::clone(&source));
        let (at, why) = (self.spool.gate.core().filled(), "the recording could not be synced");
        self.spool.finish(End::Failed(ReadError::Abandoned { at, why }));
        AppendError::Broken { path: self.path.clone(), source }
    }
}

/// `PATH.journal`
fn journal_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".journal");
    name.into()
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Journal and data, locked; made if there are none.
fn open_files(path: &Path, options: &RecordingOptions) -> Result<(File, File), RecoverError> {
    let disk = &*options.disk;
    let failed = |source| RecoverError::Io { path: path.to_path_buf(), source };
    let open =
        |path: &Path| OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    let foreign = || fs::metadata(path).is_ok_and(|data| data.len() > 0);
    if foreign() && !journal_path(path).exists() {
        return Err(RecoverError::NotARecording { path: path.to_path_buf() });
    }
    if !options.create && !journal_path(path).exists() {
        return Err(RecoverError::Absent { path: path.to_path_buf() });
    }
    let journal = open(&journal_path(path)).map_err(failed)?;
    match journal.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(RecoverError::Held { path: path.to_path_buf() }),
        Err(TryLockError::Error(source)) => return Err(failed(source)),
    }
    let about = journal.metadata().map_err(failed)?;
    if about.nlink() == 0 {
        // Who held it has just removed it.
        return Err(RecoverError::Held { path: path.to_path_buf() });
    }
    if about.len() < ENTRY_BYTES as u64 {
        // A crash at the very beginning, before there was data; a file with content is somebody else's.
        if foreign() {
            return Err(RecoverError::NotARecording { path: path.to_path_buf() });
        }
        write_whole(disk, &journal, &Entry::Header.encode(), 0).map_err(failed)?;
        disk.sync(&journal).map_err(failed)?;
    } else {
        let mut header = [0; ENTRY_BYTES];
        read_whole(disk, &journal, &mut header, 0).map_err(failed)?;
        if Entry::decode(&header) != Some(Entry::Header) {
            return Err(RecoverError::NotARecording { path: journal_path(path) });
        }
    }
    let data = open(path).map_err(failed)?;
    // The names last as well.
    File::open(directory(path)).and_then(|dir| dir.sync_all()).map_err(failed)?;
    Ok((journal, data))
}
