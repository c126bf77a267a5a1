//! How a scenario's batches reach the log: through the real ingest as devices send them, or appended by a
//! foreign producer where a step asks for what ingest would not do (another arrival, another partition,
//! garbage).
//!
//! Owns: lanes (a thread each; the batches of one stream stay in order) and the repetition of what was not
//! acknowledged. Never: a batch that is given up; a scenario that cannot be sent fails.

use anyhow::{Context, bail, ensure};
use evenkeel_codec::encode_batch;
use evenkeel_kafka::{KafkaAppender, KafkaConfig};
use evenkeel_model::{EventBatch, Topic, partition_of};
use evenkeel_seam::{Appender, Outputs};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Threads that send.
const LANES: u32 = 4;
/// Nothing that a scenario does keeps a batch from the log for so long.
const DEADLINE: Duration = Duration::from_secs(120);
/// Wait before something is sent again.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// What is sent.
#[derive(Debug)]
pub enum Parcel {
    /// To ingest, which stamps its arrival.
    Post(EventBatch),
    /// To a partition of `events`.
    Append {
        /// The partition.
        partition: u32,
        /// The stream, also the key.
        stream_id: String,
        /// The record.
        value: Vec<u8>,
    },
}

/// The lanes of one scenario.
pub struct Senders {
    lanes: Vec<Sender<(Instant, Parcel)>>,
    desk: Arc<Desk>,
}

#[derive(Debug, Default)]
struct Desk {
    waiting: AtomicUsize,
    posted: AtomicU64,
    appended: AtomicU64,
    /// Longest time from the step to the acknowledgement, ms.
    slip_ms: AtomicU64,
    /// Streams of which something was sent again: the log may hold it twice.
    again: Mutex<BTreeSet<String>>,
    failed: Mutex<Vec<String>>,
}

/// What was sent so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sent {
    /// Through ingest.
    pub posted: u64,
    /// By a foreign producer.
    pub appended: u64,
    /// Longest time from the step to the acknowledgement, ms.
    pub slip_ms: i64,
    /// Streams of which something was sent again.
    pub again: BTreeSet<String>,
}

impl Senders {
    /// Lanes to an ingest (`host:port`) and a log.
    pub fn new(ingest: &str, kafka: &KafkaConfig) -> anyhow::Result<Self> {
        let desk = Arc::new(Desk::default());
        let mut lanes = Vec::new();
        for number in 0..LANES {
            let (lane, parcels) = channel();
            let (ingest, kafka, desk) = (ingest.to_owned(), kafka.clone(), Arc::clone(&desk));
            let name = format!("lane-{number}");
            std::thread::Builder::new()
                .name(name)
                .spawn(move || Lane { ingest, kafka, appender: None, desk, sent: 0 }.run(&parcels))?;
            lanes.push(lane);
        }
        Ok(Self { lanes, desk })
    }

    /// Takes a parcel; it leaves behind those of its stream.
    pub fn send(&self, parcel: Parcel) {
        self.desk.waiting.fetch_add(1, Ordering::AcqRel);
        let lane = partition_of(parcel.stream_id(), LANES) as usize;
        let _ = self.lanes[lane].send((Instant::now(), parcel));
    }

    /// Whether everything is acknowledged; an error if something never will be.
    pub fn is_idle(&self) -> anyhow::Result<bool> {
        let failed = self.desk.failed.lock().unwrap_or_else(PoisonError::into_inner);
        ensure!(failed.is_empty(), "not sent: {failed:#?}");
        Ok(self.desk.waiting.load(Ordering::Acquire) == 0)
    }

    /// What was sent so far.
    pub fn sent(&self) -> Sent {
        Sent {
            posted: self.desk.posted.load(Ordering::Acquire),
            appended: self.desk.appended.load(Ordering::Acquire),
            slip_ms: self.desk.slip_ms.load(Ordering::Acquire) as i64,
            again: self.desk.again.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

impl Parcel {
    fn stream_id(&self) -> &str {
        match self {
            Self::Post(batch) => &batch.stream_id,
            Self::Append { stream_id, .. } => stream_id,
        }
    }
}

struct Lane {
    ingest: String,
    kafka: KafkaConfig,
    appender: Option<KafkaAppender>,
    desk: Arc<Desk>,
    sent: u64,
}

impl Lane {
    fn run(mut self, parcels: &Receiver<(Instant, Parcel)>) {
        for (since, parcel) in parcels {
            if let Err(error) = self.deliver(&parcel) {
                let text = format!("{}: {error:#}", parcel.stream_id());
                self.desk.failed.lock().unwrap_or_else(PoisonError::into_inner).push(text);
            }
            self.desk.slip_ms.fetch_max(since.elapsed().as_millis() as u64, Ordering::AcqRel);
            self.desk.waiting.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Sends until it is acknowledged, as a device does.
    fn deliver(&mut self, parcel: &Parcel) -> anyhow::Result<()> {
        let began = Instant::now();
        self.sent += 1;
        loop {
            let outcome = match parcel {
                Parcel::Post(batch) => self.post(batch),
                Parcel::Append { partition, stream_id, value } => self.append(*partition, stream_id, value),
            };
            match outcome {
                Ok(()) => return Ok(()),
                Err(error) if began.elapsed() > DEADLINE => return Err(error.context("never acknowledged")),
                Err(_) => {
                    let mut again = self.desk.again.lock().unwrap_or_else(PoisonError::into_inner);
                    again.insert(parcel.stream_id().to_owned());
                }
            }
            std::thread::sleep(AGAIN_AFTER);
        }
    }

    /// One request, in turn as one batch of Avro and as lines of JSON.
    fn post(&self, batch: &EventBatch) -> anyhow::Result<()> {
        let (kind, body) = match self.sent.is_multiple_of(2) {
            true => ("application/x-ndjson", lines_of(batch).into_bytes()),
            false => {
                let mut body = Vec::new();
                encode_batch(batch, &mut body);
                ("application/vnd.evenkeel.batch+avro", body)
            }
        };
        let mut stream = TcpStream::connect(&self.ingest)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        write!(
            stream,
            "POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-type: {kind}\r\nconnection: close\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        )?;
        stream.write_all(&body)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let json = answer.split_once("\r\n\r\n").context("a body")?.1;
        let json: serde_json::Value = serde_json::from_str(json)?;
        ensure!(json["accepted"].as_u64() == Some(batch.len() as u64), "{answer}");
        self.desk.posted.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    fn append(&mut self, partition: u32, key: &str, value: &[u8]) -> anyhow::Result<()> {
        let appender = match &mut self.appender {
            Some(appender) => appender,
            none => none.insert(KafkaAppender::connect(&self.kafka)?),
        };
        let mut records = Outputs::new();
        records.push(Topic::Events, partition, Some(key.as_bytes()), &[], |buf| buf.extend_from_slice(value));
        appender.append(&records, 1)?;
        let (mut acks, began) = (Vec::new(), Instant::now());
        while acks.is_empty() {
            ensure!(began.elapsed() < DEADLINE, "no outcome");
            appender.acks(Duration::from_millis(100), &mut acks);
        }
        match acks.remove(0).result {
            Ok(()) => {
                self.desk.appended.fetch_add(1, Ordering::AcqRel);
                Ok(())
            }
            Err(error) => bail!(error),
        }
    }
}

/// A batch as lines of JSON. Numbers are written so that they read back as they were, and fields in the order of
/// the columns: in which order a window meets its fields decides the last bits of its sums.
fn lines_of(batch: &EventBatch) -> String {
    let mut text = String::new();
    for row in 0..batch.len() {
        let id = serde_json::Value::from(batch.stream_id.as_str());
        let _ = write!(text, "{{\"stream_id\":{id},\"ts\":{}", batch.ts[row]);
        if let Some(seq) = batch.seq.get(row) {
            let _ = write!(text, ",\"seq\":{seq}");
        }
        let present = batch.fields.iter().filter_map(|column| Some((&column.name, column.value(row)?)));
        let fields: Vec<String> = present
            .map(|(name, x)| {
                format!("{}:{}", serde_json::Value::from(name.as_str()), serde_json::Value::from(x))
            })
            .collect();
        let _ = writeln!(text, ",\"fields\":{{{}}}}}", fields.join(","));
    }
    text
}
