//! Credentials that change while the service runs.

use crate::client::{JSON, post_with};
use crate::fake::Mode;
use crate::server::{Server, start, until};
use crate::websocket::{Client, batch};
use evenkeel_telemetry::names::ingest::RELOADS;
use std::path::Path;
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
