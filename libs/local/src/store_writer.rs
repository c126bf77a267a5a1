//! The one writer of `store.db`: takes what waits, runs it as one SQL transaction, tells the outcomes.
//! Owns: the writing connection, expiry's turns. Never: merges rows (the sink does).

use crate::clock::now_ms;
use crate::database::{Fault, FaultLog};
use crate::queue::{JobQueue, Taken};
use crate::store_file::{self, STORE_FILE};
use evenkeel_seam::{RowAction, RowResult};
use rusqlite::{Connection, TransactionBehavior};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

/// Bytes of one group commit, beyond its first action.
const GROUP_BYTES_MAX: usize = 4 << 20;
/// How often expiry looks, and how much one look removes.
const EXPIRE_EVERY: Duration = Duration::from_secs(30);
const EXPIRE_ROWS_MAX: u32 = 10_000;

/// One action of a sink, and where its outcome goes.
pub(crate) struct RowJob {
    pub id: u64,
    pub action: RowAction,
    pub results: Sender<(u64, RowResult)>,
}

pub(crate) type RowQueue = JobQueue<RowJob>;

pub(crate) struct StoreWriter {
    pub conn: Connection,
    pub queue: Arc<RowQueue>,
    /// Rows expire this long after their window's end, ms.
    pub row_ttl_ms: Option<i64>,
    pub log: FaultLog,
}

impl StoreWriter {
    /// Runs until the queue is closed and empty.
    pub fn run(mut self) {
        let (mut jobs, mut body) = (Vec::new(), Vec::new());
        let mut next_look = Instant::now() + EXPIRE_EVERY;
        loop {
            match self.queue.take(GROUP_BYTES_MAX, next_look, &mut jobs) {
                Taken::Jobs => self.run_group(std::mem::take(&mut jobs), &mut body),
                Taken::Idle => {}
                Taken::Closed => break,
            }
            if Instant::now() >= next_look {
                self.expire();
                next_look = Instant::now() + EXPIRE_EVERY;
            }
        }
        if let Err(error) = self.conn.execute_batch("PRAGMA optimize; PRAGMA wal_checkpoint(TRUNCATE)") {
            tracing::debug!(%error, "store.db: the write-ahead log stays until the next start");
        }
    }

    /// Actions of one transaction succeed together; if it fails, each runs again alone, so that one the store
    /// refuses takes no other with it.
    fn run_group(&mut self, jobs: Vec<RowJob>, body: &mut Vec<u8>) {
        match self.transact(&jobs, body) {
            Ok(results) => {
                for (job, result) in jobs.into_iter().zip(results) {
                    let _ = job.results.send((job.id, result)); // nobody waits any more: fine
                }
            }
            Err(fault) if jobs.len() == 1 || matches!(fault, Fault::Busy(_)) => {
                self.log.tell(&fault);
                let result = match fault {
                    Fault::Refused(why) => RowResult::Refused(why),
                    // No room or a failing disk: rows wait until somebody has acted.
                    Fault::Busy(why) | Fault::NoRoom(why) | Fault::Broken(why) => RowResult::Unavailable(why),
                };
                for job in jobs {
                    let _ = job.results.send((job.id, result.clone()));
                }
            }
            Err(_) => jobs.into_iter().for_each(|job| self.run_group(vec![job], body)),
        }
    }

    fn transact(&mut self, jobs: &[RowJob], body: &mut Vec<u8>) -> Result<Vec<RowResult>, Fault> {
        let fault = |error: rusqlite::Error| Fault::of(STORE_FILE.name, &error);
        let now = now_ms();
        let txn = self.conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fault)?;
        let mut results = Vec::with_capacity(jobs.len());
        for job in jobs {
            results.push(match &job.action {
                RowAction::Read(key) => {
                    RowResult::Read(store_file::get(&txn, key).map_err(fault)?.map(Box::new))
                }
                RowAction::Write(row) if is_expired(row.row.span.t_end(), self.row_ttl_ms, now) => {
                    RowResult::Expired
                }
                RowAction::Score(stored) if is_expired(stored.score.span.t_end(), self.row_ttl_ms, now) => {
                    RowResult::Expired
                }
                RowAction::Score(stored) => {
                    store_file::put_score(&txn, stored, body).map_err(fault)?;
                    RowResult::Written
                }
                RowAction::Write(row) => {
                    store_file::put(&txn, row, body).map_err(fault)?;
                    RowResult::Written
                }
            });
        }
        txn.commit().map_err(fault)?;
        Ok(results)
    }

    fn expire(&mut self) {
        let Some(ttl_ms) = self.row_ttl_ms else { return };
        let before = |size_ms: i64| now_ms().saturating_sub(ttl_ms).saturating_sub(size_ms);
        let outcome = store_file::sizes(&self.conn).and_then(|sizes| {
            sizes.into_iter().try_for_each(|size_ms| {
                store_file::expire(&self.conn, size_ms, before(size_ms), EXPIRE_ROWS_MAX).map(|_| ())
            })
        });
        let scores = store_file::score_sizes(&self.conn).and_then(|sizes| {
            sizes.into_iter().try_for_each(|size_ms| {
                store_file::expire_scores(&self.conn, size_ms, before(size_ms), EXPIRE_ROWS_MAX).map(|_| ())
            })
        });
        if let Err(error) = outcome.and(scores) {
            tracing::warn!(%error, "store.db: expiry failed, trying again later");
        }
    }
}

fn is_expired(t_end: i64, ttl_ms: Option<i64>, now_ms: i64) -> bool {
    ttl_ms.is_some_and(|ttl| t_end.saturating_add(ttl) <= now_ms)
}
