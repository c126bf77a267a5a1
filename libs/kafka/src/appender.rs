//! Ingest's way to Kafka: acknowledged by all replicas, idempotent, bounded.
//!
//! Owns: tickets and the byte account of what is in flight. Never: batches or lingers (the flush policy in
//! front does), chooses a partition (records name theirs), acknowledges a ticket before all its records.

use crate::context::{MemberContext, trace_log};
use crate::txn::headers_of;
use crate::{ConnectError, KafkaConfig, config::Isolation, connect};
use evenkeel_model::Topic;
use evenkeel_seam::{Ack, AppendError, Appender, Outputs};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message, Timestamp};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Outcomes that nobody has fetched, and what is in flight.
#[derive(Debug, Default)]
struct Desk {
    acks: Mutex<VecDeque<Ack>>,
    /// The brokers' clock, as the last heartbeat's delivery report tells it.
    time: Mutex<Option<Result<i64, String>>>,
    bell: Condvar,
    in_flight_bytes: AtomicU64,
}

/// One ticket while its records are on their way.
#[derive(Debug)]
pub(crate) struct Ticket {
    ticket: u64,
    bytes: u64,
    /// Records without an outcome, and one for `append` itself while it still hands records over.
    open: AtomicUsize,
    error: Mutex<Option<String>>,
}

impl Desk {
    fn acks(&self) -> MutexGuard<'_, VecDeque<Ack>> {
        self.acks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One part of a ticket has its outcome; the last one makes the ack.
    fn settle(&self, ticket: &Ticket, error: Option<String>) {
        let mut first = ticket.error.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = error {
            first.get_or_insert(error);
        }
        if ticket.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            let result = first.take().map_or(Ok(()), |e| Err(AppendError::Failed(e)));
            self.in_flight_bytes.fetch_sub(ticket.bytes, Ordering::AcqRel);
            self.acks().push_back(Ack { ticket: ticket.ticket, result });
            self.bell.notify_one();
        }
    }
}

/// What a delivery report belongs to.
#[derive(Debug)]
enum Parcel {
    Ticket(Ticket),
    /// A record whose append time is the answer to "what time is it".
    Heartbeat,
}

/// Context of the appending producer.
#[derive(Debug)]
struct AppendContext {
    desk: Arc<Desk>,
}

impl ClientContext for AppendContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        trace_log(level, facility, message);
    }
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka appender");
    }
}

impl ProducerContext for AppendContext {
    type DeliveryOpaque = Arc<Parcel>;

    fn delivery(&self, result: &DeliveryResult<'_>, parcel: Arc<Parcel>) {
        match &*parcel {
            Parcel::Ticket(ticket) => {
                let error = result.as_ref().err().map(|(error, _)| error.to_string());
                self.desk.settle(ticket, error);
            }
            Parcel::Heartbeat => {
                let time = result.as_ref().map_err(|(error, _)| error.to_string()).and_then(append_time);
                *self.desk.time.lock().unwrap_or_else(PoisonError::into_inner) = Some(time);
            }
        }
    }
}

/// The broker's clock when it took the record.
fn append_time(record: &BorrowedMessage<'_>) -> Result<i64, String> {
    match record.timestamp() {
        Timestamp::LogAppendTime(ms) => Ok(ms),
        _ => Err(format!(
            "topic {} has not message.timestamp.type = LogAppendTime; `evenkeel topics diff` says how to set it",
            record.topic()
        )),
    }
}

/// An appender on Kafka. See [`Appender`].
pub struct KafkaAppender {
    config: KafkaConfig,
    desk: Arc<Desk>,
    names: Vec<String>,
    partitions: u32,
    producer: ThreadedProducer<AppendContext>,
}

impl KafkaAppender {
    /// Reaches the brokers and learns the partition count of the events topic. Blocks for a bounded time.
    pub fn connect(config: &KafkaConfig) -> Result<Self, ConnectError> {
        let probe: BaseConsumer<MemberContext> = config
            .consumer(&config.group_of("ingest"), Isolation::Committed)?
            .create_with_context(MemberContext::default())
            .map_err(|e| ConnectError::client("making the probing client", e))?;
        connect::reach(&probe, config)?;
        let partitions = connect::partitions(probe.client(), config, Topic::Events)?;
        connect::partitions_of(probe.client(), config, &config.clock_topic())?;
        let desk = Arc::new(Desk::default());
        Ok(Self {
            producer: Self::producer(config, &desk)?,
            config: config.clone(),
            names: Topic::ALL.iter().map(|t| config.topic(*t)).collect(),
            partitions,
            desk,
        })
    }

    fn producer(
        config: &KafkaConfig,
        desk: &Arc<Desk>,
    ) -> Result<ThreadedProducer<AppendContext>, ConnectError> {
        let mut client = config.producer(config.limits.append_memory)?;
        client.set("delivery.timeout.ms", config.timeouts.append.ms().to_string());
        client
            .create_with_context(AppendContext { desk: Arc::clone(desk) })
            .map_err(|e| ConnectError::client("making the producer", e))
    }

    /// A producer that lost its sequence (a fatal error) is replaced; devices send again what was not
    /// acknowledged, and their seq keeps it single.
    fn renew_if_broken(&mut self) -> Result<(), AppendError> {
        let Some((code, text)) = self.producer.client().fatal_error() else { return Ok(()) };
        tracing::warn!(%code, text, "the producer cannot go on and is replaced");
        self.producer = Self::producer(&self.config, &self.desk)
            .map_err(|e| AppendError::Failed(format!("{code}: {text}; and a new producer: {e}")))?;
        Ok(())
    }
}

impl Appender for KafkaAppender {
    fn append(&mut self, records: &Outputs, ticket: u64) -> Result<(), AppendError> {
        let max = self.config.limits.append_memory.bytes();
        let bytes = records.bytes() as u64;
        if bytes > max {
            return Err(AppendError::Failed(format!(
                "one request of {bytes} bytes exceeds limits.append-memory of {max}; send smaller ones"
            )));
        }
        if self.desk.in_flight_bytes.load(Ordering::Acquire) + bytes > max {
            return Err(AppendError::Full);
        }
        self.renew_if_broken()?;
        let open = AtomicUsize::new(records.len() + 1);
        let parcel = Arc::new(Parcel::Ticket(Ticket { ticket, bytes, open, error: Mutex::new(None) }));
        let Parcel::Ticket(ticket) = &*parcel else { return Ok(()) };
        self.desk.in_flight_bytes.fetch_add(bytes, Ordering::AcqRel);
        for record in records.records() {
            let name = &self.names[record.topic as usize];
            let mut to_send: BaseRecord<'_, [u8], [u8], Arc<Parcel>> =
                BaseRecord::with_opaque_to(name, Arc::clone(&parcel)).partition(record.partition as i32);
            to_send.key = records.key(record);
            to_send.payload = records.value(record);
            to_send.headers = headers_of(records, record);
            if let Err((error, _)) = self.producer.send(to_send) {
                let text = format!("{name}[{}]: {error}", record.partition);
                self.desk.settle(ticket, Some(text));
            }
        }
        self.desk.settle(ticket, None);
        Ok(())
    }

    fn acks(&mut self, wait: Duration, out: &mut Vec<Ack>) {
        let acks = self.desk.acks();
        let waited = self.desk.bell.wait_timeout_while(acks, wait, |acks| acks.is_empty());
        let (mut acks, _) = waited.unwrap_or_else(PoisonError::into_inner);
        out.extend(acks.drain(..));
    }

    fn partitions(&self) -> u32 {
        self.partitions
    }

    fn ask_time(&mut self) {
        let name = self.config.clock_topic();
        let heartbeat: BaseRecord<'_, [u8], [u8], Arc<Parcel>> =
            BaseRecord::with_opaque_to(&name, Arc::new(Parcel::Heartbeat)).payload(&[]);
        if let Err((error, _)) = self.producer.send(heartbeat) {
            *self.desk.time.lock().unwrap_or_else(PoisonError::into_inner) = Some(Err(error.to_string()));
        }
    }

    fn time(&mut self) -> Option<Result<i64, String>> {
        self.desk.time.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(open: usize) -> Ticket {
        Ticket { ticket: 7, bytes: 10, open: AtomicUsize::new(open), error: Mutex::new(None) }
    }

    #[test]
    fn a_ticket_has_one_ack_after_its_last_record() {
        let desk = Desk::default();
        desk.in_flight_bytes.store(10, Ordering::Release);
        let two = ticket(2);
        desk.settle(&two, Some("refused".into()));
        assert!(desk.acks().is_empty());
        desk.settle(&two, Some("later".into()));
        let want = Ack { ticket: 7, result: Err(AppendError::Failed("refused".into())) };
        assert_eq!(desk.acks().drain(..).collect::<Vec<_>>(), vec![want]);
        assert_eq!(desk.in_flight_bytes.load(Ordering::Acquire), 0);
    }
}
