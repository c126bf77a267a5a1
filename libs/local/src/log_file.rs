//! The tables of `log.db` and what every connection needs to know of them.
//!
//! | table | holds |
//! | --- | --- |
//! | `setting` | the partition count |
//! | `record` | every record of every topic; the key is an [`Address`](crate::address::Address) |
//! | `extent` | per partition: first kept offset, next offset, bytes |
//! | `mark` | per partition and key of `marks`: its newest record (compaction) |
//! | `position` | committed offsets with their metadata, as text |
//! | `load` | files that were or are being loaded: how far |
//! | `load_stream` | per stream: the next number for rows without seq, and the largest ts of the running load |

use crate::address::{topic_code, topic_of};
use crate::database::FileKind;
use crate::hub::{Extent, Extents};
use evenkeel_model::Topic;
use rusqlite::{Connection, OptionalExtension, params};

/// `log.db`.
pub(crate) const LOG_FILE: FileKind = FileKind {
    name: "log.db",
    application_id: 0x4556_4b4c, // "EVKL"
    version: 1,
    schema: "
        CREATE TABLE setting (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
        CREATE TABLE record (
            id INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, key BLOB, value BLOB, headers BLOB
        );
        CREATE TABLE extent (
            topic INTEGER NOT NULL, part INTEGER NOT NULL,
            log_start INTEGER NOT NULL, next INTEGER NOT NULL, bytes INTEGER NOT NULL,
            PRIMARY KEY (topic, part)
        ) WITHOUT ROWID;
        CREATE TABLE mark (
            part INTEGER NOT NULL, key BLOB NOT NULL, id INTEGER NOT NULL, PRIMARY KEY (part, key)
        ) WITHOUT ROWID;
        CREATE TABLE position (
            grp TEXT NOT NULL, topic INTEGER NOT NULL, part INTEGER NOT NULL,
            next INTEGER NOT NULL, meta TEXT, PRIMARY KEY (grp, topic, part)
        ) WITHOUT ROWID;
        CREATE TABLE load (
            number INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE, next_line INTEGER NOT NULL,
            finished INTEGER NOT NULL, events INTEGER NOT NULL, bad_lines INTEGER NOT NULL
        );
        CREATE TABLE load_stream (
            stream_id TEXT PRIMARY KEY, next_seq INTEGER NOT NULL, load INTEGER NOT NULL, max_ts INTEGER
        ) WITHOUT ROWID;
    ",
    added: "",
};

/// A committed position as stored: the metadata is still text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredPosition {
    pub group: String,
    pub topic: Topic,
    pub partition: u32,
    pub offset: u64,
    pub meta: Option<String>,
}

/// The partition count the file holds; `None` for a new file.
pub(crate) fn partitions(conn: &Connection) -> rusqlite::Result<Option<u32>> {
    conn.query_row("SELECT value FROM setting WHERE name = 'partitions'", [], |row| row.get(0)).optional()
}

pub(crate) fn set_partitions(conn: &Connection, partitions: u32) -> rusqlite::Result<()> {
    conn.execute("INSERT INTO setting (name, value) VALUES ('partitions', ?1)", [partitions]).map(|_| ())
}

pub(crate) fn extents(conn: &Connection, partitions: u32) -> rusqlite::Result<Extents> {
    let mut extents = Extents::new(partitions);
    let mut stmt = conn.prepare_cached("SELECT topic, part, log_start, next, bytes FROM extent")?;
    let mut rows = stmt.query([])?;
    while let Some(row) = rows.next()? {
        let (Some(topic), partition) = (topic_of(row.get(0)?), row.get::<_, u32>(1)?) else { continue };
        let number = |i| row.get::<_, i64>(i).map(|n| n as u64);
        if let Some(extent) = extents.get_mut(topic, partition) {
            *extent = Extent { log_start: number(2)?, next: number(3)?, bytes: number(4)? };
        }
    }
    Ok(extents)
}

pub(crate) fn save_extent(
    conn: &Connection,
    topic: Topic,
    partition: u32,
    extent: Extent,
) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT OR REPLACE INTO extent (topic, part, log_start, next, bytes) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![
        topic_code(topic),
        partition,
        extent.log_start as i64,
        extent.next as i64,
        extent.bytes as i64
    ])
    .map(|_| ())
}

/// The committed position of one group on one partition.
pub(crate) fn position(
    conn: &Connection,
    group: &str,
    topic: Topic,
    partition: u32,
) -> rusqlite::Result<Option<StoredPosition>> {
    conn.prepare_cached("SELECT next, meta FROM position WHERE grp = ?1 AND topic = ?2 AND part = ?3")?
        .query_row(params![group, topic_code(topic), partition], |row| {
            let offset = row.get::<_, i64>(0)? as u64;
            Ok(StoredPosition { group: group.to_owned(), topic, partition, offset, meta: row.get(1)? })
        })
        .optional()
}

/// Every committed position: a few per partition.
pub(crate) fn positions(conn: &Connection) -> rusqlite::Result<Vec<StoredPosition>> {
    let mut stmt = conn.prepare_cached("SELECT grp, topic, part, next, meta FROM position")?;
    let mut rows = stmt.query([])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        let Some(topic) = topic_of(row.get(1)?) else { continue };
        all.push(StoredPosition {
            group: row.get(0)?,
            topic,
            partition: row.get(2)?,
            offset: row.get::<_, i64>(3)? as u64,
            meta: row.get(4)?,
        });
    }
    Ok(all)
}
