//! The admin endpoints over real sockets: answers, and clients that hold on.

#![allow(clippy::unwrap_used)] // the helpers of tests are tests

use evenkeel_chassis::admin::{Admin, AdminConfig};
use evenkeel_chassis::config::Sources;
use evenkeel_chassis::drain::{Cause, Drain};
use evenkeel_chassis::health::Health;
use evenkeel_chassis::process::ProcessConfig;
use evenkeel_telemetry::Metrics;
use evenkeel_telemetry::names::ingest;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const DEADLINE: Duration = Duration::from_secs(30);

struct Served {
    address: SocketAddr,
    health: Health,
    metrics: Metrics,
    drain: Drain,
}

async fn serve(sets: &[&str]) -> Served {
    let mut sources = Sources::default();
    sources.set("process.admin.listen=127.0.0.1:0").unwrap();
    for set in sets {
        sources.set(set).unwrap();
    }
    let config: AdminConfig = ProcessConfig::load(&sources).unwrap().config.admin;
    let metrics = Metrics::new().unwrap();
    let (health, drain) = (Health::new(metrics.clone()), Drain::new(DEADLINE));
    let admin = Admin::bind(&config, health.clone(), metrics.clone(), drain.clone()).await.unwrap();
    let address = admin.address();
    tokio::spawn(admin.serve());
    Served { address, health, metrics, drain }
}

async fn read_all(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut bytes)).await;
    // A reset is an end as well.
    let _ = read.expect("the server ends the connection before the deadline");
    String::from_utf8(bytes).unwrap()
}

async fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    read_all(&mut stream).await
}

async fn get(address: SocketAddr, path: &str) -> String {
    ask(address, &format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")).await
}

#[tokio::test]
async fn answers_livez_readyz_and_metrics() {
    let served = serve(&[]).await;
    let condition = served.health.condition("log");
    let _pulse = served.health.pulse("driver", DEADLINE);
    served.metrics.counter(&ingest::EVENTS, ["http", "accepted"]).add(3);

    let alive = get(served.address, "/livez").await;
    assert!(alive.starts_with("HTTP/1.1 200") && alive.ends_with("ok\nok driver\n"), "{alive}");
    let starting = get(served.address, "/readyz").await;
    assert!(starting.starts_with("HTTP/1.1 503") && starting.ends_with("fail\nfail log: starting\n"));
    condition.holds();
    let ready = get(served.address, "/readyz?verbose").await;
    assert!(ready.starts_with("HTTP/1.1 200") && ready.ends_with("ok\nok log\n"), "{ready}");
    let metrics = get(served.address, "/metrics").await;
    assert!(metrics.contains("text/plain; version=0.0.4"), "{metrics}");
    let accepted = r#"evenkeel_ingest_events_total{outcome="accepted",protocol="http"} 3"#;
    assert!(metrics.contains(accepted), "{metrics}");
    assert!(metrics.contains(r#"evenkeel_process_ready{condition="log"} 1"#), "{metrics}");

    served.drain.begin(Cause::Terminate);
    let draining = get(served.address, "/readyz").await;
    assert!(draining.starts_with("HTTP/1.1 503"), "{draining}");
    assert!(draining.contains("fail drain: the process is ending (SIGTERM)"), "{draining}");
    assert!(get(served.address, "/livez").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn refuses_other_paths_and_methods() {
    let served = serve(&[]).await;
    assert!(get(served.address, "/secrets").await.starts_with("HTTP/1.1 404"));
    let post = "POST /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello";
    let refused = ask(served.address, post).await;
    assert!(refused.starts_with("HTTP/1.1 405") && refused.contains("allow: GET, HEAD"), "{refused}");
    let head = ask(served.address, "HEAD /livez HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"), "{head}");
    let long = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(20_000));
    assert!(!ask(served.address, &long).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_slow_head_is_cut_off() {
    let served = serve(&["process.admin.header-timeout=50ms", "process.admin.connection-timeout=1h"]).await;
    let mut slow = TcpStream::connect(served.address).await.unwrap();
    slow.write_all(b"GET /livez HTTP/1.1\r\nhost:").await.unwrap();
    let answer = read_all(&mut slow).await;
    assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
    // One that says nothing at all too.
    let mut silent = TcpStream::connect(served.address).await.unwrap();
    assert!(!read_all(&mut silent).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn connections_are_bounded_and_a_crowd_waits_its_turn() {
    let sets = ["process.admin.connections-max=1", "process.admin.connection-timeout=200ms"];
    let served = serve(&sets).await;
    let mut first = TcpStream::connect(served.address).await.unwrap();
    first.write_all(b"GET /livez HTTP/1.1\r\n").await.unwrap();
    // The only slot is taken until the first connection's time is over: then the second is answered.
    let second = get(served.address, "/livez").await;
    assert!(second.starts_with("HTTP/1.1 200"), "{second}");
    assert!(!read_all(&mut first).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let served = serve(&[]).await;
    let mut sources = Sources::default();
    sources.set(&format!("process.admin.listen={}", served.address)).unwrap();
    let config = ProcessConfig::load(&sources).unwrap().config.admin;
    let error =
        Admin::bind(&config, served.health, served.metrics, served.drain).await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("admin HTTP cannot listen on {}: ", served.address)), "{error}");
    assert!(error.ends_with("free the port or set process.admin.listen"));
}
