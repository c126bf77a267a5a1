//! Shutting down: what was acknowledged is in the log, whatever the moment.

use crate::client::{Connection, JSON, post};
use crate::fake::Mode;
use crate::server::{start, until};
use evenkeel_chassis::drain::Cause;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const PATH: &str = "/v1/streams/s/events";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_under_load_loses_no_acknowledged_event() {
    let server = start(&[]).await;
    let acknowledged = Arc::new(AtomicU64::new(0));
    let mut clients = Vec::new();
    for client in 0..16u64 {
        let (address, count) = (server.address, Arc::clone(&acknowledged));
        clients.push(tokio::spawn(async move {
            let mut connection = Connection::open(address).await;
            let mut seqs = Vec::new();
            for n in 0.. {
                let seq = client * 1_000_000 + n;
                let body = format!("{{\"ts\":1,\"seq\":{seq}}}");
                match connection.post(PATH, JSON, "", body.as_bytes()).await {
                    Some(reply) if reply.status == 200 => {
                        seqs.push(seq);
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                    Some(reply) => {
                        assert_eq!((reply.status, &*reply.slug()), (503, "draining"));
                        assert_eq!(reply.header("connection"), Some("close"));
                        break;
                    }
                    None => break,
                }
            }
            seqs
        }));
    }
    until("there is load", || acknowledged.load(Ordering::Relaxed) >= 200).await;
    server.drain.begin(Cause::Terminate);
    let log = server.log.clone();
    server.ended().await;
    let durable: Vec<u64> = log.durable().iter().flat_map(|record| record.batch.seq.clone()).collect();
    let mut told = 0;
    for client in clients {
        for seq in client.await.unwrap() {
            told += 1;
            assert!(durable.contains(&seq), "{seq} was acknowledged and is not in the log");
        }
    }
    assert!(told >= 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_in_flight_finish_and_new_ones_on_kept_connections_are_sent_away() {
    let server = start(&[]).await;
    let mut kept = Connection::open(server.address).await;
    assert_eq!(kept.post(PATH, JSON, "", br#"{"ts":1}"#).await.unwrap().status, 200);
    server.log.set(Mode::Hold);
    let address = server.address;
    let pending = tokio::spawn(async move { post(address, PATH, JSON, r#"{"ts":2}"#).await });
    until("it is at the log", || server.log.records().len() == 2).await;
    assert!(server.health.ready().well);
    server.drain.begin(Cause::Terminate);
    until("it is not ready", || !server.health.ready().well).await;
    let reply = kept.post(PATH, JSON, "", br#"{"ts":3}"#).await.unwrap();
    assert_eq!((reply.status, &*reply.slug(), reply.header("connection")), (503, "draining", Some("close")));
    assert!(reply.header("retry-after").is_some());
    server.log.release();
    assert_eq!(pending.await.unwrap().status, 200);
    server.ended().await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "nobody listens any more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_ends_at_its_deadline_with_an_answer() {
    let server = start(&["drain-timeout=100ms"]).await;
    server.log.set(Mode::Hold);
    let address = server.address;
    let pending = tokio::spawn(async move { post(address, PATH, JSON, r#"{"ts":2}"#).await });
    until("it is at the log", || server.log.records().len() == 1).await;
    server.drain.begin(Cause::Terminate);
    let reply = pending.await.unwrap();
    assert_eq!((reply.status, &*reply.slug()), (503, "draining"));
    server.ended().await;
}
