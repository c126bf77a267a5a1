//! Budget, device rates, credentials, connections.

use crate::client::{Connection, JSON, NDJSON, post, post_with};
use crate::fake::Mode;
use crate::server::{config, start, until};
use evenkeel_chassis::health::Health;
use evenkeel_ingest::{Edges, Ingest};
use evenkeel_telemetry::{Emitter, Metrics};
use serde_json::json;

const PATH: &str = "/v1/streams/s/events";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn past_the_budget_requests_are_503_until_bytes_come_back() {
    let server = start(&["in-flight-max=256KiB", "body.size-max=64KiB", "body.record-max=96KiB"]).await;
    server.log.set(Mode::Hold);
    // A body that only announces its bytes holds them: twice 16 + 64 KiB, and a third does not fit.
    let head =
        format!("POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-type: {NDJSON}\r\ncontent-length: 65536\r\n\r\n");
    let mut held = Vec::new();
    for n in 1..=3 {
        let mut connection = Connection::open(server.address).await;
        connection.send(head.as_bytes()).await;
        held.push(connection);
        until("it is counted", || server.in_flight_bytes() == f64::from(n * 80 * 1024)).await;
    }
    let reply = post(server.address, PATH, NDJSON, vec![b'\n'; 65536]).await;
    assert_eq!((reply.status, &*reply.slug()), (503, "busy"));
    assert!(reply.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    drop(held); // clients that go away give their bytes back
    server.settles().await;
    server.log.set(Mode::Ack);
    assert_eq!(post(server.address, PATH, NDJSON, vec![b'\n'; 65536]).await.status, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_is_charged_for_what_it_grows_to() {
    let server = start(&["in-flight-max=512KiB", "body.size-max=64KiB", "body.record-max=96KiB"]).await;
    // Events in a few KiB of gzip: their columns cost far more than the body.
    let events = |n| crate::verdicts::gzip("{\"ts\":1}\n".repeat(n).as_bytes());
    let gzip = "content-encoding: gzip\r\n";
    let head =
        format!("POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-type: {NDJSON}\r\ncontent-length: 65536\r\n\r\n");
    let mut others = Vec::new();
    for n in 1..=3 {
        let mut other = Connection::open(server.address).await;
        other.send(head.as_bytes()).await;
        others.push(other);
        until("it is counted", || server.in_flight_bytes() == f64::from(n * 80 * 1024)).await;
    }
    let reply = post_with(server.address, PATH, NDJSON, gzip, events(2700)).await;
    assert_eq!((reply.status, &*reply.slug()), (503, "busy"), "there is no room now");
    drop(others);
    server.settles().await;
    assert_eq!(post_with(server.address, PATH, NDJSON, gzip, events(2700)).await.status, 200);
    let reply = post_with(server.address, PATH, NDJSON, gzip, events(20_000)).await;
    assert_eq!((reply.status, &*reply.slug()), (413, "too-large"), "there is never room");
    server.settles().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_over_their_rate_keep_the_first_events_and_hear_when_to_come() {
    let server = start(&["device.rate-max=1", "device.burst=3", "retry.spread=0ms"]).await;
    let body = "{\"stream_id\":\"a\",\"ts\":1}\n".repeat(5) + "{\"stream_id\":\"b\",\"ts\":1}\n";
    let reply = post(server.address, "/v1/events", NDJSON, body).await;
    assert_eq!((reply.status, &reply.json()["accepted"]), (200, &json!(4)));
    let indices: Vec<_> =
        reply.json()["rejected"].as_array().unwrap().iter().map(|r| r["index"].clone()).collect();
    assert_eq!(
        (indices, &reply.json()["rejected"][0]["reason"]),
        (vec![json!(3), json!(4)], &json!("rate_limited"))
    );
    assert!(reply.header("retry-after").is_some());
    let reply = post(server.address, "/v1/streams/a/events", JSON, r#"{"ts":1}"#).await;
    assert_eq!((reply.status, &*reply.slug()), (429, "rate-limited"));
    assert!(reply.header("retry-after").is_some());
    assert_eq!(server.log.durable().iter().map(|r| r.batch.len()).sum::<usize>(), 4);
    server.settles().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_writes_its_streams_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tokens.toml");
    std::fs::write(&file, "[[credential]]\nname='w'\ntoken='0123456789abcdef'\nstreams=['imu/*']\n").unwrap();
    let server = start(&[&format!("tokens-file={}", file.display())]).await;
    let good = "authorization: Bearer 0123456789abcdef\r\n";
    let one = r#"{"ts":1}"#;
    let imu = "/v1/streams/imu/1/events";
    let reply = post(server.address, imu, JSON, one).await;
    assert_eq!((reply.status, &*reply.slug()), (401, "unauthenticated"));
    assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
    for wrong in ["Bearer 0123456789abcdeg", "Bearer ", "Basic 0123456789abcdef", "Bearer"] {
        let reply = post_with(server.address, imu, JSON, &format!("authorization: {wrong}\r\n"), one).await;
        assert_eq!(reply.status, 401, "{wrong}");
    }
    assert_eq!(post_with(server.address, imu, JSON, good, one).await.status, 200);
    let reply = post_with(server.address, "/v1/streams/bowl/1/events", JSON, good, one).await;
    assert_eq!((reply.status, &*reply.slug()), (403, "forbidden"));
    let mixed = "{\"stream_id\":\"imu/1\",\"ts\":1}\n{\"stream_id\":\"bowl/1\",\"ts\":1}\n";
    let reply = post_with(server.address, "/v1/events", NDJSON, good, mixed).await;
    assert_eq!((reply.status, &reply.json()["rejected"][0]["reason"]), (200, &json!("forbidden")));
    let worse = mixed.replacen("\"ts\":1", "\"ts\":-1", 1);
    let reply = post_with(server.address, "/v1/events", NDJSON, good, worse).await;
    assert_eq!((reply.status, &*reply.slug()), (422, "events-refused"));
    let foreign = r#"{"stream_id":"bowl/1","ts":1}"#;
    let reply = post_with(server.address, "/v1/events", NDJSON, good, foreign).await;
    assert_eq!((reply.status, &*reply.slug()), (403, "forbidden"));
    assert!(server.log.records().iter().all(|record| record.key == "imu/1"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_anybody_could_reach_does_not_start_without_credentials() {
    let metrics = Metrics::new().unwrap();
    let edges = || {
        Edges::system(Emitter::new(metrics.clone()), Health::new(metrics.clone()).condition("ingest"), "test")
    };
    let start = async |changes: &[&str]| {
        let log = Box::new(crate::fake::Fake::new());
        Ingest::new(config(changes), log, edges()).await.err().map(|error| error.to_string())
    };
    let open = start(&["listen=0.0.0.0:0"]).await.unwrap();
    assert!(open.contains("without credentials") && open.contains("set `tokens-file`"), "{open}");
    let missing = start(&["tokens-file=/nowhere/tokens.toml"]).await.unwrap();
    assert!(missing.contains("/nowhere/tokens.toml"), "{missing}");
    let misfit = start(&["in-flight-max=1MiB"]).await.unwrap();
    assert!(misfit.contains("in-flight-max = 1MiB: must be"), "{misfit}");
    assert_eq!(start(&[]).await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn past_connections_max_clients_wait_for_their_turn() {
    let server = start(&["connections-max=2"]).await;
    let mut first = Connection::open(server.address).await;
    let second = Connection::open(server.address).await;
    assert_eq!(first.post(PATH, JSON, "", br#"{"ts":1}"#).await.unwrap().status, 200);
    let address = server.address;
    let mut third = tokio::spawn(async move { post(address, PATH, JSON, r#"{"ts":2}"#).await });
    // While two are open the third is not served; when one goes, it is.
    assert_eq!(first.post(PATH, JSON, "", br#"{"ts":3}"#).await.unwrap().status, 200);
    assert!(tokio::time::timeout(std::time::Duration::from_millis(50), &mut third).await.is_err());
    drop(second);
    assert_eq!(third.await.unwrap().status, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_never_reads_its_answers_is_cut() {
    let server = start(&["connections-max=1", "connection.write-timeout=100ms"]).await;
    let mut deaf = Connection::open(server.address).await;
    let asks = b"GET /v1/openapi.yaml HTTP/1.1\r\nhost: x\r\n\r\n".repeat(4000); // answers of some 60 MB
    let deaf = tokio::spawn(async move {
        deaf.send(&asks).await;
        deaf
    });
    // It has the only connection, and the head's time-out is longer than this test waits.
    assert_eq!(post(server.address, PATH, JSON, r#"{"ts":1}"#).await.status, 200);
    drop(deaf.await.unwrap());
    server.stop().await;
}
