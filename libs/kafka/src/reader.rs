//! Recovery reads: stretches of a log, on consumers of their own, so that the partitions that flow keep
//! flowing.
//!
//! Owns: the running reads. Never: ends one early: a committed transaction becomes visible partition by
//! partition, so "nothing more for now" is no end; a position at or beyond `to` is.

use crate::at_end::{Glance, Stats};
use crate::config::Isolation;
use crate::context::MemberContext;
use crate::flow::unread;
use crate::native::{BatchQueue, events_waiting};
use crate::records::{Run, each_run};
use crate::registry::Registry;
use crate::scout::{Job, Scout};
use crate::wake::Waker;
use crate::{ConnectError, KafkaConfig};
use evenkeel_model::Topic;
use evenkeel_seam::{LogInput, WorkerError};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Messages per batch call.
const BATCH_MAX: usize = 4096;

/// A read that stands still so long may stand before a hole.
const HOLE_PATIENCE: Duration = Duration::from_secs(2);

/// A stretch of a log, as asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stretch {
    pub topic: Topic,
    pub partition: u32,
    pub from: u64,
    pub to: u64,
    pub committed_only: bool,
}

struct Read {
    stretch: Stretch,
    ticket: u64,
    /// Next offset to hand over.
    next: u64,
    /// Position to reach: `to`, or the end of a log that was cut.
    target: u64,
    log_start: u64,
    /// Whether a consumer is at it; else its bounds are being looked up.
    running: bool,
    /// Last time something was handed over.
    moved: Instant,
    /// The first glance since then.
    still: Option<Glance>,
    /// Something was handed over since the consumer was sent there: its position is of this read.
    taken: bool,
}

/// A consumer without a group's assignment, and its queue.
struct Source {
    consumer: Arc<BaseConsumer<MemberContext>>,
    queue: BatchQueue,
}

/// All recovery reads of a worker.
pub(crate) struct Reader {
    config: KafkaConfig,
    group: String,
    registry: Option<Arc<Registry>>,
    waker: Arc<Waker>,
    /// For committed records, and for everything; made when first needed.
    sources: [Option<Source>; 2],
    reads: BTreeMap<(Topic, u32), Read>,
    tickets: u64,
}

impl Reader {
    pub fn new(
        config: KafkaConfig,
        group: String,
        registry: Option<Arc<Registry>>,
        waker: Arc<Waker>,
    ) -> Self {
        Self { config, group, registry, waker, sources: [None, None], reads: BTreeMap::new(), tickets: 0 }
    }

    /// Starts a read; one per topic and partition, a second replaces the first.
    pub fn read(&mut self, stretch: Stretch, scout: &Scout) -> Result<(), WorkerError> {
        let key = (stretch.topic, stretch.partition);
        self.stop(key);
        self.tickets += 1;
        let read = Read {
            stretch,
            ticket: self.tickets,
            next: stretch.from,
            target: stretch.to,
            log_start: 0,
            running: false,
            moved: Instant::now(),
            still: None,
            taken: false,
        };
        self.reads.insert(key, read);
        self.look_up(key, scout)
    }

    /// Forgets every read of a partition.
    pub fn cancel(&mut self, partition: u32) {
        let keys: Vec<_> = self.reads.keys().copied().filter(|(_, p)| *p == partition).collect();
        for key in keys {
            self.stop(key);
            self.reads.remove(&key);
        }
    }

    fn look_up(&self, key: (Topic, u32), scout: &Scout) -> Result<(), WorkerError> {
        let Some(read) = self.reads.get(&key) else { return Ok(()) };
        match scout.ask(Job::Bounds { topic: key.0, partition: key.1, ticket: read.ticket }) {
            true => Ok(()),
            false => Err(WorkerError::Fatal("the lookup thread is gone or overloaded".into())),
        }
    }

    /// The log's bounds are known: begin, or be done at once.
    pub fn bounds(
        &mut self,
        key: (Topic, u32),
        ticket: u64,
        (low, high): (u64, u64),
        each: &mut dyn FnMut(LogInput<'_>),
    ) -> Result<(), WorkerError> {
        let Some(read) = self.reads.get_mut(&key).filter(|r| r.ticket == ticket && !r.running) else {
            return Ok(());
        };
        read.log_start = low;
        read.target = read.stretch.to.min(high);
        read.next = read.next.max(low);
        if read.next >= read.target {
            // A log that ends before `to` was cut: the position says so.
            let next = if high < read.stretch.to { high } else { read.stretch.to };
            self.finish(key, next, each);
            return Ok(());
        }
        (read.running, read.taken) = (true, false);
        let (next, committed_only) = (read.next, read.stretch.committed_only);
        let name = self.config.topic(key.0);
        let source = self.source(committed_only).map_err(|e| WorkerError::Fatal(e.to_string()))?;
        source.queue.forward(&name, key.1);
        let begun = one(&name, key.1, Offset::Offset(next as i64))
            .and_then(|list| source.consumer.incremental_assign(&list));
        source.queue.forward(&name, key.1);
        begun.map_err(|e| WorkerError::Fatal(format!("reading {name}[{}] from {next}: {e}", key.1)))
    }

    fn source(&mut self, committed_only: bool) -> Result<&mut Source, ConnectError> {
        let slot = &mut self.sources[usize::from(committed_only)];
        if let Some(source) = slot {
            return Ok(source);
        }
        let isolation = if committed_only { Isolation::Committed } else { Isolation::Uncommitted };
        let mut client = self.config.consumer(&self.group, isolation)?;
        self.config.watch(&mut client);
        let consumer: BaseConsumer<MemberContext> = client
            .create_with_context(MemberContext::default())
            .map_err(|e| ConnectError::refused("making the recovery consumer", e))?;
        let consumer = Arc::new(consumer);
        let queue = BatchQueue::new(Arc::clone(&consumer), Arc::clone(&self.waker), BATCH_MAX)
            .ok_or_else(|| ConnectError::refused("making the recovery queue", "out of memory"))?;
        Ok(slot.insert(Source { consumer, queue }))
    }

    /// Hands over what has arrived. Returns whether there was anything.
    pub fn pass(&mut self, scout: &Scout, each: &mut dyn FnMut(LogInput<'_>)) -> Result<bool, WorkerError> {
        for source in self.sources.iter().flatten() {
            // Statistics, errors, logs: they pile up where nobody serves them, also between reads.
            for _ in 0..events_waiting(&source.consumer) {
                source.consumer.poll(Duration::ZERO);
            }
        }
        if self.reads.is_empty() {
            return Ok(false);
        }
        let names: Vec<(Topic, String)> = Topic::ALL.iter().map(|t| (*t, self.config.topic(*t))).collect();
        let topic_of = |name: &str| names.iter().find(|(_, n)| n == name).map(|(topic, _)| *topic);
        let mut troubled = Vec::new();
        let mut any = false;
        for source in self.sources.iter_mut().flatten() {
            let reads = &mut self.reads;
            let run = each_run(&source.queue.take(), false, self.registry.as_deref(), |run| match run {
                Run::Records { topic, partition, records } => {
                    let Some(key) = topic_of(topic).map(|t| (t, partition)) else { return };
                    let Some(read) = reads.get_mut(&key).filter(|r| r.running) else { return };
                    any = true;
                    read.hand_over(records, each);
                }
                Run::Error { topic, partition, code, text } => {
                    tracing::info!(topic, partition, %code, text, "recovery read");
                    troubled.extend(topic_of(topic).map(|t| (t, partition)));
                }
            });
            run.map_err(|error| unread("a recovery read", &error))?;
        }
        self.end_reached(each);
        for key in troubled {
            // Wherever it was: look at the bounds again and go on from there.
            self.stop(key);
            self.look_up(key, scout)?;
        }
        self.check_patience()?;
        Ok(any)
    }

    /// Ends the reads whose position has reached their target.
    fn end_reached(&mut self, each: &mut dyn FnMut(LogInput<'_>)) {
        let stats: [Option<Stats>; 2] =
            [0, 1].map(|i| self.sources[i].as_ref().and_then(|s| s.consumer.context().notes().stats.take()));
        let mut reached = Vec::new();
        for (key, read) in self.reads.iter_mut().filter(|(_, r)| r.running) {
            let index = usize::from(read.stretch.committed_only);
            let name = self.config.topic(key.0);
            let handed = self.sources[index].as_ref().filter(|_| read.taken);
            let handed = handed.and_then(|s| s.queue.position(&name, key.1));
            // Where compaction has left a hole before `to`, nothing is handed over there; the next fetch
            // begins behind it all the same. That counts only when the read has stood still for long, and
            // fetches were answered meanwhile: the first glance may be of an earlier read.
            let glance = stats[index].as_ref().and_then(|s| s.glance(&name, key.1));
            let passed = glance.filter(|glance| {
                let still = *read.still.get_or_insert(*glance);
                // Two, because the first may have been sent before this read began.
                let answered = glance.answered_since(&still).is_some_and(|fetches| fetches >= 2);
                glance.drained() && answered && read.moved.elapsed() > HOLE_PATIENCE
            });
            let passed = passed.and_then(|glance| glance.next);
            let next = read.next.max(handed.unwrap_or(0)).max(passed.unwrap_or(0));
            if next >= read.target {
                reached.push((*key, next));
            }
        }
        for (key, next) in reached {
            self.stop(key);
            self.finish(key, next, each);
        }
    }

    fn check_patience(&self) -> Result<(), WorkerError> {
        let patience = self.config.timeouts.outage.duration();
        match self.reads.iter().find(|(_, r)| r.running && r.moved.elapsed() > patience) {
            None => Ok(()),
            Some((key, read)) => Err(WorkerError::Fatal(format!(
                "the recovery read of {}[{}] stands at {} before {} for {} ms; brokers away, or a \
                 transaction is open that nobody ends (see `kafka-transactions.sh find-hanging`)",
                self.config.topic(key.0),
                key.1,
                read.next,
                read.target,
                patience.as_millis()
            ))),
        }
    }

    fn finish(&mut self, key: (Topic, u32), next: u64, each: &mut dyn FnMut(LogInput<'_>)) {
        if let Some(read) = self.reads.remove(&key) {
            each(LogInput::ReadDone {
                partition: key.1,
                topic: key.0,
                log_start: read.log_start,
                // Markers behind it are of no interest.
                next: next.min(read.stretch.to),
            });
        }
    }

    /// Takes a read off its consumer.
    fn stop(&mut self, key: (Topic, u32)) {
        let Some(read) = self.reads.get_mut(&key).filter(|r| r.running) else { return };
        read.running = false;
        let name = self.config.topic(key.0);
        if let Some(source) = &self.sources[usize::from(read.stretch.committed_only)] {
            let ended = one(&name, key.1, Offset::Invalid)
                .and_then(|list| source.consumer.incremental_unassign(&list));
            if let Err(error) = ended {
                tracing::debug!(topic = name, partition = key.1, %error, "ending a recovery read");
            }
        }
    }
}

impl Read {
    fn hand_over(&mut self, records: &[evenkeel_seam::RecordRef<'_>], each: &mut dyn FnMut(LogInput<'_>)) {
        let first = records.partition_point(|r| r.offset < self.next);
        let end = records.partition_point(|r| r.offset < self.target);
        if let Some(last) = records.last() {
            self.next = self.next.max(last.offset + 1);
            self.moved = Instant::now();
            self.still = None;
            self.taken = true;
        }
        if first < end {
            each(LogInput::Records {
                partition: self.stretch.partition,
                topic: self.stretch.topic,
                records: &records[first..end],
                next: self.next.min(self.target),
                at_end: false,
            });
        }
    }
}

/// A list of one partition.
pub(crate) fn one(
    topic: &str,
    partition: u32,
    offset: Offset,
) -> rdkafka::error::KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::with_capacity(1);
    list.add_partition_offset(topic, partition as i32, offset)?;
    Ok(list)
}
