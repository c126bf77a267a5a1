//! What one SQL transaction on `log.db` can do: append records, commit positions, advance a load, forget a
//! group. Owns: dense offsets, compaction of `marks`, filling in `windows_to` and `marks_to`.
//! Never: begins or ends the transaction, wakes anybody (writer.rs does).

use crate::address::{Address, topic_code};
use crate::database::Fault;
use crate::headers;
use crate::hub::{Extents, GroupKey};
use crate::loads::LoadStep;
use crate::log_file::{LOG_FILE, save_extent};
use evenkeel_model::Topic;
use evenkeel_seam::{CommitMeta, OutRecord, Outputs, Position};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::BTreeSet;

/// Why a job failed inside the transaction.
#[derive(Debug)]
pub(crate) enum TxnError {
    Sql(rusqlite::Error),
    Refused(String),
}

impl From<rusqlite::Error> for TxnError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl TxnError {
    pub fn fault(&self) -> Fault {
        match self {
            Self::Sql(error) => Fault::of(LOG_FILE.name, error),
            Self::Refused(why) => Fault::Refused(why.clone()),
        }
    }
}

type Touched = BTreeSet<(Topic, u32)>;

/// The running transaction: its extents become everybody's when it commits.
pub(crate) struct LogTxn<'c> {
    conn: &'c Connection,
    pub extents: Extents,
    now_ms: i64,
    touched: Touched,
    headers: Vec<u8>,
}

impl<'c> LogTxn<'c> {
    pub fn new(conn: &'c Connection, extents: Extents, now_ms: i64) -> Self {
        Self { conn, extents, now_ms, touched: Touched::new(), headers: Vec::new() }
    }

    /// Appends records at the ends of their partitions; returns which partitions got some.
    pub fn append(&mut self, outputs: &Outputs) -> Result<Touched, TxnError> {
        let mut touched = Touched::new();
        for record in outputs.records() {
            self.append_one(outputs, record)?;
            touched.insert((record.topic, record.partition));
        }
        self.touched.extend(&touched);
        Ok(touched)
    }

    /// Outputs, positions and metadata together. Returns the metadata as written.
    pub fn commit(
        &mut self,
        key: &GroupKey,
        outputs: &Outputs,
        positions: &[Position],
    ) -> Result<Vec<(u32, Option<CommitMeta>)>, TxnError> {
        let touched = self.append(outputs)?;
        let mut metas = Vec::with_capacity(positions.len());
        for position in positions {
            let meta = position.meta.clone().map(|meta| self.fill_in(meta, position.partition, &touched));
            let text = meta.as_ref().map(CommitMeta::encode).transpose();
            let text = text.map_err(|error| TxnError::Refused(error.to_string()))?;
            self.conn
                .prepare_cached(
                    "INSERT OR REPLACE INTO position (grp, topic, part, next, meta) VALUES (?1, ?2, ?3, ?4, ?5)",
                )?
                .execute(params![
                    key.0,
                    topic_code(key.1),
                    position.partition,
                    position.offset as i64,
                    text
                ])?;
            metas.push((position.partition, meta));
        }
        Ok(metas)
    }

    /// Records of a file with the file's progress and numbering.
    pub fn load(&mut self, step: &LoadStep) -> Result<(), TxnError> {
        self.append(&step.outputs)?;
        Ok(step.save(self.conn)?)
    }

    /// Removes a group's positions, so that they hold no record any more.
    pub fn forget_group(&mut self, group: &str) -> Result<(), TxnError> {
        self.conn.execute("DELETE FROM position WHERE grp = ?1", [group])?;
        Ok(())
    }

    /// Writes the extents that changed; the last thing before the SQL commit.
    pub fn save_extents(&mut self) -> Result<(), TxnError> {
        for (topic, partition) in std::mem::take(&mut self.touched) {
            if let Some(extent) = self.extents.get(topic, partition) {
                save_extent(self.conn, topic, partition, extent)?;
            }
        }
        Ok(())
    }

    fn fill_in(&self, mut meta: CommitMeta, partition: u32, touched: &Touched) -> CommitMeta {
        let end = |topic| self.extents.get(topic, partition).map_or(0, |extent| extent.next);
        meta.landed(|topic| touched.contains(&(topic, partition)).then(|| end(topic)));
        meta
    }

    fn append_one(&mut self, outputs: &Outputs, record: &OutRecord) -> Result<(), TxnError> {
        let (topic, partition) = (record.topic, record.partition);
        let partitions = self.extents.partitions();
        let Some(extent) = self.extents.get_mut(topic, partition) else {
            return Err(TxnError::Refused(format!(
                "{topic} has {partitions} partitions, the record names partition {partition}"
            )));
        };
        if extent.next + 1 >= Address::OFFSET_END {
            return Err(TxnError::Refused(format!("{topic}, partition {partition}: no offset is left")));
        }
        let id = Address { topic, partition, offset: extent.next }.id();
        let (key, value) = (outputs.key(record), outputs.value(record));
        self.headers.clear();
        headers::encode(outputs.headers(record), &mut self.headers);
        extent.next += 1;
        extent.bytes += (len(key) + len(value) + self.headers.len()) as u64;
        let headers = (!self.headers.is_empty()).then_some(self.headers.as_slice());
        self.conn
            .prepare_cached(
                "INSERT INTO record (id, at_ms, key, value, headers) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![id, self.now_ms, key, value, headers])?;
        match (topic, key) {
            (Topic::Marks, Some(key)) => self.compact(partition, key, id),
            _ => Ok(()),
        }
    }

    /// The newest mark of a key replaces the one before it.
    fn compact(&mut self, partition: u32, key: &[u8], id: i64) -> Result<(), TxnError> {
        let older: Option<i64> = self
            .conn
            .prepare_cached("SELECT id FROM mark WHERE part = ?1 AND key = ?2")?
            .query_row(params![partition, key], |row| row.get(0))
            .optional()?;
        self.conn
            .prepare_cached("INSERT OR REPLACE INTO mark (part, key, id) VALUES (?1, ?2, ?3)")?
            .execute(params![partition, key, id])?;
        let Some(older) = older else { return Ok(()) };
        let bytes: Option<i64> = self
            .conn
            .prepare_cached(
                "DELETE FROM record WHERE id = ?1
                 RETURNING coalesce(length(key), 0) + coalesce(length(value), 0) + coalesce(length(headers), 0)",
            )?
            .query_row([older], |row| row.get(0))
            .optional()?;
        if let (Some(bytes), Some(extent)) = (bytes, self.extents.get_mut(Topic::Marks, partition)) {
            extent.bytes = extent.bytes.saturating_sub(bytes as u64);
        }
        Ok(())
    }
}

fn len(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(0, <[u8]>::len)
}
