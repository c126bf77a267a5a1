//! The service: its parts wired together, and the loop that feeds the driver.
//!
//! Owns: the clock, the randomness, the tasks and the thread. Never: decides anything; the loop is
//! `select → apply → perform`.

use crate::accept::{Phase, serve};
use crate::appending::{FlushSettings, Job, Outlet};
use crate::background::Background;
use crate::bridge::BridgeError;
use crate::clock::{ClockCheck, LogTime};
use crate::config::{Config, ConfigMisfit};
use crate::delivery::Edge;
use crate::doors::Doors;
use crate::driver::{Action, Driver, Input, Refusal};
use crate::flush::FlushControl;
use crate::link::{Link, Message, Reply};
use crate::live::{Live, Reread};
use crate::meters::Meters;
use crate::recordings::{Begun, Recordings, RecordingsError};
use evenkeel_auth::{Auth, AuthError};
use evenkeel_auth::{Tls, TlsError};
use evenkeel_chassis::drain::Drain;
use evenkeel_chassis::health::Condition;
use evenkeel_seam::{Ack, Appender};
use evenkeel_telemetry::{Emitter, event};
use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

event! {
    /// The log refused or kept silent: clients got 503.
    struct NotAcknowledged<'a> WARN "ingest.append.failed" "the log did not acknowledge" {
        values { why: &'a str }
        limit("", 10_000);
    }
}

event! {
    /// The byte budget is used up: clients got 503.
    struct OverBudget WARN "ingest.budget.full" "the byte budget of requests in flight is used up" {
        values { used_bytes: u64, limit_bytes: u64 }
        limit("", 10_000);
    }
}

event! {
    /// The clock that stamps arrivals differs from the log's.
    struct ClockWrong ERROR "ingest.clock.wrong" "this machine's clock and the log's differ by more than ingest.clock.slack: not ready; set the clocks (NTP) of this machine and of the brokers" {
        values { offset_ms: i64, slack_ms: u64 }
        limit("", 10_000);
    }
}

event! {
    /// The log did not tell its time.
    struct ClockUnknown<'a> WARN "ingest.clock.unknown" "the log did not tell its time; this machine's clock is not checked" {
        values { why: &'a str }
        limit("", 60_000);
    }
}

/// Why the service does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Keys do not fit together.
    #[error("configuration: {0}")]
    Config(#[from] ConfigMisfit),
    /// The credentials.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The certificates.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The address cannot be listened on.
    #[error("cannot listen on {listen}: {source}")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The log's topic has no partition.
    #[error("the events topic has no partition; create the topics first")]
    NoPartitions,
    /// The bridge's files.
    #[error(transparent)]
    Bridge(#[from] BridgeError),
    /// The directory of recordings.
    #[error(transparent)]
    Recordings(#[from] RecordingsError),
}

/// Why the service stopped before it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The accept loop ended.
    #[error("the accept loop is gone: {0}")]
    AcceptLoop(String),
}

/// What comes from outside the program: clock, randomness, and where metrics go.
pub struct Edges {
    /// The arrival clock, ms since the epoch.
    pub now_ms: Arc<dyn Fn() -> i64 + Send + Sync>,
    /// Random numbers that spread retry hints.
    pub random: Box<dyn FnMut() -> u64 + Send>,
    /// The process's log and metrics.
    pub emitter: Emitter,
    /// Holds while requests are taken.
    pub ready: Condition,
    /// Holds while this machine's clock agrees with the log's; `None` = the log has no other clock.
    pub clock: Option<Condition>,
    /// Reads the configuration again, so that some of its keys may change; `None` = they hold until the end.
    pub reread: Option<Reread>,
    /// What the log is called in traces: `kafka`, or `evenkeel` for the embedded one.
    pub log_system: &'static str,
}

impl Edges {
    /// The machine's clock and randomness; the clock is compared with nobody's.
    pub fn system(emitter: Emitter, ready: Condition, log_system: &'static str) -> Self {
        let seed = RandomState::new(); // keyed by the operating system
        let mut drawn = 0u64;
        Self {
            now_ms: Arc::new(|| {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
            }),
            random: Box::new(move || {
                drawn += 1;
                let mut hasher = seed.build_hasher();
                hasher.write_u64(drawn);
                hasher.finish()
            }),
            emitter,
            ready,
            clock: None,
            reread: None,
            log_system,
        }
    }
}

/// A service that listens and is ready to run.
pub struct Ingest {
    config: Config,
    appender: Box<dyn Appender>,
    auth: Auth,
    tls: Option<Tls>,
    edges: Edges,
    listener: TcpListener,
    address: SocketAddr,
    doors: Doors,
    recordings: Option<(Recordings, Begun)>,
    flush: FlushControl,
}

impl Ingest {
    /// Checks everything that can be wrong and listens. Connections wait until [`Self::run`].
    pub async fn new(config: Config, appender: Box<dyn Appender>, edges: Edges) -> Result<Self, StartError> {
        config.check()?;
        let auth = Auth::load(config.credentials(), (edges.now_ms)())?;
        let tls = Tls::load(&config.tls)?;
        if appender.partitions() == 0 {
            return Err(StartError::NoPartitions);
        }
        let (listener, address) = bind(config.listen, config.accept.backlog)?;
        let doors = Doors::open(&config, &auth)?;
        let recordings = Recordings::open(&config, &edges.emitter)?;
        let flush = FlushControl::default();
        Ok(Self { config, appender, auth, tls, edges, listener, address, doors, recordings, flush })
    }

    /// The bound address: with port 0 in the configuration, the port that was found.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The bound address of MQTT, if it is served.
    pub fn mqtt_address(&self) -> Option<SocketAddr> {
        self.doors.mqtt_address()
    }

    /// Changes the flush policy while the service runs.
    pub fn flush_control(&self) -> FlushControl {
        self.flush.clone()
    }

    /// Serves until `drain` begins, then finishes what is in flight within `drain-timeout`, or the drain's
    /// own deadline if that is sooner.
    pub async fn run(mut self, drain: &Drain) -> Result<(), RunError> {
        let config = self.config;
        let budget_bytes = config.budget_bytes();
        let (to_driver, inbox) = mpsc::unbounded_channel();
        let (recordings, ingests) = self.recordings.unzip();
        let edge = Arc::new(Edge {
            auth: self.auth,
            tls: self.tls,
            limits: config.body_limits(),
            link: Link::new(to_driver.clone()),
            now_ms: Arc::clone(&self.edges.now_ms),
            traced: self.edges.emitter.traced().then_some(self.edges.log_system),
            partitions: self.appender.partitions(),
            in_flight_bytes_max: AtomicU64::new(budget_bytes),
            tenant_bytes_max: config.tenant_bytes_max(),
            rated: AtomicBool::new(config.rated()),
            web_socket: config.web_socket_limits(),
            refused: AtomicU64::new(0),
            meters: Meters::new(self.edges.emitter.metrics()),
            recordings,
        });
        let mut appender = self.appender;
        let rung = Arc::new(Notify::new());
        let bell = Arc::clone(&rung);
        appender.wake_by(Arc::new(move || bell.notify_one()));
        let flush = FlushSettings::of(&config, &self.flush, self.edges.emitter.metrics());
        let outlet = Outlet::new(appender, flush, std::time::Instant::now());
        let (phase, phases) = watch::channel(Phase::Open);
        // Drawn only for who uses it: the hints of the others stay as they are.
        let random = if config.bridge.is_on() { (self.edges.random)() } else { 0 };
        let others = self.doors.serve(&config, &edge, &phases, (random, self.edges.emitter.clone()));
        let limits = (config.connection_limits(), config.ramp_limits());
        let http = serve(self.listener, Arc::clone(&edge), limits, phases);
        // One task, so that a protocol that panics is seen at once.
        let server = tokio::spawn(async move {
            tokio::join!(http, others);
        });
        let emitter = self.edges.emitter.clone();
        let live = self.edges.reread.map(|read| Live::new(read, &config, self.flush.clone(), emitter));
        let _background = Background::begin(&edge, &config, (live, ingests), &self.edges.emitter);
        let core = Core {
            driver: Driver::new(budget_bytes, config.quotas(), config.retry_hint(), config.deadlines()),
            replies: BTreeMap::new(),
            outlet,
            rung,
            due: None,
            random: self.edges.random,
            started: Instant::now(),
            drain_timeout: config.drain_timeout.duration(),
            ready: self.edges.ready,
            clock: self.edges.clock.map(|agrees| (ClockCheck::new(config.clock_limits()), agrees)),
            clock_known: false,
            now_ms: self.edges.now_ms,
            slack_ms: config.clock_limits().slack_ms,
            emitter: self.edges.emitter,
            flush: self.flush,
            edge,
        };
        tracing::info!(address = %self.address, "ingest serves HTTP");
        core.run(inbox, drain, &phase, server).await
    }
}

/// Listens there.
pub(crate) fn bind(listen: SocketAddr, backlog: u32) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Listen { listen, source };
    let open = || {
        let socket = if listen.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?; // a restart must not wait for the old connections to be forgotten
        socket.bind(listen)?;
        socket.listen(backlog)
    };
    let listener = open().map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// The loop around the driver.
struct Core {
    driver: Driver,
    // Bounded by the driver: one entry per request that has no final answer yet.
    replies: BTreeMap<u64, mpsc::Sender<Reply>>,
    outlet: Outlet,
    /// The log has something to tell.
    rung: Arc<Notify>,
    /// When the outlet is to be looked at.
    due: Option<Instant>,
    random: Box<dyn FnMut() -> u64 + Send>,
    started: Instant,
    drain_timeout: Duration,
    ready: Condition,
    clock: Option<(ClockCheck, Condition)>,
    /// The log has told its time before.
    clock_known: bool,
    now_ms: Arc<dyn Fn() -> i64 + Send + Sync>,
    slack_ms: u64,
    emitter: Emitter,
    flush: FlushControl,
    edge: Arc<Edge>,
}

/// Messages applied per wake-up.
const MESSAGES_MAX: usize = 256;
/// How often the way to the log is looked at, if nothing else asks for it: another flush policy is then heard of.
const IDLE_LOOK: Duration = Duration::from_secs(1);

impl Core {
    async fn run(
        mut self,
        mut inbox: mpsc::UnboundedReceiver<Message>,
        drain: &Drain,
        phase: &watch::Sender<Phase>,
        mut server: JoinHandle<()>,
    ) -> Result<(), RunError> {
        self.ready.holds();
        let mut draining = false;
        let mut messages = Vec::with_capacity(MESSAGES_MAX);
        let mut actions = Vec::new();
        let mut stop = false;
        while !stop {
            let due = self.next_due();
            let mut tick = false;
            tokio::select! {
                _ = inbox.recv_many(&mut messages, MESSAGES_MAX) => {}
                () = self.rung.notified() => {}
                () = tokio::time::sleep_until(due) => tick = true,
                _ = drain.begun(), if !draining => draining = true,
                ended = &mut server => {
                    let why = ended.err().map_or("it returned".into(), |error| error.to_string());
                    return Err(RunError::AcceptLoop(why));
                }
            }
            let now_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
            for message in messages.drain(..) {
                let input = self.input(message);
                self.driver.apply(now_ms, input, &mut actions);
            }
            if tick {
                self.driver.apply(now_ms, Input::Tick, &mut actions);
                if self.clock.as_mut().is_some_and(|(check, _)| check.tick(now_ms)) {
                    self.outlet.ask_time((self.now_ms)());
                }
            }
            if draining && *phase.borrow() == Phase::Open {
                let _ = phase.send(Phase::Draining);
                self.ready.fails("draining");
                self.flush.drain();
                let left = drain.deadline().map(|at| at.saturating_duration_since(std::time::Instant::now()));
                let within = left.map_or(self.drain_timeout, |left| left.min(self.drain_timeout));
                let within_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
                self.driver.apply(now_ms, Input::Drain { within_ms }, &mut actions);
            }
            stop = self.perform_all(now_ms, &mut actions);
            if let Some(time) = self.outlet.time(|| (self.now_ms)()) {
                self.compare_clocks(time);
            }
            self.edge.meters.usage(&self.driver.usage());
        }
        drop(inbox); // from here on a request is answered "draining" at once
        let _ = phase.send(Phase::Closing);
        server.await.map_err(|error| RunError::AcceptLoop(error.to_string()))
    }

    /// When to look without a message or a ring.
    fn next_due(&self) -> Instant {
        let clock_due = self.clock.as_ref().map(|(check, _)| check.due_ms());
        let due_ms = self.driver.next_due_ms().into_iter().chain(clock_due);
        let due = due_ms.map(|ms| self.started + Duration::from_millis(ms)).chain(self.due);
        due.fold(Instant::now() + IDLE_LOOK, Instant::min)
    }

    fn input(&mut self, message: Message) -> Input {
        match message {
            Message::Open { request, bytes, tenant, replies } => {
                self.replies.insert(request, replies);
                Input::Started { request, bytes, random: (self.random)(), tenant }
            }
            Message::Input(input) => {
                if let Input::Gone { request } = &input {
                    self.replies.remove(request);
                }
                input
            }
        }
    }

    /// Past the slack this instance is not ready: it would judge a whole fleet by a wrong clock. Without an
    /// answer it stays as it was, so at the start it is not ready either.
    fn compare_clocks(&mut self, time: Result<LogTime, String>) {
        let Some((check, agrees)) = &self.clock else { return };
        let verdict = match time {
            Ok(time) => check.judge(&time),
            Err(why) => {
                if !self.clock_known {
                    agrees.fails(&why);
                }
                return ClockUnknown { why: &why }.emit(&self.emitter);
            }
        };
        self.clock_known = true;
        self.edge.meters.clock_offset(verdict.offset_ms);
        if !verdict.wrong {
            return agrees.holds();
        }
        let (offset_ms, slack_ms) = (verdict.offset_ms, self.slack_ms);
        agrees.fails(&format!(
            "this machine's clock minus the log's is {offset_ms} ms, ingest.clock.slack is {slack_ms} ms"
        ));
        ClockWrong { offset_ms, slack_ms }.emit(&self.emitter);
    }

    /// Performs every action, looks after the way to the log, and performs what follows from its answers; `true` =
    /// stop.
    fn perform_all(&mut self, now_ms: u64, actions: &mut Vec<Action>) -> bool {
        let (mut stop, mut heard) = (false, Vec::new());
        loop {
            for action in actions.drain(..) {
                stop |= self.perform(action, &mut heard);
            }
            // After all that came together, so that it can leave together.
            let due = self.outlet.turn(std::time::Instant::now(), &mut |ack| heard.push(ack));
            self.due = due.map(Instant::from_std);
            if heard.is_empty() {
                return stop;
            }
            for Ack { ticket, result } in heard.drain(..) {
                self.driver.apply(now_ms, Input::Acked { request: ticket, result }, actions);
            }
        }
    }

    /// Performs one action; `true` = stop. What the outlet answers at once goes to `heard`.
    fn perform(&mut self, action: Action, heard: &mut Vec<Ack>) -> bool {
        match action {
            Action::Proceed { request } => self.reply(request, Reply::Proceed),
            Action::Allow { request, admitted, retry_after_ms } => {
                self.reply(request, Reply::Allow { admitted, retry_after_ms });
            }
            Action::Refuse { request, refusal, retry_after_ms } => {
                self.tell(&refusal);
                self.reply_last(request, Reply::Refused { refusal, retry_after_ms });
            }
            Action::Acknowledge { request } => self.reply_last(request, Reply::Acknowledged),
            Action::Append { request, records, events, give_up_ms } => {
                let give_up = (self.started + Duration::from_millis(give_up_ms)).into_std();
                let job = Job { ticket: request, records, events, give_up };
                self.outlet.offer(std::time::Instant::now(), job, &mut |ack| heard.push(ack));
            }
            Action::Stop => return true,
        }
        false
    }

    /// One log line now and then for what an operator can cure; never one per bad request.
    fn tell(&self, refusal: &Refusal) {
        if matches!(refusal, Refusal::OverBudget | Refusal::LogSilent) {
            self.edge.refused.fetch_add(1, Ordering::Relaxed);
        }
        match refusal {
            Refusal::OverBudget => {
                let usage = self.driver.usage();
                OverBudget { used_bytes: usage.used_bytes, limit_bytes: usage.limit_bytes }
                    .emit(&self.emitter);
            }
            Refusal::LogSilent => NotAcknowledged { why: "no answer within ack-timeout" }.emit(&self.emitter),
            Refusal::LogFailed(why) => NotAcknowledged { why }.emit(&self.emitter),
            Refusal::TenantFull => self.edge.meters.tenant_busy(),
            Refusal::SlowBody | Refusal::Draining => {}
        }
    }

    fn reply(&self, request: u64, reply: Reply) {
        if let Some(replies) = self.replies.get(&request) {
            // Full cannot be: a task has one question at a time. Closed: its `Gone` is on the way.
            let _ = replies.try_send(reply);
        }
    }

    fn reply_last(&mut self, request: u64, reply: Reply) {
        self.reply(request, reply);
        self.replies.remove(&request);
    }
}
