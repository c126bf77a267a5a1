//! `seam::Worker` over the simulated log: what an adapter does between a driver and the broker.
//!
//! Keeps the order of use of the seam and refuses everything else, so that a driver that breaks it is
//! found here and not on a real broker. Dropping a worker without `close` is a crash.

use super::cluster::{ClientId, Cluster, SimLog, timing};
use super::delivery::{Delivery, hand_over};
use super::group::{MemberId, Notice};
use super::partition::{Record, TxnId};
use super::txn::{Outcome, Owner};
use evenkeel_model::Topic;
use evenkeel_seam::{Commit, LogAction, LogInput, Outputs, TxnResult, Worker, WorkerError};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Who the worker is.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// The topic it consumes.
    pub topic: Topic,
    /// Its consumer group.
    pub group: String,
    /// Its transactional id, unique per worker.
    pub transactional_id: String,
}

/// A worker on the simulated log.
#[derive(Debug)]
pub struct SimWorker {
    log: SimLog,
    options: WorkerOptions,
    client: ClientId,
    epoch: u64,
    member: MemberId,
    parts: BTreeMap<u32, Part>,
    /// Lost after an abort, when the driver held nothing of them any more: it was not told, and may release
    /// them all the same.
    forgotten: BTreeSet<u32>,
    running: Option<TxnId>,
    closed: bool,
    /// Somebody else has the transactional id: this worker is over.
    fenced: bool,
    /// The outcome of a `Send`, to be told.
    sent: Option<(Outputs, usize)>,
}

/// One partition of the worker.
#[derive(Debug)]
struct Part {
    state: State,
    read: Option<Read>,
    /// The driver was told that it leaves.
    leaving: bool,
    /// No records until `Resume`. Reads of a recovery go on.
    paused: bool,
    /// A topic that is followed, and the next offset of it.
    follow: Option<(Topic, u64)>,
}

#[derive(Debug)]
enum State {
    /// Ours, but the committed offset is not stable yet; the driver knows nothing of it.
    Waiting {
        since_ms: i64,
    },
    /// The driver was told.
    Told,
    Started {
        next: u64,
        empty_at_ms: i64,
    },
}

#[derive(Debug)]
struct Read {
    topic: Topic,
    next: u64,
    to: u64,
    committed_only: bool,
}

impl SimWorker {
    /// Starts a worker: fences whoever used its transactional id before, and joins the group.
    pub fn new(log: &SimLog, options: WorkerOptions) -> Self {
        let mut cluster = log.cluster();
        let client = cluster.start_client();
        let epoch = cluster.init_transactions(&options.transactional_id);
        let member = cluster.number();
        cluster.group(&options.group).join(member);
        cluster.note(format_args!("{} joins as member {member}", options.transactional_id));
        drop(cluster);
        let (log, parts, forgotten) = (log.clone(), BTreeMap::new(), BTreeSet::new());
        let (running, closed, fenced, sent) = (None, false, false, None);
        Self { log, options, client, epoch, member, parts, forgotten, running, closed, fenced, sent }
    }

    /// The process stands still until a virtual time (SIGSTOP); the caller does not poll it meanwhile.
    pub fn freeze(&mut self, until_ms: i64) {
        let member = Some((self.options.group.clone(), self.member));
        self.log.cluster().freeze_client(self.client, until_ms, member);
    }

    /// Everything there is to tell the driver now, in order.
    fn collect(&mut self, cluster: &mut Cluster) -> Result<Vec<Delivery>, WorkerError> {
        if self.fenced {
            return Err(WorkerError::Fenced(self.options.transactional_id.clone()));
        }
        let mut out = Vec::new();
        if cluster.is_down() {
            return Ok(out);
        }
        if let Some((outputs, dropped)) = self.sent.take() {
            out.push(Delivery::Sent { outputs, dropped });
        }
        self.collect_outcome(cluster, &mut out)?;
        self.collect_membership(cluster, &mut out);
        self.collect_assigned(cluster, &mut out)?;
        if cluster.faults.fetch_max > 0 {
            let partitions: Vec<u32> = self.parts.keys().copied().collect();
            for partition in partitions {
                self.collect_read(cluster, partition, &mut out);
                self.collect_records(cluster, partition, &mut out);
                self.collect_followed(cluster, partition, &mut out);
            }
        }
        Ok(out)
    }

    fn collect_outcome(&mut self, cluster: &mut Cluster, out: &mut Vec<Delivery>) -> Result<(), WorkerError> {
        let Some((outcome, commit)) = self.running.and_then(|txn| cluster.take_outcome(txn)) else {
            return Ok(());
        };
        self.running = None;
        let mut outputs = commit.outputs;
        outputs.clear();
        let result = match outcome {
            Outcome::Committed(metas) => TxnResult::Committed(metas),
            Outcome::Aborted(error) => {
                let since_ms = cluster.now_ms();
                for part in self.parts.values_mut().filter(|part| !part.leaving) {
                    (part.state, part.read, part.follow) = (State::Waiting { since_ms }, None, None);
                }
                TxnResult::Aborted { error }
            }
            Outcome::Fenced => {
                cluster.group(&self.options.group).remove(self.member);
                (self.closed, self.fenced) = (true, true);
                return Err(WorkerError::Fenced(self.options.transactional_id.clone()));
            }
        };
        out.push(Delivery::TxnDone { result, outputs });
        Ok(())
    }

    fn collect_membership(&mut self, cluster: &mut Cluster, out: &mut Vec<Delivery>) {
        let since_ms = cluster.now_ms();
        if !cluster.group(&self.options.group).has(self.member) {
            let untold = |part: &Part| matches!(part.state, State::Waiting { .. }) && !part.leaving;
            self.forgotten.extend(self.parts.iter().filter(|(_, part)| untold(part)).map(|(p, _)| *p));
            self.parts.retain(|_, part| !untold(part));
            let partitions: Vec<u32> =
                self.parts.iter().filter(|(_, p)| !p.leaving).map(|(p, _)| *p).collect();
            self.parts.values_mut().for_each(|part| part.leaving = true);
            if !partitions.is_empty() {
                out.push(Delivery::Revoking { partitions, lost: true });
            }
            if self.parts.is_empty() && self.running.is_none() {
                self.member = cluster.number();
                cluster.group(&self.options.group).join(self.member);
                let (id, member) = (&self.options.transactional_id, self.member);
                cluster.note(format_args!("{id} joins again as member {member}"));
            }
        }
        for notice in cluster.group(&self.options.group).notices(self.member) {
            match notice {
                Notice::Gained(partitions) => {
                    let new = || Part {
                        state: State::Waiting { since_ms },
                        read: None,
                        leaving: false,
                        paused: false,
                        follow: None,
                    };
                    self.parts.extend(partitions.into_iter().map(|p| (p, new())));
                }
                Notice::GiveUp(partitions) => {
                    let untold = |p: &u32| {
                        self.parts.get(p).is_none_or(|part| matches!(part.state, State::Waiting { .. }))
                    };
                    let (untold, told): (Vec<u32>, Vec<u32>) = partitions.into_iter().partition(untold);
                    for partition in untold {
                        self.parts.remove(&partition);
                        self.forgotten.insert(partition);
                        cluster.group(&self.options.group).release(self.member, partition);
                    }
                    for partition in &told {
                        self.parts.entry(*partition).and_modify(|part| part.leaving = true);
                    }
                    if !told.is_empty() {
                        out.push(Delivery::Revoking { partitions: told, lost: false });
                    }
                }
            }
        }
    }

    /// Step 0 of recovery: the committed offset, once it is stable. A dead worker's open transaction is
    /// ended by fencing the writer that the metadata names.
    fn collect_assigned(
        &mut self,
        cluster: &mut Cluster,
        out: &mut Vec<Delivery>,
    ) -> Result<(), WorkerError> {
        let (now_ms, partitions) = (cluster.now_ms(), cluster.partitions());
        for (&partition, part) in &mut self.parts {
            let State::Waiting { since_ms } = part.state else { continue };
            if part.leaving {
                continue;
            }
            let group = cluster.group(&self.options.group);
            let committed = group.position(partition).map_err(WorkerError::Fatal)?;
            if group.is_unstable(partition) {
                let writer = committed.and_then(|p| p.meta).map(|meta| meta.writer).unwrap_or_default();
                if now_ms - since_ms > timing::UNSTABLE_MS && !writer.is_empty() {
                    if writer != self.options.transactional_id {
                        cluster.init_transactions(&writer);
                    }
                    part.state = State::Waiting { since_ms: now_ms };
                }
                continue;
            }
            part.state = State::Told;
            self.forgotten.remove(&partition);
            out.push(Delivery::Assigned { partition, partitions, committed });
        }
        Ok(())
    }

    fn collect_read(&mut self, cluster: &mut Cluster, partition: u32, out: &mut Vec<Delivery>) {
        let Some(part) = self.parts.get_mut(&partition).filter(|part| !part.leaving) else { return };
        let Some(read) = &mut part.read else { return };
        let (topic, fetch_max) = (read.topic, cluster.faults.fetch_max);
        let log = cluster.log(topic, partition);
        let mut fetched = log.read(read.next, fetch_max, read.committed_only);
        fetched.records.retain(|(offset, _)| *offset < read.to);
        let moved = fetched.next > read.next;
        read.next = fetched.next;
        // `to` is reached, or the log ends before it: it was cut.
        let done = read.next >= read.to || (fetched.at_end && log.end() < read.to);
        let (log_start, next, to) = (log.start(), read.next, read.to);
        if moved {
            let (records, at_end) = (fetched.records, fetched.at_end);
            out.push(Delivery::Records { partition, topic, records, next, at_end });
        }
        if done {
            part.read = None;
            out.push(Delivery::ReadDone { partition, topic, log_start, next: next.min(to) });
        }
    }

    fn collect_records(&mut self, cluster: &mut Cluster, partition: u32, out: &mut Vec<Delivery>) {
        let (topic, now_ms, fetch_max) = (self.options.topic, cluster.now_ms(), cluster.faults.fetch_max);
        let Some(part) = self.parts.get_mut(&partition).filter(|part| !part.leaving && !part.paused) else {
            return;
        };
        let State::Started { next, empty_at_ms } = &mut part.state else { return };
        let fetched = cluster.log(topic, partition).read(*next, fetch_max, true);
        if fetched.next == *next && now_ms - *empty_at_ms < timing::FETCH_WAIT_MS {
            return; // the fetch is still waiting for something
        }
        (*next, *empty_at_ms) = (fetched.next, now_ms);
        let (records, next, at_end) = (fetched.records, fetched.next, fetched.at_end);
        out.push(Delivery::Records { partition, topic, records, next, at_end });
    }

    fn collect_followed(&mut self, cluster: &mut Cluster, partition: u32, out: &mut Vec<Delivery>) {
        let fetch_max = cluster.faults.fetch_max;
        let Some(part) = self.parts.get_mut(&partition).filter(|part| !part.leaving) else { return };
        let Some((topic, next)) = &mut part.follow else { return };
        let fetched = cluster.log(*topic, partition).read(*next, fetch_max, false);
        *next = fetched.next;
        if !fetched.records.is_empty() {
            let (topic, next, at_end) = (*topic, fetched.next, fetched.at_end);
            out.push(Delivery::Records { partition, topic, records: fetched.records, next, at_end });
        }
    }

    fn follow(&mut self, partition: u32, topic: Topic, tail: u64) -> Result<(), WorkerError> {
        let next = self.log.cluster().log(topic, partition).end().saturating_sub(tail);
        match self.told(partition) {
            Some(part) => part.follow = Some((topic, next)),
            None => return Err(forbidden("a Follow of a partition that is not ours")),
        }
        Ok(())
    }

    /// Records land at once or never.
    fn send(&mut self, mut outputs: Outputs) -> Result<(), WorkerError> {
        if self.sent.is_some() {
            return Err(forbidden("a Send before the last one's Sent"));
        }
        let mut cluster = self.log.cluster();
        let (down, partitions, timestamp_ms) = (cluster.is_down(), cluster.partitions(), cluster.now_ms());
        let mut dropped = 0;
        for out in outputs.records() {
            if down || out.partition >= partitions {
                dropped += 1;
                continue;
            }
            let (key, value) = (outputs.key(out), outputs.value(out));
            let (key, value) = (key.map(<[u8]>::to_vec), value.map(<[u8]>::to_vec));
            let record = Record { timestamp_ms, key, value, headers: Vec::new() };
            cluster.append(out.topic, out.partition, record);
        }
        drop(cluster);
        outputs.clear();
        self.sent = Some((outputs, dropped));
        Ok(())
    }

    fn commit(&mut self, commit: Commit) -> Result<(), WorkerError> {
        if self.running.is_some() {
            return Err(forbidden("a Commit before the last one's TxnDone"));
        }
        for position in &commit.positions {
            if self.told(position.partition).is_none() {
                return Err(forbidden(&format!(
                    "Commit of partition {}, which is not ours",
                    position.partition
                )));
            }
        }
        let owner = Owner {
            client: self.client,
            producer: self.options.transactional_id.clone(),
            epoch: self.epoch,
            group: self.options.group.clone(),
            member: self.member,
        };
        self.running = Some(self.log.cluster().begin(owner, commit));
        Ok(())
    }

    /// The partition, if the driver was told of it. A partition that waits to be told again (its last
    /// transaction was aborted) is still the driver's to release.
    fn told(&mut self, partition: u32) -> Option<&mut Part> {
        self.parts
            .get_mut(&partition)
            .filter(|part| !matches!(part.state, State::Waiting { .. }) || part.leaving)
    }

    fn start(&mut self, partition: u32, from: Option<u64>) -> Result<(), WorkerError> {
        let (oldest, end) = {
            let mut cluster = self.log.cluster();
            let log = cluster.log(self.options.topic, partition);
            (log.start(), log.end())
        };
        if let Some(from) = from.filter(|from| *from > end) {
            return Err(WorkerError::Fatal(format!("partition {partition} ends at {end}, before {from}")));
        }
        let Some(part) = self.told(partition) else {
            return Err(forbidden(&format!("Start of partition {partition}, which is not ours")));
        };
        if part.read.is_some() || matches!(part.state, State::Started { .. }) {
            return Err(forbidden(&format!("Start of partition {partition} during a Read or twice")));
        }
        part.paused = false;
        part.state = State::Started { next: from.unwrap_or(oldest), empty_at_ms: i64::MIN / 2 };
        Ok(())
    }

    fn set_paused(&mut self, partition: u32, pause: bool) -> Result<(), WorkerError> {
        match self.told(partition) {
            Some(part) => part.paused = pause,
            None => {
                return Err(forbidden(&format!(
                    "Pause or Resume of partition {partition}, which is not ours"
                )));
            }
        }
        Ok(())
    }
}

fn forbidden(what: &str) -> WorkerError {
    WorkerError::Fatal(format!("protocol: {what}"))
}

impl Worker for SimWorker {
    fn poll(&mut self, wait: Duration, each: &mut dyn FnMut(LogInput<'_>)) -> Result<(), WorkerError> {
        let log = self.log.clone();
        let wait_ms = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX / 4);
        let until = log.cluster().now_ms() + wait_ms;
        loop {
            let deliveries = self.collect(&mut log.cluster())?;
            if !deliveries.is_empty() {
                deliveries.into_iter().for_each(|delivery| hand_over(delivery, each));
                return Ok(());
            }
            let mut cluster = log.cluster();
            if cluster.now_ms() >= until {
                return Ok(());
            }
            let fetch = cluster.now_ms() + timing::FETCH_WAIT_MS;
            let next = cluster.next_due_ms().unwrap_or(fetch).min(fetch).min(until);
            cluster.advance_to(next);
        }
    }

    fn ends(&self) -> Vec<(u32, u64)> {
        let mut cluster = self.log.cluster();
        let started = self.parts.iter().filter(|(_, part)| matches!(part.state, State::Started { .. }));
        let topic = self.options.topic;
        started.map(|(partition, _)| (*partition, cluster.log(topic, *partition).end())).collect()
    }

    fn perform(&mut self, action: LogAction) -> Result<(), WorkerError> {
        match action {
            LogAction::Read { partition, topic, from, to, committed_only } => {
                let read = Read { topic, next: from, to, committed_only };
                match self.told(partition) {
                    Some(part) if part.read.is_none() => part.read = Some(read),
                    Some(_) => return Err(forbidden("a second Read of one partition")),
                    None => return Err(forbidden("a Read of a partition that is not ours")),
                }
            }
            LogAction::Start { partition, from } => self.start(partition, from)?,
            LogAction::Pause { partition } => self.set_paused(partition, true)?,
            LogAction::Resume { partition } => self.set_paused(partition, false)?,
            LogAction::Commit(commit) => self.commit(commit)?,
            LogAction::Follow { partition, topic, tail } => self.follow(partition, topic, tail)?,
            LogAction::Send(outputs) => self.send(outputs)?,
            LogAction::Release { partition } => match self.parts.remove(&partition) {
                Some(part) if part.leaving => {
                    self.log.cluster().group(&self.options.group).release(self.member, partition);
                }
                Some(_) => {} // on its way out of its own will: free for others at `close`
                None if self.forgotten.contains(&partition) => {}
                None => {
                    return Err(forbidden(&format!("Release of partition {partition}, which is not ours")));
                }
            },
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), WorkerError> {
        let mut cluster = self.log.cluster();
        cluster.group(&self.options.group).remove(self.member);
        cluster.note(format_args!("{} leaves", self.options.transactional_id));
        cluster.crash_client(self.client, None);
        self.closed = true;
        Ok(())
    }
}

impl Drop for SimWorker {
    fn drop(&mut self) {
        if !self.closed {
            let member = Some((self.options.group.clone(), self.member));
            self.log.cluster().crash_client(self.client, member);
        }
    }
}
