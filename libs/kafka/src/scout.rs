//! Blocking lookups of a newly assigned partition, on a thread of their own so that the others keep
//! ticking: committed offsets with the way back, log bounds; and fencing a dead worker.
//!
//! Owns: the rule "no committed offset is taken while a transaction may still change it"
//! (docs/recovery.md, "Assigned a partition", step 0). Never: consumes a record.

use crate::config::Isolation;
use crate::connect;
use crate::context::MemberContext;
use crate::error::{Class, classify};
use crate::native::events_waiting;
use crate::txn::TxnContext;
use crate::wake::Waker;
use crate::{ConnectError, KafkaConfig};
use evenkeel_model::Topic;
use evenkeel_seam::{CommitMeta, Position};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, Producer};
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::time::{Duration, Instant};

/// Lookups that may wait. Each held partition has at most one, plus one per running read.
const JOBS_MAX: usize = 16_384;

/// How often the clients' events are served while there is nothing to look up.
const SERVE_EVERY: Duration = Duration::from_secs(1);

/// A lookup.
#[derive(Debug)]
pub(crate) enum Job {
    /// The committed positions of partitions, each with the ticket to answer with.
    Committed(Vec<(u32, u64)>),
    /// First and last offset of a partition.
    Bounds { topic: Topic, partition: u32, ticket: u64 },
}

/// An answer.
#[derive(Debug)]
pub(crate) enum Found {
    /// One partition's committed position, and how many partitions the topic has.
    Committed { partition: u32, ticket: u64, partitions: u32, position: Option<Position> },
    /// `low` = first offset the log holds, `high` = the offset after its last record, committed or not.
    Bounds { topic: Topic, partition: u32, ticket: u64, low: u64, high: u64 },
    /// A lookup failed for good.
    Failed(String),
}

/// The scout's end at the worker.
pub(crate) struct Scout {
    jobs: SyncSender<Job>,
    found: Receiver<Found>,
}

/// Whose lookups: configuration, group, consumed topic, own transactional id.
#[derive(Clone)]
pub(crate) struct Whose {
    pub config: KafkaConfig,
    pub group: String,
    pub topic: Topic,
    pub own_id: String,
}

impl Scout {
    /// Starts the thread. It ends when the scout is dropped and its running lookup is over.
    pub fn start(whose: Whose, waker: Arc<Waker>) -> Result<Self, ConnectError> {
        let (jobs, todo) = sync_channel(JOBS_MAX);
        let (answers, found) = channel();
        let thread = Thread::new(whose, answers, waker)?;
        std::thread::Builder::new()
            .name("kafka-scout".into())
            .spawn(move || thread.run(&todo))
            .map_err(|e| ConnectError::refused("starting the lookup thread", e))?;
        Ok(Self { jobs, found })
    }

    /// Asks. `false` = the thread is gone or has too much to do.
    pub fn ask(&self, job: Job) -> bool {
        self.jobs.try_send(job).is_ok()
    }

    /// The next answer that is there.
    pub fn found(&self) -> Option<Found> {
        self.found.try_recv().ok()
    }
}

struct Thread {
    whose: Whose,
    topic_name: String,
    /// Waits for stable offsets.
    stable: BaseConsumer<MemberContext>,
    /// Sees the last committed offset and the end of the log even while a transaction is open.
    plain: BaseConsumer<MemberContext>,
    answers: Sender<Found>,
    waker: Arc<Waker>,
}

impl Thread {
    fn new(whose: Whose, answers: Sender<Found>, waker: Arc<Waker>) -> Result<Self, ConnectError> {
        let make = |isolation| {
            whose
                .config
                .consumer(&whose.group, isolation)?
                .create_with_context(MemberContext::default())
                .map_err(|e| ConnectError::refused("making the lookup consumer", e))
        };
        Ok(Self {
            topic_name: whose.config.topic(whose.topic),
            stable: make(Isolation::Committed)?,
            plain: make(Isolation::Uncommitted)?,
            whose,
            answers,
            waker,
        })
    }

    fn run(self, todo: &Receiver<Job>) {
        loop {
            let told = match todo.recv_timeout(SERVE_EVERY) {
                Ok(Job::Committed(partitions)) => self.committed(&partitions),
                Ok(Job::Bounds { topic, partition, ticket }) => self.bounds(topic, partition, ticket),
                Err(RecvTimeoutError::Timeout) => {
                    self.serve();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if let Err(text) = told {
                let _ = self.answers.send(Found::Failed(text));
            }
            self.waker.ring();
            self.serve();
        }
    }

    /// Logs and errors of its clients, which pile up where nobody serves them.
    fn serve(&self) {
        for consumer in [&self.stable, &self.plain] {
            for _ in 0..events_waiting(consumer) {
                consumer.poll(Duration::ZERO);
            }
        }
    }

    fn bounds(&self, topic: Topic, partition: u32, ticket: u64) -> Result<(), String> {
        let name = self.whose.config.topic(topic);
        let (low, high) = self.persist(&format!("asking for the bounds of {name}[{partition}]"), || {
            self.plain.fetch_watermarks(&name, partition as i32, self.call())
        })?;
        let (low, high) = (low.max(0) as u64, high.max(0) as u64);
        let _ = self.answers.send(Found::Bounds { topic, partition, ticket, low, high });
        Ok(())
    }

    fn committed(&self, wanted: &[(u32, u64)]) -> Result<(), String> {
        let partitions = self.persist("asking for the partition count", || {
            connect::partitions(self.plain.client(), &self.whose.config, self.whose.topic)
        })?;
        let all: Vec<u32> = wanted.iter().map(|(partition, _)| *partition).collect();
        // Normally all are stable and one request does. Else one by one: only the unstable ones wait,
        // and only their writers are suspects.
        let together = self.ask(&self.stable, &all, self.whose.config.timeouts.unstable.duration());
        for (i, &(partition, ticket)) in wanted.iter().enumerate() {
            let position = match &together {
                Ok(found) => found[i].clone(),
                Err(_) => self.settle(partition)?,
            };
            let position = position.decode(&self.topic_name)?;
            let _ = self.answers.send(Found::Committed { partition, ticket, partitions, position });
            self.waker.ring();
        }
        Ok(())
    }

    /// Waits until one partition's committed offset is stable, and fences the writer of the last commit
    /// once if that takes too long: its open transaction is aborted, and should it live after all, its
    /// commits fail and it rejoins.
    fn settle(&self, partition: u32) -> Result<Stored, String> {
        let since = Instant::now();
        let timeouts = &self.whose.config.timeouts;
        let mut fenced = BTreeSet::from([self.whose.own_id.clone(), String::new()]);
        loop {
            match self.ask(&self.stable, &[partition], timeouts.unstable.duration()) {
                Ok(mut found) => return found.pop().ok_or_else(|| "no offset was answered".to_owned()),
                Err(error) if since.elapsed() > timeouts.outage.duration() => {
                    return Err(format!(
                        "the committed offset of {}[{partition}] stayed unknown or unstable for {} ms \
                         ({error}); a transaction is open that nobody ends, see `kafka-transactions.sh \
                         find-hanging`",
                        self.topic_name,
                        since.elapsed().as_millis()
                    ));
                }
                Err(_) => {}
            }
            let Ok(found) = self.ask(&self.plain, &[partition], self.call()) else { continue };
            let meta = found.first().and_then(|stored| CommitMeta::decode(&stored.metadata).ok());
            if let Some(writer) = meta.map(|m| m.writer).filter(|w| fenced.insert(w.clone())) {
                self.fence(&writer, partition);
            }
        }
    }

    fn fence(&self, writer: &str, partition: u32) {
        tracing::warn!(writer, partition, "unstable offset: fencing the last writer");
        let producer: Result<BaseProducer<TxnContext>, String> = self
            .whose
            .config
            .transactional(writer)
            .map_err(|e| e.to_string())
            .and_then(|c| c.create_with_context(TxnContext::default()).map_err(|e| e.to_string()));
        let done = producer.and_then(|p| {
            p.init_transactions(self.whose.config.timeouts.transaction.duration()).map_err(|e| e.to_string())
        });
        match done {
            Ok(()) => tracing::info!(writer, partition, "fenced"),
            // The broker aborts the transaction by itself after its timeout; the loop goes on waiting.
            Err(error) => tracing::warn!(writer, partition, error, "fencing failed"),
        }
    }

    fn ask(
        &self,
        consumer: &BaseConsumer<MemberContext>,
        partitions: &[u32],
        patience: Duration,
    ) -> Result<Vec<Stored>, String> {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for &partition in partitions {
            list.add_partition(&self.topic_name, partition as i32);
        }
        let found = consumer.committed_offsets(list, patience).map_err(|e| e.to_string())?;
        partitions
            .iter()
            .map(|&partition| {
                let element = found
                    .find_partition(&self.topic_name, partition as i32)
                    .ok_or_else(|| format!("no offset was answered for partition {partition}"))?;
                element.error().map_err(|e| e.to_string())?;
                let offset = match element.offset() {
                    Offset::Offset(offset) => u64::try_from(offset).ok(),
                    _ => None,
                };
                Ok(Stored { partition, offset, metadata: element.metadata().to_owned() })
            })
            .collect()
    }

    fn call(&self) -> Duration {
        self.whose.config.timeouts.call.duration()
    }

    /// Does it again until it works or the outage has lasted too long.
    fn persist<T, E: ToString>(
        &self,
        what: &str,
        mut attempt: impl FnMut() -> Result<T, E>,
    ) -> Result<T, String> {
        let since = Instant::now();
        loop {
            match attempt() {
                Ok(value) => return Ok(value),
                Err(error) if since.elapsed() > self.whose.config.timeouts.outage.duration() => {
                    return Err(format!("{what}: {}", error.to_string()));
                }
                // Attempts that fail at once must not spin.
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }
}

/// An offset and its metadata as the group stores them.
#[derive(Debug, Clone)]
struct Stored {
    partition: u32,
    offset: Option<u64>,
    metadata: String,
}

impl Stored {
    fn decode(self, topic: &str) -> Result<Option<Position>, String> {
        let Some(offset) = self.offset else { return Ok(None) };
        let meta = match self.metadata.is_empty() {
            true => None,
            false => Some(
                CommitMeta::decode(&self.metadata)
                    .map_err(|e| format!("{topic}[{}] at offset {offset}: {e}", self.partition))?,
            ),
        };
        Ok(Some(Position { partition: self.partition, offset, meta }))
    }
}

/// Waits for the producer's first step: everything an earlier holder of the id left open is aborted.
pub(crate) fn init_transactions(
    producer: &BaseProducer<TxnContext>,
    config: &KafkaConfig,
    id: &str,
) -> Result<(), ConnectError> {
    let since = Instant::now();
    loop {
        let Err(error) = producer.init_transactions(config.timeouts.call.duration()) else { return Ok(()) };
        match classify(&error) {
            Class::Retry if since.elapsed() < config.timeouts.outage.duration() => {}
            Class::Fenced => {
                return Err(ConnectError::Fenced { id: id.to_owned(), error: error.to_string() });
            }
            _ => return Err(ConnectError::refused(format!("taking the transactional id {id}"), error)),
        }
    }
}
