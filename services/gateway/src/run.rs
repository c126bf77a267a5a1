//! The service: its parts wired together, the clock, the paint ticks.
//!
//! Owns: the tasks and threads. Never: decides what a client is sent; the hall does.

use crate::accept::{Limits, listen};
use crate::config::{Config, ConfigMisfit};
use crate::feed::{ask_store, read_log, say};
use crate::hall::Hall;
use crate::http::Page;
use crate::meters::Meters;
use crate::reload;
use crate::server::{Clock, Gate, Server, Timing};
use crate::session::Phase;
use crate::source::{Errand, History, Source, Teller};
use crate::summary::{MetricsText, Summaries, fetch};
use evenkeel_auth::{Auth, AuthError, Tls, TlsError};
use evenkeel_chassis::drain::Drain;
use evenkeel_chassis::health::Condition;
use evenkeel_telemetry::{Emitter, event};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Connections that wait in the kernel.
const BACKLOG: u32 = 4096;
/// How often what stands is counted.
const LOOK_EVERY: Duration = Duration::from_secs(1);

event! {
    /// Credentials cross a network that may not be trusted.
    struct TokensInClear<'a> WARN "gateway.tls.off" "listening beyond loopback without TLS: tokens and frames can be read on the way, unless an ingress in front ends TLS; set tls.cert-file and tls.key-file" {
        values { listen: &'a str }
        limit("", 0);
    }
}

/// Why the service does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Keys do not fit together.
    #[error("configuration: gateway.{0}")]
    Config(#[from] ConfigMisfit),
    /// The credentials.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The certificates.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The address cannot be listened on.
    #[error("cannot listen on {listen}: {source}; free the port or set gateway.listen")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The system gives no thread.
    #[error("no thread could be started: {0}")]
    Thread(#[from] std::io::Error),
}

/// Why the service stopped before it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The accept loop ended.
    #[error("the accept loop is gone: {0}")]
    AcceptLoop(String),
}

/// What comes from outside the program.
pub struct Edges {
    /// The process's log and metrics.
    pub emitter: Emitter,
    /// Holds while connections are taken.
    pub ready: Condition,
    /// Judges when credentials end.
    pub clock: Clock,
    /// The tail of the log.
    pub source: Box<dyn Source>,
    /// Writes to it.
    pub teller: Box<dyn Teller>,
    /// The store, one per thread that asks it.
    pub histories: Vec<Box<dyn History>>,
    /// What is served at `/`.
    pub pages: Vec<Page>,
    /// The metrics of services in this process; else `summary.targets` are asked.
    pub metrics_text: Option<MetricsText>,
}

/// A service that listens and is ready to run.
pub struct Gateway {
    config: Config,
    shared: Arc<Server>,
    listener: TcpListener,
    address: SocketAddr,
    ready: Condition,
    emitter: Emitter,
    metrics_text: Option<MetricsText>,
    teller: Box<dyn Teller>,
    errands: SyncSender<Errand>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Gateway {
    /// Checks everything that can be wrong, listens, and begins to read the log. Connections wait until [`Self::run`].
    pub async fn new(config: Config, edges: Edges) -> Result<Self, StartError> {
        config.check()?;
        let auth = Auth::load(config.sources(), (edges.clock)())?;
        let tls = Tls::load(&config.tls)?;
        let failed = |source| StartError::Listen { listen: config.listen, source };
        let listener = bind(config.listen).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let instance = match config.instance.as_str() {
            "" => address.to_string(),
            name => name.to_owned(),
        };
        let begun = Instant::now();
        let hall = Hall::new(config.hall(&instance), edges.source.partitions(), 0);
        let connection = &config.connection;
        let timing = Timing {
            init: connection.init_timeout.duration(),
            ping: connection.ping_every.duration(),
            write: connection.write_timeout.duration(),
            drain_spread: config.drain_spread.duration(),
            refresh_before: config.credentials.refresh_before.duration(),
        };
        let gate = Gate { auth, tls, wall_ms: edges.clock };
        let meters = Meters::new(edges.emitter.metrics());
        let named = (instance, config.origins.clone(), edges.pages);
        let shared = Arc::new(Server::new(hall, begun, (config.terms(), timing), named, meters, gate));
        let stop = Arc::new(AtomicBool::new(false));
        let (errands, waiting) = sync_channel(config.topics.questions_max);
        let waiting = Arc::new(Mutex::new(waiting));
        let mut threads = Vec::new();
        let (of, end, emitter, source) =
            (Arc::clone(&shared), Arc::clone(&stop), edges.emitter.clone(), edges.source);
        let reading = move || read_log(source, &of, &end, &emitter);
        threads.push(std::thread::Builder::new().name("gateway-log".into()).spawn(reading)?);
        for history in edges.histories {
            let (of, waiting, emitter) = (Arc::clone(&shared), Arc::clone(&waiting), edges.emitter.clone());
            let asking = move || ask_store(history, &waiting, &of, &emitter);
            threads.push(std::thread::Builder::new().name("gateway-store".into()).spawn(asking)?);
        }
        Ok(Self {
            config,
            shared,
            listener,
            address,
            ready: edges.ready,
            emitter: edges.emitter,
            metrics_text: edges.metrics_text,
            teller: edges.teller,
            errands,
            stop,
            threads,
        })
    }

    /// The bound address: with port 0 in the configuration, the port that was found.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `drain` begins; then everybody is told when to come back, and is gone after `drain-spread`, or at
    /// the drain's own deadline if that is sooner.
    pub async fn run(self, drain: &Drain) -> Result<(), RunError> {
        let Self { config, shared, listener, ready, metrics_text, teller, errands, stop, threads, .. } = self;
        let limits = Limits {
            connections_max: config.connections_max,
            head_timeout: config.connection.head_timeout.duration(),
            head_bytes_max: usize::try_from(config.connection.head_max.bytes()).unwrap_or(usize::MAX),
            unsent_bytes_max: u32::try_from(config.connection.unsent_max.bytes()).unwrap_or(u32::MAX),
        };
        let (phase, phases) = watch::channel(Phase::Open);
        let mut server = tokio::spawn(listen(listener, Arc::clone(&shared), limits, phases));
        let ways = Ways { teller, errands, emitter: self.emitter.clone() };
        let painting = tokio::spawn(paint(Arc::clone(&shared), ways, config.topics.topics_max));
        let summing = tokio::spawn(sum(Arc::clone(&shared), config.summary.clone(), metrics_text));
        let keys =
            tokio::spawn(reload::keep_keys(Arc::clone(&shared), config.jwt.clone(), self.emitter.clone()));
        let every = config.reload.every.duration();
        let files = tokio::spawn(reload::watch(Arc::clone(&shared), every, self.emitter.clone()));
        if config.tokens_in_clear() {
            TokensInClear { listen: &config.listen.to_string() }.emit(&self.emitter);
        }
        ready.holds();
        tracing::info!(address = %self.address, "gateway serves HTTP");
        let result = tokio::select! {
            ended = &mut server => {
                Err(RunError::AcceptLoop(ended.err().map_or("it returned".into(), |error| error.to_string())))
            }
            _ = drain.begun() => Ok(()),
        };
        if result.is_ok() {
            ready.fails("draining");
            shared.begin_drain();
            let _ = phase.send(Phase::Draining);
            let patience = config.drain_spread.duration() + Duration::from_secs(3);
            let left = drain.deadline().map(|at| at.saturating_duration_since(std::time::Instant::now()));
            let until = Instant::now() + left.map_or(patience, |left| left.min(patience));
            while !shared.hall().fanout.is_empty() && Instant::now() < until {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let _ = phase.send(Phase::Closing);
            let _ = server.await;
        }
        [painting, summing, keys, files].iter().for_each(tokio::task::JoinHandle::abort);
        stop.store(true, Ordering::Release);
        // A log or store that blocks for ever is left behind.
        let joined =
            tokio::task::spawn_blocking(move || threads.into_iter().for_each(|thread| drop(thread.join())));
        if tokio::time::timeout(Duration::from_secs(5), joined).await.is_err() {
            tracing::warn!("the log's or the store's client does not return; it is left behind");
        }
        drop(self.emitter);
        result
    }
}

fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?; // a restart must not wait for the old connections to be forgotten
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// What leaves beside what is painted.
struct Ways {
    /// To the coalescers: what is watched.
    teller: Box<dyn Teller>,
    /// To the store.
    errands: SyncSender<Errand>,
    emitter: Emitter,
}

/// The paint ticks, and what leaves with them.
async fn paint(shared: Arc<Server>, mut ways: Ways, topics_max: usize) {
    let mut wake = Vec::new();
    let mut looked = Instant::now();
    loop {
        let due_ms = shared.hall().fanout.due_ms();
        let due = tokio::select! {
            () = sleep_until(shared.at(due_ms)) => true,
            () = shared.stirred.notified() => false, // somebody came, or asked for what only the store knows
        };
        let (report, asked) = {
            let now = shared.now();
            let mut hall = shared.hall();
            (due.then(|| hall.tick(now, &mut wake)), hall.errands())
        };
        if let Some(report) = report {
            shared.meters.ticked(&report);
        }
        shared.wake(&wake);
        wake.clear();
        say(ways.teller.as_mut(), &shared, &ways.emitter);
        for errand in asked {
            if let Err(TrySendError::Full(errand) | TrySendError::Disconnected(errand)) =
                ways.errands.try_send(errand)
            {
                let mut hall = shared.hall();
                hall.sums.questions_dropped += 1;
                hall.unanswered(errand, shared.elapsed_ms());
            }
        }
        if looked.elapsed() >= LOOK_EVERY {
            looked = Instant::now();
            shared.meters.look(&shared.hall(), topics_max);
        }
    }
}

/// The totals of the fleet, while somebody looks.
async fn sum(shared: Arc<Server>, config: crate::config::Summary, own: Option<MetricsText>) {
    let mut summaries = Summaries::default();
    loop {
        tokio::time::sleep(config.every.duration()).await;
        if !shared.hall().fleet_is_watched() {
            continue;
        }
        let mut texts: Vec<String> = own.iter().map(|own| own()).collect();
        let fetched = futures::future::join_all(config.targets.iter().map(|target| fetch(target))).await;
        texts.extend(fetched.into_iter().flatten());
        let now = shared.now();
        let summary = summaries.make(now.0, &texts);
        shared.hall().fleet(summary, now);
    }
}
