//! Everything on one machine: the embedded log and store, the coalescer's and the sink's workers on threads
//! of their own. `run`, `run --input` and `demo` are this with another front.
//!
//! Owns: the threads. Never: what a service decides.

use evenkeel_chassis::drain::{Cause, Drain};
use evenkeel_coalescer as coalescer;
use evenkeel_local::Local;
use evenkeel_model::Topic;
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
}

/// How long a store may refuse rows, without any movement, before whoever waits for it is told.
const STORE_PATIENCE: Duration = Duration::from_secs(10);

/// What the embedded log is called in traces.
pub const LOG_SYSTEM: &str = "evenkeel";
/// The consumer groups of the embedded log.
pub const COALESCER_GROUP: &str = "coalescer";
/// See [`COALESCER_GROUP`].
pub const SINK_GROUP: &str = "sink";

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
        let coalescer_control = coalescer::Control {
            drain: coalescer_drain.clone(),
            end: Arc::default(),
            status: coalescer::StatusCell::default(),
            emitter: emitter.clone(),
            log_system: LOG_SYSTEM,
        };
        let sink_control = sink::Control {
            drain: sink_drain.clone(),
            status: sink::StatusCell::default(),
            emitter: emitter.clone(),
            log_system: LOG_SYSTEM,
            store_system: "sqlite",
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
        Ok(Self { coalescer, sink, end, coalescer_drain, sink_drain, coalescer_thread, sink_thread })
    }

    /// Whether a service has ended by itself: ask [`Self::stop`] why.
    pub fn has_failed(&self) -> bool {
        self.coalescer_thread.is_finished() || self.sink_thread.is_finished()
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

    /// Drains the coalescer, then the sink, so that rows of the last tick are stored too.
    pub fn stop(self) -> Result<(), MachineError> {
        self.coalescer_drain.begin(Cause::Finished);
        let coalescer = self.coalescer_thread.join();
        self.sink_drain.begin(Cause::Finished);
        let sink = self.sink_thread.join();
        coalescer.map_err(|_| MachineError::Panicked("coalescer"))?.map_err(MachineError::Coalescer)?;
        sink.map_err(|_| MachineError::Panicked("sink"))?.map_err(MachineError::Sink)
    }
}
