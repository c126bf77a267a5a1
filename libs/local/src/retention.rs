//! What leaves the log, and when: by age, by bytes, or because somebody says so.
//! Owns: the choice of the records that go, in bounded chunks between group commits. Never: takes a record
//! that a committed position still needs, unless told to (`protect_unread = false`).
//! Compaction of `marks` is not here: a newer mark replaces the older one when it is appended.

use crate::Retention;
use crate::address::Address;
use crate::hub::{Extents, Hub};
use crate::log_file::{StoredPosition, positions, save_extent};
use evenkeel_model::Topic;
use evenkeel_seam::CommitMeta;
use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use std::collections::BTreeMap;
use std::ops::Range;

/// Most records that go in one transaction.
const CHUNK_RECORDS: u32 = 1_000;

/// A request to trim now.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Trim {
    /// All that is due at this time.
    Due { now_ms: i64 },
    /// All records of a partition below an offset, needed or not.
    Before { topic: Topic, partition: u32, offset: u64 },
}

pub(crate) struct Trimmer {
    pub retention: Retention,
}

/// First offset per partition that a committed position needs.
type Needed = BTreeMap<(Topic, u32), u64>;

/// How much of a partition may go: records older than `cutoff_ms`, and the oldest `over_bytes`.
#[derive(Debug, Clone, Copy)]
struct Due {
    cutoff_ms: i64,
    over_bytes: u64,
}

impl Trimmer {
    /// Removes one chunk of each partition that has something due; returns how many records went.
    pub fn step(&self, conn: &mut Connection, hub: &Hub, now_ms: i64) -> rusqlite::Result<u64> {
        let txn = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut extents = hub.extents();
        let needed = match self.retention.protect_unread {
            true => needed(&positions(&txn)?),
            false => Needed::new(),
        };
        let mut gone = 0;
        for topic in Topic::ALL.iter().copied() {
            gone += self.step_topic(&txn, &mut extents, topic, &needed, now_ms)?;
        }
        finish(txn, hub, extents)?;
        shrink(conn)?;
        Ok(gone)
    }

    /// Removes every record of a partition below `offset`; returns how many went.
    pub fn before(
        &self,
        conn: &mut Connection,
        hub: &Hub,
        topic: Topic,
        partition: u32,
        offset: u64,
    ) -> rusqlite::Result<u64> {
        let txn = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut extents = hub.extents();
        let all = Due { cutoff_ms: i64::MAX, over_bytes: 0 };
        let mut gone = 0;
        while extents.get(topic, partition).is_some_and(|e| e.log_start < offset.min(e.next)) {
            gone += cut(&txn, &mut extents, (topic, partition), offset, all)?;
        }
        finish(txn, hub, extents)?;
        Ok(gone)
    }

    fn step_topic(
        &self,
        txn: &Transaction<'_>,
        extents: &mut Extents,
        topic: Topic,
        needed: &Needed,
        now_ms: i64,
    ) -> rusqlite::Result<u64> {
        let limits = self.retention.of(topic);
        let cutoff_ms = limits.age_ms.map_or(i64::MIN, |age| now_ms.saturating_sub(age));
        let bytes: u64 =
            (0..extents.partitions()).filter_map(|p| extents.get(topic, p)).map(|e| e.bytes).sum();
        let mut over_bytes = limits.bytes.map_or(0, |max| bytes.saturating_sub(max));
        if cutoff_ms == i64::MIN && over_bytes == 0 {
            return Ok(0);
        }
        let mut gone = 0;
        for partition in oldest_first(txn, extents, topic)? {
            let until = needed.get(&(topic, partition)).copied().unwrap_or(u64::MAX);
            let due = Due { cutoff_ms, over_bytes };
            let n = cut(txn, extents, (topic, partition), until, due)?;
            if n > 0 {
                over_bytes = 0; // by bytes, only the partition with the oldest record gives in one step
            }
            gone += n;
        }
        Ok(gone)
    }
}

/// Removes up to a chunk of due records from the start of a partition, none at or above `until`.
fn cut(
    txn: &Transaction<'_>,
    extents: &mut Extents,
    (topic, partition): (Topic, u32),
    until: u64,
    due: Due,
) -> rusqlite::Result<u64> {
    let Some(extent) = extents.get_mut(topic, partition) else { return Ok(0) };
    let until = until.min(extent.next);
    let ids = Address::range(topic, partition, extent.log_start..until.max(extent.log_start));
    let mut stmt = txn.prepare_cached(
        "SELECT id, at_ms, coalesce(length(key), 0) + coalesce(length(value), 0) + coalesce(length(headers), 0)
         FROM record WHERE id >= ?1 AND id < ?2 ORDER BY id LIMIT ?3",
    )?;
    let mut rows = stmt.query(params![ids.start, ids.end, CHUNK_RECORDS])?;
    let (mut gone, mut freed, mut stopped) = (0u64, 0u64, None);
    while let Some(row) = rows.next()? {
        let (id, at_ms, bytes) = (row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)? as u64);
        if at_ms >= due.cutoff_ms && freed >= due.over_bytes {
            stopped = Some(Address::offset_of(id));
            break;
        }
        gone += 1;
        freed += bytes;
        if gone == u64::from(CHUNK_RECORDS) {
            stopped = Some(Address::offset_of(id) + 1);
        }
    }
    drop(rows);
    let new_start = match (gone, stopped) {
        (0, Some(_)) => return Ok(0), // the oldest record stays
        (_, Some(offset)) => offset,
        (_, None) => until.max(extent.log_start), // compacted away or cut: nothing is left below
    };
    if new_start == extent.log_start {
        return Ok(0);
    }
    delete(txn, topic, partition, extent.log_start..new_start)?;
    extent.log_start = new_start;
    extent.bytes = extent.bytes.saturating_sub(freed);
    save_extent(txn, topic, partition, *extent)?;
    Ok(gone)
}

fn delete(txn: &Transaction<'_>, topic: Topic, partition: u32, offsets: Range<u64>) -> rusqlite::Result<()> {
    let ids = Address::range(topic, partition, offsets);
    if topic == Topic::Marks {
        txn.prepare_cached(
            "DELETE FROM mark WHERE part = ?1
             AND key IN (SELECT key FROM record WHERE id >= ?2 AND id < ?3 AND key IS NOT NULL)",
        )?
        .execute(params![partition, ids.start, ids.end])?;
    }
    txn.prepare_cached("DELETE FROM record WHERE id >= ?1 AND id < ?2")?.execute([ids.start, ids.end])?;
    Ok(())
}

/// The partitions that hold records, the one with the oldest first.
fn oldest_first(txn: &Transaction<'_>, extents: &Extents, topic: Topic) -> rusqlite::Result<Vec<u32>> {
    let mut heads = Vec::new();
    for partition in 0..extents.partitions() {
        let Some(extent) = extents.get(topic, partition) else { continue };
        let ids = Address::range(topic, partition, extent.log_start..extent.next);
        let mut stmt =
            txn.prepare_cached("SELECT at_ms FROM record WHERE id >= ?1 AND id < ?2 ORDER BY id LIMIT 1")?;
        let mut rows = stmt.query([ids.start, ids.end])?;
        if let Some(row) = rows.next()? {
            heads.push((row.get::<_, i64>(0)?, partition));
        }
    }
    heads.sort_unstable();
    Ok(heads.into_iter().map(|(_, partition)| partition).collect())
}

/// A start can move without a record going: what lay there was compacted away before.
fn finish(txn: Transaction<'_>, hub: &Hub, extents: Extents) -> rusqlite::Result<()> {
    txn.commit()?;
    hub.publish(extents);
    Ok(())
}

/// Gives room back to the disk once a quarter of the file is free; less is used again anyway.
fn shrink(conn: &Connection) -> rusqlite::Result<()> {
    let number = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0));
    let free = number("SELECT freelist_count FROM pragma_freelist_count")?;
    if free * 4 > number("SELECT page_count FROM pragma_page_count")? {
        conn.execute_batch("PRAGMA incremental_vacuum(512)")?;
    }
    Ok(())
}

/// What the committed positions need: a consumer its offset; one with a way back also what that names.
fn needed(positions: &[StoredPosition]) -> Needed {
    let mut needed = Needed::new();
    let mut need = |topic, partition, offset| {
        let first = needed.entry((topic, partition)).or_insert(offset);
        *first = offset.min(*first);
    };
    for position in positions {
        let (topic, partition) = (position.topic, position.partition);
        need(topic, partition, position.offset);
        match position.meta.as_deref().map(CommitMeta::decode) {
            None => {}
            Some(Ok(meta)) => {
                need(topic, partition, meta.replay_from);
                match meta.scorer {
                    None => need(Topic::Windows, partition, meta.windows_from),
                    Some(scorer) => {
                        need(Topic::Scores, partition, scorer.scores_from);
                        need(Topic::Alerts, partition, scorer.alerts_from);
                    }
                }
            }
            Some(Err(error)) => {
                tracing::warn!(%error, group = position.group, partition, "its records are kept");
                need(topic, partition, 0);
                for topic in [Topic::Windows, Topic::Scores, Topic::Alerts] {
                    need(topic, partition, 0);
                }
            }
        }
    }
    needed
}
