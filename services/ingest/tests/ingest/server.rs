//! A server under test, and waiting for what it should come to.

use crate::client::DEADLINE;
use crate::fake::Fake;
use evenkeel_chassis::config::Sources;
use evenkeel_chassis::drain::{Cause, Drain};
use evenkeel_chassis::health::Health;
use evenkeel_ingest::{Config, DEFAULT_TOML, Edges, Ingest, Reread, RunError, SERVICE};
use evenkeel_telemetry::names::ingest::QUEUE_DEPTH;
use evenkeel_telemetry::{Emitter, Metrics};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// Where the arrival clock of every test begins.
pub const NOW_MS: i64 = 1_700_000_000_000;

pub struct Server {
    pub address: SocketAddr,
    /// Where MQTT is served; without `mqtt.listen` nowhere.
    pub mqtt: Option<SocketAddr>,
    pub log: Fake,
    pub metrics: Metrics,
    pub health: Health,
    pub drain: Drain,
    /// The arrival clock, ms since the epoch; stands still until a test sets it.
    pub clock: Arc<AtomicI64>,
    running: JoinHandle<Result<(), RunError>>,
}

/// The defaults on a free port, with `key=value` changes.
pub fn config(changes: &[&str]) -> Config {
    let mut sources = Sources::default();
    sources.set("ingest.listen=127.0.0.1:0").unwrap();
    for change in changes {
        sources.set(&format!("ingest.{change}")).unwrap();
    }
    sources.load::<Config>(SERVICE, DEFAULT_TOML).unwrap().config
}

pub async fn start(changes: &[&str]) -> Server {
    start_on(changes, Fake::new()).await
}

/// As [`start`], on a log that others may use too.
pub async fn start_on(changes: &[&str], log: Fake) -> Server {
    start_rereading(changes, log, None).await
}

/// As [`start_on`], with a configuration that may change.
pub async fn start_rereading(changes: &[&str], log: Fake, reread: Option<Reread>) -> Server {
    let metrics = Metrics::new().unwrap();
    let health = Health::new(metrics.clone());
    let clock = Arc::new(AtomicI64::new(NOW_MS));
    let now = Arc::clone(&clock);
    let mut drawn = 0;
    let edges = Edges {
        now_ms: Arc::new(move || now.load(Ordering::SeqCst)),
        random: Box::new(move || {
            drawn += 1000;
            drawn
        }),
        emitter: Emitter::new(metrics.clone()),
        ready: health.condition("ingest"),
        clock: None,
        reread,
        log_system: "test",
    };
    let ingest = Ingest::new(config(changes), Box::new(log.clone()), edges).await.unwrap();
    let (address, mqtt) = (ingest.address(), ingest.mqtt_address());
    let drain = Drain::new(Duration::from_secs(60));
    let token = drain.clone();
    let running = tokio::spawn(async move { ingest.run(&token).await });
    Server { address, mqtt, log, metrics, health, drain, clock, running }
}

impl Server {
    /// Bytes in flight, as exported.
    pub fn in_flight_bytes(&self) -> f64 {
        self.metrics.gauge(&QUEUE_DEPTH, []).get()
    }

    /// Every byte is back in the budget.
    pub async fn settles(&self) {
        until("the budget is free", || self.in_flight_bytes() == 0.0).await;
    }

    /// Drains and waits for the end.
    pub async fn stop(self) {
        self.drain.begin(Cause::Terminate);
        self.ended().await;
    }

    /// Waits for the end of a drain already begun.
    pub async fn ended(self) {
        tokio::time::timeout(DEADLINE, self.running).await.expect("the drain ends").unwrap().unwrap();
    }
}

/// Waits for a condition, with a deadline.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
