//! Ingest's clock against the brokers': it stamps arrivals for a whole fleet, so an instance whose clock is off is
//! not ready, and says by how much.

use crate::site::{DEADLINE, Site, now_ms};
use crate::topics::config;
use evenkeel_chassis::config::Sources;
use evenkeel_chassis::drain::{Cause, Drain};
use evenkeel_chassis::health::Health;
use evenkeel_ingest::{Config, DEFAULT_TOML, Edges, Ingest, SERVICE};
use evenkeel_kafka::KafkaAppender;
use evenkeel_telemetry::names::ingest::CLOCK_OFFSET;
use evenkeel_telemetry::{Emitter, Metrics};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

#[test]
fn an_instance_is_ready_once_its_clock_agrees_with_the_brokers() {
    let site = Site::on_kafka("clock");
    let mut ingest = site.start("ingest", &[]);
    ingest.until("it is ready", |i| i.get("/readyz").0 == 200);
    assert!(ingest.get("/readyz").1.contains("ok clock"));
    let offset = ingest.metric("evenkeel_ingest_clock_offset_seconds ").unwrap();
    assert!(offset.abs() < 60.0, "{offset}");
    assert_eq!(ingest.terminate(), Some(0));
}

#[test]
fn a_topic_that_does_not_tell_the_brokers_time_keeps_it_unready_with_the_remedy() {
    let site = Site::on_kafka("no-clock");
    let named = format!("kafka.topic-names.clock={}.dlq", site.prefix); // CreateTime
    let mut ingest = site.start("ingest", &[&named]);
    ingest.until("it says why", |i| {
        let (status, text) = i.get("/readyz");
        status == 503 && text.contains("fail clock: topic") && text.contains("LogAppendTime")
    });
    ingest.wait_for_event("ingest.clock.unknown");
    let missing = format!("kafka.topic-names.clock={}.nothing", site.prefix);
    let (code, said) = site.refused("ingest", &[&missing]);
    assert!(code == Some(3) && said.contains("evenkeel topics create"), "{code:?} {said}");
    assert_eq!(ingest.terminate(), Some(0));
}

/// The same ingest with a clock of the test's own over the real brokers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_off_makes_the_instance_unready_until_it_is_set_right() {
    let site = tokio::task::spawn_blocking(|| Site::on_kafka("skewed")).await.unwrap();
    let metrics = Metrics::new().unwrap();
    let health = Health::new(metrics.clone());
    let ahead_ms = Arc::new(AtomicI64::new(7 * 86_400_000));
    let skew = ahead_ms.clone();
    let mut sources = Sources::default();
    for set in ["ingest.listen=127.0.0.1:0", "ingest.clock.every=100ms"] {
        sources.set(set).unwrap();
    }
    let ingest_config = sources.load::<Config>(SERVICE, DEFAULT_TOML).unwrap().config;
    let edges = Edges {
        now_ms: Arc::new(move || now_ms() + skew.load(Ordering::Relaxed)),
        clock: Some(health.condition("clock")),
        ..Edges::system(Emitter::new(metrics.clone()), health.condition("ingest"), "kafka")
    };
    let appender = KafkaAppender::connect(&config(&site)).unwrap();
    let ingest = Ingest::new(ingest_config, Box::new(appender), edges).await.unwrap();
    let drain = Drain::new(Duration::from_secs(5));
    let token = drain.clone();
    let running = tokio::spawn(async move { ingest.run(&token).await });

    let says = |line: &str| health.ready().lines.iter().any(|l| l.starts_with(line));
    until("a week ahead", || says("fail clock: this machine's clock minus the log's is 6048")).await;
    assert!((metrics.gauge(&CLOCK_OFFSET, []).get() - 604_800.0).abs() < 60.0);
    ahead_ms.store(-3_600_000, Ordering::Relaxed);
    until("an hour behind", || says("fail clock: this machine's clock minus the log's is -36")).await;
    ahead_ms.store(0, Ordering::Relaxed);
    until("set right", || health.ready().well).await;
    drain.begin(Cause::Finished);
    running.await.unwrap().unwrap();
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < DEADLINE, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
