//! What the handles of one buffer, its filler and its spiller have in common.
//!
//! Owns: the gate, the file, the account. Never: a lock of its own held across another one's IO: the file's
//! lock is held for a clone, the spiller's only by who spills.

use crate::account::Account;
use crate::core::{Core, End};
use crate::disk::Disk;
use crate::gate::Gate;
use crate::options::{OptionsError, SpoolOptions};
use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Pages that a buffer needs while it fills, beside those that wait to be spilled: the one that grows, the one
/// that the source writes into, the one that was completed last.
pub(crate) const WORKING_PAGES: u64 = 3;

/// The limits of one buffer, bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) page: usize,
    pub(crate) memory: u64,
    pub(crate) disk: u64,
    pub(crate) disk_reserve: u64,
}

/// The most that is moved to disk before a filler that waits for room is told, bytes: enough for its waking to pay.
const STEP_BYTES_MAX: u64 = 1 << 20;

impl Limits {
    /// What is moved to disk in one go, bytes.
    pub(crate) fn step(&self) -> u64 {
        let page = self.page as u64;
        (self.memory / 4).clamp(page, STEP_BYTES_MAX.max(page))
    }

    /// What pages keep when a stream that is longer than memory moves to disk, bytes: the newest ones, because readers
    /// are at them, and less than what a filler has to wait for.
    pub(crate) fn keep(&self) -> u64 {
        let page = self.page as u64;
        let room = self.memory.saturating_sub(WORKING_PAGES * page + self.step());
        (self.memory / 2 + page).min(room)
    }
}

/// The room that the file has on disk, charged to the account.
#[derive(Debug)]
pub(crate) struct Allocated {
    /// Where it ends, bytes; never before what is written.
    pub(crate) end: u64,
    /// Whether more than what is written may be taken: the stream has not ended.
    pub(crate) ahead: bool,
}

/// One buffer.
#[derive(Debug)]
pub(crate) struct Spool {
    pub(crate) gate: Gate,
    pub(crate) disk: Arc<dyn Disk>,
    /// The directory of the unnamed file, or the path of a recording.
    pub(crate) place: PathBuf,
    pub(crate) limits: Limits,
    pub(crate) size_hint: Option<u64>,
    pub(crate) account: Account,
    /// Held by who moves pages to disk, so that one does at a time. Readers never take it.
    pub(crate) spiller: Mutex<Allocated>,
    /// Rung when a step has left memory; the filler waits for it.
    pub(crate) room: Notify,
    file: Mutex<Option<Arc<File>>>,
    /// There is a filler, and it is not done.
    filling: AtomicBool,
    /// Somebody has read since a cache looked last.
    touched: AtomicBool,
}

impl Spool {
    /// A buffer that is to be filled from a source.
    pub(crate) fn spooled(options: SpoolOptions, account: Account) -> Result<Self, OptionsError> {
        let page = options.page()?;
        let limits = Limits {
            page,
            memory: options.memory_bytes_max,
            disk: options.disk_bytes_max,
            disk_reserve: options.disk_reserve_bytes,
        };
        let core = Core::new(page, options.fill);
        Ok(Self::around(core, options.disk, options.dir, limits, account, options.size_hint, None))
    }

    /// A buffer whose bytes are in `file`, which somebody else writes.
    pub(crate) fn recorded(disk: Arc<dyn Disk>, path: PathBuf, file: Arc<File>, core: Core) -> Self {
        let limits = Limits { page: 1, memory: 0, disk: u64::MAX, disk_reserve: 0 };
        Self::around(core, disk, path, limits, Account::default(), None, Some(file))
    }

    fn around(
        core: Core,
        disk: Arc<dyn Disk>,
        place: PathBuf,
        limits: Limits,
        account: Account,
        size_hint: Option<u64>,
        file: Option<Arc<File>>,
    ) -> Self {
        Self {
            gate: Gate::new(core),
            disk,
            place,
            limits,
            size_hint,
            account,
            spiller: Mutex::new(Allocated { end: 0, ahead: true }),
            room: Notify::new(),
            filling: AtomicBool::new(file.is_none()),
            file: Mutex::new(file),
            touched: AtomicBool::new(false),
        }
    }

    /// The file, if there is one yet.
    pub(crate) fn file(&self) -> Option<Arc<File>> {
        self.lock_file().clone()
    }

    /// Whether there is a file.
    pub(crate) fn is_on_disk(&self) -> bool {
        self.lock_file().is_some()
    }

    /// The file, made if there is none yet.
    pub(crate) fn file_or_new(&self) -> std::io::Result<Arc<File>> {
        let mut held = self.lock_file();
        if let Some(file) = &*held {
            return Ok(Arc::clone(file));
        }
        let file = Arc::new(self.disk.unnamed(&self.place)?);
        *held = Some(Arc::clone(&file));
        Ok(file)
    }

    /// What the account is to hold: while it fills also the pages that it works in.
    pub(crate) fn memory_needed(&self) -> u64 {
        let core = self.gate.core();
        if self.filling.load(Relaxed) {
            core.held_bytes() + WORKING_PAGES * self.limits.page as u64
        } else {
            core.memory_bytes()
        }
    }

    /// The stream is over. Memory that only a filling buffer needs is given back before anybody is told.
    pub(crate) fn finish(&self, end: End) {
        self.gate.core().seal_tail();
        self.filling.store(false, Relaxed);
        self.account.set_memory(self.memory_needed());
        self.gate.finish(end);
    }

    /// Nobody can read any more: memory and disk are free, also while a task still holds this.
    pub(crate) fn close(&self) {
        self.gate.core().clear();
        *self.lock_file() = None;
        self.account.count_waits(self.gate.waits());
        self.account.close();
    }

    /// A reader is at work; for the cache.
    pub(crate) fn touch(&self) {
        // A store by every read would move the line between processors; the flag is nearly always set.
        if !self.touched.load(Relaxed) {
            self.touched.store(true, Relaxed);
        }
    }

    /// Whether somebody has read since the last call.
    pub(crate) fn take_touched(&self) -> bool {
        self.touched.swap(false, Relaxed)
    }

    fn lock_file(&self) -> MutexGuard<'_, Option<Arc<File>>> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
