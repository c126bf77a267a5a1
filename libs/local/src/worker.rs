//! A member of a consumer group with transactions: the seam's `Worker` on the embedded log.
//! Owns: positions of its partitions, recovery reads, the wait. Never: writes (the log's one writer does),
//! decides who owns a partition (the group does), decodes a record.
//!
//! Dropping a worker without [`Worker::close`] is its death: a running transaction ends one way or the other,
//! then its partitions go to the others with the position that is committed by then.
//! Transactions become visible as a whole, so a recovery read needs no commit markers and sees no aborted
//! record, whether it asks for `committed_only` or not.

use crate::beside::Beside;
use crate::hub::{Expelled, GroupKey, Hub, MemberNews, TxnReply, Watch};
use crate::log_file::{LOG_FILE, position};
use crate::reader::LogReader;
use crate::writer::{Job, LogQueue};
use crate::{database::Fault, local::Inner};
use evenkeel_model::Topic;
use evenkeel_seam::{Commit, CommitMeta, LogAction, LogInput, Position, TxnResult, Worker, WorkerError};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long [`Worker::close`] waits for a running transaction.
const CLOSE_WAIT: Duration = Duration::from_secs(10);

/// A worker of one group on one topic of the embedded log.
pub struct LocalWorker {
    id: u64,
    key: GroupKey,
    hub: Arc<Hub>,
    queue: Arc<LogQueue>,
    reader: LogReader,
    partitions: BTreeMap<u32, Held>,
    committing: bool,
    beside: Beside,
    failed: Option<String>,
    _inner: Arc<Inner>, // keeps the log open
}

/// One partition of this worker.
#[derive(Debug, Default)]
struct Held {
    revoking: bool,
    paused: bool,
    read: Option<RunningRead>,
    flow: Option<Flow>,
    /// A topic that is followed, and the next offset of it.
    follow: Option<(Topic, u64)>,
}

/// A recovery read on its way.
#[derive(Debug, Clone, Copy)]
struct RunningRead {
    topic: Topic,
    at: u64,
    to: u64,
}

/// Consumption since `Start`.
#[derive(Debug, Clone, Copy)]
struct Flow {
    at: u64,
    /// The driver knows that nothing more was there.
    end_told: bool,
}

type Each<'e> = &'e mut dyn FnMut(LogInput<'_>);

impl LocalWorker {
    pub(crate) fn new(inner: Arc<Inner>, reader: LogReader, key: GroupKey) -> Self {
        Self {
            id: inner.hub.join(key.clone()),
            key,
            hub: inner.hub.clone(),
            queue: inner.queue.clone(),
            reader,
            partitions: BTreeMap::new(),
            committing: false,
            beside: Beside::default(),
            failed: None,
            _inner: inner,
        }
    }

    /// The member number in its group; see [`Local::expel`](crate::Local::expel).
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Also delivers the headers of records (they are left out otherwise).
    pub fn read_headers(&mut self, read: bool) {
        self.reader.limits.headers = read;
    }

    fn tell_news(&mut self, news: MemberNews, each: Each<'_>) -> Result<bool, WorkerError> {
        let mut told = news.reply.is_some();
        if let Some(reply) = news.reply {
            self.tell_reply(reply, each)?;
        }
        if !news.group.revoking.is_empty() {
            told = true;
            for p in &news.group.revoking {
                self.partitions.entry(*p).or_default().revoking = true;
            }
            each(LogInput::Revoking { partitions: news.group.revoking, lost: false });
        }
        for partition in news.group.assigned {
            told = true;
            self.partitions.insert(partition, Held::default());
            let committed = self.committed(partition)?;
            let partitions = self.hub.extents().partitions();
            each(LogInput::Assigned { partition, partitions, committed });
        }
        Ok(told)
    }

    fn tell_reply(&mut self, reply: TxnReply, each: Each<'_>) -> Result<(), WorkerError> {
        self.committing = false;
        match reply {
            TxnReply::Committed { metas, outputs } => {
                each(LogInput::TxnDone { result: TxnResult::Committed(metas), outputs });
                Ok(())
            }
            TxnReply::Aborted { error, outputs } => {
                self.partitions.retain(|_, held| held.revoking);
                self.hub.assign_anew(self.id);
                each(LogInput::TxnDone { result: TxnResult::Aborted { error }, outputs });
                Ok(())
            }
            TxnReply::Fenced(why) => {
                self.hub.leave(self.id);
                Err(WorkerError::Fenced(why))
            }
            TxnReply::Failed(why) => Err(self.fail(why)),
        }
    }

    /// From here on every call says why; the partitions go to others.
    fn fail(&mut self, why: String) -> WorkerError {
        self.hub.leave(self.id);
        self.partitions.clear();
        self.failed = Some(why.clone());
        WorkerError::Fatal(why)
    }

    fn committed(&mut self, partition: u32) -> Result<Option<Position>, WorkerError> {
        let stored = position(&self.reader.conn, &self.key.0, self.key.1, partition);
        let Some(stored) = stored.map_err(|e| self.read_failed(&e))? else { return Ok(None) };
        let meta = stored.meta.as_deref().map(CommitMeta::decode).transpose();
        let meta = meta.map_err(|error| {
            let group = &self.key.0;
            self.fail(format!("the committed position of group {group}, partition {partition}: {error}"))
        })?;
        Ok(Some(Position { partition, offset: stored.offset, meta }))
    }

    /// One chunk of every recovery read.
    fn go_on_reading(&mut self, each: Each<'_>) -> Result<bool, WorkerError> {
        let reading: Vec<(u32, RunningRead)> =
            self.partitions.iter().filter_map(|(p, held)| Some((*p, held.read?))).collect();
        for &(partition, RunningRead { topic, at, to }) in &reading {
            let extent = self.hub.extent(topic, partition);
            let end = to.min(extent.next); // beyond the end, nothing will come: the log was cut
            let at = at.max(extent.log_start);
            let next = match at < end {
                true => self.reader.read(topic, partition, at..end).map_err(|e| self.read_failed(&e))?,
                false => at.min(extent.next),
            };
            if at < end && !self.reader.is_empty() {
                let at_end = next >= extent.next;
                self.reader.with_records(|records| {
                    each(LogInput::Records { partition, topic, records, next, at_end })
                });
            }
            let done = next >= end;
            if let Some(held) = self.partitions.get_mut(&partition) {
                held.read = (!done).then_some(RunningRead { topic, at: next, to });
            }
            if done {
                let (log_start, next) = (extent.log_start, next.min(to));
                each(LogInput::ReadDone { partition, topic, log_start, next });
            }
        }
        Ok(!reading.is_empty())
    }

    /// One chunk of every partition that flows and has more.
    fn consume(&mut self, each: Each<'_>) -> Result<bool, WorkerError> {
        let topic = self.key.1;
        let mut told = false;
        for (partition, flow) in self.flowing() {
            let extent = self.hub.extent(topic, partition);
            let at = flow.at.max(extent.log_start);
            if at >= extent.next {
                continue;
            }
            let read = self.reader.read(topic, partition, at..extent.next);
            let next = read.map_err(|e| self.read_failed(&e))?;
            let at_end = next >= extent.next;
            self.set_flow(partition, Flow { at: next, end_told: at_end });
            self.reader
                .with_records(|records| each(LogInput::Records { partition, topic, records, next, at_end }));
            told = true;
        }
        Ok(told)
    }

    /// Says of each partition at its end that it is: nothing more was there just now. Without `again`, only
    /// where this is new.
    fn tell_ends(&mut self, again: bool, each: Each<'_>) -> bool {
        let topic = self.key.1;
        let mut told = false;
        for (partition, flow) in self.flowing() {
            if self.hub.extent(topic, partition).next > flow.at || (flow.end_told && !again) {
                continue;
            }
            self.set_flow(partition, Flow { end_told: true, ..flow });
            each(LogInput::Records { partition, topic, records: &[], next: flow.at, at_end: true });
            told = true;
        }
        told
    }

    /// One chunk of every topic that is followed.
    fn go_on_following(&mut self, each: Each<'_>) -> Result<bool, WorkerError> {
        let follows = |(p, held): (&u32, &Held)| Some((*p, held.follow.filter(|_| !held.revoking)?));
        let followed: Vec<(u32, (Topic, u64))> = self.partitions.iter().filter_map(follows).collect();
        let mut told = false;
        for (partition, (topic, at)) in followed {
            let extent = self.hub.extent(topic, partition);
            let at = at.max(extent.log_start);
            if at >= extent.next {
                continue;
            }
            let read = self.reader.read(topic, partition, at..extent.next);
            let next = read.map_err(|e| self.read_failed(&e))?;
            if let Some(held) = self.partitions.get_mut(&partition) {
                held.follow = Some((topic, next));
            }
            if !self.reader.is_empty() {
                let at_end = next >= extent.next;
                self.reader.with_records(|records| {
                    each(LogInput::Records { partition, topic, records, next, at_end })
                });
                told = true;
            }
        }
        Ok(told)
    }

    fn flowing(&self) -> Vec<(u32, Flow)> {
        let flows = |(p, held): (&u32, &Held)| match held.paused || held.revoking {
            true => None,
            false => Some((*p, held.flow?)),
        };
        self.partitions.iter().filter_map(flows).collect()
    }

    fn set_flow(&mut self, partition: u32, flow: Flow) {
        if let Some(held) = self.partitions.get_mut(&partition) {
            held.flow = Some(flow);
        }
    }

    fn start(&mut self, partition: u32, from: Option<u64>) -> Result<(), WorkerError> {
        let extent = self.hub.extent(self.key.1, partition);
        let at = from.unwrap_or(extent.log_start);
        if at > extent.next {
            return Err(self.fail(format!(
                "{}, partition {partition}: position {at} lies beyond the end {} of the log; {} was replaced by \
                 an older copy: restore the newer one, or forget group {:?} and start anew",
                self.key.1, extent.next, LOG_FILE.name, self.key.0
            )));
        }
        let held = self.held(partition, "Start")?;
        (held.flow, held.paused) = (Some(Flow { at, end_told: false }), false);
        Ok(())
    }

    fn commit(&mut self, commit: Commit) -> Result<(), WorkerError> {
        if std::mem::replace(&mut self.committing, true) {
            return Err(self.fail("a Commit came before the last one's TxnDone".into()));
        }
        let bytes = commit.outputs.bytes() + 256 * (1 + commit.positions.len());
        let job = Job::Commit { member: self.id, key: self.key.clone(), commit };
        self.queue.push_over(job, bytes).map_err(|_| self.fail("the log is closed".into()))
    }

    fn held(&mut self, partition: u32, what: &str) -> Result<&mut Held, WorkerError> {
        match self.partitions.contains_key(&partition) {
            true => Ok(self.partitions.entry(partition).or_default()),
            false => Err(self.fail(format!("{what} for partition {partition}, which is not assigned"))),
        }
    }

    fn read_failed(&mut self, error: &rusqlite::Error) -> WorkerError {
        self.fail(Fault::of(LOG_FILE.name, error).to_string())
    }

    fn check(&self) -> Result<(), WorkerError> {
        self.failed.clone().map_or(Ok(()), |why| Err(WorkerError::Fatal(why)))
    }
}

impl Worker for LocalWorker {
    fn poll(&mut self, wait: Duration, each: &mut dyn FnMut(LogInput<'_>)) -> Result<(), WorkerError> {
        self.check()?;
        let deadline = Instant::now() + wait;
        loop {
            let news = self.hub.take_news(self.id).map_err(|Expelled| expelled(self.id))?;
            let mut told = self.tell_news(news, each)?;
            told |= self.go_on_reading(each)?;
            told |= self.consume(each)?;
            told |= self.tell_ends(false, each);
            told |= self.go_on_following(each)?;
            told |= self.beside.tell(each);
            if told || Instant::now() >= deadline {
                self.tell_ends(true, each);
                return Ok(());
            }
            let watched: Vec<Watch> =
                self.flowing().iter().map(|(p, flow)| Watch { partition: *p, position: flow.at }).collect();
            self.hub.wait(self.id, self.key.1, &watched, deadline);
        }
    }

    fn lag(&self) -> Option<u64> {
        let flows = self.partitions.iter().filter_map(|(partition, held)| Some((*partition, held.flow?)));
        let behind = |(partition, flow): (u32, Flow)| {
            self.hub.extent(self.key.1, partition).next.saturating_sub(flow.at)
        };
        Some(flows.map(behind).sum())
    }

    fn perform(&mut self, action: LogAction) -> Result<(), WorkerError> {
        self.check()?;
        match action {
            LogAction::Read { partition, topic, from, to, committed_only: _ } => {
                self.held(partition, "Read")?.read = Some(RunningRead { topic, at: from, to });
            }
            LogAction::Start { partition, from } => self.start(partition, from)?,
            LogAction::Pause { partition } => self.held(partition, "Pause")?.paused = true,
            LogAction::Resume { partition } => self.held(partition, "Resume")?.paused = false,
            LogAction::Commit(commit) => self.commit(commit)?,
            LogAction::Follow { partition, topic, tail } => {
                let next = self.hub.extent(topic, partition).next.saturating_sub(tail);
                self.held(partition, "Follow")?.follow = Some((topic, next));
            }
            LogAction::Send(outputs) => {
                self.beside.send(outputs, &self.queue, self.hub.extents().partitions())
            }
            LogAction::Release { partition } => {
                self.partitions.remove(&partition);
                self.hub.release(self.id, partition);
            }
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), WorkerError> {
        self.check()?;
        let deadline = Instant::now() + CLOSE_WAIT;
        let mut result = Ok(());
        while self.committing && result.is_ok() && Instant::now() < deadline {
            self.hub.wait(self.id, self.key.1, &[], deadline);
            result = match self.hub.take_news(self.id) {
                Ok(news) => self.tell_news(news, &mut |_| {}).map(|_| ()),
                Err(Expelled) => Err(expelled(self.id)),
            };
        }
        self.hub.leave(self.id);
        self.partitions.clear();
        result
    }
}

impl Drop for LocalWorker {
    fn drop(&mut self) {
        self.hub.leave(self.id);
    }
}

fn expelled(id: u64) -> WorkerError {
    WorkerError::Fenced(format!("member {id} is not in its group any more"))
}
