//! Transactions of the simulated log: begun, written, decided, and visible partition by partition.
//!
//! ```text
//! Commit ─► (begin) ─ WRITE_MS ─► records lie in the log ─ DECIDE_MS ─► committed or aborted
//!              ├─ ANSWER_MS ─► TxnDone            ├─ marker lag ─► visible, topic by topic
//! ```
//! A client that dies on the way leaves the transaction open: it blocks committed readers until it times
//! out or somebody fences its producer. A producer's next transaction waits for the markers of its last.

use super::cluster::{ClientId, Cluster, Due, timing};
use super::group::MemberId;
use super::partition::{Record, TxnId};
use evenkeel_model::Topic;
use evenkeel_seam::{Commit, CommitMeta, Position};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What became of a transaction, as its client learns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Committed, with the metadata as written.
    Committed(Vec<(u32, Option<CommitMeta>)>),
    /// Aborted; says why.
    Aborted(String),
    /// The producer was replaced by a newer one.
    Fenced,
}

/// A committed transaction, for the judge.
#[derive(Debug, Clone)]
pub struct Committed {
    /// The group whose offsets it moved.
    pub group: String,
    /// The offsets, with the metadata as written.
    pub positions: Vec<Position>,
    /// Records: topic, partition, offset, content.
    pub records: Vec<(Topic, u32, u64, Arc<Record>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Committed,
    Aborted,
}

/// Who runs a transaction.
#[derive(Debug, Clone)]
pub(super) struct Owner {
    pub(super) client: ClientId,
    pub(super) producer: String,
    pub(super) epoch: u64,
    pub(super) group: String,
    pub(super) member: MemberId,
}

#[derive(Debug)]
pub(super) struct Txn {
    owner: Owner,
    state: State,
    commit: Commit,
    written: Vec<(Topic, u32, u64, Arc<Record>)>,
    markers_due: usize,
    outcome: Option<Outcome>,
    answered: bool,
}

impl Cluster {
    /// A new producer under a transactional id: fences the older ones and ends their open transaction.
    pub fn init_transactions(&mut self, producer: &str) -> u64 {
        let epoch = self.epochs.entry(producer.to_owned()).or_default();
        *epoch += 1;
        let epoch = *epoch;
        let open: Vec<TxnId> = (self.txns.iter())
            .filter(|(_, txn)| txn.state == State::Open && txn.owner.producer == producer)
            .map(|(id, _)| *id)
            .collect();
        for txn in open {
            self.note(format_args!("{producer} epoch {epoch} aborts transaction {txn}"));
            self.settle(txn, State::Aborted);
        }
        epoch
    }

    pub(super) fn begin(&mut self, owner: Owner, commit: Commit) -> TxnId {
        let id = self.number();
        let (records, positions) = (commit.outputs.len(), commit.positions.len());
        self.note(format_args!(
            "{} begins transaction {id}: {records} records, {positions} offsets",
            owner.producer
        ));
        let txn = Txn {
            owner,
            state: State::Open,
            commit,
            written: Vec::new(),
            markers_due: 0,
            outcome: None,
            answered: false,
        };
        self.txns.insert(id, txn);
        self.later(timing::WRITE_MS, Due::Write(id));
        id
    }

    /// The outcome of a transaction once its client may know it, with the buffers; forgets the transaction
    /// when its markers are written, too.
    pub(super) fn take_outcome(&mut self, id: TxnId) -> Option<(Outcome, Commit)> {
        let txn = self.txns.get_mut(&id).filter(|txn| txn.answered)?;
        let outcome = txn.outcome.take()?;
        let commit = std::mem::take(&mut txn.commit);
        self.forget_if_over(id);
        Some((outcome, commit))
    }

    /// Every committed transaction, in order of decision.
    pub fn committed(&self) -> &[Committed] {
        &self.committed
    }

    /// The client sends its records and offsets.
    pub(super) fn write(&mut self, id: TxnId) {
        let Some(owner) = self.acting(id, Due::Write(id)) else { return };
        let busy = |(other, txn): (&TxnId, &Txn)| {
            *other != id && txn.owner.producer == owner.producer && txn.markers_due > 0
        };
        if self.txns.iter().any(busy) {
            return self.later(timing::WRITE_MS, Due::Write(id)); // concurrent transactions: try again
        }
        let Some(commit) = self.txns.get_mut(&id).map(|txn| std::mem::take(&mut txn.commit)) else { return };
        let mut written = Vec::with_capacity(commit.outputs.len());
        let now_ms = self.now_ms();
        for out in commit.outputs.records() {
            let record = Record {
                timestamp_ms: now_ms,
                key: commit.outputs.key(out).map(<[u8]>::to_vec),
                value: commit.outputs.value(out).map(<[u8]>::to_vec),
                headers: commit.outputs.headers(out).map(|h| (h.name.to_owned(), h.value.to_vec())).collect(),
            };
            let offset = self.log(out.topic, out.partition).append(Some(id), record.clone());
            written.push((out.topic, out.partition, offset, Arc::new(record)));
        }
        if let Some(txn) = self.txns.get_mut(&id) {
            txn.commit = commit;
            txn.written = written;
        }
        self.later(timing::TXN_TIMEOUT_MS, Due::Timeout(id));
        self.later(timing::DECIDE_MS, Due::Decide(id));
        self.hold_offsets(id);
    }

    /// The offsets join the transaction: from here on they are unstable.
    fn hold_offsets(&mut self, id: TxnId) {
        let Some(txn) = self.txns.get_mut(&id) else { return };
        for position in &mut txn.commit.positions {
            let Some(meta) = &mut position.meta else { continue };
            meta.landed(|topic| {
                let here = txn.written.iter().filter(|(t, p, _, _)| *t == topic && *p == position.partition);
                here.map(|(_, _, offset, _)| offset + 1).max()
            });
        }
        let mut held = Vec::new();
        let mut refused = None;
        for position in &txn.commit.positions {
            match position.meta.as_ref().map(CommitMeta::encode).transpose() {
                Ok(text) => held.push((position.partition, position.offset, text)),
                Err(error) => refused = Some(error.to_string()),
            }
        }
        let group = txn.owner.group.clone();
        if let Some(why) = refused {
            return self.abort(id, &why);
        }
        self.group(&group).hold(id, held);
    }

    /// The client asks for the end of its transaction.
    pub(super) fn decide(&mut self, id: TxnId) {
        let Some(owner) = self.acting(id, Due::Decide(id)) else { return };
        let Some(txn) = self.txns.get(&id) else { return };
        let partitions: Vec<u32> = txn.commit.positions.iter().map(|position| position.partition).collect();
        let group = self.group(&owner.group);
        if let Some(lost) = partitions.iter().find(|p| !group.owns(owner.member, **p)) {
            return self.abort(id, &format!("partition {lost} belongs to another generation"));
        }
        if std::mem::take(&mut self.faults.abort_next) {
            return self.abort(id, "the log gave up the transaction");
        }
        self.settle(id, State::Committed);
        let Some(txn) = self.txns.get_mut(&id) else { return };
        let metas = txn.commit.positions.iter().map(|p| (p.partition, p.meta.clone())).collect();
        txn.outcome = Some(Outcome::Committed(metas));
        let positions = txn.commit.positions.clone();
        let committed = Committed { group: owner.group, positions, records: txn.written.clone() };
        self.committed.push(committed);
        self.note(format_args!("transaction {id} is committed"));
        self.later(timing::ANSWER_MS, Due::Answer(id));
    }

    pub(super) fn answer(&mut self, id: TxnId) {
        if let Some(txn) = self.txns.get_mut(&id) {
            txn.answered = true;
        }
    }

    /// A transaction open for too long is aborted and its producer fenced.
    pub(super) fn timeout(&mut self, id: TxnId) {
        let Some(txn) = self.txns.get(&id).filter(|txn| txn.state == State::Open) else { return };
        let producer = txn.owner.producer.clone();
        self.note(format_args!("transaction {id} of {producer} times out"));
        self.init_transactions(&producer);
    }

    pub(super) fn mark_topic(&mut self, id: TxnId, topic: Topic, partition: u32) {
        let committed = self.txns.get(&id).is_some_and(|txn| txn.state == State::Committed);
        self.log(topic, partition).mark(id, committed);
        self.marked(id);
    }

    pub(super) fn mark_offsets(&mut self, id: TxnId) {
        let Some(txn) = self.txns.get(&id) else { return };
        let (group, committed) = (txn.owner.group.clone(), txn.state == State::Committed);
        self.group(&group).mark(id, committed);
        self.marked(id);
    }

    fn marked(&mut self, id: TxnId) {
        if let Some(txn) = self.txns.get_mut(&id) {
            txn.markers_due -= 1;
        }
        self.forget_if_over(id);
    }

    /// The owner of an open transaction if its client can act now. A frozen client acts later; a dead one
    /// never; a fenced one learns it.
    fn acting(&mut self, id: TxnId, due: Due) -> Option<Owner> {
        let owner = self.txns.get(&id)?.owner.clone();
        match self.client_acts_in_ms(owner.client)? {
            0 => {}
            in_ms => {
                self.later(in_ms, due);
                return None;
            }
        }
        if self.epochs.get(&owner.producer) != Some(&owner.epoch) {
            self.note(format_args!("{} is fenced", owner.producer));
            let txn = self.txns.get_mut(&id)?;
            (txn.outcome, txn.answered) = (Some(Outcome::Fenced), true);
            if txn.state == State::Open {
                txn.state = State::Aborted; // nothing was written under the new epoch
            }
            return None;
        }
        Some(owner)
    }

    fn abort(&mut self, id: TxnId, why: &str) {
        self.note(format_args!("transaction {id} is aborted: {why}"));
        self.settle(id, State::Aborted);
        if let Some(txn) = self.txns.get_mut(&id) {
            txn.outcome = Some(Outcome::Aborted(why.to_owned()));
        }
        self.later(timing::ANSWER_MS, Due::Answer(id));
    }

    /// The coordinator has decided; the markers travel.
    fn settle(&mut self, id: TxnId, state: State) {
        let Some(txn) = self.txns.get_mut(&id) else { return };
        txn.state = state;
        let places: BTreeSet<(Topic, u32)> = txn.written.iter().map(|(t, p, _, _)| (*t, *p)).collect();
        txn.markers_due = places.len() + 1;
        for (topic, partition) in places {
            let lag = self.faults.marker_lag_ms.get(&topic).copied().unwrap_or(0);
            self.later(1 + lag, Due::MarkTopic { txn: id, topic, partition });
        }
        self.later(1 + self.faults.offsets_lag_ms, Due::MarkOffsets(id));
    }

    fn forget_if_over(&mut self, id: TxnId) {
        let over = |txn: &Txn| {
            let told = txn.answered && txn.outcome.is_none();
            txn.state != State::Open && txn.markers_due == 0 && told
        };
        if self.txns.get(&id).is_some_and(over) {
            self.txns.remove(&id);
        }
    }
}
