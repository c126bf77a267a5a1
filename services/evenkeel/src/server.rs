//! One machine that serves: ingest, coalescer, sink, gateway and the admin endpoints in this process, over the
//! embedded log and store. `run` and `demo` are this.
//!
//! Owns: the order of start and stop. Start: log, services, ingest last. Stop: ingest first, so that everything
//! acknowledged is consumed; then the coalescer, then the sink.

use crate::config::ServerConfig;
use crate::failure::Failure;
use crate::live::{LocalHistory, LocalSource, pages};
use crate::machine::{LOG_SYSTEM, Machine};
use evenkeel_chassis::admin::Admin;
use evenkeel_chassis::drain::{Cause, Drain};
use evenkeel_chassis::exit::Exit;
use evenkeel_chassis::health::{Condition, Health};
use evenkeel_chassis::{memory, signals};
use evenkeel_gateway as gateway;
use evenkeel_ingest::{Edges, Ingest, Reread};
use evenkeel_local::Local;
use evenkeel_telemetry::{Emitter, LogTo, Telemetry};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

/// A running machine.
pub struct Server {
    /// The embedded log and store.
    pub local: Local,
    /// Coalescer and sink.
    pub machine: Machine,
    /// Where ingest listens.
    pub ingest: SocketAddr,
    /// Where the gateway serves pages and frames.
    pub gateway: SocketAddr,
    /// Where `/metrics`, `/livez` and `/readyz` are.
    pub admin: SocketAddr,
    /// Begins when the process is to leave.
    pub drain: Drain,
    /// The tasks' runtime.
    pub runtime: Runtime,
    telemetry: Telemetry,
    flush: Duration,
    serving: JoinHandle<Result<(), evenkeel_ingest::RunError>>,
    showing: JoinHandle<Result<(), gateway::RunError>>,
}

impl Server {
    /// Starts everything. `logs`: where log lines go; `reread`: how ingest reads its configuration again.
    pub fn start(
        config: &ServerConfig,
        data_dir: &Path,
        logs: LogTo,
        reread: Option<Reread>,
    ) -> Result<Self, Failure> {
        let internal =
            |what: &str, e: &dyn std::fmt::Display| Failure::new(Exit::Internal, format!("{what}: {e}"));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(usize::from(config.ingest.threads.get()))
            .enable_all()
            .build()
            .map_err(|e| internal("no thread could be started", &e))?;
        let inside = runtime.enter();
        let process = &config.process;
        let settings = process.telemetry_settings("evenkeel", env!("CARGO_PKG_VERSION"), "", logs);
        let telemetry = Telemetry::start(&settings)?;
        let metrics = telemetry.metrics().clone();
        memory::publish(&metrics);
        let drain = Drain::new(process.drain_grace.duration());
        signals::watch(drain.clone()).map_err(|e| internal("signals", &e))?;
        let health = Health::new(metrics.clone());
        let ready = health.condition("ingest");
        let local = Local::open(data_dir, config.local.clone())?;
        let machine = Machine::start(
            &local,
            &config.services,
            telemetry.emitter(),
            memory::limit_bytes(),
            RandomState::new().build_hasher().finish(),
            process.drain_grace.duration(),
        )?;
        let shown = health.condition("gateway");
        let gateway = runtime.block_on(live(&local, config, telemetry.emitter(), shown))?;
        let mut edges = Edges::system(telemetry.emitter().clone(), ready, LOG_SYSTEM);
        edges.reread = reread;
        let appender = Box::new(local.appender());
        let listening = runtime.block_on(Ingest::new(config.ingest.clone(), appender, edges));
        let ingest = listening.map_err(|e| Failure::new(Exit::Usage, format!("ingest cannot start: {e}")))?;
        let admin = runtime
            .block_on(Admin::bind(&process.admin, health, metrics, drain.clone()))
            .map_err(|e| Failure::new(Exit::Usage, format!("the admin endpoints cannot start: {e}")))?;
        let (at, shown_at, admin_at) = (ingest.address(), gateway.address(), admin.address());
        runtime.spawn(admin.serve());
        let until = drain.clone();
        let serving = runtime.spawn(async move { ingest.run(&until).await });
        let until = drain.clone();
        let showing = runtime.spawn(async move { gateway.run(&until).await });
        drop(inside);
        let flush = process.telemetry.flush_timeout.duration();
        Ok(Self {
            local,
            machine,
            ingest: at,
            gateway: shown_at,
            admin: admin_at,
            drain,
            runtime,
            telemetry,
            flush,
            serving,
            showing,
        })
    }

    /// Serves until a signal, or until a service fails; then stops in good order.
    pub fn serve(self) -> Result<Exit, Failure> {
        let drain = self.drain.clone();
        let ended = |server: &Self| server.serving.is_finished() || server.showing.is_finished();
        while !drain.is_draining() && !self.machine.has_failed() && !ended(&self) {
            std::thread::sleep(Duration::from_millis(50));
        }
        drain.begin(Cause::Failed);
        self.stop()
    }

    /// Stops: ingest has begun to when the drain did.
    pub fn stop(self) -> Result<Exit, Failure> {
        self.drain.begin(Cause::Finished);
        let served = self.runtime.block_on(self.serving);
        let shown = self.runtime.block_on(self.showing);
        let stopped = self.machine.stop();
        self.telemetry.shutdown(self.flush);
        stopped?;
        match shown {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(Failure::new(Exit::Internal, format!("gateway stopped: {error}"))),
            Err(error) => return Err(Failure::new(Exit::Internal, format!("gateway panicked: {error}"))),
        }
        match served {
            Ok(Ok(())) => Ok(Exit::Ok),
            Ok(Err(error)) => Err(Failure::new(Exit::Internal, format!("ingest stopped: {error}"))),
            Err(error) => Err(Failure::new(Exit::Internal, format!("ingest panicked: {error}"))),
        }
    }
}

/// The gateway over the embedded log and store.
async fn live(
    local: &Local,
    config: &ServerConfig,
    emitter: &Emitter,
    ready: Condition,
) -> Result<gateway::Gateway, Failure> {
    let refused =
        |e: &dyn std::fmt::Display| Failure::new(Exit::Usage, format!("the gateway cannot start: {e}"));
    let metrics = emitter.metrics().clone();
    let (source, teller) = LocalSource::open(local, config.gateway.partition).map_err(|e| refused(&e))?;
    let edges = gateway::Edges {
        emitter: emitter.clone(),
        ready,
        clock: gateway::system_clock(),
        source: Box::new(source),
        teller: Box::new(teller),
        histories: vec![Box::new(LocalHistory::open(local).map_err(|e| refused(&e))?)],
        pages: pages::PAGES.to_vec(),
        metrics_text: Some(Box::new(move || metrics.render().unwrap_or_default())),
    };
    gateway::Gateway::new(config.gateway.clone(), edges).await.map_err(|e| refused(&e))
}
