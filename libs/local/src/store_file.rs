//! The table of `store.db`: window rows, last write wins by revision.
//!
//! | table | holds |
//! | --- | --- |
//! | `row` | per (size, stream, t_start): the revision, and the whole row as its schema writes it |

use crate::database::FileKind;
use evenkeel_codec::{decode_stored, encode_stored};
use evenkeel_model::StoredRow;
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

/// The window sizes there are rows of, rising, ms.
pub(crate) fn sizes(conn: &Connection) -> rusqlite::Result<Vec<i64>> {
    let mut sizes = Vec::new();
    let mut after = 0i64;
    while let Some(size) = conn
        .prepare_cached("SELECT size_ms FROM row WHERE size_ms > ?1 ORDER BY size_ms LIMIT 1")?
        .query_row([after], |row| row.get(0))
        .optional()?
    {
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
