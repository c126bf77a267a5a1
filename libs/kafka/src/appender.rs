//! Ingest's way to Kafka: acknowledged by all replicas, idempotent, bounded.
//!
//! Owns: tickets and the byte account of what is in flight. Never: batches or lingers (the flush policy in
//! front does), chooses a partition (records name theirs), acknowledges a ticket before all its records.

use crate::context::{MemberContext, trace_log};
use crate::delivered::Delivered;
use crate::native::{EventBell, OutTopics};
use crate::registry::Registry;
use crate::txn::headers_of;
use crate::wake::Waker;
use crate::{ConnectError, KafkaConfig, config::Isolation, connect};
use evenkeel_model::Topic;
use evenkeel_seam::{Ack, AppendError, Appender, Bell, OutRecord, Outputs};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message, Timestamp};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Outcomes that nobody has fetched, and what is in flight.
#[derive(Debug, Default)]
struct Desk {
    acks: Mutex<VecDeque<Ack>>,
    /// The brokers' clock, as the last heartbeat's delivery report tells it.
    time: Mutex<Option<Result<i64, String>>>,
    in_flight_bytes: AtomicU64,
}

/// One ticket while its records are on their way.
#[derive(Debug)]
pub(crate) struct Ticket {
    ticket: u64,
    bytes: u64,
    /// How many records it has.
    records: usize,
    /// Records without an outcome, and one for `append` itself while it still hands records over.
    open: AtomicUsize,
    failed: Mutex<Failed>,
}

/// The records that were refused or lost.
#[derive(Debug, Default)]
struct Failed {
    /// Their places in the append.
    records: Vec<u32>,
    /// Why the first one.
    why: String,
}

impl Failed {
    /// What the ticket is told.
    fn result(&mut self, records: usize) -> Result<(), AppendError> {
        let (mut failed, why) = (std::mem::take(&mut self.records), std::mem::take(&mut self.why));
        match failed.len() {
            0 => Ok(()),
            all if all == records => Err(AppendError::Failed(why)),
            _ => {
                failed.sort_unstable();
                Err(AppendError::Partly { records: failed, why })
            }
        }
    }
}

impl Desk {
    fn acks(&self) -> MutexGuard<'_, VecDeque<Ack>> {
        self.acks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A record has its outcome; the last one of a ticket makes the ack.
    fn settle(&self, ticket: &Ticket, failed: Option<(u32, String)>) {
        let mut all = ticket.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((place, why)) = failed {
            if all.records.is_empty() {
                all.why = why;
            }
            all.records.push(place);
        }
        if ticket.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            let result = all.result(ticket.records);
            self.in_flight_bytes.fetch_sub(ticket.bytes, Ordering::AcqRel);
            self.acks().push_back(Ack { ticket: ticket.ticket, result });
        }
    }
}

/// What a delivery report belongs to.
#[derive(Debug)]
enum Parcel {
    Record {
        /// Whose it is.
        ticket: Arc<Ticket>,
        /// Which of the append's records.
        place: u32,
    },
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
    type DeliveryOpaque = Box<Parcel>;

    fn delivery(&self, result: &DeliveryResult<'_>, parcel: Box<Parcel>) {
        match &*parcel {
            Parcel::Record { ticket, place } => {
                let failed = Delivered::of(result).failed();
                self.desk.settle(ticket, failed.map(|why| (*place, why)));
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
    /// The lane of each partition of the events topic: its leader's number among the leaders, as of connecting. After a
    /// leader has moved a lane feeds two brokers, which costs pacing, never an ack.
    lanes: Vec<usize>,
    /// Rung by what comes for `acks`, and by an append that had its outcome at once.
    waker: Arc<Waker>,
    /// These two before the producer, which must outlive them.
    topics: OutTopics,
    events: EventBell,
    producer: BaseProducer<AppendContext>,
    registry: Option<Arc<Registry>>,
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
        let leaders = connect::leaders(probe.client(), config, Topic::Events)?;
        let desk = Arc::new(Desk::default());
        let names: Vec<String> = Topic::ALL.iter().map(|t| config.topic(*t)).collect();
        let producer = Self::producer(config, &desk)?;
        let waker = Arc::new(Waker::default());
        Ok(Self {
            topics: Self::topics(&producer, &names)?,
            events: Self::events(&producer, &waker)?,
            waker,
            producer,
            registry: Registry::connect(config)?,
            config: config.clone(),
            names,
            lanes: lanes_of(partitions, &leaders),
            desk,
        })
    }

    fn producer(config: &KafkaConfig, desk: &Arc<Desk>) -> Result<BaseProducer<AppendContext>, ConnectError> {
        let mut client = config.producer(config.limits.append_memory)?;
        client.set("delivery.timeout.ms", config.timeouts.append.ms().to_string());
        client
            .create_with_context(AppendContext { desk: Arc::clone(desk) })
            .map_err(|e| ConnectError::client("making the producer", e))
    }

    fn topics(producer: &BaseProducer<AppendContext>, names: &[String]) -> Result<OutTopics, ConnectError> {
        OutTopics::new(producer.client(), names)
            .ok_or_else(|| ConnectError::refused("making the topics of the producer", "out of memory"))
    }

    fn events(producer: &BaseProducer<AppendContext>, waker: &Arc<Waker>) -> Result<EventBell, ConnectError> {
        EventBell::new(producer.client(), Arc::clone(waker))
            .ok_or_else(|| ConnectError::refused("making the event queue of the producer", "out of memory"))
    }

    /// Hears what the client has to tell: outcomes go to the desk.
    fn serve(&self) {
        while self.events.waiting() > 0 {
            self.producer.poll(Duration::ZERO); // one event
        }
    }

    /// A producer that lost its sequence (a fatal error) is replaced; devices send again what was not
    /// acknowledged, and their seq keeps it single.
    fn renew_if_broken(&mut self) -> Result<(), AppendError> {
        let Some((code, text)) = self.producer.client().fatal_error() else { return Ok(()) };
        tracing::warn!(%code, text, "the producer cannot go on and is replaced");
        let failed = |e| AppendError::Failed(format!("{code}: {text}; and a new producer: {e}"));
        let producer = Self::producer(&self.config, &self.desk).map_err(failed)?;
        let topics = Self::topics(&producer, &self.names).map_err(failed)?;
        (self.events, self.topics) = (Self::events(&producer, &self.waker).map_err(failed)?, topics);
        self.producer = producer;
        Ok(())
    }

    /// One record with its headers, which the batch call cannot take.
    fn send_one(&self, records: &Outputs, record: &OutRecord, parcel: Box<Parcel>) -> Result<(), KafkaError> {
        let mut to_send: BaseRecord<'_, [u8], [u8], Box<Parcel>> =
            BaseRecord::with_opaque_to(&self.names[record.topic as usize], parcel)
                .partition(record.partition as i32);
        to_send.key = records.key(record);
        to_send.payload = records.value(record);
        to_send.headers = headers_of(records, record);
        self.producer.send(to_send).map_err(|(error, _)| error)
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
        let framed = self.registry.as_ref().map(|registry| {
            let mut framed = records.clone();
            registry.frame(&mut framed);
            framed
        });
        let records = framed.as_ref().unwrap_or(records);
        let ticket = &Arc::new(Ticket {
            ticket,
            bytes,
            records: records.len(),
            open: AtomicUsize::new(records.len() + 1),
            failed: Mutex::default(),
        });
        self.desk.in_flight_bytes.fetch_add(bytes, Ordering::AcqRel);
        let parcel = |place| Box::new(Parcel::Record { ticket: Arc::clone(ticket), place });
        // Partition by partition, each in order: what goes by one call goes in one request.
        let mut order: Vec<(u32, &OutRecord)> = (0..).zip(records.records()).collect();
        order.sort_by_key(|(_, r)| (r.topic as usize, r.partition));
        for alike in order.chunk_by(|(_, a), (_, b)| {
            (a.topic, a.partition) == (b.topic, b.partition)
                && !records.has_headers(a)
                && !records.has_headers(b)
        }) {
            let ((place, first), desk) = (alike[0], &self.desk);
            let at = || format!("{}[{}]", self.names[first.topic as usize], first.partition);
            if records.has_headers(first) {
                if let Err(error) = self.send_one(records, first, parcel(place)) {
                    desk.settle(ticket, Some((place, format!("{}: {error}", at()))));
                }
                continue;
            }
            let each = alike.iter().map(|(place, r)| (records.key(r), records.value(r), parcel(*place)));
            let mut refused = |own, code| {
                if let Parcel::Record { ticket, place } = own {
                    desk.settle(&ticket, Some((place, format!("{}: {code}", at()))));
                }
            };
            self.topics.send_each(first.topic as usize, first.partition, each, &mut refused);
        }
        self.desk.settle(ticket, None);
        if !self.desk.acks().is_empty() {
            self.waker.ring();
        }
        Ok(())
    }

    fn wake_by(&mut self, bell: Bell) {
        self.waker.ring_beside(bell);
    }

    fn acks(&mut self, wait: Duration, out: &mut Vec<Ack>) {
        self.serve();
        if !wait.is_zero() && self.desk.acks().is_empty() {
            self.waker.wait(wait);
            self.serve();
        }
        out.extend(self.desk.acks().drain(..));
    }

    fn partitions(&self) -> u32 {
        self.lanes.len() as u32
    }

    fn lanes(&self) -> usize {
        self.lanes.iter().max().map_or(1, |last| last + 1)
    }

    fn lane_of(&self, partition: u32) -> usize {
        self.lanes.get(partition as usize).copied().unwrap_or(0)
    }

    fn ask_time(&mut self) {
        let name = self.config.clock_topic();
        let heartbeat: BaseRecord<'_, [u8], [u8], Box<Parcel>> =
            BaseRecord::with_opaque_to(&name, Box::new(Parcel::Heartbeat)).payload(&[]);
        if let Err((error, _)) = self.producer.send(heartbeat) {
            *self.desk.time.lock().unwrap_or_else(PoisonError::into_inner) = Some(Err(error.to_string()));
            self.waker.ring();
        }
    }

    fn time(&mut self) -> Option<Result<i64, String>> {
        self.desk.time.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Leaders numbered from 0 by their broker ids; a partition without one joins the first.
fn lanes_of(partitions: u32, leaders: &[(u32, i32)]) -> Vec<usize> {
    let mut ids: Vec<i32> = leaders.iter().map(|(_, id)| *id).filter(|id| *id >= 0).collect();
    ids.sort_unstable();
    ids.dedup();
    let lane = |p| leaders.iter().find(|(of, _)| *of == p).and_then(|(_, id)| ids.binary_search(id).ok());
    (0..partitions).map(|p| lane(p).unwrap_or(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(records: usize) -> Ticket {
        let (open, failed) = (AtomicUsize::new(records), Mutex::default());
        Ticket { ticket: 7, bytes: 10, records, open, failed }
    }

    #[test]
    fn each_leader_has_a_lane() {
        let leaders = [(2, 7), (0, 3), (1, 7), (3, -1)];
        assert_eq!(lanes_of(5, &leaders), vec![0, 1, 1, 0, 0]);
        assert_eq!(lanes_of(2, &[]), vec![0, 0]);
    }

    #[test]
    fn a_ticket_has_one_ack_after_its_last_record() {
        let desk = Desk::default();
        let failed = |place, why: &str| Some((place, why.to_owned()));
        let partly =
            |records: &[u32], why: &str| AppendError::Partly { records: records.into(), why: why.into() };
        for (outcomes, want) in [
            (vec![None, None], Ok(())),
            (vec![failed(1, "refused"), failed(0, "later")], Err(AppendError::Failed("refused".into()))),
            (vec![failed(2, "refused"), None, failed(0, "later")], Err(partly(&[0, 2], "refused"))),
        ] {
            desk.in_flight_bytes.store(10, Ordering::Release);
            let ticket = ticket(outcomes.len());
            for outcome in outcomes {
                assert!(desk.acks().is_empty());
                desk.settle(&ticket, outcome);
            }
            assert_eq!(desk.acks().drain(..).collect::<Vec<_>>(), vec![Ack { ticket: 7, result: want }]);
            assert_eq!(desk.in_flight_bytes.load(Ordering::Acquire), 0);
        }
    }
}
