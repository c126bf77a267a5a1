//! The data directory of one machine: opened once, shared by cheap handles, closed with the last of them.
//! Owns: the lock on the directory, the writer threads. Never: a rule about windows.

use crate::appender::LocalAppender;
use crate::database::{FaultLog, FileError, FileOptions, open_reader, open_writer};
use crate::hub::Hub;
use crate::loads::Loads;
use crate::log_file::{self, LOG_FILE};
use crate::query::StoreReader;
use crate::queue::JobQueue;
use crate::reader::{FetchLimits, LogReader};
use crate::retention::{Trim, Trimmer};
use crate::rows::LocalRows;
use crate::store_file::STORE_FILE;
use crate::store_writer::{RowQueue, StoreWriter};
use crate::tail::LocalTail;
use crate::worker::LocalWorker;
use crate::writer::{Job, LogQueue, LogWriter};
use crate::{LocalOptions, Retention};
use evenkeel_model::Topic;
use rusqlite::Connection;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;

/// Why a data directory cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process works with it.
    #[error(
        "another process has the data directory {} open: stop it, or choose another data directory",
        dir.display()
    )]
    Locked {
        /// The directory.
        dir: PathBuf,
    },
    /// The directory or its lock file cannot be made or opened.
    #[error("the data directory {} cannot be used: {source}; check the path and its permissions", dir.display())]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// One of the two files.
    #[error(transparent)]
    File(#[from] FileError),
    /// It was made with another partition count: offsets and owners would not fit.
    #[error(
        "the data directory {} holds {held} partitions, {asked} were asked for: leave the setting at {held}, or \
         drain it, choose a new data directory with {asked} and load again", dir.display()
    )]
    Partitions {
        /// The directory.
        dir: PathBuf,
        /// What it holds.
        held: u32,
        /// What was asked for.
        asked: u32,
    },
    /// A count outside 1 ..= [`LocalOptions::PARTITIONS_MAX`].
    #[error("{0} partitions were asked for; choose 1 to {max}", max = LocalOptions::PARTITIONS_MAX)]
    PartitionCount(u32),
    /// The system gives no thread.
    #[error("no thread could be started: {0}")]
    Thread(std::io::Error),
}

/// Why a request to the log failed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct LogError(pub(crate) String);

/// A handle on an open data directory: the log and the store of one machine.
#[derive(Clone)]
pub struct Local {
    pub(crate) inner: Arc<Inner>,
}

/// What all handles share. Dropping the last one finishes what waits and closes the files.
pub(crate) struct Inner {
    pub dir: PathBuf,
    pub options: LocalOptions,
    pub hub: Arc<Hub>,
    pub queue: Arc<LogQueue>,
    pub loading: AtomicBool,
    pub rows: Arc<RowQueue>,
    threads: Vec<JoinHandle<()>>,
    /// Held until the writers are gone.
    _lock: File,
}

impl Local {
    /// Opens (or makes) a data directory. One process at a time; within it, clone the handle.
    pub fn open(dir: &Path, options: LocalOptions) -> Result<Self, OpenError> {
        let lock = lock(dir)?;
        let file = |bytes_max| FileOptions {
            durability: options.durability,
            bytes_max,
            busy_wait_ms: options.busy_wait_ms,
        };
        let conn = open_writer(dir, LOG_FILE, file(options.log_bytes_max))?;
        let partitions = settle_partitions(dir, &conn, options.partitions)?;
        let extents = log_file::extents(&conn, partitions).map_err(|e| unusable(dir, e))?;
        let hub = Arc::new(Hub::new(extents));
        let queue = Arc::new(JobQueue::new(options.queue_jobs_max, options.queue_bytes_max));
        let writer = LogWriter {
            conn,
            queue: queue.clone(),
            hub: hub.clone(),
            trimmer: Trimmer { retention: options.retention.clone() },
            wait_for_room: options.wait_for_room,
            log: FaultLog::default(),
        };
        let thread = spawn("log-writer", move || writer.run())?;
        let store = StoreWriter {
            conn: open_writer(dir, STORE_FILE, file(options.store_bytes_max))?,
            queue: Arc::new(JobQueue::new(options.queue_jobs_max, options.queue_bytes_max)),
            row_ttl_ms: options.row_ttl_ms,
            log: FaultLog::default(),
        };
        let rows = store.queue.clone();
        let store_thread = spawn("store-writer", move || store.run())?;
        let inner = Inner {
            dir: dir.to_owned(),
            options,
            hub,
            queue,
            loading: AtomicBool::new(false),
            threads: vec![thread, store_thread],
            rows,
            _lock: lock,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Joins a consumer group on a topic: its partitions are shared over the group's live workers.
    pub fn worker(&self, group: &str, topic: Topic) -> Result<LocalWorker, FileError> {
        let options = &self.inner.options;
        let limits = FetchLimits {
            bytes_max: options.fetch_bytes_max,
            records_max: options.fetch_records_max,
            headers: false,
        };
        let reader = LogReader::new(self.inner.open_log_reader()?, limits);
        Ok(LocalWorker::new(self.inner.clone(), reader, (group.to_owned(), topic)))
    }

    /// Reads tails of partitions, in no group.
    pub fn tail(&self) -> Result<LocalTail, FileError> {
        let options = &self.inner.options;
        let limits = FetchLimits {
            bytes_max: options.fetch_bytes_max,
            records_max: options.fetch_records_max,
            headers: false,
        };
        Ok(LocalTail::new(self.inner.clone(), LogReader::new(self.inner.open_log_reader()?, limits)))
    }

    /// Appends to the log.
    pub fn appender(&self) -> LocalAppender {
        LocalAppender::new(self.inner.clone())
    }

    /// Reads and writes window rows.
    pub fn rows(&self) -> LocalRows {
        LocalRows::new(self.inner.clone())
    }

    /// The store, for questions.
    pub fn store(&self) -> Result<StoreReader, FileError> {
        StoreReader::open(&self.inner.dir)
    }

    /// The offset after the last record of a partition.
    pub fn end(&self, topic: Topic, partition: u32) -> u64 {
        self.inner.hub.extent(topic, partition).next
    }

    /// Loading files exactly once.
    pub fn loads(&self) -> Loads {
        Loads::new(self.inner.clone())
    }

    /// Partitions of every topic.
    pub fn partitions(&self) -> u32 {
        self.inner.hub.extents().partitions()
    }

    /// Takes a worker out of its group as if it had died, though it may still run: for whoever watches over a
    /// stuck thread. Whatever it tries to commit from now on is fenced.
    pub fn expel(&self, worker_id: u64) {
        self.inner.hub.leave(worker_id);
    }

    /// Forgets the committed positions of a group that is gone for good; they hold no record any more.
    pub fn forget_group(&self, group: &str) -> Result<(), LogError> {
        self.ask(|reply| Job::ForgetGroup { group: group.to_owned(), reply })
    }

    /// Applies retention now, as it will be due at `now_ms`; returns how many records went. (The writer does
    /// this on its own every half minute.)
    pub fn trim_due(&self, now_ms: i64) -> Result<u64, LogError> {
        self.ask(|reply| Job::Trim { trim: Trim::Due { now_ms }, reply })
    }

    /// Removes every record of a partition below `offset`, needed or not; returns how many went.
    pub fn trim_before(&self, topic: Topic, partition: u32, offset: u64) -> Result<u64, LogError> {
        self.ask(|reply| Job::Trim { trim: Trim::Before { topic, partition, offset }, reply })
    }

    /// The retention in force.
    pub fn retention(&self) -> &Retention {
        &self.inner.options.retention
    }

    fn ask<T>(
        &self,
        job: impl FnOnce(std::sync::mpsc::SyncSender<Result<T, crate::database::Fault>>) -> Job,
    ) -> Result<T, LogError> {
        let closed = || LogError("the log is closed".into());
        let (reply, outcome) = sync_channel(1);
        self.inner.queue.push_wait(job(reply), 256).map_err(|_| closed())?;
        outcome.recv().map_err(|_| closed())?.map_err(|fault| LogError(fault.to_string()))
    }
}

impl Inner {
    pub fn open_log_reader(&self) -> Result<Connection, FileError> {
        open_reader(&self.dir, LOG_FILE, self.options.busy_wait_ms)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queue.close();
        self.rows.close();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a writer of the data directory ended by a panic");
            }
        }
    }
}

/// The directory's lock: gone when the file is closed, also by kill -9.
fn lock(dir: &Path) -> Result<File, OpenError> {
    let fail = |source| OpenError::Directory { dir: dir.to_owned(), source };
    std::fs::create_dir_all(dir).map_err(fail)?;
    let options = OpenOptions::new().create(true).truncate(false).write(true).clone();
    let file = options.open(dir.join("lock")).map_err(fail)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked { dir: dir.to_owned() }),
        Err(TryLockError::Error(source)) => Err(fail(source)),
    }
}

fn settle_partitions(dir: &Path, conn: &Connection, asked: Option<u32>) -> Result<u32, OpenError> {
    if let Some(n) = asked.filter(|n| *n == 0 || *n > LocalOptions::PARTITIONS_MAX) {
        return Err(OpenError::PartitionCount(n));
    }
    match (log_file::partitions(conn).map_err(|e| unusable(dir, e))?, asked) {
        (Some(held), Some(asked)) if held != asked => {
            Err(OpenError::Partitions { dir: dir.to_owned(), held, asked })
        }
        (Some(held), _) => Ok(held),
        (None, asked) => {
            let partitions = asked.unwrap_or(LocalOptions::PARTITIONS_DEFAULT);
            log_file::set_partitions(conn, partitions).map_err(|e| unusable(dir, e))?;
            Ok(partitions)
        }
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, OpenError> {
    std::thread::Builder::new().name(name.to_owned()).spawn(run).map_err(OpenError::Thread)
}

fn unusable(dir: &Path, source: rusqlite::Error) -> OpenError {
    FileError::of(&dir.join(LOG_FILE.name), source).into()
}
