//! Followed topics: the newest records of another topic and what comes, on a consumer of their own.
//!
//! Owns: that consumer, made when first needed. Never: stops a worker. Whatever is wrong with a followed topic is said
//! in the log, and then nothing comes.

use crate::config::Isolation;
use crate::context::MemberContext;
use crate::native::{BatchQueue, events_waiting};
use crate::reader::one;
use crate::records::{Run, each_run};
use crate::wake::Waker;
use crate::{ConnectError, KafkaConfig};
use evenkeel_model::Topic;
use evenkeel_seam::LogInput;
use rdkafka::Offset;
use rdkafka::consumer::{BaseConsumer, Consumer};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Messages per batch call.
const BATCH_MAX: usize = 1024;

/// The followed topics of a worker.
pub(crate) struct Follower {
    config: KafkaConfig,
    group: String,
    waker: Arc<Waker>,
    source: Option<Source>,
    /// Next offset to hand over.
    followed: BTreeMap<(Topic, u32), u64>,
}

struct Source {
    consumer: Arc<BaseConsumer<MemberContext>>,
    queue: BatchQueue,
}

impl Follower {
    pub fn new(config: KafkaConfig, group: String, waker: Arc<Waker>) -> Self {
        Self { config, group, waker, source: None, followed: BTreeMap::new() }
    }

    /// Follows a partition from about its newest `tail` records on.
    pub fn follow(&mut self, topic: Topic, partition: u32, tail: u64) {
        self.stop((topic, partition));
        let name = self.config.topic(topic);
        if let Err(error) = self.begin(&name, partition, tail) {
            tracing::warn!(topic = name, partition, %error, "the topic cannot be followed");
            return;
        }
        self.followed.insert((topic, partition), 0);
    }

    fn begin(&mut self, name: &str, partition: u32, tail: u64) -> Result<(), ConnectError> {
        let from =
            if tail == 0 { Offset::End } else { Offset::OffsetTail(tail.min(i64::MAX as u64 / 4) as i64) };
        let source = self.source()?;
        source.queue.forward(name, partition);
        let begun = one(name, partition, from).and_then(|list| source.consumer.incremental_assign(&list));
        source.queue.forward(name, partition);
        begun.map_err(|e| ConnectError::refused(format!("following {name}[{partition}]"), e))
    }

    fn source(&mut self) -> Result<&mut Source, ConnectError> {
        if self.source.is_none() {
            let mut client = self.config.consumer(&self.group, Isolation::Uncommitted)?;
            client
                // A tail that is longer than the log begins where the log does.
                .set("auto.offset.reset", "earliest")
                .set("queued.min.messages", "1000")
                .set("queued.max.messages.kbytes", "1024");
            let consumer: BaseConsumer<MemberContext> = client
                .create_with_context(MemberContext::default())
                .map_err(|e| ConnectError::client("making the following consumer", e))?;
            let consumer = Arc::new(consumer);
            let queue = BatchQueue::new(Arc::clone(&consumer), Arc::clone(&self.waker), BATCH_MAX)
                .ok_or_else(|| ConnectError::refused("making the following queue", "out of memory"))?;
            self.source = Some(Source { consumer, queue });
        }
        self.source
            .as_mut()
            .ok_or_else(|| ConnectError::refused("making the following consumer", "it is gone"))
    }

    /// Follows nothing of a partition any more.
    pub fn cancel(&mut self, partition: u32) {
        let keys: Vec<_> = self.followed.keys().copied().filter(|(_, p)| *p == partition).collect();
        keys.into_iter().for_each(|key| self.stop(key));
    }

    fn stop(&mut self, key: (Topic, u32)) {
        let (Some(_), Some(source)) = (self.followed.remove(&key), &self.source) else { return };
        let name = self.config.topic(key.0);
        let ended =
            one(&name, key.1, Offset::Invalid).and_then(|list| source.consumer.incremental_unassign(&list));
        if let Err(error) = ended {
            tracing::debug!(topic = name, partition = key.1, %error, "following no more");
        }
    }

    /// Hands over what has arrived. Returns whether there was anything.
    pub fn pass(&mut self, each: &mut dyn FnMut(LogInput<'_>)) -> bool {
        let Some(source) = &mut self.source else { return false };
        for _ in 0..events_waiting(&source.consumer) {
            if let Some(Err(error)) = source.consumer.poll(Duration::ZERO) {
                tracing::debug!(%error, "following");
            }
        }
        let names: Vec<(Topic, String)> =
            self.followed.keys().map(|(topic, _)| (*topic, self.config.topic(*topic))).collect();
        let topic_of = |name: &str| names.iter().find(|(_, n)| n == name).map(|(topic, _)| *topic);
        let followed = &mut self.followed;
        let mut any = false;
        let run = each_run(&source.queue.take(), false, None, |run| match run {
            Run::Records { topic, partition, records } => {
                let Some(topic) = topic_of(topic) else { return };
                let Some(next) = followed.get_mut(&(topic, partition)) else { return };
                let records = &records[records.partition_point(|r| r.offset < *next)..];
                let Some(last) = records.last() else { return };
                *next = last.offset + 1;
                any = true;
                each(LogInput::Records { partition, topic, records, next: *next, at_end: false });
            }
            Run::Error { topic, partition, code, text } => {
                tracing::info!(topic, partition, %code, text, "a followed topic");
            }
        });
        if let Err(error) = run {
            tracing::debug!(%error, "following"); // without a registry there is none
        }
        any
    }
}
