//! One transaction per commit, on a thread of its own because each step blocks.
//!
//! Owns: begin, outputs, drain, offsets with the way back, commit or abort. Never: more than one at a time;
//! a commit whose outcome is unknown is neither reported as done nor as undone.

use crate::context::trace_log;
use crate::error::{Class, classify};
use crate::native::OutTopics;
use crate::registry::Registry;
use crate::scout::init_transactions;
use crate::wake::Waker;
use crate::{ConnectError, KafkaConfig};
use evenkeel_model::Topic;
use evenkeel_seam::{Commit, CommitMeta, OutRecord, Outputs, TxnResult, WorkerError};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{Header as KafkaHeader, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long to sleep while deliveries are outstanding. Not a wait within `poll`: that one waits whole
/// milliseconds only and spins through what is left of them; librdkafka's own flush goes in steps of 100 ms.
const DRAIN_STEP: Duration = Duration::from_micros(500);

/// Records per batch call: how often delivery reports are served between.
const BATCH_MAX: usize = 2048;

/// One attempt of an abort, which goes on where the last one stopped.
const ABORT_ATTEMPT: Duration = Duration::from_millis(100);

/// How often the client's logs and errors are served while there is no commit: they pile up otherwise.
const SERVE_EVERY: Duration = Duration::from_secs(1);

/// Where the records of a transaction landed.
#[derive(Debug, Default)]
pub(crate) struct Landed {
    /// The offset after the last record, per topic (as its index) and partition.
    ends: BTreeMap<(usize, i32), u64>,
    /// The first refusal.
    error: Option<KafkaError>,
}

/// Context of the transactional producer: notes the delivery reports.
#[derive(Debug, Default)]
pub(crate) struct TxnContext {
    landed: Mutex<Landed>,
}

impl TxnContext {
    fn landed(&self) -> MutexGuard<'_, Landed> {
        self.landed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for TxnContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        trace_log(level, facility, message);
    }
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka producer");
    }
}

impl ProducerContext for TxnContext {
    /// The topic's index in [`Topic::ALL`].
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, topic: usize) {
        let mut landed = self.landed();
        match result {
            Ok(message) => {
                let end = message.offset().max(-1) + 1;
                let known = landed.ends.entry((topic, message.partition())).or_default();
                *known = (*known).max(end as u64);
            }
            Err((error, _)) => {
                landed.error.get_or_insert_with(|| error.clone());
            }
        }
    }
}

/// The thread's end at the worker.
pub(crate) struct TxnThread {
    jobs: Option<SyncSender<(Commit, ConsumerGroupMetadata)>>,
    done: Receiver<Done>,
}

/// An outcome, with the buffers to use again.
pub(crate) struct Done {
    pub result: Result<TxnResult, WorkerError>,
    pub outputs: Outputs,
}

impl TxnThread {
    /// Takes the transactional id (whatever an earlier holder left open is aborted) and starts the thread.
    pub fn start(
        config: &KafkaConfig,
        id: &str,
        consumed: Topic,
        registry: Option<Arc<Registry>>,
        waker: Arc<Waker>,
    ) -> Result<Self, ConnectError> {
        let producer: BaseProducer<TxnContext> = config
            .transactional(id)?
            .create_with_context(TxnContext::default())
            .map_err(|e| ConnectError::client("making the transactional producer", e))?;
        init_transactions(&producer, config, id)?;
        let (jobs, todo) = sync_channel(1);
        let (outcomes, done) = channel();
        let names: Vec<String> = Topic::ALL.iter().map(|t| config.topic(*t)).collect();
        let topics = OutTopics::new(producer.client(), &names)
            .ok_or_else(|| ConnectError::refused("making the topics of the producer", "out of memory"))?;
        let mut txn = Transactions {
            topics,
            producer,
            registry,
            names,
            consumed: config.topic(consumed),
            id: id.to_owned(),
            call: config.timeouts.call.duration(),
            outage: config.timeouts.outage.duration(),
        };
        std::thread::Builder::new()
            .name("kafka-txn".into())
            .spawn(move || txn.run(&todo, &outcomes, &waker))
            .map_err(|e| ConnectError::refused("starting the transaction thread", e))?;
        Ok(Self { jobs: Some(jobs), done })
    }

    /// Starts a transaction. `false` = the thread is gone or busy.
    pub fn commit(&self, commit: Commit, group: ConsumerGroupMetadata) -> bool {
        self.jobs.as_ref().is_some_and(|jobs| jobs.try_send((commit, group)).is_ok())
    }

    /// The outcome, if it is there.
    pub fn done(&self) -> Option<Done> {
        self.done.try_recv().ok()
    }

    /// Lets the thread end after its running transaction; waits for that up to `patience`.
    pub fn close(&mut self, patience: Duration) {
        self.jobs = None;
        let until = Instant::now() + patience;
        while self.done.recv_timeout(until.saturating_duration_since(Instant::now())).is_ok() {}
    }
}

pub(crate) struct Transactions {
    /// Before the producer, which must outlive it.
    topics: OutTopics,
    producer: BaseProducer<TxnContext>,
    registry: Option<Arc<Registry>>,
    /// By index in [`Topic::ALL`].
    names: Vec<String>,
    consumed: String,
    id: String,
    call: Duration,
    outage: Duration,
}

/// A step that did not work.
struct Failed {
    class: Class,
    error: String,
}

impl From<KafkaError> for Failed {
    fn from(error: KafkaError) -> Self {
        Self { class: classify(&error), error: error.to_string() }
    }
}

type Written = Vec<(u32, Option<CommitMeta>)>;

impl Transactions {
    fn run(
        &mut self,
        todo: &Receiver<(Commit, ConsumerGroupMetadata)>,
        outcomes: &Sender<Done>,
        waker: &Waker,
    ) {
        loop {
            let (mut commit, group) = match todo.recv_timeout(SERVE_EVERY) {
                Ok(job) => job,
                Err(RecvTimeoutError::Timeout) => {
                    self.serve();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if let Some(registry) = &self.registry {
                registry.frame(&mut commit.outputs);
            }
            let result = self.transact(&commit, &group);
            let mut outputs = commit.outputs;
            outputs.clear();
            let sent = outcomes.send(Done { result, outputs });
            waker.ring();
            if sent.is_err() {
                return;
            }
        }
    }

    fn transact(&mut self, commit: &Commit, group: &ConsumerGroupMetadata) -> Result<TxnResult, WorkerError> {
        if commit.outputs.is_empty() && commit.positions.is_empty() {
            return Ok(TxnResult::Committed(Vec::new()));
        }
        let until = Instant::now() + self.outage;
        let prepared = self.prepare(commit, group, until);
        let failed = match prepared {
            Ok(written) => match self.insist(until, || self.producer.commit_transaction(self.call)) {
                Ok(()) => return Ok(TxnResult::Committed(written)),
                // Still no answer: it may have been committed. Only whoever reads the committed offset
                // knows, so the worker stops and somebody recovers.
                Err(failed) if failed.class == Class::Retry => {
                    return Err(WorkerError::Fatal(format!(
                        "the outcome of a commit stayed unknown for {} ms: {}",
                        self.outage.as_millis(),
                        failed.error
                    )));
                }
                Err(failed) => failed,
            },
            Err(failed) => failed,
        };
        match failed.class {
            Class::Fenced => Err(WorkerError::Fenced(failed.error)),
            Class::Fatal => Err(WorkerError::Fatal(failed.error)),
            Class::Abort | Class::Retry => self.abort(&failed.error),
        }
    }

    /// Everything up to the commit.
    fn prepare(
        &mut self,
        commit: &Commit,
        group: &ConsumerGroupMetadata,
        until: Instant,
    ) -> Result<Written, Failed> {
        *self.producer.context().landed() = Landed::default();
        self.insist(until, || self.producer.begin_transaction())?;
        self.produce(&commit.outputs, until)?;
        self.drain(until)?;
        let (list, written) = self.offsets(commit)?;
        if !commit.positions.is_empty() {
            self.insist(until, || self.producer.send_offsets_to_transaction(&list, group, self.call))?;
        }
        Ok(written)
    }

    /// Hands over all outputs in order: those without headers by batches of one partition.
    fn produce(&mut self, outputs: &Outputs, until: Instant) -> Result<(), Failed> {
        let mut records = outputs.records();
        while let Some(first) = records.first() {
            let alike = |r: &&OutRecord| {
                (r.topic, r.partition) == (first.topic, first.partition) && !outputs.has_headers(r)
            };
            let batch = records.iter().take(BATCH_MAX).take_while(alike).count();
            let (taken, refused) = match batch {
                0 => self.produce_one(outputs, first),
                _ => {
                    let pairs = records[..batch].iter().map(|r| (outputs.key(r), outputs.value(r)));
                    let (taken, code) = self.topics.send(first.topic as usize, first.partition, pairs);
                    (taken, code.map(KafkaError::MessageProduction))
                }
            };
            records = &records[taken..];
            match refused {
                // A single send has served already.
                None if batch == 0 => {}
                None => self.serve(),
                Some(error) if classify(&error) == Class::Retry && Instant::now() <= until => {
                    self.serve();
                    std::thread::sleep(DRAIN_STEP);
                }
                Some(error) => {
                    let failed = Failed::from(error);
                    let place = format!("{}[{}]", self.names[first.topic as usize], first.partition);
                    return Err(Failed { error: format!("{place}: {}", failed.error), ..failed });
                }
            }
        }
        Ok(())
    }

    /// One record, with its headers: how many were taken, and why not.
    fn produce_one(&self, outputs: &Outputs, record: &OutRecord) -> (usize, Option<KafkaError>) {
        let index = record.topic as usize;
        let mut to_send: BaseRecord<'_, [u8], [u8], usize> =
            BaseRecord::with_opaque_to(&self.names[index], index).partition(record.partition as i32);
        to_send.key = outputs.key(record);
        to_send.payload = outputs.value(record);
        to_send.headers = headers_of(outputs, record);
        match self.producer.send(to_send) {
            Ok(()) => (1, None),
            Err((error, _)) => (0, Some(error)),
        }
    }

    /// Serves the delivery reports that are there, without waiting.
    fn serve(&self) {
        let mut waiting = self.producer.in_flight_count();
        loop {
            self.producer.poll(Duration::ZERO);
            let left = self.producer.in_flight_count();
            if left >= waiting {
                return;
            }
            waiting = left;
        }
    }

    /// Serves delivery reports until all are in.
    fn drain(&self, until: Instant) -> Result<(), Failed> {
        while self.producer.in_flight_count() > 0 {
            if Instant::now() > until {
                let error = "records were not delivered in time".to_owned();
                return Err(Failed { class: Class::Abort, error });
            }
            self.serve();
            std::thread::sleep(DRAIN_STEP);
        }
        match self.producer.context().landed().error.take() {
            None => Ok(()),
            Some(error) => match classify(&error) {
                Class::Fenced => Err(Failed { class: Class::Fenced, error: error.to_string() }),
                // The refusal of a record is the transaction's end, whatever it was.
                _ => Err(Failed { class: Class::Abort, error: error.to_string() }),
            },
        }
    }

    /// The offsets with the way back, the ends of the outputs from where they landed.
    fn offsets(&self, commit: &Commit) -> Result<(TopicPartitionList, Written), Failed> {
        let landed = self.producer.context().landed();
        let mut list = TopicPartitionList::with_capacity(commit.positions.len());
        let mut written = Vec::with_capacity(commit.positions.len());
        let fatal = |error: String| Failed { class: Class::Fatal, error };
        for position in &commit.positions {
            let partition = position.partition as i32;
            let mut meta = position.meta.clone();
            // Once per fresh element: setting it again would leak the earlier text.
            let mut element = list.add_partition(&self.consumed, partition);
            element
                .set_offset(Offset::Offset(position.offset as i64))
                .map_err(|e| fatal(format!("{}[{partition}]: {e}", self.consumed)))?;
            if let Some(meta) = &mut meta {
                let end_of = |topic: Topic| landed.ends.get(&(topic as usize, partition)).copied();
                meta.landed(end_of);
                meta.writer.clone_from(&self.id);
                let text =
                    meta.encode().map_err(|e| fatal(format!("{}[{partition}]: {e}", self.consumed)))?;
                element.set_metadata(text);
            }
            written.push((position.partition, meta));
        }
        Ok((list, written))
    }

    /// What is queued is sent first where the broker takes it: an abort while partitions are still being
    /// added to the transaction may be refused as out of order, for good. What cannot be sent the client's
    /// own abort throws away, because only that keeps the sequence numbers right (after a purge of ours the
    /// broker refuses the next transaction). It waits for the reports, which this thread serves between
    /// short attempts.
    fn abort(&self, error: &str) -> Result<TxnResult, WorkerError> {
        tracing::warn!(error, "transaction aborted");
        let until = Instant::now() + self.outage;
        let patience = Instant::now() + self.call;
        while self.producer.in_flight_count() > 0 && Instant::now() < patience {
            self.serve();
            std::thread::sleep(DRAIN_STEP);
        }
        let aborted = self.insist(until, || {
            self.serve();
            self.producer.abort_transaction(ABORT_ATTEMPT)
        });
        match aborted {
            Ok(()) => Ok(TxnResult::Aborted { error: error.to_owned() }),
            Err(failed) if failed.class == Class::Fenced => Err(WorkerError::Fenced(failed.error)),
            Err(failed) => Err(WorkerError::Fatal(format!("{error}; and the abort: {}", failed.error))),
        }
    }

    /// The same step again while the broker asks for patience.
    fn insist(&self, until: Instant, mut step: impl FnMut() -> KafkaResult<()>) -> Result<(), Failed> {
        loop {
            let Err(error) = step() else { return Ok(()) };
            if classify(&error) != Class::Retry || Instant::now() > until {
                return Err(Failed::from(error));
            }
        }
    }
}

/// The headers of a record as librdkafka wants them; `None` without any.
pub(crate) fn headers_of(outputs: &Outputs, record: &OutRecord) -> Option<OwnedHeaders> {
    outputs.headers(record).fold(None, |all: Option<OwnedHeaders>, header| {
        let all = all.unwrap_or_default();
        Some(all.insert(KafkaHeader { key: header.name, value: Some(header.value) }))
    })
}
