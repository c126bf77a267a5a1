//! The one writer of `log.db`: takes what waits, runs it as one SQL transaction, tells the outcomes.
//! Owns: the writing connection, group commit, retention's turns. Never: decides who owns a partition.
//!
//! Jobs that share a transaction succeed together. If it fails, each job is run again alone, so that a job
//! which can never succeed takes no other with it.

use crate::appender::Told;
use crate::clock::now_ms;
use crate::database::{Fault, FaultLog};
use crate::hub::{GroupKey, Hub, TxnReply};
use crate::loads::LoadStep;
use crate::log_file;
use crate::log_txn::{LogTxn, TxnError};
use crate::queue::{JobQueue, Taken};
use crate::retention::{Trim, Trimmer};
use evenkeel_seam::{Ack, AppendError, Commit, CommitMeta, Outputs, Position};
use rusqlite::{Connection, TransactionBehavior};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

/// Bytes of one group commit, beyond its first job.
const GROUP_BYTES_MAX: usize = 8 << 20;
/// How often retention looks when nothing else happens.
const RETENTION_EVERY: Duration = Duration::from_secs(30);

/// What the writer can be asked.
pub(crate) enum Job {
    Append { outputs: Outputs, ticket: u64, told: Told },
    Commit { member: u64, key: GroupKey, commit: Commit },
    Load { step: Box<LoadStep>, reply: SyncSender<Result<Box<LoadStep>, Fault>> },
    ForgetGroup { group: String, reply: SyncSender<Result<(), Fault>> },
    Trim { trim: Trim, reply: SyncSender<Result<u64, Fault>> },
}

pub(crate) type LogQueue = JobQueue<Job>;

pub(crate) struct LogWriter {
    pub conn: Connection,
    pub queue: Arc<LogQueue>,
    pub hub: Arc<Hub>,
    pub trimmer: Trimmer,
    /// See [`LocalOptions::wait_for_room`](crate::LocalOptions::wait_for_room).
    pub wait_for_room: bool,
    pub log: FaultLog,
}

/// What a job came to inside a transaction that committed.
type Outcome = Vec<(u32, Option<CommitMeta>)>;

impl LogWriter {
    /// Runs until the queue is closed and empty.
    pub fn run(mut self) {
        let mut jobs = Vec::new();
        let mut next_look = Instant::now() + RETENTION_EVERY;
        loop {
            match self.queue.take(GROUP_BYTES_MAX, next_look, &mut jobs) {
                Taken::Jobs => self.run_jobs(&mut jobs),
                Taken::Idle => {}
                Taken::Closed => break,
            }
            if Instant::now() >= next_look {
                let more = self.trim_due();
                next_look = Instant::now() + if more { Duration::ZERO } else { RETENTION_EVERY };
            }
        }
        if let Err(error) = self.conn.execute_batch("PRAGMA optimize; PRAGMA wal_checkpoint(TRUNCATE)") {
            tracing::debug!(%error, "log.db: the write-ahead log stays until the next start");
        }
    }

    fn run_jobs(&mut self, jobs: &mut Vec<Job>) {
        let mut group = Vec::with_capacity(jobs.len());
        for job in jobs.drain(..) {
            match job {
                Job::Trim { trim, reply } => {
                    self.run_group(std::mem::take(&mut group)); // in the order of asking
                    let _ = reply.send(self.trim(trim));
                }
                job => group.extend(self.admit(job)),
            }
        }
        self.run_group(group);
    }

    /// Fences a commit whose worker does not own its partitions; others pass.
    fn admit(&self, job: Job) -> Option<Job> {
        if let Job::Commit { member, key, commit } = &job
            && let Err(why) = self.hub.begin_commit(*member, &partitions(&commit.positions))
        {
            self.hub.end_commit(key, *member, &[], TxnReply::Fenced(why));
            return None;
        }
        Some(job)
    }

    fn run_group(&mut self, group: Vec<Job>) {
        if group.is_empty() {
            return;
        }
        match self.transact(&group) {
            Ok(outcomes) => {
                for (job, outcome) in group.into_iter().zip(outcomes) {
                    self.succeed(job, outcome);
                }
            }
            Err(fault) if group.len() == 1 || matches!(fault, Fault::Busy(_)) => {
                group.into_iter().for_each(|job| self.fail(job, &fault));
            }
            Err(fault) => {
                tracing::debug!(%fault, jobs = group.len(), "log.db: a group commit failed, running its jobs alone");
                for job in group {
                    self.run_group(vec![job]);
                }
            }
        }
    }

    fn transact(&mut self, group: &[Job]) -> Result<Vec<Outcome>, Fault> {
        let extents = self.hub.extents();
        let sql = |error: rusqlite::Error| TxnError::Sql(error).fault();
        let txn = self.conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(sql)?;
        let mut log = LogTxn::new(&txn, extents, now_ms());
        let mut outcomes = Vec::with_capacity(group.len());
        for job in group {
            outcomes.push(apply(&mut log, job).map_err(|error| error.fault())?);
        }
        log.save_extents().map_err(|error| error.fault())?;
        let extents = log.extents;
        txn.commit().map_err(sql)?;
        self.hub.publish(extents);
        Ok(outcomes)
    }

    fn succeed(&self, job: Job, metas: Outcome) {
        match job {
            Job::Append { ticket, told, .. } => {
                told.tell(Ack { ticket, result: Ok(()) });
            }
            Job::Commit { member, key, commit: Commit { mut outputs, positions } } => {
                outputs.clear();
                let reply = TxnReply::Committed { metas, outputs };
                self.hub.end_commit(&key, member, &partitions(&positions), reply);
            }
            Job::Load { mut step, reply } => {
                step.outputs.clear();
                let _ = reply.send(Ok(step));
            }
            Job::ForgetGroup { reply, .. } => {
                let _ = reply.send(Ok(()));
            }
            Job::Trim { reply, .. } => {
                let _ = reply.send(Ok(0));
            }
        }
    }

    fn fail(&self, job: Job, fault: &Fault) {
        self.log.tell(fault);
        match job {
            Job::Append { ticket, told, .. } => {
                told.tell(Ack { ticket, result: Err(AppendError::Failed(fault.to_string())) });
            }
            Job::Commit { member, key, commit: Commit { mut outputs, positions } } => {
                outputs.clear();
                let reply = match fault {
                    Fault::Busy(error) => TxnReply::Aborted { error: error.clone(), outputs },
                    Fault::NoRoom(error) if self.wait_for_room => {
                        TxnReply::Aborted { error: error.clone(), outputs }
                    }
                    Fault::NoRoom(error) | Fault::Broken(error) | Fault::Refused(error) => {
                        TxnReply::Failed(error.clone())
                    }
                };
                self.hub.end_commit(&key, member, &partitions(&positions), reply);
            }
            Job::Load { reply, .. } => {
                let _ = reply.send(Err(fault.clone()));
            }
            Job::ForgetGroup { reply, .. } => {
                let _ = reply.send(Err(fault.clone()));
            }
            Job::Trim { reply, .. } => {
                let _ = reply.send(Err(fault.clone()));
            }
        }
    }

    /// One chunk of retention; `true` = more is due.
    fn trim_due(&mut self) -> bool {
        match self.trimmer.step(&mut self.conn, &self.hub, now_ms()) {
            Ok(gone) => gone > 0,
            Err(error) => {
                tracing::warn!(%error, "log.db: retention failed, trying again later");
                false
            }
        }
    }

    fn trim(&mut self, trim: Trim) -> Result<u64, Fault> {
        let fault = |error| Fault::of(log_file::LOG_FILE.name, &error);
        match trim {
            Trim::Due { now_ms } => {
                let mut gone = 0;
                loop {
                    match self.trimmer.step(&mut self.conn, &self.hub, now_ms).map_err(fault)? {
                        0 => return Ok(gone),
                        more => gone += more,
                    }
                }
            }
            Trim::Before { topic, partition, offset } => {
                self.trimmer.before(&mut self.conn, &self.hub, topic, partition, offset).map_err(fault)
            }
        }
    }
}

fn apply(log: &mut LogTxn<'_>, job: &Job) -> Result<Outcome, TxnError> {
    match job {
        Job::Append { outputs, .. } => log.append(outputs).map(|_| Outcome::new()),
        Job::Commit { key, commit, .. } => log.commit(key, &commit.outputs, &commit.positions),
        Job::Load { step, .. } => log.load(step).map(|()| Outcome::new()),
        Job::ForgetGroup { group, .. } => log.forget_group(group).map(|()| Outcome::new()),
        Job::Trim { .. } => Ok(Outcome::new()), // never part of a group
    }
}

fn partitions(positions: &[Position]) -> Vec<u32> {
    positions.iter().map(|p| p.partition).collect()
}
