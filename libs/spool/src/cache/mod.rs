//! Buffers by key: who asks for the same resource reads the same buffer, and all of them share one budget of
//! memory and one quota of disk.
//!
//! Owns: keys, pins, the limits that hold for all, figures. Never: a clock, a buffer's content, a wait for the
//! network. At a limit: an idle buffer goes (longest unused first); without one, buffers in use move their
//! memory to disk; only then is a new one refused.

mod table;

use crate::account::{Account, Budget, Quota, Room};
use crate::buffer::{Progress, SpoolBuffer};
use crate::error::OpenError;
use crate::options::SpoolOptions;
use crate::source::Source;
use crate::spill::Left;
use crate::spool::WORKING_PAGES;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use table::Table;

/// Limits of a cache.
#[derive(Debug, Clone)]
pub struct CacheOptions {
    /// What each buffer is made with; its own limits hold too.
    pub spool: SpoolOptions,
    /// Memory of all buffers together, bytes. 256 MiB.
    pub memory_bytes_max: u64,
    /// Disk of all buffers together, bytes. 16 GiB.
    pub disk_bytes_max: u64,
    /// The most buffers. 4,096.
    pub entries_max: usize,
    /// How long a buffer that nobody holds stays after it was read last, ms. 10 minutes.
    pub ttl_ms: u64,
}

impl Default for CacheOptions {
    fn default() -> Self {
        Self {
            spool: SpoolOptions::default(),
            memory_bytes_max: 256 << 20,
            disk_bytes_max: 16 << 30,
            entries_max: 4_096,
            ttl_ms: 600_000,
        }
    }
}

/// A buffer could not be opened through a cache.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CacheError {
    /// The buffer could not be made.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Memory is full of buffers in use that could not be moved to disk.
    #[error(
        "{used_bytes} of {limit_bytes} bytes of the cache's memory are in use and a buffer needs {needed_bytes}; close some, or raise memory_bytes_max"
    )]
    Memory {
        /// What is in use, bytes.
        used_bytes: u64,
        /// The budget, bytes.
        limit_bytes: u64,
        /// What a new buffer begins with, bytes.
        needed_bytes: u64,
    },
    /// All entries are in use.
    #[error("all {limit} buffers of the cache are in use; close some, or raise entries_max")]
    Entries {
        /// The most buffers.
        limit: usize,
    },
}

/// Why buffers left the cache, counted since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Evictions {
    /// Nobody had read it for the TTL.
    pub ttl: u64,
    /// Memory was needed.
    pub memory: u64,
    /// Disk was needed.
    pub disk: u64,
    /// An entry was needed.
    pub entries: u64,
    /// Its stream had failed, and somebody asked for it anew.
    pub failed: u64,
    /// Somebody removed it.
    pub removed: u64,
}

/// The figures of a cache at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheStatus {
    /// Buffers in it.
    pub entries: usize,
    /// Those that somebody holds.
    pub pinned: usize,
    /// Memory charged, reserves of filling buffers with it, bytes.
    pub memory_bytes: u64,
    /// Disk charged, bytes.
    pub disk_bytes: u64,
    /// Who asked and found it, since the start.
    pub hits: u64,
    /// Who asked and began it, since the start.
    pub misses: u64,
    /// Who was refused, since the start.
    pub refused: u64,
    /// Reads that had to wait for their stream, since the start.
    pub waits: u64,
    /// Buffers that left, since the start.
    pub evictions: Evictions,
}

/// Buffers by key. Clones are the same cache.
///
/// `now_ms` is any clock that does not go back; buffers expire when somebody calls [`SpoolCache::open`] or
/// [`SpoolCache::sweep`], the TTL after they were read or let go of last.
#[derive(Debug, Clone)]
pub struct SpoolCache {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    options: CacheOptions,
    budget: Arc<Budget>,
    /// What a buffer is charged at the start, bytes.
    working_bytes: u64,
    state: Mutex<State>,
    hits: AtomicU64,
    misses: AtomicU64,
    refused: AtomicU64,
}

#[derive(Debug)]
struct State {
    table: Table<SpoolBuffer>,
    evictions: Evictions,
}

/// A buffer of the cache that stays there as long as somebody holds this. A clone of the buffer alone does not keep
/// its place; it keeps what it holds charged.
#[derive(Debug)]
pub struct Pinned {
    inner: Arc<Inner>,
    key: String,
    number: u64,
    buffer: SpoolBuffer,
}

impl Deref for Pinned {
    type Target = SpoolBuffer;

    fn deref(&self) -> &SpoolBuffer {
        &self.buffer
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        self.inner.state().table.unpin(&self.key, self.number);
    }
}

impl SpoolCache {
    /// An empty cache.
    ///
    /// # Errors
    /// [`OpenError::Options`] if no buffer could be made with these.
    pub fn new(options: CacheOptions) -> Result<Self, OpenError> {
        let page = options.spool.page()? as u64;
        let budget = Arc::new(Budget {
            memory: Quota::new(options.memory_bytes_max),
            disk: Quota::new(options.disk_bytes_max),
            waits_closed: AtomicU64::new(0),
            room: OnceLock::new(),
        });
        let inner = Arc::new(Inner {
            options,
            budget,
            working_bytes: WORKING_PAGES * page,
            state: Mutex::new(State { table: Table::new(), evictions: Evictions::default() }),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        });
        let room: Weak<dyn Room> = Arc::downgrade(&(Arc::clone(&inner) as Arc<dyn Room>));
        // Set once, here.
        let _ = inner.budget.room.set(room);
        Ok(Self { inner })
    }

    /// The buffer of `key`: the one that is there, or one from the source that `begin` makes. Only one is made,
    /// however many ask at once. One whose stream failed is not handed out again.
    ///
    /// `begin` answers the source and its announced size; it is called with the cache's lock held, so it must
    /// only build, not wait and not call the cache.
    ///
    /// # Errors
    /// [`CacheError`]
    pub async fn open(
        &self,
        key: &str,
        now_ms: u64,
        begin: impl FnOnce() -> (Source, Option<u64>),
    ) -> Result<Pinned, CacheError> {
        self.inner.expire(now_ms, false);
        if let Some(pinned) = self.inner.hit(key) {
            return Ok(pinned);
        }
        let share = self.inner.share().await.inspect_err(|_| self.inner.count_refusal())?;
        self.inner.begin(key, share, begin).inspect_err(|_| self.inner.count_refusal())
    }

    /// Lets go what nobody has read for the TTL; answers how many. To be called every few seconds: a read
    /// counts from the sweep that notices it.
    pub fn sweep(&self, now_ms: u64) -> usize {
        self.inner.expire(now_ms, true)
    }

    /// Forgets `key`; who holds it can read on. False if it is not there.
    pub fn remove(&self, key: &str) -> bool {
        let mut state = self.inner.state();
        let removed = state.table.remove(key);
        state.evictions.removed += u64::from(removed.is_some());
        drop(state);
        removed.is_some()
    }

    /// The figures of this moment.
    pub fn status(&self) -> CacheStatus {
        let inner = &*self.inner;
        let state = inner.state();
        let waits = state.table.values().map(|buffer| buffer.spool().gate.waits()).sum::<u64>();
        CacheStatus {
            entries: state.table.len(),
            pinned: state.table.pinned(),
            memory_bytes: inner.budget.memory.used(),
            disk_bytes: inner.budget.disk.used(),
            hits: inner.hits.load(Relaxed),
            misses: inner.misses.load(Relaxed),
            refused: inner.refused.load(Relaxed),
            waits: waits + inner.budget.waits_closed.load(Relaxed),
            evictions: state.evictions,
        }
    }
}

/// Memory that is charged and not yet a buffer's.
struct Share<'a>(&'a Inner);

impl Share<'_> {
    fn into_account(self) -> Account {
        let account = Account::opened(Arc::clone(&self.0.budget), self.0.working_bytes);
        std::mem::forget(self);
        account
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.0.budget.memory.give(self.0.working_bytes);
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count_refusal(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    fn expire(&self, now_ms: u64, all_reads: bool) -> usize {
        let mut gone = Vec::new();
        let mut state = self.state();
        state.table.advance(now_ms);
        if all_reads {
            state.table.notice_reads(read_since);
        }
        while let Some(buffer) = state.table.take_expired(self.options.ttl_ms, read_since) {
            state.evictions.ttl += 1;
            gone.push(buffer);
        }
        drop(state);
        gone.len()
    }

    fn hit(self: &Arc<Self>, key: &str) -> Option<Pinned> {
        let mut state = self.state();
        let failed = match state.table.get(key)?.status().progress {
            Progress::Failed(_) => state.table.remove(key),
            Progress::Arriving | Progress::Complete => None,
        };
        if failed.is_some() {
            state.evictions.failed += 1;
            drop(state);
            return None;
        }
        let (buffer, number) = state.table.pin(key)?;
        let buffer = buffer.clone();
        self.hits.fetch_add(1, Relaxed);
        Some(Pinned { inner: Arc::clone(self), key: key.to_owned(), number, buffer })
    }

    /// The memory that a buffer begins with: free, or an idle buffer's, or moved to disk.
    async fn share(&self) -> Result<Share<'_>, CacheError> {
        let needed_bytes = self.working_bytes;
        let taken = || self.budget.memory.take(needed_bytes);
        loop {
            if taken() {
                return Ok(Share(self));
            }
            let mut state = self.state();
            let Some(gone) = state.table.take_oldest(read_since) else { break };
            state.evictions.memory += 1;
            drop(state);
            drop(gone);
        }
        let in_use: Vec<SpoolBuffer> = self.state().table.values().cloned().collect();
        for buffer in in_use {
            if buffer.spool().gate.core().pages_bytes() > 0 {
                // What cannot be moved stays; the next one may.
                let _ = tokio::task::spawn_blocking(move || buffer.spool().spill(0, Left::Free)).await;
                if taken() {
                    return Ok(Share(self));
                }
            }
        }
        let (used_bytes, limit_bytes) = (self.budget.memory.used(), self.budget.memory.limit());
        Err(CacheError::Memory { used_bytes, limit_bytes, needed_bytes })
    }

    fn begin(
        self: &Arc<Self>,
        key: &str,
        share: Share<'_>,
        begin: impl FnOnce() -> (Source, Option<u64>),
    ) -> Result<Pinned, CacheError> {
        let mut gone = None;
        let mut state = self.state();
        if state.table.get(key).is_none() && state.table.len() >= self.options.entries_max {
            gone = state.table.take_oldest(read_since);
            if gone.is_none() {
                return Err(CacheError::Entries { limit: self.options.entries_max });
            }
            state.evictions.entries += 1;
        }
        // Somebody else may have begun it while we waited for memory.
        let (buffer, number) = if let Some((buffer, number)) = state.table.pin(key) {
            self.hits.fetch_add(1, Relaxed);
            (buffer.clone(), number)
        } else {
            let (source, size_hint) = begin();
            let options = SpoolOptions { size_hint, ..self.options.spool.clone() };
            let buffer = SpoolBuffer::charged(source, options, share.into_account())?;
            let (number, _) = state.table.insert_pinned(key.to_owned(), buffer.clone());
            self.misses.fetch_add(1, Relaxed);
            (buffer, number)
        };
        drop(state);
        drop(gone);
        Ok(Pinned { inner: Arc::clone(self), key: key.to_owned(), number, buffer })
    }
}

impl Room for Inner {
    fn let_one_go(&self) -> bool {
        let mut state = self.state();
        let gone = state.table.take_oldest(read_since);
        state.evictions.disk += u64::from(gone.is_some());
        drop(state);
        gone.is_some()
    }
}

fn read_since(buffer: &SpoolBuffer) -> bool {
    buffer.spool().take_touched()
}
