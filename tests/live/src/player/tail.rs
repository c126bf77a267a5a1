//! Reads a topic from its beginning and goes on, with the product's own worker: committed records only.
//!
//! Owns: where it is; a record is told once, also when the group starts anew (a frozen broker ends sessions).
//! Never: commits anything.

use anyhow::{Context, anyhow};
use evenkeel_kafka::{KafkaConfig, KafkaWorker, TopicNames, WorkerOptions};
use evenkeel_model::Topic;
use evenkeel_seam::{LogAction, LogInput, RecordRef, Worker, WorkerError};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The broker's own topic of committed offsets.
const OFFSETS_TOPIC: &str = "__consumer_offsets";
/// How long a worker may take to begin, over and over.
const DEADLINE: Duration = Duration::from_secs(90);

/// A reader of one topic.
pub struct Tail {
    config: KafkaConfig,
    options: WorkerOptions,
    worker: KafkaWorker,
    /// Partitions of the topic, once one is assigned.
    partitions: Option<u32>,
    next: BTreeMap<u32, u64>,
    /// When the end of each partition was last seen.
    ends: BTreeMap<u32, Instant>,
}

impl Tail {
    /// A reader of one of our topics.
    pub fn of(config: &KafkaConfig, topic: Topic) -> anyhow::Result<Self> {
        Self::begin(config.clone(), topic, &format!("witness-{topic}"))
    }

    /// A reader of the commits of every group.
    pub fn of_offsets(config: &KafkaConfig) -> anyhow::Result<Self> {
        let name = || Some(OFFSETS_TOPIC.to_owned());
        let topic_names = TopicNames {
            events: name(),
            windows: name(),
            marks: name(),
            dlq: name(),
            clock: name(),
            ..TopicNames::default()
        };
        let config = KafkaConfig { topic_names, ..config.clone() };
        Self::begin(config, Topic::Events, "witness-offsets")
    }

    fn begin(config: KafkaConfig, topic: Topic, service: &str) -> anyhow::Result<Self> {
        let options = WorkerOptions {
            service: service.to_owned(),
            transactional_id: format!("{}-{service}", config.prefix),
            topic,
            headers: true,
        };
        let worker = connect(&config, &options)?;
        let (next, ends) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { config, options, worker, partitions: None, next, ends })
    }

    /// Hands over what is new, waiting up to `wait` for it.
    pub fn poll(&mut self, wait: Duration, each: &mut dyn FnMut(u32, &RecordRef<'_>)) -> anyhow::Result<()> {
        let mut answers = Vec::new();
        let (partitions, known, ends) = (&mut self.partitions, &mut self.next, &mut self.ends);
        let polled = self.worker.poll(wait, &mut |input| match input {
            LogInput::Assigned { partition, partitions: of, .. } => {
                *partitions = Some(of);
                answers.push(LogAction::Start { partition, from: known.get(&partition).copied() });
            }
            LogInput::Revoking { partitions, .. } => {
                partitions.iter().for_each(|p| {
                    ends.remove(p);
                });
                answers.extend(partitions.into_iter().map(|partition| LogAction::Release { partition }));
            }
            LogInput::Records { partition, records, next, at_end, .. } => {
                let from = known.entry(partition).or_default();
                records.iter().filter(|record| record.offset >= *from).for_each(|r| each(partition, r));
                *from = next.max(*from);
                if at_end {
                    ends.insert(partition, Instant::now());
                }
            }
            LogInput::ReadDone { .. } | LogInput::TxnDone { .. } => {}
        });
        let mut performed = polled;
        for action in answers {
            performed = performed.and_then(|()| self.worker.perform(action));
        }
        match performed {
            Ok(()) => Ok(()),
            Err(WorkerError::Fenced(_) | WorkerError::Fatal(_)) => {
                self.ends.clear();
                self.worker = connect(&self.config, &self.options)?;
                Ok(())
            }
        }
    }

    /// Whether the end of every partition was seen later than `since`.
    pub fn is_at_end(&self, since: Instant) -> bool {
        let seen = self.ends.values().filter(|at| **at > since).count();
        self.partitions.is_some_and(|partitions| seen == partitions as usize)
    }
}

fn connect(config: &KafkaConfig, options: &WorkerOptions) -> anyhow::Result<KafkaWorker> {
    let began = Instant::now();
    loop {
        // The broker makes its topic of offsets when the first group commits.
        match KafkaWorker::connect(config, options.clone()) {
            Ok(worker) => return Ok(worker),
            Err(error) if began.elapsed() > DEADLINE => {
                return Err(anyhow!(error))
                    .with_context(|| format!("{} of {}", options.service, config.prefix));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(200)),
        }
    }
}
