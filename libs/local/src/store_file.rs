//! The tables of `store.db`: window rows, last write wins by revision; scores.
//!
//! | table | holds |
//! | --- | --- |
//! | `row` | per (size, stream, t_start): the revision, and the whole row as its schema writes it |
//! | `score` | per (size, stream, t_start, model, version, shadow, place): the record as the topic has it |

use crate::database::FileKind;
use evenkeel_codec::{decode_score, decode_stored, encode_score, encode_stored};
use evenkeel_model::{StoredRow, StoredScore};
use evenkeel_seam::RowKey;
use rusqlite::{Connection, OptionalExtension, params};

/// `store.db`.
pub(crate) const STORE_FILE: FileKind = FileKind {
    name: "store.db",
    application_id: 0x4556_4b53, // "EVKS"
    version: 1,
    schema: "
        CREATE TABLE row (
            size_ms INTEGER NOT NULL, stream_id TEXT NOT NULL, t_start INTEGER NOT NULL,
            revision INTEGER NOT NULL, body BLOB NOT NULL,
            PRIMARY KEY (size_ms, stream_id, t_start)
        ) WITHOUT ROWID;
        CREATE INDEX row_by_time ON row (size_ms, t_start);
    ",
    added: "
        CREATE TABLE IF NOT EXISTS score (
            size_ms INTEGER NOT NULL, stream_id TEXT NOT NULL, t_start INTEGER NOT NULL,
            model TEXT NOT NULL, version TEXT NOT NULL, shadow INTEGER NOT NULL, place INTEGER NOT NULL,
            body BLOB NOT NULL,
            PRIMARY KEY (size_ms, stream_id, t_start, model, version, shadow, place)
        ) WITHOUT ROWID;
        CREATE INDEX IF NOT EXISTS score_by_time ON score (size_ms, t_start);
    ",
};

/// Writes a row. A stored higher revision stays: an older write that comes late loses.
pub(crate) fn put(conn: &Connection, row: &StoredRow, body: &mut Vec<u8>) -> rusqlite::Result<()> {
    body.clear();
    encode_stored(row, body);
    conn.prepare_cached(
        "INSERT INTO row (size_ms, stream_id, t_start, revision, body) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT DO UPDATE SET revision = excluded.revision, body = excluded.body
         WHERE excluded.revision >= row.revision",
    )?
    .execute(params![row.row.span.size_ms, row.row.stream_id, row.row.span.t_start(), row.revision, &**body])
    .map(|_| ())
}

/// Writes a score; the one that has its place goes.
pub(crate) fn put_score(conn: &Connection, stored: &StoredScore, body: &mut Vec<u8>) -> rusqlite::Result<()> {
    body.clear();
    let score = &stored.score;
    encode_score(score, body);
    let (span, version) = (score.span, &score.version);
    conn.prepare_cached(
        "INSERT OR REPLACE INTO score (size_ms, stream_id, t_start, model, version, shadow, place, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute(params![
        span.size_ms,
        score.stream_id,
        span.t_start(),
        score.model,
        version,
        score.shadow,
        stored.place,
        &**body
    ])
    .map(|_| ())
}

/// Reads a row.
pub(crate) fn get(conn: &Connection, key: &RowKey) -> rusqlite::Result<Option<StoredRow>> {
    conn.prepare_cached("SELECT body FROM row WHERE size_ms = ?1 AND stream_id = ?2 AND t_start = ?3")?
        .query_row(params![key.span.size_ms, key.stream_id, key.span.t_start()], |row| {
            decode(row.get_ref(0)?.as_blob()?)
        })
        .optional()
}

/// Removes at most `rows_max` rows whose windows of `size_ms` began before `t_start`; how many went.
pub(crate) fn expire(
    conn: &Connection,
    size_ms: i64,
    t_start: i64,
    rows_max: u32,
) -> rusqlite::Result<usize> {
    conn.prepare_cached(
        "DELETE FROM row WHERE (size_ms, stream_id, t_start) IN (
             SELECT size_ms, stream_id, t_start FROM row WHERE size_ms = ?1 AND t_start < ?2 LIMIT ?3)",
    )?
    .execute(params![size_ms, t_start, rows_max])
}

/// Removes at most `scores_max` scores whose windows of `size_ms` began before `t_start`; how many went.
pub(crate) fn expire_scores(
    conn: &Connection,
    size_ms: i64,
    t_start: i64,
    scores_max: u32,
) -> rusqlite::Result<usize> {
    const KEY: &str = "size_ms, stream_id, t_start, model, version, shadow, place";
    conn.prepare_cached(&format!(
        "DELETE FROM score WHERE ({KEY}) IN (
             SELECT {KEY} FROM score WHERE size_ms = ?1 AND t_start < ?2 LIMIT ?3)"
    ))?
    .execute(params![size_ms, t_start, scores_max])
}

/// The window sizes there are rows of, rising, ms.
pub(crate) fn sizes(conn: &Connection) -> rusqlite::Result<Vec<i64>> {
    sizes_by(conn, "SELECT size_ms FROM row WHERE size_ms > ?1 ORDER BY size_ms LIMIT 1")
}

/// The window sizes there are scores of, rising, ms.
pub(crate) fn score_sizes(conn: &Connection) -> rusqlite::Result<Vec<i64>> {
    sizes_by(conn, "SELECT size_ms FROM score WHERE size_ms > ?1 ORDER BY size_ms LIMIT 1")
}

fn sizes_by(conn: &Connection, next: &str) -> rusqlite::Result<Vec<i64>> {
    let mut sizes = Vec::new();
    let mut after = 0i64;
    while let Some(size) = conn.prepare_cached(next)?.query_row([after], |row| row.get(0)).optional()? {
        sizes.push(size);
        after = size;
    }
    Ok(sizes)
}

/// A stored body; what cannot be read is a damaged file.
pub(crate) fn decode(body: &[u8]) -> rusqlite::Result<StoredRow> {
    let broken = |e| rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Blob, Box::new(e));
    decode_stored(body).map_err(broken)
}

/// A stored score, and its place.
pub(crate) fn decode_stored_score(place: i64, body: &[u8]) -> rusqlite::Result<StoredScore> {
    let broken = |e| rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Blob, Box::new(e));
    Ok(StoredScore { score: decode_score(body).map_err(broken)?, place })
}
