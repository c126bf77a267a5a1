//! One worker under test: everything it was told, kept; waits for what a test expects.

use evenkeel_kafka::topics::{DECLARED, Topics, TopicsSpec};
use evenkeel_kafka::{KafkaAppender, KafkaConfig, KafkaWorker, Millis, WorkerOptions};
use evenkeel_live::parts::kafka::{KafkaPart, fresh_prefix};
use evenkeel_model::Topic;
use evenkeel_seam::{
    Ack, Appender, Commit, CommitMeta, Header, LogAction, LogInput, Outputs, Position, TxnResult, Worker,
    WorkerError,
};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Nothing in these tests takes near as long.
pub const DEADLINE: Duration = Duration::from_secs(180);

/// What a worker was told, owned.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    Assigned { partition: u32, partitions: u32, committed: Option<Position> },
    Record { partition: u32, topic: Topic, offset: u64, value: String, headers: Vec<(String, String)> },
    AtEnd { partition: u32, next: u64 },
    Done(TxnResult),
    Revoking { partitions: Vec<u32>, lost: bool },
}

/// A configuration on the shared broker with topics of its own.
pub fn fresh(test: &str, partitions: u32) -> KafkaConfig {
    let part = KafkaPart::shared().unwrap();
    on(part.address(), test, partitions)
}

/// The same on a given broker.
pub fn on(brokers: &str, test: &str, partitions: u32) -> KafkaConfig {
    let mut config =
        KafkaConfig { brokers: brokers.to_owned(), prefix: fresh_prefix(test), ..Default::default() };
    config.timeouts.connect = Millis::new(60_000);
    let spec = TopicsSpec::parse(DECLARED).unwrap().with_partitions(partitions).for_one_broker();
    let created = Topics::connect(&config).unwrap().create(&spec).unwrap();
    assert_eq!(created.created.len(), Topic::ALL.len() + 1, "and the clock");
    config
}

pub struct Member {
    pub worker: KafkaWorker,
    pub told: Vec<Told>,
    /// How far `wait_for` has looked.
    seen: usize,
    pub outputs: Outputs,
}

impl Member {
    pub fn join(config: &KafkaConfig, topic: Topic, id: &str) -> Self {
        let options = WorkerOptions {
            service: "coalescer".into(),
            transactional_id: format!("{}-{id}", config.prefix),
            topic,
            headers: true,
        };
        let worker = KafkaWorker::connect(config, options).unwrap();
        Self { worker, told: Vec::new(), seen: 0, outputs: Outputs::new() }
    }

    pub fn poll(&mut self, wait: Duration) -> Result<(), WorkerError> {
        let told = &mut self.told;
        self.worker.poll(wait, &mut |input| note(told, input))
    }

    /// Polls until something not looked at before fits.
    pub fn wait_for<T>(&mut self, what: &str, fits: impl Fn(&Told) -> Option<T>) -> T {
        let deadline = Instant::now() + DEADLINE;
        loop {
            while self.seen < self.told.len() {
                self.seen += 1;
                if let Some(found) = fits(&self.told[self.seen - 1]) {
                    return found;
                }
            }
            assert!(Instant::now() < deadline, "no {what} in time; told: {:#?}", self.told);
            self.poll(Duration::from_millis(50)).unwrap();
        }
    }

    pub fn assigned(&mut self) -> (u32, Option<Position>) {
        self.wait_for("assignment", |told| match told {
            Told::Assigned { partition, committed, .. } => Some((*partition, committed.clone())),
            _ => None,
        })
    }

    pub fn record(&mut self) -> (u32, u64, String) {
        self.wait_for("record", |told| match told {
            Told::Record { partition, offset, value, .. } => Some((*partition, *offset, value.clone())),
            _ => None,
        })
    }

    pub fn at_end(&mut self) -> (u32, u64) {
        self.wait_for("end of the log", |told| match told {
            Told::AtEnd { partition, next } => Some((*partition, *next)),
            _ => None,
        })
    }

    pub fn done(&mut self) -> TxnResult {
        self.wait_for("outcome", |told| match told {
            Told::Done(result) => Some(result.clone()),
            _ => None,
        })
    }

    pub fn act(&mut self, action: LogAction) {
        self.worker.perform(action).unwrap();
    }

    pub fn start(&mut self, partition: u32, from: Option<u64>) {
        self.act(LogAction::Start { partition, from });
    }

    /// Takes the next assignment and starts where it was committed.
    pub fn start_assigned(&mut self) -> (u32, Option<u64>) {
        let (partition, committed) = self.assigned();
        let from = committed.map(|c| c.offset);
        self.start(partition, from);
        (partition, from)
    }

    /// Polls and does what a driver without state would do: start what is assigned, release what is
    /// revoked. Until something told from now on fits.
    pub fn drive_until<T>(&mut self, what: &str, fits: impl Fn(&Told) -> Option<T>) -> T {
        let next = |told: &Told| match told {
            Told::Assigned { .. } | Told::Revoking { .. } => Some(Err(told.clone())),
            told => fits(told).map(Ok),
        };
        loop {
            match self.wait_for(what, next) {
                Ok(found) => return found,
                Err(Told::Assigned { partition, committed, .. }) => {
                    self.start(partition, committed.map(|c| c.offset));
                }
                Err(Told::Revoking { partitions, .. }) => {
                    partitions.iter().for_each(|p| self.act(LogAction::Release { partition: *p }));
                }
                Err(_) => {}
            }
        }
    }

    /// Starts a commit of `self.outputs` and one position with metadata.
    pub fn commit(&mut self, partition: u32, offset: u64) {
        let position = Position { partition, offset, meta: Some(meta(offset)) };
        let outputs = std::mem::take(&mut self.outputs);
        self.act(LogAction::Commit(Commit { outputs, positions: vec![position] }));
    }

    /// The same, and waits for the commit.
    pub fn committed(&mut self, partition: u32, offset: u64) -> CommitMeta {
        self.commit(partition, offset);
        match self.done() {
            TxnResult::Committed(written) => {
                assert_eq!(written[0].0, partition);
                written[0].1.clone().unwrap()
            }
            TxnResult::Aborted { error } => panic!("aborted: {error}"),
        }
    }

    pub fn row(&mut self, partition: u32, text: &str) {
        self.outputs.push(Topic::Windows, partition, Some(b"s"), &[], |buf| {
            buf.extend_from_slice(text.as_bytes());
        });
    }

    /// Values of all records of a topic that were handed over, in order.
    pub fn values(&self, of: Topic) -> Vec<String> {
        let values = self.told.iter().filter_map(|told| match told {
            Told::Record { topic, value, .. } if *topic == of => Some(value.clone()),
            _ => None,
        });
        values.collect()
    }
}

pub fn meta(offset: u64) -> CommitMeta {
    CommitMeta { replay_from: offset, floor: -5, partitions: 1, epoch: 3, ..CommitMeta::default() }
}

fn note(told: &mut Vec<Told>, input: LogInput<'_>) {
    match input {
        LogInput::Assigned { partition, partitions, committed } => {
            told.push(Told::Assigned { partition, partitions, committed });
        }
        LogInput::Records { partition, topic, records, next, at_end } => {
            for record in records {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                told.push(Told::Record {
                    partition,
                    topic,
                    offset: record.offset,
                    value: record.value.map(text).unwrap_or_default(),
                    headers: record.headers.iter().map(|h| (h.name.to_owned(), text(h.value))).collect(),
                });
            }
            if at_end {
                told.push(Told::AtEnd { partition, next });
            }
        }
        LogInput::ReadDone { .. } | LogInput::Sent { .. } => {}
        LogInput::TxnDone { result, .. } => told.push(Told::Done(result)),
        LogInput::Revoking { partitions, lost } => told.push(Told::Revoking { partitions, lost }),
    }
}

/// Appends one record per value to a partition of events, and waits for the acknowledgement.
pub fn send(appender: &mut KafkaAppender, partition: u32, values: &[&str]) {
    let mut records = Outputs::new();
    for value in values {
        let header = Header { name: "traceparent", value: b"00-1" };
        records.push(Topic::Events, partition, Some(b"s"), &[header], |buf| {
            buf.extend_from_slice(value.as_bytes());
        });
    }
    appender.append(&records, 1).unwrap();
    assert_eq!(acks(appender, 1), vec![Ack { ticket: 1, result: Ok(()) }]);
}

/// Waits for that many acks.
pub fn acks(appender: &mut KafkaAppender, n: usize) -> Vec<Ack> {
    let (mut out, deadline) = (Vec::new(), Instant::now() + DEADLINE);
    while out.len() < n {
        assert!(Instant::now() < deadline, "{} of {n} acks", out.len());
        appender.acks(Duration::from_millis(100), &mut out);
    }
    out
}

/// Drives two members at once until `done` says so.
pub fn both(
    a: &mut Member,
    b: &mut Member,
    what: &str,
    mut done: impl FnMut(&mut Member, &mut Member) -> bool,
) {
    let deadline = Instant::now() + DEADLINE;
    while !done(a, b) {
        assert!(Instant::now() < deadline, "no {what} in time; a: {:#?}\nb: {:#?}", a.told, b.told);
        a.poll(Duration::from_millis(20)).unwrap();
        b.poll(Duration::from_millis(20)).unwrap();
    }
}

/// The partitions a member was assigned and did not lose.
pub fn holds(member: &Member) -> BTreeSet<u32> {
    let mut held = BTreeSet::new();
    for told in &member.told {
        match told {
            Told::Assigned { partition, .. } => {
                held.insert(*partition);
            }
            Told::Revoking { partitions, .. } => held.retain(|p| !partitions.contains(p)),
            _ => {}
        }
    }
    held
}
