//! Everybody comes back at once, and some come to waste the server's time.

use crate::client::{Connection, JSON};
use crate::server::{Server, start, until};
use evenkeel_telemetry::names::ingest::{CONNECTIONS, CONNECTIONS_CUT};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;

const PATH: &str = "/v1/streams/bowl/1/events";
const ONE: &[u8] = br#"{"ts":1}"#;

/// Both ends of a storm are in this process: two descriptors per connection, and a few hundred for the rest.
fn storm_size() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap_or_default();
    let open_max = line.split_whitespace().nth(3).and_then(|text| text.parse().ok()).unwrap_or(1024usize);
    (open_max.saturating_sub(400) / 2).clamp(200, 3000)
}

async fn post_one(connection: &mut Connection) -> u16 {
    connection.post(PATH, JSON, "", ONE).await.map_or(0, |reply| reply.status)
}

fn cut(server: &Server, reason: &'static str) -> u64 {
    server.metrics.counter(&CONNECTIONS_CUT, [reason]).get()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reconnect_storm_leaves_those_already_in_alone() {
    let size = storm_size();
    // Deadlines of a second: whoever is starved by the storm gets 408 or 503 instead of 200.
    let server = start(&[
        "connections-max=100000",
        "ack-timeout=1s",
        "body.timeout=1s",
        "accept.rate-start=200",
        "accept.rate-max=2000",
        "accept.ramp=1s",
    ])
    .await;
    let over = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicUsize::new(0));
    let mut steady = JoinSet::new();
    for _ in 0..10 {
        let mut connection = Connection::open(server.address).await;
        assert_eq!(post_one(&mut connection).await, 200);
        let (over, answered) = (Arc::clone(&over), Arc::clone(&answered));
        steady.spawn(async move {
            while !over.load(Ordering::SeqCst) {
                assert_eq!(post_one(&mut connection).await, 200, "one that was in already");
                answered.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
    let storm = storm(server.address, size).await;
    let during = answered.load(Ordering::SeqCst);
    assert!(during > 0, "those already in were answered during the storm");
    until("they still are", || answered.load(Ordering::SeqCst) > during + 100).await;
    over.store(true, Ordering::SeqCst);
    while let Some(ended) = steady.join_next().await {
        ended.unwrap();
    }
    assert_eq!(storm.len(), size);
    drop(storm);
    until("all are gone", || server.metrics.gauge(&CONNECTIONS, ["http"]).get() == 0.0).await;
    server.settles().await;
    server.stop().await;
}

/// Opens so many connections at once; each sends its first event and stays.
async fn storm(address: SocketAddr, size: usize) -> Vec<Connection> {
    let mut opening = JoinSet::new();
    for _ in 0..size {
        opening.spawn(async move {
            let mut connection = Connection::open(address).await;
            assert_eq!(post_one(&mut connection).await, 200, "one of the storm");
            connection
        });
    }
    opening.join_all().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_and_bodies_byte_by_byte_are_cut_and_counted() {
    let server = start(&["connection.head-timeout=200ms", "body.timeout=200ms"]).await;
    // Never a whole head, however busily it is written.
    let mut slow = Connection::open(server.address).await;
    let head = format!("POST {PATH} HTTP/1.1\r\nhost: x\r\nx-padding: {}", "x".repeat(8000));
    for byte in head.as_bytes() {
        slow.send(&[*byte]).await;
        tokio::task::yield_now().await;
        if cut(&server, "slow_head") > 0 {
            break;
        }
    }
    until("the slow head is cut", || cut(&server, "slow_head") == 1).await;
    assert_ne!(slow.reply().await.map(|reply| reply.status), Some(200));
    // A body that never ends.
    let mut slow = Connection::open(server.address).await;
    let head =
        format!("POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-type: {JSON}\r\ncontent-length: 100000\r\n\r\n");
    slow.send(head.as_bytes()).await;
    let mut sent = 0;
    while cut(&server, "slow_body") == 0 {
        slow.send(b" ").await;
        sent += 1;
        assert!(sent < 90_000, "a body may be written for ever");
        tokio::time::sleep(Duration::from_millis(1)).await; // the pace, not a wait for something
    }
    let reply = slow.reply().await.unwrap();
    assert_eq!((reply.status, &*reply.slug()), (408, "slow-body"));
    let mut good = Connection::open(server.address).await;
    assert_eq!(post_one(&mut good).await, 200);
    drop((slow, good));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_read_byte_by_byte_are_cut_and_counted() {
    let server = start(&["connections-max=1", "connection.write-timeout=200ms"]).await;
    let mut trickle = Connection::open(server.address).await;
    let asks = b"GET /v1/openapi.yaml HTTP/1.1\r\nhost: x\r\n\r\n".repeat(4000);
    let reading = tokio::spawn(async move {
        trickle.send_and_trickle(&asks).await;
    });
    until("the trickle is cut", || cut(&server, "write_stalled") == 1).await;
    let mut good = Connection::open(server.address).await;
    assert_eq!(post_one(&mut good).await, 200);
    reading.abort();
    drop(good);
    server.stop().await;
}
