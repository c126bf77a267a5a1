//! One service of a cluster in this process: over Kafka, and for the sink over the CQL store.
//!
//! Owns: the process's threads and their restart. A worker that was fenced rejoins as a new one, with a growing
//! wait and a bound; anything else that ends a worker ends the process, so that whoever supervises it sees it.

use crate::config::ClusterConfig;
use crate::failure::Failure;
use crate::live::{CqlHistory, KafkaSource, pages};
use evenkeel_chassis::admin::Admin;
use evenkeel_chassis::backoff::Backoff;
use evenkeel_chassis::drain::{Cause, Drain};
use evenkeel_chassis::exit::Exit;
use evenkeel_chassis::health::{Condition, Health};
use evenkeel_chassis::{memory, signals};
use evenkeel_coalescer as coalescer;
use evenkeel_cql::{CqlReader, CqlRows};
use evenkeel_gateway as gateway;
use evenkeel_ingest::{Edges, Ingest, Reread};
use evenkeel_kafka::{KafkaAppender, KafkaConfig, KafkaWorker, WorkerOptions};
use evenkeel_model::Topic;
use evenkeel_scorer::{self as scorer, live};
use evenkeel_seam::WorkerError;
use evenkeel_sink as sink;
use evenkeel_telemetry::{LogTo, Telemetry};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::runtime::Runtime;

/// What Kafka is called in traces.
const LOG_SYSTEM: &str = "kafka";
/// What a CQL store is called in traces, whichever server it is.
const STORE_SYSTEM: &str = "cassandra";

/// How often a fenced worker rejoins before the process gives up.
const REJOINS_MAX: u32 = 8;

/// What every service of a cluster has.
pub struct Process {
    runtime: Runtime,
    telemetry: Telemetry,
    drain: Drain,
    health: Health,
    ready: Condition,
    flush: Duration,
    grace: Duration,
    /// Names this process in transactional ids.
    instance: String,
}

impl Process {
    /// Telemetry, signals, admin endpoints. `threads`: for what is served to many.
    pub fn start(service: &'static str, config: &ClusterConfig, threads: usize) -> Result<Self, Failure> {
        let internal = |e: &dyn std::fmt::Display| Failure::new(Exit::Internal, format!("{service}: {e}"));
        let process = &config.process;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .enable_all()
            .build()
            .map_err(|e| internal(&e))?;
        let inside = runtime.enter();
        let name = format!("evenkeel-{service}");
        let settings = process.telemetry_settings(&name, env!("CARGO_PKG_VERSION"), "", LogTo::Stderr);
        let telemetry = Telemetry::start(&settings)?;
        memory::publish(telemetry.metrics());
        let drain = Drain::new(process.drain_grace.duration());
        signals::watch(drain.clone()).map_err(|e| internal(&e))?;
        let health = Health::new(telemetry.metrics().clone());
        let ready = health.condition(service);
        let bound = Admin::bind(&process.admin, health.clone(), telemetry.metrics().clone(), drain.clone());
        let admin = runtime.block_on(bound).map_err(|e| Failure::new(Exit::Usage, e))?;
        tracing::info!(address = %admin.address(), "admin endpoints");
        runtime.spawn(admin.serve());
        drop(inside);
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let instance = match process.telemetry.instance.as_str() {
            "" => format!("{}-{}", host.trim(), std::process::id()),
            named => named.to_owned(),
        };
        let flush = process.telemetry.flush_timeout.duration();
        let grace = process.drain_grace.duration();
        Ok(Self { runtime, telemetry, drain, health, ready, flush, grace, instance })
    }

    /// Ingest over Kafka until the drain is done.
    pub fn ingest(self, config: &ClusterConfig, reread: Reread) -> Result<Exit, Failure> {
        // Its clock stamps arrivals for the whole fleet: not ready before it was compared with the brokers'.
        let clock = self.health.condition("clock");
        let appender = KafkaAppender::connect(&config.kafka)?;
        let mut edges = Edges::system(self.telemetry.emitter().clone(), self.ready.clone(), LOG_SYSTEM);
        edges.clock = Some(clock);
        edges.reread = Some(reread);
        let listening = self.runtime.block_on(Ingest::new(config.ingest.clone(), Box::new(appender), edges));
        let ingest = listening.map_err(|e| Failure::new(Exit::Usage, format!("ingest cannot start: {e}")))?;
        println!("ingest   http://{}/v1/events", ingest.address());
        let drain = self.drain.clone();
        // On a thread of the runtime, where the connections are: no wake-up of another thread for each of their words.
        let serving = self.runtime.spawn(async move { ingest.run(&drain).await });
        let served = self.runtime.block_on(serving);
        self.telemetry.shutdown(self.flush);
        match served {
            Ok(Ok(())) => Ok(Exit::Ok),
            Ok(Err(error)) => Err(Failure::new(Exit::Internal, format!("ingest stopped: {error}"))),
            Err(error) => Err(Failure::new(Exit::Internal, format!("ingest panicked: {error}"))),
        }
    }

    /// The coalescer's workers until the drain is done.
    pub fn coalescer(self, config: &ClusterConfig) -> Result<Exit, Failure> {
        let workers = workers(config.coalescer.workers);
        let limit = memory::limit_bytes();
        let seed = RandomState::new().build_hasher().finish();
        let run = |index: usize| -> Result<(), Failure> {
            let writer = self.writer(coalescer::SERVICE, index);
            let options = config
                .coalescer
                .options(&writer, workers, limit, seed)
                .map_err(|e| Failure::new(Exit::Usage, e))?;
            let control = coalescer::Control {
                drain: self.drain.clone(),
                end: Arc::new(AtomicBool::new(false)),
                status: coalescer::StatusCell::default(),
                emitter: self.telemetry.emitter().of_worker(index),
                log_system: LOG_SYSTEM,
            };
            self.rejoin(|| {
                let mut worker = self.connect(config, coalescer::SERVICE, &writer, Topic::Events)?;
                self.ready.holds();
                match coalescer::run(&mut worker, options.clone(), &control) {
                    Ok(()) => Ok(Ended::Drained),
                    Err(coalescer::RunError::Worker(WorkerError::Fenced(why))) => Ok(Ended::Fenced(why)),
                    Err(error) => Err(crate::machine::MachineError::Coalescer(error).into()),
                }
            })
        };
        let outcome = self.run_all(workers, &run);
        self.telemetry.shutdown(self.flush); // the last spans and metrics
        outcome
    }

    /// The sink's workers until the drain is done.
    pub fn sink(self, config: &ClusterConfig) -> Result<Exit, Failure> {
        let (of_rows, of_scores) = (workers(config.sink.workers), usize::from(config.sink.score_workers));
        if of_scores > 0 {
            evenkeel_kafka::topics::Topics::connect(&config.kafka)?.check_also(Topic::Scores)?;
        }
        let run = |index: usize| -> Result<(), Failure> {
            let emitter = self.telemetry.emitter().of_worker(index);
            let (service, topic, index) = match index.checked_sub(of_rows) {
                None => (sink::SERVICE, Topic::Windows, index),
                Some(index) => (sink::SCORES, Topic::Scores, index),
            };
            let writer = self.writer(service, index);
            let control = sink::Control {
                topic,
                drain: self.drain.clone(),
                status: sink::StatusCell::default(),
                emitter,
                log_system: LOG_SYSTEM,
                store_system: STORE_SYSTEM,
            };
            let mut rows = CqlRows::open(&config.cql)?;
            self.rejoin(|| {
                let mut worker = self.connect(config, service, &writer, topic)?;
                self.ready.holds();
                let interval = config.sink.interval.duration();
                match sink::run(&mut worker, &mut rows, config.sink.options(), interval, &control) {
                    Ok(()) => Ok(Ended::Drained),
                    Err(sink::RunError::Worker(WorkerError::Fenced(why))) => Ok(Ended::Fenced(why)),
                    Err(error) => Err(crate::machine::MachineError::Sink(error).into()),
                }
            })
        };
        let outcome = self.run_all(of_rows + of_scores, &run);
        self.telemetry.shutdown(self.flush); // the last spans and metrics
        outcome
    }

    /// The gateway over Kafka and the CQL store until the drain is done.
    pub fn gateway(self, config: &ClusterConfig) -> Result<Exit, Failure> {
        let refused =
            |e: &dyn std::fmt::Display| Failure::new(Exit::Usage, format!("gateway cannot start: {e}"));
        let name = format!("evenkeel-gateway-{}", self.instance);
        let mut section = config.gateway.clone();
        if section.instance.is_empty() {
            section.instance.clone_from(&self.instance);
        }
        let source = KafkaSource::connect(&config.kafka, section.partition, &name)?;
        let history = CqlHistory(CqlReader::open(&config.cql)?);
        let edges = gateway::Edges {
            emitter: self.telemetry.emitter().clone(),
            ready: self.ready.clone(),
            clock: gateway::system_clock(),
            source: Box::new(source),
            histories: vec![Box::new(history)],
            pages: pages::PAGES.to_vec(),
            metrics_text: None,
        };
        let listening = self.runtime.block_on(gateway::Gateway::new(section, edges));
        let gateway = listening.map_err(|e| refused(&e))?;
        println!("live     http://{}/", gateway.address());
        let served = self.runtime.block_on(gateway.run(&self.drain));
        self.telemetry.shutdown(self.flush);
        served.map(|()| Exit::Ok).map_err(|e| Failure::new(Exit::Internal, format!("gateway stopped: {e}")))
    }

    /// The scorer's workers until the drain is done.
    pub fn scorer(self, config: &ClusterConfig) -> Result<Exit, Failure> {
        let settings = &config.scorer.live;
        let files = settings.model_files();
        let topics = evenkeel_kafka::topics::Topics::connect(&config.kafka)?;
        for topic in [Topic::Scores, Topic::Alerts] {
            topics.check_also(topic)?;
        }
        let run = |index: usize| -> Result<(), Failure> {
            let writer = self.writer(scorer::SERVICE, index);
            let control = live::Control {
                drain: self.drain.clone(),
                status: live::StatusCell::default(),
                emitter: self.telemetry.emitter().of_worker(index),
                interval: settings.interval.duration(),
                reload: Some((files.clone(), settings.reload.duration())),
            };
            self.rejoin(|| {
                let models = files.load().map_err(crate::machine::MachineError::Model)?;
                let options = settings
                    .options(&writer, models.columns.clone())
                    .map_err(crate::machine::MachineError::ScorerOptions)?;
                let mut worker = self.connect(config, scorer::SERVICE, &writer, Topic::Windows)?;
                self.ready.holds();
                match live::run(&mut worker, options, models, &control) {
                    Ok(()) => Ok(Ended::Drained),
                    Err(live::LiveRunError::Worker(WorkerError::Fenced(why))) => Ok(Ended::Fenced(why)),
                    Err(error) => Err(crate::machine::MachineError::Scorer(error).into()),
                }
            })
        };
        let outcome = self.run_all(workers(settings.workers), &run);
        self.telemetry.shutdown(self.flush); // the last metrics
        outcome
    }

    fn writer(&self, service: &str, index: usize) -> String {
        format!("evenkeel-{service}-{}-{index}", self.instance)
    }

    fn connect(
        &self,
        config: &ClusterConfig,
        service: &str,
        writer: &str,
        topic: Topic,
    ) -> Result<KafkaWorker, Failure> {
        let options = WorkerOptions {
            service: service.to_owned(),
            transactional_id: writer.to_owned(),
            topic,
            // Only traces are read from them, and they cost a call per record.
            headers: self.telemetry.emitter().traced(),
        };
        // Members of one group must ask for one topic: a group that was named is that of rows.
        let group = config.kafka.group.as_ref().filter(|_| service == sink::SCORES);
        let kafka = match group {
            Some(group) => KafkaConfig { group: Some(format!("{group}-scores")), ..config.kafka.clone() },
            None => config.kafka.clone(),
        };
        Ok(KafkaWorker::connect(&kafka, options)?)
    }

    /// Runs a worker until it is drained; a fenced one rejoins.
    fn rejoin(&self, mut once: impl FnMut() -> Result<Ended, Failure>) -> Result<(), Failure> {
        let backoff = Backoff { base: Duration::from_millis(200), cap: Duration::from_secs(10) };
        for attempt in 0..REJOINS_MAX {
            match once()? {
                Ended::Drained => return Ok(()),
                Ended::Fenced(why) => {
                    tracing::warn!(why, attempt, "fenced by a newer worker; rejoining");
                    let wait = backoff.wait(attempt + 1, RandomState::new().build_hasher().finish());
                    std::thread::sleep(wait.min(self.grace));
                }
            }
            if self.drain.is_draining() {
                return Ok(());
            }
        }
        Err(Failure::new(
            Exit::Fenced,
            "fenced again and again: does another process use the same instance name?",
        ))
    }

    /// Runs all workers; the first failure drains the others and is the process's.
    fn run_all(
        &self,
        workers: usize,
        run: &(dyn Fn(usize) -> Result<(), Failure> + Sync),
    ) -> Result<Exit, Failure> {
        let outcomes: Vec<Result<(), Failure>> = std::thread::scope(|scope| {
            let spawned: Vec<_> = (0..workers)
                .map(|index| {
                    scope.spawn(move || {
                        let outcome = run(index);
                        if outcome.is_err() {
                            self.drain.begin(Cause::Failed);
                        }
                        outcome
                    })
                })
                .collect();
            let panicked =
                || Failure::new(Exit::Internal, "a worker panicked; this is a defect, please report it");
            spawned.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(panicked()))).collect()
        });
        outcomes.into_iter().collect::<Result<Vec<()>, Failure>>()?;
        Ok(Exit::Ok)
    }
}

/// How a worker's run ended without an error.
enum Ended {
    Drained,
    Fenced(String),
}

/// 0 = one per CPU.
fn workers(configured: u16) -> usize {
    match configured {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        n => usize::from(n),
    }
}
