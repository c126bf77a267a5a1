//! Sends outside every transaction: a plain producer that gives up soon.
//!
//! Owns: the one send that is on its way. Never: blocks, retries for long, or has anything to do with the transactional
//! producer; what it cannot send it counts.

use crate::context::trace_log;
use crate::delivered::Delivered;
use crate::wake::Waker;
use crate::{ConnectError, KafkaConfig};
use evenkeel_seam::{LogInput, Outputs};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseRecord, DeliveryResult, ProducerContext, ThreadedProducer};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What is not acknowledged after so long is of no use any more, ms.
const GIVE_UP_MS: &str = "2000";

/// How far the running send is.
#[derive(Debug, Default)]
struct Progress {
    /// Records without an outcome.
    open: AtomicUsize,
    dropped: AtomicUsize,
    waker: Arc<Waker>,
}

impl Progress {
    fn settle(&self, dropped: bool) {
        self.dropped.fetch_add(usize::from(dropped), Ordering::AcqRel);
        if self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.waker.ring();
        }
    }
}

#[derive(Debug)]
struct SendContext {
    progress: Arc<Progress>,
}

impl ClientContext for SendContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        trace_log(level, facility, message);
    }
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka sender");
    }
}

impl ProducerContext for SendContext {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        self.progress.settle(Delivered::of(result).failed().is_some());
    }
}

/// The sends of a worker.
pub(crate) struct Sender {
    config: KafkaConfig,
    progress: Arc<Progress>,
    producer: Option<ThreadedProducer<SendContext>>,
    /// Buffers of the running send.
    running: Option<Outputs>,
}

impl Sender {
    pub fn new(config: KafkaConfig, waker: Arc<Waker>) -> Self {
        let progress = Arc::new(Progress { waker, ..Progress::default() });
        Self { config, progress, producer: None, running: None }
    }

    /// Hands the records to the producer.
    pub fn send(&mut self, mut outputs: Outputs) {
        // One more for this call: the outcome is told when all are handed over and have theirs.
        self.progress.open.store(outputs.len() + 1, Ordering::Release);
        self.progress.dropped.store(0, Ordering::Release);
        match self.producer() {
            Ok(producer) => {
                for record in outputs.records() {
                    let name = self.config.topic(record.topic);
                    let mut message =
                        BaseRecord::<'_, [u8], [u8]>::to(&name).partition(record.partition as i32);
                    message.key = outputs.key(record);
                    message.payload = outputs.value(record);
                    if producer.send(message).is_err() {
                        self.progress.settle(true);
                    }
                }
            }
            Err(error) => {
                tracing::warn!(%error, "nothing can be sent beside transactions");
                outputs.records().iter().for_each(|_| self.progress.settle(true));
            }
        }
        outputs.clear();
        self.running = Some(outputs);
        self.progress.settle(false);
    }

    /// Tells the outcome of the last send, once there is one.
    pub fn pass(&mut self, each: &mut dyn FnMut(LogInput<'_>)) -> bool {
        if self.running.is_none() || self.progress.open.load(Ordering::Acquire) > 0 {
            return false;
        }
        let Some(outputs) = self.running.take() else { return false };
        each(LogInput::Sent { outputs, dropped: self.progress.dropped.load(Ordering::Acquire) });
        true
    }

    /// The producer, made when first needed.
    fn producer(&mut self) -> Result<ThreadedProducer<SendContext>, ConnectError> {
        if let Some(producer) = &self.producer {
            return Ok(producer.clone());
        }
        let mut client = self.config.client()?;
        client
            .set("acks", "1")
            .set("linger.ms", "2")
            .set("message.timeout.ms", GIVE_UP_MS)
            .set("message.max.bytes", self.config.limits.record_max.bytes().to_string())
            .set("queue.buffering.max.kbytes", "16384");
        let producer: ThreadedProducer<SendContext> = client
            .create_with_context(SendContext { progress: Arc::clone(&self.progress) })
            .map_err(|e| ConnectError::client("making the sending producer", e))?;
        self.producer = Some(producer.clone());
        Ok(producer)
    }
}
