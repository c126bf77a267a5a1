//! Loading a file exactly once: its records, how far it is read, and the numbering of streams advance in one
//! transaction. A crash in the middle resumes at the recorded line and doubles nothing; a file that was
//! loaded to its end is known by its digest.
//! Owns: tables `load` and `load_stream`, the cache of stream states. Never: reads the file.

use crate::database::Fault;
use crate::local::Inner;
use crate::log_file::LOG_FILE;
use crate::writer::Job;
use evenkeel_seam::Outputs;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::sync_channel;

/// Stream states kept in memory between two appends; beyond it they are read again when needed.
const STREAMS_CACHED_MAX: usize = 100_000;

/// How far a file is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LoadProgress {
    /// The first line (counted from 0) whose records are not in the log.
    pub next_line: u64,
    /// Events appended.
    pub events: u64,
    /// Lines that could not be read.
    pub bad_lines: u64,
    /// The whole file is in the log.
    pub finished: bool,
}

/// What a load must remember of a stream between two lines, also over a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StreamState {
    /// The number of the stream's next row without seq. Goes on from file to file.
    pub next_seq: u64,
    /// Largest event time of the stream in this file so far, ms; `None` at its first line of the file.
    pub max_ts: Option<i64>,
}

/// Why a load cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// One file at a time: numbering would mix.
    #[error("another file is being loaded into this data directory; load one after the other")]
    Busy,
    /// The file is already loaded.
    #[error("this file is already loaded")]
    Finished,
    /// The log did not take it. Nothing of the append happened; the load can be started again.
    #[error("the log did not take the records: {0}")]
    Log(String),
}

/// Files that were, or are being, loaded.
#[derive(Clone)]
pub struct Loads {
    inner: Arc<Inner>,
}

/// The one running load.
pub struct Loader {
    inner: Arc<Inner>,
    conn: Connection,
    digest: String,
    number: i64,
    progress: LoadProgress,
    cache: BTreeMap<String, StreamState>,
    changed: BTreeMap<String, StreamState>,
    step: Option<Box<LoadStep>>,
}

/// One append of a load, as the writer carries it out.
#[derive(Debug, Default)]
pub(crate) struct LoadStep {
    pub outputs: Outputs,
    digest: String,
    number: i64,
    progress: LoadProgress,
    streams: Vec<(String, StreamState)>,
}

impl Loads {
    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        Self { inner }
    }

    /// How far the file with this digest is loaded; `None` = never seen.
    pub fn known(&self, digest: &str) -> Result<Option<LoadProgress>, LoadError> {
        let conn = self.inner.open_log_reader().map_err(|e| LoadError::Log(e.to_string()))?;
        Ok(find(&conn, digest)?.map(|(_, progress)| progress))
    }

    /// Begins or resumes a file. One load at a time; dropping the loader ends it (what was appended stays).
    pub fn begin(&self, digest: &str) -> Result<Loader, LoadError> {
        let conn = self.inner.open_log_reader().map_err(|e| LoadError::Log(e.to_string()))?;
        if self.inner.loading.swap(true, Ordering::AcqRel) {
            return Err(LoadError::Busy);
        }
        let mut loader = Loader {
            inner: self.inner.clone(),
            conn,
            digest: digest.to_owned(),
            number: 0,
            progress: LoadProgress::default(),
            cache: BTreeMap::new(),
            changed: BTreeMap::new(),
            step: None,
        };
        loader.resume()?;
        Ok(loader)
    }
}

impl Loader {
    /// How far the file is loaded: skip this many lines.
    pub fn progress(&self) -> LoadProgress {
        self.progress
    }

    /// What is remembered of a stream.
    pub fn stream(&mut self, stream_id: &str) -> Result<StreamState, LoadError> {
        if let Some(state) = self.changed.get(stream_id).or_else(|| self.cache.get(stream_id)) {
            return Ok(*state);
        }
        let state = read_stream(&self.conn, stream_id, self.number).map_err(|e| failed(&e))?;
        self.remember(stream_id, state);
        Ok(state)
    }

    /// Changes what is remembered; durable with the next [`Loader::append`].
    pub fn set_stream(&mut self, stream_id: &str, state: StreamState) {
        match self.changed.get_mut(stream_id) {
            Some(known) => *known = state,
            None => drop(self.changed.insert(stream_id.to_owned(), state)),
        }
    }

    /// Appends records (events, and dlq records of bad lines) with the progress and every changed stream, in
    /// one transaction. Blocks until it is durable; empties `outputs`.
    pub fn append(&mut self, outputs: &mut Outputs, progress: LoadProgress) -> Result<(), LoadError> {
        let mut step = self.step.take().unwrap_or_default();
        std::mem::swap(&mut step.outputs, outputs);
        step.digest.clone_from(&self.digest);
        step.number = self.number;
        step.progress = progress;
        step.streams.clear();
        step.streams.extend(std::mem::take(&mut self.changed));
        let step = self.run(step)?;
        for (stream_id, state) in &step.streams {
            self.remember(stream_id, *state);
        }
        self.progress = progress;
        self.step = Some(step);
        Ok(())
    }

    /// Appends the last records and marks the file as loaded.
    pub fn finish(
        mut self,
        outputs: &mut Outputs,
        progress: LoadProgress,
    ) -> Result<LoadProgress, LoadError> {
        self.append(outputs, LoadProgress { finished: true, ..progress })?;
        Ok(self.progress)
    }

    fn run(&self, step: Box<LoadStep>) -> Result<Box<LoadStep>, LoadError> {
        let bytes = step.outputs.bytes() + 128 * (1 + step.streams.len());
        let (reply, outcome) = sync_channel(1);
        let closed = || LoadError::Log("the log is closed".into());
        self.inner.queue.push_wait(Job::Load { step, reply }, bytes).map_err(|_| closed())?;
        outcome.recv().map_err(|_| closed())?.map_err(|fault: Fault| LoadError::Log(fault.to_string()))
    }

    fn resume(&mut self) -> Result<(), LoadError> {
        match find(&self.conn, &self.digest)? {
            Some((_, progress)) if progress.finished => Err(LoadError::Finished),
            Some((number, progress)) => {
                (self.number, self.progress) = (number, progress);
                Ok(())
            }
            None => {
                let last: i64 = self
                    .conn
                    .query_row("SELECT coalesce(max(number), 0) FROM load", [], |row| row.get(0))
                    .map_err(|e| failed(&e))?;
                self.number = last + 1;
                Ok(())
            }
        }
    }

    fn remember(&mut self, stream_id: &str, state: StreamState) {
        if let Some(known) = self.cache.get_mut(stream_id) {
            *known = state;
            return;
        }
        if self.cache.len() >= STREAMS_CACHED_MAX {
            self.cache.clear();
        }
        self.cache.insert(stream_id.to_owned(), state);
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.inner.loading.store(false, Ordering::Release);
    }
}

impl LoadStep {
    /// Writes progress and streams; part of the transaction that appends the records.
    pub fn save(&self, conn: &Connection) -> rusqlite::Result<()> {
        let p = &self.progress;
        conn.prepare_cached(
            "INSERT INTO load (number, digest, next_line, finished, events, bad_lines) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (number) DO UPDATE SET next_line = excluded.next_line, finished = excluded.finished,
             events = excluded.events, bad_lines = excluded.bad_lines",
        )?
        .execute(params![
            self.number,
            self.digest,
            p.next_line as i64,
            p.finished,
            p.events as i64,
            p.bad_lines as i64
        ])?;
        let mut stmt = conn.prepare_cached(
            "INSERT OR REPLACE INTO load_stream (stream_id, next_seq, load, max_ts) VALUES (?1, ?2, ?3, ?4)",
        )?;
        for (stream_id, state) in &self.streams {
            stmt.execute(params![stream_id, state.next_seq as i64, self.number, state.max_ts])?;
        }
        Ok(())
    }
}

fn find(conn: &Connection, digest: &str) -> Result<Option<(i64, LoadProgress)>, LoadError> {
    conn.prepare_cached("SELECT number, next_line, finished, events, bad_lines FROM load WHERE digest = ?1")
        .and_then(|mut stmt| {
            stmt.query_row([digest], |row| {
                let count = |i| row.get::<_, i64>(i).map(|n| n as u64);
                let progress = LoadProgress {
                    next_line: count(1)?,
                    finished: row.get(2)?,
                    events: count(3)?,
                    bad_lines: count(4)?,
                };
                Ok((row.get(0)?, progress))
            })
            .optional()
        })
        .map_err(|e| failed(&e))
}

fn read_stream(conn: &Connection, stream_id: &str, load: i64) -> rusqlite::Result<StreamState> {
    let found = conn
        .prepare_cached("SELECT next_seq, load, max_ts FROM load_stream WHERE stream_id = ?1")?
        .query_row([stream_id], |row| {
            let max_ts: Option<i64> = row.get(2)?;
            let same_file = row.get::<_, i64>(1)? == load;
            Ok(StreamState { next_seq: row.get::<_, i64>(0)? as u64, max_ts: max_ts.filter(|_| same_file) })
        })
        .optional()?;
    Ok(found.unwrap_or_default())
}

fn failed(error: &rusqlite::Error) -> LoadError {
    LoadError::Log(Fault::of(LOG_FILE.name, error).to_string())
}
