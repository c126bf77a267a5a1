//! Credentials that change while the service runs.

use crate::client::{JSON, NDJSON, post, post_with};
use crate::fake::{Fake, Mode};
use crate::server::{Server, config, start, start_rereading, until};
use crate::websocket::{Client, batch};
use evenkeel_telemetry::names::ingest::{QUEUE_LIMIT, RELOADS};
use std::path::Path;
use std::sync::{Arc, Mutex};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

fn credential(name: &str, token: &str, streams: &str) -> String {
    format!("[[credential]]\nname = '{name}'\ntoken = '{token}'\nstreams = ['{streams}']\n")
}

const OLD: &str = "old-0123456789abcdef";
const NEW: &str = "new-0123456789abcdef";
const STAYS: &str = "stays-0123456789abcdef";

async fn start_with(path: &Path, text: &str) -> Server {
    std::fs::write(path, text).unwrap();
    start(&[&format!("tokens-file={}", path.display()), "reload.every=10ms"]).await
}

async fn status(server: &Server, token: &str) -> u16 {
    let header = format!("authorization: Bearer {token}\r\n");
    post_with(server.address, "/v1/streams/bowl/1/events", JSON, &header, r#"{"ts":1}"#).await.status
}

async fn open(server: &Server, token: &str) -> Client {
    let bearer = format!("Bearer {token}");
    let mut client = Client::open_with(server.address, &[("authorization", &bearer)]).await.unwrap();
    assert_eq!(client.json().await["type"], "hello");
    client
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_removed_loses_its_open_sockets_too() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tokens.toml");
    let stays = credential("stays", STAYS, "*");
    let server = start_with(&path, &(credential("old", OLD, "*") + &stays)).await;
    let reloads = || server.metrics.counter(&RELOADS, ["credentials", "good"]).get();
    let (mut old, mut kept) = (open(&server, OLD).await, open(&server, STAYS).await);
    assert_eq!((status(&server, OLD).await, status(&server, NEW).await), (200, 401));
    // A batch under way is answered before the end.
    server.log.set(Mode::Hold);
    let before = server.log.records().len();
    old.send(&batch(1, 0..3)).await;
    until("it is at the log", || server.log.records().len() > before).await;
    std::fs::write(&path, credential("new", NEW, "*") + &stays).unwrap();
    until("the new file is in force", || reloads() == 1).await;
    server.log.release();
    server.log.set(Mode::Ack);
    assert_eq!(old.json().await["type"], "ack");
    let (code, reason) = old.goodbye().await;
    assert_eq!((code, &*reason), (CloseCode::Policy, "the credential was withdrawn"));
    assert_eq!((status(&server, OLD).await, status(&server, NEW).await), (401, 200));
    // The one that stayed noticed nothing.
    kept.send(&batch(2, 3..5)).await;
    assert_eq!(kept.json().await["type"], "ack");
    // Narrower patterns are another credential: what was open under the wide ones ends.
    std::fs::write(&path, credential("stays", STAYS, "imu/*")).unwrap();
    assert_eq!(kept.goodbye().await.0, CloseCode::Policy);
    assert_eq!(status(&server, STAYS).await, 403);
    server.settles().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_file_keeps_the_old_credentials_and_is_counted_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tokens.toml");
    let good = credential("old", OLD, "*");
    let server = start_with(&path, &good).await;
    let failed = || server.metrics.counter(&RELOADS, ["credentials", "failed"]).get();
    let mut client = open(&server, OLD).await;
    for (n, text) in ["", "[[credential]", "[[credential]]\nname = 'a'\n"].into_iter().enumerate() {
        std::fs::write(&path, text).unwrap();
        // Writing is not one step: an empty file may have been seen on the way.
        until("it is counted", || failed() > n as u64).await;
        assert_eq!(status(&server, OLD).await, 200, "{text}");
    }
    let before = failed();
    std::fs::remove_file(&path).unwrap();
    until("it is missed", || failed() > before).await;
    client.send(&batch(1, 0..1)).await;
    assert_eq!(client.json().await["type"], "ack");
    assert!(failed() <= 7, "once per change, not per look: {}", failed());
    let other = directory.path().join("next");
    std::fs::write(&other, good + &credential("new", NEW, "*")).unwrap();
    std::fs::rename(&other, &path).unwrap();
    until("the mended file is in force", || {
        server.metrics.counter(&RELOADS, ["credentials", "good"]).get() == 1
    })
    .await;
    assert_eq!((status(&server, OLD).await, status(&server, NEW).await), (200, 200));
    drop(client);
    server.stop().await;
}

// Issue of operators: limits and the flush policy are changed without a restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_and_the_flush_policy_change_while_it_runs() {
    let common = ["reload.every=10ms", "flush.policy=linger", "flush.linger.linger-ms=0"];
    let wanted = Arc::new(Mutex::new(Ok(config(&common))));
    let source = Arc::clone(&wanted);
    let reread = Box::new(move || source.lock().unwrap().clone());
    let server = start_rereading(&common, Fake::new(), Some(reread)).await;
    let reloads = |outcome| server.metrics.counter(&RELOADS, ["configuration", outcome]).get();
    let set = |more: &[&str]| *wanted.lock().unwrap() = Ok(config(&[&common[..], more].concat()));
    let events = (1..=5).map(|ts| format!("{{\"ts\":{ts}}}\n")).collect::<String>();
    let send = || async {
        let reply = post_with(server.address, "/v1/streams/s/events", NDJSON, "", &events).await;
        (reply.status, reply.json()["accepted"].as_u64())
    };
    assert_eq!(send().await, (200, Some(5)));

    set(&["device.rate-max=1", "device.burst=2"]);
    until("the rate is in force", || reloads("good") == 1).await;
    assert_eq!(send().await, (200, Some(2)), "the burst of a new rate");

    // What does not fit together changes nothing, and is told once.
    set(&["in-flight-max=9MiB"]);
    until("it is refused", || reloads("failed") == 1).await;
    *wanted.lock().unwrap() = Err("the file is gone".into());
    until("it is refused", || reloads("failed") == 2).await;
    assert_eq!(send().await.0, 429, "the rate still holds");

    // A policy that waits for more: the request is at the lanes, not at the log.
    set(&["flush.policy=static", "flush.static.age-ms=3600000", "flush.age-max=1h"]);
    until("the policy is in force", || reloads("good") == 2).await;
    let before = server.log.records().len();
    let address = server.address;
    let waiting =
        tokio::spawn(async move { post(address, "/v1/streams/t/events", JSON, r#"{"ts":1}"#).await });
    until("its bytes are held", || server.in_flight_bytes() > 0.0).await;
    assert_eq!(server.log.records().len(), before);
    set(&["in-flight-max=32MiB", "connections-max=3"]);
    until("the first policy is back", || reloads("good") == 3).await;
    assert_eq!(waiting.await.unwrap().status, 200);
    assert_eq!(server.metrics.gauge(&QUEUE_LIMIT, []).get(), f64::from(32 << 20));
    server.settles().await;
    server.stop().await;
}
