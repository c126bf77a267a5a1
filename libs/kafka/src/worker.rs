//! A consumer group member with a transactional producer: the Kafka side of [`evenkeel_seam::Worker`].
//!
//! Owns: the order of things. A revocation waits for the driver's `Release`; a partition joins the client's
//! own assignment only at `Start`, with the driver's offset, so nothing flows before; after an abort every
//! partition is looked up again as if just assigned. Never: blocks in `perform` (blocking work is on the
//! transaction and lookup threads), waits for more than `wait` in `poll`; but where a record names a schema that this
//! process has not met, its registry is asked, for a bounded time.
//!
//! The price of cooperative rebalancing with exactly-once: a commit carries the group generation it began
//! under, so one that is in flight while the generation changes may be refused, is aborted, and costs a
//! recovery.

use crate::context::{MemberContext, Rebalance};
use crate::follower::Follower;
use crate::held::{HeldPartitions, Released};
use crate::native::{BatchQueue, events_waiting};
use crate::reader::{Reader, Stretch};
use crate::registry::Registry;
use crate::scout::{Found, Job, Scout, Whose};
use crate::sender::Sender;
use crate::txn::TxnThread;
use crate::wake::Waker;
use crate::{ConnectError, KafkaConfig, connect};
use evenkeel_model::Topic;
use evenkeel_seam::{LogAction, LogInput, TxnResult, Worker, WorkerError};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Messages per batch call.
const BATCH_MAX: usize = 8192;
/// Events (rebalances, statistics, errors, logs) served per pass.
const EVENTS_MAX: usize = 64;
/// The longest sleep: whatever rang while nobody listened is found after it.
const NAP_MAX: Duration = Duration::from_millis(100);

/// What a worker is for.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// The service, e.g. `coalescer`: names the group where the configuration does not.
    pub service: String,
    /// Unique per worker, e.g. `evenkeel-coalescer-0-1`. Best stable over restarts: starting again under
    /// the same id aborts at once what a killed predecessor left open.
    pub transactional_id: String,
    /// The consumed topic.
    pub topic: Topic,
    /// Whether to read record headers (they cost a call per record).
    pub headers: bool,
}

/// A worker on Kafka. See [`Worker`] for the order of use.
pub struct KafkaWorker {
    pub(crate) config: KafkaConfig,
    pub(crate) options: WorkerOptions,
    pub(crate) topic_name: String,
    pub(crate) partitions: HeldPartitions,
    pub(crate) scout: Scout,
    txn: TxnThread,
    in_flight: bool,
    reader: Reader,
    follower: Follower,
    sender: Sender,
    failed: Option<String>,
    closed: bool,
    waker: Arc<Waker>,
    pub(crate) registry: Option<Arc<Registry>>,
    pub(crate) queue: BatchQueue,
    pub(crate) consumer: Arc<BaseConsumer<MemberContext>>,
}

impl KafkaWorker {
    /// Reaches the brokers, checks that events, windows and marks are co-partitioned, takes the
    /// transactional id and joins the group. Blocks for a bounded time.
    pub fn connect(config: &KafkaConfig, options: WorkerOptions) -> Result<Self, ConnectError> {
        let waker = Arc::new(Waker::default());
        let group = config.group_of(&options.service);
        let mut consumer: BaseConsumer<MemberContext> = config
            .member(&group)?
            .create_with_context(MemberContext::default())
            .map_err(|e| ConnectError::client("making the consumer", e))?;
        connect::reach(&consumer, config)?;
        connect::co_partitions(consumer.client(), config)?;
        let registry = Registry::connect(config)?;
        let bell = Arc::clone(&waker);
        consumer.set_nonempty_callback(move || bell.ring());
        let consumer = Arc::new(consumer);
        let queue = BatchQueue::new(Arc::clone(&consumer), Arc::clone(&waker), BATCH_MAX)
            .ok_or_else(|| ConnectError::refused("making the receive queue", "out of memory"))?;
        let whose = Whose {
            config: config.clone(),
            group: group.clone(),
            topic: options.topic,
            own_id: options.transactional_id.clone(),
        };
        let scout = Scout::start(whose, Arc::clone(&waker))?;
        let bell = Arc::clone(&waker);
        let txn = TxnThread::start(config, &options.transactional_id, options.topic, registry.clone(), bell)?;
        let topic_name = config.topic(options.topic);
        consumer
            .subscribe(&[&topic_name])
            .map_err(|e| ConnectError::refused(format!("subscribing to {topic_name}"), e))?;
        Ok(Self {
            reader: Reader::new(config.clone(), group.clone(), registry.clone(), Arc::clone(&waker)),
            follower: Follower::new(config.clone(), group, Arc::clone(&waker)),
            sender: Sender::new(config.clone(), Arc::clone(&waker)),
            registry,
            config: config.clone(),
            options,
            topic_name,
            partitions: HeldPartitions::default(),
            scout,
            txn,
            in_flight: false,
            failed: None,
            closed: false,
            waker,
            queue,
            consumer,
        })
    }

    /// One round over everything that may have something. Returns whether anything was handed over.
    fn pass(&mut self, each: &mut dyn FnMut(LogInput<'_>)) -> Result<bool, WorkerError> {
        self.serve_events()?;
        let mut any = self.rebalances(each)?;
        any |= self.outcomes(each)?;
        any |= self.answers(each)?;
        any |= self.reader.pass(&self.scout, each)?;
        any |= self.flow(each)?;
        any |= self.ends(each);
        any |= self.follower.pass(each);
        any |= self.sender.pass(each);
        Ok(any)
    }

    fn serve_events(&mut self) -> Result<(), WorkerError> {
        for _ in 0..EVENTS_MAX {
            match self.consumer.poll(Duration::ZERO) {
                None if events_waiting(&self.consumer) == 0 => break,
                None => {}
                Some(Ok(_)) => {
                    // Would be skipped, so better stop: every partition is forwarded to the batch queue.
                    return Err(WorkerError::Fatal("a record came outside the receive queue".into()));
                }
                Some(Err(error)) => self.judge(&error)?,
            }
        }
        let fatal = self.consumer.context().notes().fatal.take();
        fatal.map_or(Ok(()), |text| Err(WorkerError::Fatal(text)))
    }

    /// Errors of the consumer as a whole.
    fn judge(&self, error: &KafkaError) -> Result<(), WorkerError> {
        let code = error.rdkafka_error_code();
        let last = self.consumer.context().notes().last_error.clone();
        match (error, code) {
            (_, Some(Code::Fenced | Code::FencedInstanceId | Code::FencedMemberEpoch)) => {
                Err(WorkerError::Fenced(format!("{error} ({last})")))
            }
            (KafkaError::MessageConsumptionFatal(_), _) => {
                Err(WorkerError::Fatal(format!("{error} ({last})")))
            }
            (_, Some(Code::GroupAuthorizationFailed | Code::TopicAuthorizationFailed)) => {
                Err(WorkerError::Fatal(format!(
                    "{error}: allow {} to read {} in its group ({last})",
                    self.config.security.username.as_deref().unwrap_or("this client"),
                    self.topic_name
                )))
            }
            _ => {
                tracing::info!(%error, last, "kafka consumer");
                Ok(())
            }
        }
    }

    fn rebalances(&mut self, each: &mut dyn FnMut(LogInput<'_>)) -> Result<bool, WorkerError> {
        let mut any = false;
        loop {
            let next = self.consumer.context().notes().rebalances.pop_front();
            match next {
                None => return Ok(any),
                Some(Rebalance::Assigned(partitions)) => {
                    tracing::info!(?partitions, topic = self.topic_name, "assigned");
                    self.look_up(&partitions)?;
                }
                Some(Rebalance::Revoked { partitions, lost }) => {
                    tracing::info!(?partitions, lost, topic = self.topic_name, "revoking");
                    let leaving = self.partitions.revoke(&partitions);
                    if leaving.is_empty() {
                        self.partitions.revocation = None;
                        self.unassign(&[])?;
                        continue;
                    }
                    any = true;
                    leaving.iter().for_each(|partition| self.follower.cancel(*partition));
                    each(LogInput::Revoking { partitions: leaving, lost });
                }
            }
        }
    }

    fn look_up(&mut self, partitions: &[u32]) -> Result<(), WorkerError> {
        if partitions.is_empty() {
            return Ok(());
        }
        let asked = self.partitions.look_up(partitions);
        match self.scout.ask(Job::Committed(asked)) {
            true => Ok(()),
            false => Err(WorkerError::Fatal("the lookup thread is gone or overloaded".into())),
        }
    }

    fn outcomes(&mut self, each: &mut dyn FnMut(LogInput<'_>)) -> Result<bool, WorkerError> {
        let Some(done) = self.txn.done() else { return Ok(false) };
        self.in_flight = false;
        let result = done.result?;
        let aborted = matches!(result, TxnResult::Aborted { .. });
        each(LogInput::TxnDone { result, outputs: done.outputs });
        if aborted {
            self.start_over()?;
        }
        Ok(true)
    }

    /// After an abort: everything that stays is looked up and recovered as if just assigned.
    fn start_over(&mut self) -> Result<(), WorkerError> {
        let (staying, flowing) = self.partitions.staying();
        if !flowing.is_empty() {
            self.unassign(&flowing)?;
        }
        for partition in &staying {
            self.reader.cancel(*partition);
            self.follower.cancel(*partition);
        }
        self.look_up(&staying)
    }

    fn answers(&mut self, each: &mut dyn FnMut(LogInput<'_>)) -> Result<bool, WorkerError> {
        let mut any = false;
        while let Some(found) = self.scout.found() {
            match found {
                Found::Committed { partition, ticket, partitions, position } => {
                    if self.partitions.looked_up(partition, ticket) {
                        any = true;
                        each(LogInput::Assigned { partition, partitions, committed: position });
                    }
                }
                Found::Bounds { topic, partition, ticket, low, high } => {
                    if topic == self.options.topic && self.reposition(partition, ticket, low, high)? {
                        continue;
                    }
                    any = true;
                    self.reader.bounds((topic, partition), ticket, (low, high), each)?;
                }
                Found::Failed(text) => return Err(WorkerError::Fatal(text)),
            }
        }
        Ok(any)
    }

    fn release(&mut self, partition: u32) -> Result<(), WorkerError> {
        self.reader.cancel(partition);
        self.follower.cancel(partition);
        self.resume_in_client(partition)?;
        match self.partitions.release(partition) {
            Released::Waits => Ok(()),
            Released::Unassign(partitions) => self.unassign(&partitions),
        }
    }

    pub(crate) fn unassign(&self, partitions: &[u32]) -> Result<(), WorkerError> {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for partition in partitions {
            list.add_partition(&self.topic_name, *partition as i32);
        }
        self.consumer
            .incremental_unassign(&list)
            .map_err(|e| WorkerError::Fatal(format!("giving back {}{partitions:?}: {e}", self.topic_name)))
    }

    fn commit(&mut self, commit: evenkeel_seam::Commit) -> Result<(), WorkerError> {
        if let Some(position) =
            commit.positions.iter().find(|p| !self.partitions.held.contains_key(&p.partition))
        {
            return Err(WorkerError::Fatal(format!(
                "a commit for {}[{}], which this worker does not hold",
                self.topic_name, position.partition
            )));
        }
        // Taken now, when the transaction begins: a generation that is gone by then must be refused.
        let group = self.consumer.group_metadata();
        let group = group.ok_or_else(|| WorkerError::Fatal("the consumer has no group".into()))?;
        if self.in_flight || !self.txn.commit(commit, group) {
            return Err(WorkerError::Fatal("a commit while another one is in flight".into()));
        }
        self.in_flight = true;
        Ok(())
    }

    /// Answers what the group waits for, and every later revocation at once.
    fn let_go(&mut self) {
        self.consumer.context().notes().closing = true;
        self.partitions = HeldPartitions::default();
        let all = self.consumer.assignment();
        if let Err(error) = all.and_then(|all| self.consumer.incremental_unassign(&all)) {
            tracing::debug!(%error, "leaving");
        }
    }
}

impl Worker for KafkaWorker {
    fn poll(&mut self, wait: Duration, each: &mut dyn FnMut(LogInput<'_>)) -> Result<(), WorkerError> {
        if let Some(text) = &self.failed {
            return Err(WorkerError::Fatal(text.clone()));
        }
        let until = Instant::now() + wait;
        loop {
            let any = self.pass(each).inspect_err(|e| self.failed = Some(e.to_string()))?;
            let left = until.saturating_duration_since(Instant::now());
            if any || left.is_zero() {
                return Ok(());
            }
            self.waker.wait(left.min(NAP_MAX));
        }
    }

    fn perform(&mut self, action: LogAction) -> Result<(), WorkerError> {
        match action {
            LogAction::Read { partition, topic, from, to, committed_only } => {
                let stretch = Stretch { topic, partition, from, to, committed_only };
                match self.partitions.held.get(&partition) {
                    Some(held) if !held.leaving => self.reader.read(stretch, &self.scout),
                    _ => Ok(()),
                }
            }
            LogAction::Start { partition, from } => {
                self.pause(partition, false)?;
                self.begin(partition, from)
            }
            LogAction::Pause { partition } => self.pause(partition, true),
            LogAction::Resume { partition } => self.pause(partition, false),
            LogAction::Commit(commit) => self.commit(commit),
            LogAction::Follow { partition, topic, tail } => {
                if self.partitions.held.get(&partition).is_some_and(|held| !held.leaving) {
                    self.follower.follow(topic, partition, tail);
                }
                Ok(())
            }
            LogAction::Send(outputs) => {
                self.sender.send(outputs);
                Ok(())
            }
            LogAction::Release { partition } => self.release(partition),
        }
    }

    fn lag(&self) -> Option<u64> {
        Some(self.behind())
    }

    fn close(&mut self) -> Result<(), WorkerError> {
        if std::mem::replace(&mut self.closed, true) {
            return Ok(());
        }
        let until = Instant::now() + self.config.timeouts.close.duration();
        self.let_go();
        self.consumer.close_queue().map_err(|e| WorkerError::Fatal(format!("leaving the group: {e}")))?;
        while !self.consumer.closed() {
            if Instant::now() >= until {
                return Err(WorkerError::Fatal(format!(
                    "the group did not let go within {}; the session timeout will",
                    self.config.timeouts.close
                )));
            }
            self.consumer.poll(Duration::from_millis(5));
        }
        self.txn.close(until.saturating_duration_since(Instant::now()));
        Ok(())
    }
}

impl Drop for KafkaWorker {
    fn drop(&mut self) {
        // The client's own drop serves the group until it has let go; nobody would answer for us then.
        if !self.closed {
            self.let_go();
        }
    }
}
