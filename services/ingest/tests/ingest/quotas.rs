//! Quotas of devices and tenants over real sockets: each refuses in its own name.

use crate::client::{AVRO, Connection, JSON, NDJSON, Reply, post_with};
use crate::fake::Mode;
use crate::server::{Server, start, until};
use evenkeel_codec::encode_batch;
use evenkeel_model::EventBatch;
use evenkeel_telemetry::names::ingest::{EVENTS, TENANT_BUSY};
use serde_json::json;

const TOKENS: &str = "
    [[credential]]\nname = 'a'\ntoken = 'aaaaaaaaaaaaaaaa'\nstreams = ['*']\n
    [[credential]]\nname = 'b'\ntoken = 'bbbbbbbbbbbbbbbb'\nstreams = ['*']\n";
const A: &str = "authorization: Bearer aaaaaaaaaaaaaaaa\r\n";
const B: &str = "authorization: Bearer bbbbbbbbbbbbbbbb\r\n";

/// A server with two tenants.
async fn tenants(changes: &[&str]) -> (Server, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tokens.toml");
    std::fs::write(&path, TOKENS).unwrap();
    let file = format!("tokens-file={}", path.display());
    let mut all = vec![file.as_str(), "retry.spread=0ms"];
    all.extend(changes);
    (start(&all).await, directory)
}

fn lines(stream_id: &str, events: usize, payload: usize) -> String {
    let text = "x".repeat(payload);
    format!("{{\"stream_id\":\"{stream_id}\",\"ts\":1,\"payload\":\"{text}\"}}\n").repeat(events)
}

fn reasons(reply: &Reply) -> Vec<String> {
    let rejected = reply.json()["rejected"].as_array().unwrap().clone();
    rejected.iter().map(|one| one["reason"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_over_its_bytes_keeps_the_first_events() {
    let server =
        start(&["device.bytes-rate-max=1KiB", "device.bytes-burst=512KiB", "retry.spread=0ms"]).await;
    let send = async |body: String| post_with(server.address, "/v1/events", NDJSON, "", body).await;
    // Payloads are base64: 60 KB of text are 45 KB of a record, and ten of them pass 512 KiB? Eleven do.
    let reply = send(lines("bowl/1", 14, 60_000) + &lines("bowl/2", 1, 60_000)).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let (accepted, refused) = (reply.json()["accepted"].as_u64().unwrap(), reasons(&reply));
    assert!((2..14).contains(&accepted), "{accepted}");
    assert!(!refused.is_empty() && refused.iter().all(|reason| reason == "bytes_limited"), "{refused:?}");
    assert!(reply.header("retry-after").unwrap().parse::<u64>().unwrap() > 1, "45 KB take 45 s");
    let reply = send(lines("bowl/1", 1, 60_000)).await;
    assert_eq!((reply.status, &*reply.slug()), (429, "bytes-limited"));
    assert!(reply.header("retry-after").is_some());
    assert_eq!(send(lines("bowl/3", 1, 60_000)).await.status, 200, "another device is not touched");
    // A whole batch in Avro costs no less.
    let mut batch = EventBatch { stream_id: "bowl/1".into(), ts: vec![1], ..EventBatch::default() };
    batch.payloads = vec![Some(vec![7; 40_000])];
    let mut record = Vec::new();
    encode_batch(&batch, &mut record);
    let reply = post_with(server.address, "/v1/events", AVRO, "", record).await;
    assert_eq!((reply.status, &*reply.slug()), (429, "bytes-limited"));
    assert!(server.metrics.counter(&EVENTS, ["http", "bytes_limited"]).get() >= refused.len() as u64);
    server.settles().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_over_its_rate_does_not_touch_another() {
    let (server, _directory) = tenants(&["tenant.rate-max=1", "tenant.burst=5"]).await;
    let send = async |who, stream, events| {
        post_with(server.address, "/v1/events", NDJSON, who, lines(stream, events, 0)).await
    };
    let reply = send(A, "bowl/1", 4).await;
    assert_eq!((reply.status, &reply.json()["accepted"]), (200, &json!(4)));
    // Over all its devices together.
    let reply = send(A, "bowl/2", 3).await;
    assert_eq!((reply.status, &reply.json()["accepted"]), (200, &json!(1)));
    assert_eq!(reasons(&reply), ["tenant_limited", "tenant_limited"]);
    let reply = send(A, "bowl/3", 1).await;
    assert_eq!((reply.status, &*reply.slug()), (429, "tenant-limited"));
    assert!(reply.header("retry-after").is_some());
    assert_eq!(send(B, "bowl/1", 5).await.status, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_with_too_much_in_flight_waits_and_the_others_do_not() {
    let small = ["in-flight-max=2MiB", "body.size-max=256KiB", "body.record-max=96KiB"];
    let (server, _directory) = tenants(&[&small[..], &["tenant.in-flight-max=256KiB"]].concat()).await;
    let one = |who: &'static str| {
        let address = server.address;
        async move { post_with(address, "/v1/streams/bowl/events", JSON, who, r#"{"ts":1}"#).await }
    };
    // A body that only announces its bytes holds them.
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nhost: x\r\n{A}content-type: {NDJSON}\r\ncontent-length: 150000\r\n\r\n"
    );
    let mut held = Connection::open(server.address).await;
    held.send(head.as_bytes()).await;
    until("it is counted", || server.in_flight_bytes() > 150_000.0).await;
    let reply = one(A).await;
    assert!(reply.status == 200, "there is room for one small request more: {reply:?}");
    let reply = post_with(server.address, "/v1/events", NDJSON, A, vec![b'\n'; 100_000]).await;
    assert_eq!((reply.status, &*reply.slug()), (429, "tenant-busy"));
    assert!(reply.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    let reply = post_with(server.address, "/v1/events", NDJSON, B, vec![b'\n'; 100_000]).await;
    assert_eq!(reply.status, 200, "the budget has room for another");
    assert_eq!(server.metrics.counter(&TENANT_BUSY, []).get(), 1);
    drop(held);
    server.settles().await;
    // Records that the log has not answered for count as well.
    server.log.set(Mode::Hold);
    let address = server.address;
    let waiting =
        tokio::spawn(
            async move { post_with(address, "/v1/events", NDJSON, A, lines("bowl/9", 1, 60_000)).await },
        );
    until("it is at the log", || server.log.records().len() == 2).await;
    let large = || vec![b'\n'; 230_000];
    assert_eq!(post_with(server.address, "/v1/events", NDJSON, A, large()).await.slug(), "tenant-busy");
    assert_eq!(post_with(server.address, "/v1/events", NDJSON, B, large()).await.status, 200);
    server.log.release();
    server.log.set(Mode::Ack);
    assert_eq!(waiting.await.unwrap().status, 200);
    server.settles().await;
    assert_eq!(one(A).await.status, 200);
    server.stop().await;
}
