//! Questions to the embedded store: scores by stream, size and time, page by page. Memory is one page.

use crate::database::FileError;
use crate::query::{PAGE_ROWS, RowQuery, StoreReader};
use crate::store_file::{decode_stored_score, score_sizes};
use evenkeel_model::StoredScore;
use rusqlite::params;

/// Scores of one question, in order of size, stream, start, model, version, role, place.
#[derive(Debug)]
pub struct ScorePages<'a> {
    reader: &'a StoreReader,
    query: RowQuery,
    sizes: Vec<i64>,
    after: Option<StoredScore>,
}

impl StoreReader {
    /// Asks for scores; `latest` is not looked at. A store that no version with scores has opened holds none.
    pub fn scores(&self, query: RowQuery) -> Result<ScorePages<'_>, FileError> {
        let failed = |e| FileError::of(&self.path, e);
        let there = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'score'";
        let there: i64 = self.conn.query_row(there, [], |row| row.get(0)).map_err(failed)?;
        let mut sizes = if there == 0 { Vec::new() } else { score_sizes(&self.conn).map_err(failed)? };
        sizes.retain(|size| query.size_ms.is_none_or(|asked| asked == *size));
        sizes.reverse();
        Ok(ScorePages { reader: self, query, sizes, after: None })
    }
}

impl ScorePages<'_> {
    /// The next scores; none = the end.
    pub fn next_page(&mut self) -> Result<Vec<StoredScore>, FileError> {
        while let Some(&size_ms) = self.sizes.last() {
            let page = self.page(size_ms).map_err(|e| FileError::of(&self.reader.path, e))?;
            if let Some(last) = page.last() {
                self.after = Some(last.clone());
                return Ok(page);
            }
            self.sizes.pop();
            self.after = None;
        }
        Ok(Vec::new())
    }

    fn page(&self, size_ms: i64) -> rusqlite::Result<Vec<StoredScore>> {
        // `+` keeps SQLite from the index by time: it would sort all scores of the size anew for each page.
        let mut statement = self.reader.conn.prepare_cached(
            "SELECT place, body FROM score
             WHERE size_ms = ?1 AND (stream_id, t_start, model, version, shadow, place) > (?2, ?3, ?4, ?5, ?6, ?7)
               AND (?8 IS NULL OR stream_id = ?8) AND +t_start >= ?9 AND +t_start < ?10
             ORDER BY stream_id, t_start, model, version, shadow, place LIMIT ?11",
        )?;
        let (from, to) = (self.query.from.unwrap_or(i64::MIN), self.query.to.unwrap_or(i64::MAX));
        let asked = self.query.stream.as_deref();
        // A single stream is found by its key, not by walking all before it.
        let after = match &self.after {
            Some(StoredScore { score: s, place }) => (
                s.stream_id.as_str(),
                s.span.t_start(),
                s.model.as_str(),
                s.version.as_str(),
                s.shadow,
                *place,
            ),
            None => (asked.unwrap_or(""), i64::MIN, "", "", false, i64::MIN),
        };
        let (stream, start, model, version, shadow, place) = after;
        let scores = statement.query_map(
            params![size_ms, stream, start, model, version, shadow, place, asked, from, to, PAGE_ROWS as i64],
            |row| decode_stored_score(row.get(0)?, row.get_ref(1)?.as_blob()?),
        )?;
        scores.collect()
    }
}
