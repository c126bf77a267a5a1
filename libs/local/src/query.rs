//! Questions to the embedded store: rows by stream, size and time, page by page.
//!
//! Owns: a reading connection; works beside a process that has the directory open. Memory is one page.

use crate::database::{FileError, open_reader};
use crate::store_file::{STORE_FILE, decode, get, sizes};
use evenkeel_model::{StoredRow, WindowSpan};
use evenkeel_seam::RowKey;
use rusqlite::{Connection, OptionalExtension, params};
use std::path::{Path, PathBuf};

/// Which rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RowQuery {
    /// Only this stream.
    pub stream: Option<String>,
    /// Only windows that start at or after this, ms.
    pub from: Option<i64>,
    /// Only windows that start before this, ms.
    pub to: Option<i64>,
    /// Only windows of this size, ms.
    pub size_ms: Option<i64>,
    /// Only the newest window per stream and size.
    pub latest: bool,
}

/// The store of a data directory, for reading.
#[derive(Debug)]
pub struct StoreReader {
    pub(crate) conn: Connection,
    pub(crate) path: PathBuf,
}

/// Rows of one question, in order of size, stream, start.
#[derive(Debug)]
pub struct RowPages<'a> {
    reader: &'a StoreReader,
    query: RowQuery,
    sizes: Vec<i64>,
    after: Option<(String, i64)>,
}

/// Rows of one page.
pub(crate) const PAGE_ROWS: usize = 1000;
/// Rows that are looked at for the streams heard last.
const HEARD_ROWS: i64 = 50_000;

impl StoreReader {
    /// Opens the store of a data directory.
    pub fn open(dir: &Path) -> Result<Self, FileError> {
        let conn = open_reader(dir, STORE_FILE, 5_000)?;
        Ok(Self { conn, path: dir.join(STORE_FILE.name) })
    }

    /// Asks.
    pub fn rows(&self, query: RowQuery) -> Result<RowPages<'_>, FileError> {
        let mut sizes = sizes(&self.conn).map_err(|e| FileError::of(&self.path, e))?;
        sizes.retain(|size| query.size_ms.is_none_or(|asked| asked == *size));
        sizes.reverse();
        Ok(RowPages { reader: self, query, sizes, after: None })
    }

    /// The window sizes there are rows of, rising, ms.
    pub fn sizes(&self) -> Result<Vec<i64>, FileError> {
        sizes(&self.conn).map_err(|e| FileError::of(&self.path, e))
    }

    /// The newest row of this size of each of the streams heard last, and how many streams were found: among the
    /// newest 50 000 rows, whatever the store holds.
    pub fn heard_last(&self, size_ms: i64, streams_max: usize) -> Result<(Vec<StoredRow>, usize), FileError> {
        self.heard(size_ms, streams_max).map_err(|e| FileError::of(&self.path, e))
    }

    fn heard(&self, size_ms: i64, streams_max: usize) -> rusqlite::Result<(Vec<StoredRow>, usize)> {
        // The index by time holds all that the inner question names: no body is read for it.
        let mut streams = self.conn.prepare_cached(
            "SELECT stream_id, MAX(t_start) AS newest FROM (
                 SELECT stream_id, t_start FROM row WHERE size_ms = ?1 ORDER BY t_start DESC LIMIT ?2)
             GROUP BY stream_id ORDER BY newest DESC, stream_id",
        )?;
        let named = streams.query_map(params![size_ms, HEARD_ROWS], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let named: Vec<(String, i64)> = named.collect::<rusqlite::Result<_>>()?;
        let mut newest = Vec::new();
        for (stream_id, t_start) in named.iter().take(streams_max) {
            let key = RowKey { stream_id: stream_id.clone(), span: WindowSpan::of(*t_start, size_ms) };
            newest.extend(get(&self.conn, &key)?);
        }
        Ok((newest, named.len()))
    }
}

impl RowPages<'_> {
    /// The next rows; none = the end.
    pub fn next_page(&mut self) -> Result<Vec<StoredRow>, FileError> {
        while let Some(&size_ms) = self.sizes.last() {
            let page = match self.query.latest {
                true => self.latest_page(size_ms),
                false => self.page(size_ms),
            };
            let page = page.map_err(|e| FileError::of(&self.reader.path, e))?;
            match page.last() {
                Some(last) => {
                    self.after = Some((last.row.stream_id.clone(), last.row.span.t_start()));
                    return Ok(page);
                }
                None => {
                    self.sizes.pop();
                    self.after = None;
                }
            }
        }
        Ok(Vec::new())
    }

    fn page(&self, size_ms: i64) -> rusqlite::Result<Vec<StoredRow>> {
        let (stream, start) = self.after.clone().unwrap_or((String::new(), i64::MIN));
        // `+` keeps SQLite from the index by time: it would sort all rows of the size anew for each page.
        let mut statement = self.reader.conn.prepare_cached(
            "SELECT body FROM row
             WHERE size_ms = ?1 AND (stream_id, t_start) > (?2, ?3)
               AND (?4 IS NULL OR stream_id = ?4) AND +t_start >= ?5 AND +t_start < ?6
             ORDER BY stream_id, t_start LIMIT ?7",
        )?;
        let (from, to) = (self.query.from.unwrap_or(i64::MIN), self.query.to.unwrap_or(i64::MAX));
        // A single stream is found by its key, not by walking all before it.
        let first = self
            .query
            .stream
            .clone()
            .filter(|asked| *asked > stream)
            .map_or((stream, start), |asked| (asked, i64::MIN));
        let rows = statement.query_map(
            params![size_ms, first.0, first.1, self.query.stream, from, to, PAGE_ROWS as i64],
            |row| decode(row.get_ref(0)?.as_blob()?),
        )?;
        rows.collect()
    }

    /// The newest row of each of the next streams.
    fn latest_page(&self, size_ms: i64) -> rusqlite::Result<Vec<StoredRow>> {
        let mut page = Vec::new();
        let mut stream = self.after.as_ref().map_or(String::new(), |(stream, _)| stream.clone());
        let (from, to) = (self.query.from.unwrap_or(i64::MIN), self.query.to.unwrap_or(i64::MAX));
        while page.len() < PAGE_ROWS {
            let next: Option<String> = self
                .reader
                .conn
                .prepare_cached(
                    "SELECT stream_id FROM row WHERE size_ms = ?1 AND stream_id > ?2
                       AND (?3 IS NULL OR stream_id = ?3) ORDER BY stream_id LIMIT 1",
                )?
                .query_row(params![size_ms, stream, self.query.stream], |row| row.get(0))
                .optional()?;
            let Some(found) = next else { break };
            let newest = self
                .reader
                .conn
                .prepare_cached(
                    "SELECT body FROM row WHERE size_ms = ?1 AND stream_id = ?2 AND t_start >= ?3 AND t_start < ?4
                     ORDER BY t_start DESC LIMIT 1",
                )?
                .query_row(params![size_ms, found, from, to], |row| decode(row.get_ref(0)?.as_blob()?))
                .optional()?;
            page.extend(newest);
            stream = found;
        }
        Ok(page)
    }
}
