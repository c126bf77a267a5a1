//! Everything on one machine: the embedded log and store, the coalescer's, the sink's and (where there is a model or
//! a rule) the scorer's worker on threads of their own. `run`, `run --input` and `demo` are this with another front.
//!
//! Owns: the threads. Never: what a service decides.

use evenkeel_chassis::drain::{Cause, Drain};
use evenkeel_coalescer as coalescer;
use evenkeel_local::Local;
use evenkeel_model::Topic;
use evenkeel_scorer::live;
use evenkeel_sink as sink;
use evenkeel_telemetry::Emitter;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Configuration of the services of one machine.
#[derive(Debug, Clone)]
pub struct Services {
    /// The coalescer's.
    pub coalescer: coalescer::Config,
    /// The sink's.
    pub sink: sink::Config,
    /// The scorer's, if there is a model or a rule.
    pub scorer: Option<live::LiveConfig>,
}

/// Why the machine could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// Configuration.
    #[error(transparent)]
    Options(#[from] coalescer::OptionsError),
    /// The log or store.
    #[error("the embedded log cannot be used: {0}")]
    Log(String),
    /// The system gives no thread.
    #[error("no thread could be started: {0}")]
    Thread(#[from] std::io::Error),
    /// A service failed.
    #[error("the coalescer stopped: {0}")]
    Coalescer(coalescer::RunError),
    /// A service failed.
    #[error("the sink stopped: {0}")]
    Sink(sink::RunError),
    /// The scorer's configuration.
    #[error("{0}")]
    ScorerOptions(live::LiveError),
    /// A model.
    #[error("{0}")]
    Model(live::ModelError),
    /// A service failed.
    #[error("the scorer stopped: {0}")]
    Scorer(live::LiveRunError),
    /// A thread panicked: a defect.
    #[error("the thread of the {0} panicked; this is a defect, please report it with the lines above")]
    Panicked(&'static str),
    /// The store takes no rows.
    #[error("the store takes no rows: {0}; nothing is lost: the same command goes on from there")]
    StoreAway(String),
    /// Something did not become quiet in time.
    #[error("the {0} did not finish within {1:?}")]
    Timeout(&'static str, Duration),
}

/// The running services of one machine.
#[derive(Debug)]
pub struct Machine {
    /// How the coalescer stands.
    pub coalescer: coalescer::StatusCell,
    /// How the sink stands.
    pub sink: sink::StatusCell,
    end: Arc<AtomicBool>,
    coalescer_drain: Drain,
    sink_drain: Drain,
    coalescer_thread: JoinHandle<Result<(), coalescer::RunError>>,
    sink_thread: JoinHandle<Result<(), sink::RunError>>,
    scores: Option<Scores>,
}

/// The scorer, and the sink of what it says.
#[derive(Debug)]
struct Scores {
    status: live::StatusCell,
    scorer: JoinHandle<Result<(), live::LiveRunError>>,
    /// `None` = scores stay in their topic.
    sink: Option<JoinHandle<Result<(), sink::RunError>>>,
    /// Begins once the scorer has left.
    sink_drain: Drain,
}

/// How long a store may refuse rows, without any movement, before whoever waits for it is told.
const STORE_PATIENCE: Duration = Duration::from_secs(10);

/// What the embedded log is called in traces.
pub const LOG_SYSTEM: &str = "evenkeel";
/// What the embedded store is called there.
const STORE_SYSTEM: &str = "sqlite";
/// The consumer groups of the embedded log.
pub const COALESCER_GROUP: &str = "coalescer";
/// See [`COALESCER_GROUP`].
pub const SINK_GROUP: &str = "sink";
/// See [`COALESCER_GROUP`].
pub const SCORER_GROUP: &str = "scorer";

impl Machine {
    /// Starts one coalescer worker and one sink worker over all partitions. `memory_limit`: what the process
    /// may use, bytes; `hash_seed`: keys the hash of stream ids; `grace`: the time a drain may take.
    pub fn start(
        local: &Local,
        services: &Services,
        emitter: &Emitter,
        memory_limit: Option<u64>,
        hash_seed: u64,
        grace: Duration,
    ) -> Result<Self, MachineError> {
        let options = services.coalescer.options("embedded-coalescer", 1, memory_limit, hash_seed)?;
        let log = |error: &dyn std::fmt::Display| MachineError::Log(error.to_string());
        let mut events = local.worker(COALESCER_GROUP, Topic::Events).map_err(|e| log(&e))?;
        let mut windows = local.worker(SINK_GROUP, Topic::Windows).map_err(|e| log(&e))?;
        let mut rows = local.rows();
        events.read_headers(emitter.traced());
        windows.read_headers(emitter.traced());
        let (coalescer_drain, sink_drain) = (Drain::new(grace), Drain::new(grace));
        // First, because its files may not be what they should.
        let scores = match &services.scorer {
            Some(config) => {
                Some(Scores::start(local, config, &services.sink, emitter, (&sink_drain, grace))?)
            }
            None => None,
        };
        let coalescer_control = coalescer::Control {
            drain: coalescer_drain.clone(),
            end: Arc::default(),
            status: coalescer::StatusCell::default(),
            emitter: emitter.clone(),
            log_system: LOG_SYSTEM,
        };
        let sink_control = sink::Control {
            topic: Topic::Windows,
            drain: sink_drain.clone(),
            status: sink::StatusCell::default(),
            emitter: emitter.clone(),
            log_system: LOG_SYSTEM,
            store_system: STORE_SYSTEM,
        };
        let (coalescer, sink) = (coalescer_control.status.clone(), sink_control.status.clone());
        let end = coalescer_control.end.clone();
        let coalescer_thread = std::thread::Builder::new()
            .name("coalescer".to_owned())
            .spawn(move || coalescer::run(&mut events, options, &coalescer_control))?;
        let (sink_options, interval) = (services.sink.options(), services.sink.interval.duration());
        let sink_thread = std::thread::Builder::new()
            .name("sink".to_owned())
            .spawn(move || sink::run(&mut windows, &mut rows, sink_options, interval, &sink_control))?;
        Ok(Self { coalescer, sink, end, coalescer_drain, sink_drain, coalescer_thread, sink_thread, scores })
    }

    /// Whether a service has ended by itself: ask [`Self::stop`] why.
    pub fn has_failed(&self) -> bool {
        let scores = self.scores.as_ref().is_some_and(Scores::has_failed);
        self.coalescer_thread.is_finished() || self.sink_thread.is_finished() || scores
    }

    /// Alerts raised and cleared since the start; `None` = nothing can raise one.
    pub fn alerts(&self) -> Option<(u64, u64)> {
        let status = self.scores.as_ref()?.status.get();
        Some((status.raised, status.cleared))
    }

    /// The input has ended: every window closes by `end`.
    pub fn end_input(&self) {
        self.end.store(true, Ordering::Release);
    }

    /// Waits until the coalescer has consumed up to `ends` (the end of `events` per partition) and is quiet,
    /// and the sink has stored up to the end of `windows`. `each` is called about ten times a second.
    pub fn wait_quiet(
        &self,
        local: &Local,
        patience: Duration,
        mut each: impl FnMut(),
    ) -> Result<(), MachineError> {
        let mut last_move = (Instant::now(), 0u64);
        loop {
            let (coalescer, sink) = (self.coalescer.get(), self.sink.get());
            let reached = |topic: Topic, positions: &std::collections::BTreeMap<u32, u64>| {
                (0..local.partitions())
                    .all(|p| positions.get(&p).is_some_and(|at| *at >= local.end(topic, p)))
            };
            let events = coalescer.quiet && reached(Topic::Events, &coalescer.positions);
            if events && sink.quiet && reached(Topic::Windows, &sink.positions) {
                return Ok(());
            }
            let moved = coalescer.positions.values().chain(sink.positions.values()).sum::<u64>();
            if moved != last_move.1 {
                last_move = (Instant::now(), moved);
            }
            if let Some(why) = sink.away.filter(|_| last_move.0.elapsed() > STORE_PATIENCE.min(patience)) {
                return Err(MachineError::StoreAway(why));
            }
            if self.has_failed() || last_move.0.elapsed() > patience {
                let who = if events { "sink" } else { "coalescer" };
                return Err(MachineError::Timeout(who, patience));
            }
            each();
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Drains the coalescer, then the sink, so that rows of the last tick are stored too. The scorer leaves with the
    /// sink; what it has not read yet it reads when it starts again.
    pub fn stop(self) -> Result<(), MachineError> {
        self.coalescer_drain.begin(Cause::Finished);
        let coalescer = self.coalescer_thread.join();
        self.sink_drain.begin(Cause::Finished);
        let sink = self.sink_thread.join();
        self.scores.map_or(Ok(()), Scores::stop)?;
        coalescer.map_err(|_| MachineError::Panicked("coalescer"))?.map_err(MachineError::Coalescer)?;
        sink.map_err(|_| MachineError::Panicked("sink"))?.map_err(MachineError::Sink)
    }
}

impl Scores {
    /// One scorer worker over all partitions, which leaves with the sink of rows, and one sink worker for its scores.
    fn start(
        local: &Local,
        config: &live::LiveConfig,
        stored: &sink::Config,
        emitter: &Emitter,
        (drain, grace): (&Drain, Duration),
    ) -> Result<Self, MachineError> {
        let files = config.model_files();
        let models = files.load().map_err(MachineError::Model)?;
        let options =
            config.options("embedded-scorer", models.columns.clone()).map_err(MachineError::ScorerOptions)?;
        let worker = |group, topic| local.worker(group, topic).map_err(|e| MachineError::Log(e.to_string()));
        let mut windows = worker(SCORER_GROUP, Topic::Windows)?;
        let status = live::StatusCell::default();
        let control = live::Control {
            drain: drain.clone(),
            status: status.clone(),
            emitter: emitter.clone(),
            interval: config.interval.duration(),
            reload: Some((files, config.reload.duration())),
        };
        let run = move || live::run(&mut windows, options, models, &control);
        let scorer = std::thread::Builder::new().name("scorer".to_owned()).spawn(run)?;
        let sink_drain = Drain::new(grace);
        let sink = match stored.score_workers {
            0 => None,
            _ => {
                let (mut scores, mut rows) = (worker(sink::SCORES, Topic::Scores)?, local.rows());
                let control = sink::Control {
                    topic: Topic::Scores,
                    drain: sink_drain.clone(),
                    status: sink::StatusCell::default(),
                    emitter: emitter.clone(),
                    log_system: LOG_SYSTEM,
                    store_system: STORE_SYSTEM,
                };
                let (options, interval) = (stored.options(), stored.interval.duration());
                let run = move || sink::run(&mut scores, &mut rows, options, interval, &control);
                Some(std::thread::Builder::new().name("sink-scores".to_owned()).spawn(run)?)
            }
        };
        Ok(Self { status, scorer, sink, sink_drain })
    }

    fn has_failed(&self) -> bool {
        self.scorer.is_finished() || self.sink.as_ref().is_some_and(JoinHandle::is_finished)
    }

    /// The scorer was told to leave; what it has said last is stored too.
    fn stop(self) -> Result<(), MachineError> {
        let scorer = self.scorer.join();
        self.sink_drain.begin(Cause::Finished);
        let sink = self.sink.map(JoinHandle::join);
        scorer.map_err(|_| MachineError::Panicked("scorer"))?.map_err(MachineError::Scorer)?;
        match sink {
            Some(sink) => sink.map_err(|_| MachineError::Panicked("sink"))?.map_err(MachineError::Sink),
            None => Ok(()),
        }
    }
}
