//! The recordings of this instance: which there are, which are open, and the room for more.
//!
//! Owns: the directory, one registry of open recordings, the limits of all of them. Never: two open files of one
//! recording; a file operation on a thread that drives tasks; a path in what a client is told.
//! At a limit: an open recording that nobody uses makes room; else the request is refused (503, or 507 for the disk).

use super::about::{self, About, DRAFT, beside};
use super::meters::{Limit, SpoolMeters};
use super::name::RecordingName;
use super::opened::{Opened, Reserved};
use super::quota::Quota;
use super::retention::Ages;
use crate::config::recordings::RecordingsConfig;
use crate::problem::{Extent, Kind, Problem};
use bytes::Bytes;
use evenkeel_limits::RetryHint;
use evenkeel_spool::{AppendError, Recording, RecordingOptions, RecoverError};
use evenkeel_telemetry::{Emitter, event};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};

event! {
    /// A recording's files cannot be read or written.
    struct SpoolFailed<'a> ERROR "ingest.recordings.failed" "a recording cannot be read or written" {
        values { recording: &'a str, why: &'a str }
        limit("", 10_000);
    }
}

event! {
    /// Uploads are refused because there is no room.
    struct SpoolFull<'a> WARN "ingest.recordings.full" "there is no room for more recordings: clients got 507" {
        values { why: &'a str }
        limit("", 10_000);
    }
}

/// The directory of recordings cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("recordings.dir {}: {source}; it must be a directory that this user may write", dir.display())]
pub struct RecordingsError {
    /// The directory.
    dir: PathBuf,
    /// The system's own words.
    source: io::Error,
}

/// What an append may add to the journal: its checksum and a mark, bytes.
const JOURNAL_BYTES: u64 = 64;
/// How long a finished recording stays open without use: the next request may be about it.
const FINISHED_IDLE_MS: u64 = 30_000;
/// Time between two sweeps.
pub(crate) const SWEEP_EVERY: Duration = Duration::from_secs(2);
/// What stands behind the stem of what is known of a recording.
pub(super) const ABOUT: &str = "about";
/// What stands behind the stem of how far an ingest is.
pub(super) const PROGRESS: &str = "ingest";

type Slot = Arc<OnceCell<Arc<Opened>>>;

/// All recordings.
pub(crate) struct Store {
    pub(super) dir: PathBuf,
    pub(crate) idle: Duration,
    options: RecordingOptions,
    disk: Quota,
    count: Quota,
    pub(super) ages: Ages,
    open_max: usize,
    open: Mutex<BTreeMap<String, Slot>>,
    transfers: Arc<Semaphore>,
    transfers_max: usize,
    retry: RetryHint,
    begun: Instant,
    drawn: AtomicU64,
    seed: RandomState,
    pub(super) meters: SpoolMeters,
    emitter: Emitter,
}

/// Why a recording is not open.
enum Closed {
    Absent,
    Refused(Problem),
}

impl Store {
    /// Looks at what is in the directory, which is made if it is not there. Blocks.
    pub(crate) fn open(
        config: &RecordingsConfig,
        retry: RetryHint,
        emitter: &Emitter,
    ) -> Result<Self, RecordingsError> {
        let dir = config.dir.clone();
        let ages = Ages::new(config.retention);
        let (bytes, count) =
            survey(&dir, &ages).map_err(|source| RecordingsError { dir: dir.clone(), source })?;
        let disk = Quota::new(config.disk_max.bytes(), bytes);
        let count = Quota::new(config.count_max as u64, count);
        let meters = SpoolMeters::new(emitter.metrics());
        meters.limits(&disk, &count, config.open_max, config.memory_bytes_max());
        let store = Self {
            dir,
            idle: config.idle_timeout.duration(),
            options: RecordingOptions {
                bytes_max: config.size_max.bytes(),
                disk_reserve_bytes: config.disk_reserve.bytes(),
                ..RecordingOptions::default()
            },
            disk,
            count,
            ages,
            open_max: config.open_max,
            open: Mutex::default(),
            transfers: Arc::new(Semaphore::new(config.transfers_max)),
            transfers_max: config.transfers_max,
            retry,
            begun: Instant::now(),
            drawn: AtomicU64::new(0),
            seed: RandomState::new(), // keyed by the operating system
            meters,
            emitter: emitter.clone(),
        };
        store.show();
        Ok(store)
    }

    /// The largest recording, bytes.
    pub(crate) fn size_max(&self) -> u64 {
        self.options.bytes_max
    }

    /// The recording, if there is one.
    pub(crate) async fn find(self: &Arc<Self>, name: &RecordingName) -> Result<Arc<Opened>, Problem> {
        self.find_or(name, None).await
    }

    /// The recording, begun with this content type if there is none.
    pub(crate) async fn find_or_begin(
        self: &Arc<Self>,
        name: &RecordingName,
        (content_type, now_ms): (&str, i64),
    ) -> Result<Arc<Opened>, Problem> {
        let about = About::new(name, content_type.to_owned(), now_ms, self.draw());
        self.find_or(name, Some(about)).await
    }

    async fn find_or(
        self: &Arc<Self>,
        name: &RecordingName,
        begin: Option<About>,
    ) -> Result<Arc<Opened>, Problem> {
        match self.reach(name, begin).await {
            Ok(opened) if !opened.is_removed() => Ok(opened),
            Ok(_) | Err(Closed::Absent) => Err(absent(name)),
            Err(Closed::Refused(problem)) => Err(problem),
        }
    }

    /// A place among the uploads and downloads.
    pub(crate) fn transfer(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let permit = Arc::clone(&self.transfers).try_acquire_owned();
        permit.map_err(|_| self.busy(Limit::Transfers, "as many recordings are up- and downloaded as may be"))
    }

    /// Appends a block that starts at `at`; answers the new length.
    pub(crate) async fn append(&self, opened: &Opened, at: u64, block: Bytes) -> Result<u64, Problem> {
        let bytes = block.len() as u64;
        let reserved = bytes + JOURNAL_BYTES;
        if !self.disk.take(reserved) {
            let limit = self.disk.limit();
            return Err(
                self.full(Limit::Disk, format!("recordings take the {limit} bytes of recordings.disk-max"))
            );
        }
        let reserved = Reserved { opened, quota: &self.disk, bytes: reserved };
        let appended = opened.recording.append(at, block).await;
        drop(reserved);
        opened.touch(self.now_ms());
        self.show();
        if appended.is_ok() {
            self.meters.stored(bytes);
        }
        appended.map_err(|error| self.not_appended(&opened.about, &error))
    }

    /// Says that the recording, whose length is `at`, is whole; it lasts from then on.
    pub(crate) async fn finish(&self, opened: &Opened, at: u64) -> Result<(), Problem> {
        let expected = opened.recording.len();
        if expected != at {
            return Err(elsewhere(at, expected));
        }
        let finished = opened.recording.finish().await;
        opened.settle(&self.disk, 0);
        self.show();
        finished.map(drop).map_err(|error| self.not_appended(&opened.about, &error))
    }

    /// Makes what has come last through a loss of power.
    pub(crate) async fn sync(&self, opened: &Opened) -> Result<(), Problem> {
        let synced = opened.recording.sync().await;
        opened.settle(&self.disk, 0);
        synced.map(drop).map_err(|error| self.not_appended(&opened.about, &error))
    }

    /// Removes a recording and what belongs to it. Who reads it now can go on with what is there.
    pub(crate) async fn remove(self: &Arc<Self>, name: &RecordingName) -> Result<(), Problem> {
        let opened = self.find(name).await?;
        let (store, stem) = (Arc::clone(self), name.stem());
        let work = move || {
            let _ = fs::remove_file(beside(&store.dir, &stem, PROGRESS)); // there is one only if it was ingested
            opened.recording.remove().map_err(|error| error.to_string())?;
            fs::remove_file(beside(&store.dir, &stem, ABOUT)).map_err(|error| error.to_string())?;
            opened.discharge(&store.disk);
            store.count.change(1, 0);
            store.ages.removed(&stem, opened.about.created_ms);
            store.registry().remove(&stem);
            store.show();
            Ok::<_, String>(())
        };
        self.on_files(name, work).await
    }

    /// Works on the files of a recording, on a thread that may block.
    pub(super) async fn on_files<T: Send + 'static, E: Display + Send + 'static>(
        &self,
        name: &RecordingName,
        work: impl FnOnce() -> Result<T, E> + Send + 'static,
    ) -> Result<T, Problem> {
        let done = tokio::task::spawn_blocking(work).await;
        let done = done.map_err(|error| error.to_string());
        let done = done.and_then(|done| done.map_err(|error| error.to_string()));
        done.map_err(|why| self.failed(&name.recording_id, &why))
    }

    /// Closes what nobody has used for its time; readers of an unfinished one are told that nothing comes.
    pub(crate) fn sweep(&self) {
        let (now_ms, idle_ms) = (self.now_ms(), u64::try_from(self.idle.as_millis()).unwrap_or(u64::MAX));
        let mut gone = Vec::new();
        self.registry().retain(|_, slot| {
            let Some(opened) = unused(slot) else { return true };
            let patience_ms = if opened.recording.is_finished() { FINISHED_IDLE_MS } else { idle_ms };
            let stays = now_ms.saturating_sub(opened.used_ms()) < patience_ms;
            if !stays {
                gone.push(Arc::clone(slot));
            }
            stays
        });
        drop(gone); // files are closed without the lock
        self.show();
    }

    /// Too much at once: come back later.
    pub(super) fn busy(&self, limit: Limit, detail: &str) -> Problem {
        self.meters.refused(limit);
        let retry_after_ms = self.retry.after_ms(self.draw() >> 32);
        Problem { retry_after_ms: Some(retry_after_ms), ..Problem::new(Kind::Busy, detail) }
    }

    /// A number that nobody can know beforehand.
    pub(super) fn draw(&self) -> u64 {
        self.seed.hash_one(self.drawn.fetch_add(1, Relaxed))
    }

    /// The files fail us: the log says how, the client that they do.
    pub(super) fn failed(&self, recording: &str, why: &str) -> Problem {
        SpoolFailed { recording, why }.emit(&self.emitter);
        Problem::new(Kind::SpoolFailed, format!("the files of recording {recording:?} cannot be used"))
    }

    fn full(&self, limit: Limit, detail: String) -> Problem {
        self.meters.refused(limit);
        SpoolFull { why: &detail }.emit(&self.emitter);
        Problem::new(Kind::SpoolFull, detail)
    }

    fn not_appended(&self, about: &About, error: &AppendError) -> Problem {
        match error {
            AppendError::Offset { offset, expected } => elsewhere(*offset, *expected),
            AppendError::Finished { len } => finished(*len),
            AppendError::TooLong { limit, .. } => Problem::new(
                Kind::TooLarge,
                format!("a recording may have {limit} bytes (recordings.size-max)"),
            ),
            AppendError::Removed { .. } => {
                Problem::new(Kind::NotFound, format!("recording {:?} was removed", about.recording_id))
            }
            AppendError::Reserve { .. } => {
                self.full(Limit::Disk, "the disk has no more free than recordings.disk-reserve".into())
            }
            AppendError::Disk { source, .. } if is_full(source) => {
                self.full(Limit::Disk, "the disk is full".into())
            }
            AppendError::Disk { .. } => self.failed(&about.recording_id, &error.to_string()),
            AppendError::Broken { .. } => {
                // Only opening it again tells what survived.
                let name = RecordingName {
                    stream_id: about.stream_id.clone(),
                    recording_id: about.recording_id.clone(),
                };
                self.registry().remove(&name.stem());
                self.failed(&about.recording_id, &error.to_string())
            }
        }
    }

    /// The open recording, opened if it is not; with `begin` made if it is not there.
    async fn reach(
        self: &Arc<Self>,
        name: &RecordingName,
        begin: Option<About>,
    ) -> Result<Arc<Opened>, Closed> {
        let stem = name.stem();
        let slot = self.slot(&stem).map_err(Closed::Refused)?;
        let work = {
            let (store, stem, name) = (Arc::clone(self), stem.clone(), name.clone());
            move || store.load(&stem, &name, begin)
        };
        let opening = || async {
            let gone = |_| Closed::Refused(self.failed(&name.recording_id, "the runtime is shutting down"));
            tokio::task::spawn_blocking(work).await.map_err(gone)?
        };
        let opened = slot.get_or_try_init(opening).await.map(Arc::clone);
        match &opened {
            Ok(opened) => opened.touch(self.now_ms()),
            Err(_) => {
                let mut registry = self.registry();
                // Only we and the registry know it: nobody else is opening it.
                if Arc::strong_count(&slot) == 2 {
                    registry.remove(&stem);
                }
            }
        }
        self.show();
        opened
    }

    /// The slot of a recording. When all are taken, the longest unused one is closed, finished ones first.
    fn slot(&self, stem: &str) -> Result<Slot, Problem> {
        let mut registry = self.registry();
        if let Some(slot) = registry.get(stem) {
            return Ok(Arc::clone(slot));
        }
        let mut gone = None;
        if registry.len() >= self.open_max {
            let order = |opened: &Opened| (!opened.recording.is_finished(), opened.used_ms());
            let idle = registry.iter().filter_map(|(stem, slot)| Some((order(unused(slot)?), stem.clone())));
            let Some((_, oldest)) = idle.min() else {
                return Err(self.busy(Limit::Open, "as many recordings are open as may be, all in use"));
            };
            gone = registry.remove(&oldest);
        }
        let slot = Slot::default();
        registry.insert(stem.to_owned(), Arc::clone(&slot));
        drop(registry);
        drop(gone);
        Ok(slot)
    }

    /// Opens the files of a recording. Blocks.
    fn load(&self, stem: &str, name: &RecordingName, begin: Option<About>) -> Result<Arc<Opened>, Closed> {
        let failed = |why: String| Closed::Refused(self.failed(&name.recording_id, &why));
        let (path, known_at) = (self.dir.join(stem), beside(&self.dir, stem, ABOUT));
        let known: Option<About> = about::read(&known_at).map_err(|error| failed(error.to_string()))?;
        let before = taken(&path);
        // Known and without a file: a crash at the very beginning.
        let about = match (known, begin.clone()) {
            (None, None) => return Err(Closed::Absent),
            (Some(known), None) => known,
            (Some(known), Some(_)) if before > 0 => known,
            (known, Some(begin)) => {
                if known.is_none() && !self.count.take(1) {
                    let detail =
                        format!("there are {} recordings (recordings.count-max)", self.count.limit());
                    return Err(Closed::Refused(self.full(Limit::Count, detail)));
                }
                if let Err(error) = about::write(&known_at, &begin, true) {
                    self.count.change(u64::from(known.is_none()), 0);
                    let full = is_full(&error).then(|| self.full(Limit::Disk, "the disk is full".into()));
                    return Err(full.map_or_else(|| failed(error.to_string()), Closed::Refused));
                }
                if let Some(known) = known {
                    self.ages.removed(stem, known.created_ms);
                }
                self.ages.begun(stem, begin.created_ms);
                begin
            }
        };
        if (&about.stream_id, &about.recording_id) != (&name.stream_id, &name.recording_id) {
            return Err(failed(format!("{} is of another recording", known_at.display())));
        }
        let options = RecordingOptions { create: begin.is_some(), ..self.options.clone() };
        let (recording, _) = Recording::open(path, options).map_err(|error| match error {
            RecoverError::Absent { .. } => {
                // A crash at its beginning, or while it was removed: nobody else can be opening it now.
                let gone = [PROGRESS, ABOUT].map(|ending| fs::remove_file(beside(&self.dir, stem, ending)));
                self.count.change(u64::from(gone[1].is_ok()), 0);
                self.ages.removed(stem, about.created_ms);
                Closed::Absent
            }
            RecoverError::Io { source, .. } if is_full(&source) => {
                Closed::Refused(self.full(Limit::Disk, "the disk is full".into()))
            }
            error => failed(error.to_string()),
        })?;
        let opened = Opened::new(about, recording, before);
        opened.settle(&self.disk, 0);
        Ok(Arc::new(opened))
    }

    /// Whether somebody uploads or ingests it, or opens it now.
    pub(super) fn in_use(&self, stem: &str) -> bool {
        self.registry().get(stem).is_some_and(|slot| unused(slot).is_none())
    }

    pub(super) fn now_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn registry(&self) -> MutexGuard<'_, BTreeMap<String, Slot>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self) {
        let transfers = self.transfers_max.saturating_sub(self.transfers.available_permits());
        self.meters.usage(&self.disk, &self.count, self.registry().len(), transfers);
    }
}

/// An open recording that nobody writes and no request has in hand.
fn unused(slot: &Slot) -> Option<&Opened> {
    let opened = slot.get().filter(|opened| Arc::strong_count(opened) == 1)?;
    (Arc::strong_count(slot) == 1).then_some(opened)
}

/// What content and journal take, bytes.
fn taken(path: &Path) -> u64 {
    let mut journal = path.as_os_str().to_owned();
    journal.push(".journal");
    let len = |path: &Path| fs::metadata(path).map_or(0, |about| about.len());
    len(path) + len(Path::new(&journal))
}

/// What is in the directory: bytes of content and journals, recordings. Drafts of a crash are removed.
fn survey(dir: &Path, ages: &Ages) -> io::Result<(u64, u64)> {
    fs::create_dir_all(dir)?;
    let (mut bytes, mut count) = (0, 0);
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        match name.rsplit_once('.') {
            _ if name.ends_with(DRAFT) => fs::remove_file(entry.path())?,
            Some((stem, ABOUT)) => {
                count += 1;
                ages.found(stem, &entry.path());
            }
            None | Some((_, "journal")) => bytes += entry.metadata()?.len(),
            Some(_) => {}
        }
    }
    Ok((bytes, count))
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn absent(name: &RecordingName) -> Problem {
    let RecordingName { stream_id, recording_id } = name;
    Problem::new(Kind::NotFound, format!("stream {stream_id:?} has no recording {recording_id:?}"))
}

fn elsewhere(offset: u64, expected: u64) -> Problem {
    mismatch(expected, format!("the recording has {expected} bytes, the upload goes on at {offset}"))
}

/// An upload has to go on where the recording ends, at `len`.
pub(super) fn mismatch(len: u64, detail: String) -> Problem {
    Problem { extent: Some(Extent::Offset(len)), ..Problem::new(Kind::OffsetMismatch, detail) }
}

/// Nothing can be appended.
pub(super) fn finished(len: u64) -> Problem {
    let detail = format!("the recording is finished with {len} bytes");
    Problem { extent: Some(Extent::Offset(len)), ..Problem::new(Kind::RecordingFinished, detail) }
}
