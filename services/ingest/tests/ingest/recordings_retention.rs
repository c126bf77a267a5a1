//! Recordings that are past their time, by a clock that the test sets.

use crate::client::{DEADLINE, Reply};
use crate::recordings::{Feed, PATH, arrives, ask, serve};
use crate::server::{NOW_MS, Server, until};
use evenkeel_telemetry::names::ingest;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Instant;
use tempfile::TempDir;

const MINUTE_MS: i64 = 60_000;
const HOUR: &str = "recordings.retention=1h";

fn path(id: &str) -> String {
    format!("/v1/streams/s/recordings/{id}")
}

/// So many minutes after the beginning of the test.
fn at(server: &Server, minutes: i64) {
    server.clock.store(NOW_MS + minutes * MINUTE_MS, SeqCst);
}

async fn put(server: &Server, id: &str, headers: &str, body: &[u8]) {
    let reply = ask(server.address, "PUT", &path(id), headers, body).await;
    assert_eq!(reply.status, 201, "{reply:?}");
}

async fn head(server: &Server, path: &str) -> Reply {
    ask(server.address, "HEAD", path, "", b"").await
}

async fn goes(server: &Server, path: &str) {
    let begun = Instant::now();
    while head(server, path).await.status != 404 {
        assert!(begun.elapsed() < DEADLINE, "{path} is still there");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

fn expired(server: &Server) -> u64 {
    server.metrics.counter(&ingest::RECORDINGS_EXPIRED, []).get()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_past_its_time_is_removed_unless_somebody_uploads_it_also_after_a_restart() {
    let dir = TempDir::new().unwrap();
    let server = serve(&dir, &[HOUR]).await;
    let mut feed = Feed::begin(server.address, "PUT", "").await;
    feed.send(b"under way").await;
    arrives(server.address, 9).await;
    at(&server, 1);
    put(&server, "old", "", b"old").await;
    at(&server, 30);
    put(&server, "young", "", b"young").await;
    // The upload was begun before the old one, so it was looked at when the old one is gone.
    at(&server, 61);
    goes(&server, &path("old")).await;
    until("it is counted", || expired(&server) == 1).await;
    assert_eq!(head(&server, PATH).await.status, 200, "it is uploaded now");
    feed.send(b", still").await;
    assert_eq!(feed.end().await.status, 201);
    goes(&server, PATH).await;
    until("it is counted", || expired(&server) == 2).await;
    assert_eq!(head(&server, &path("young")).await.status, 200);
    server.stop().await;

    let server = serve(&dir, &[HOUR]).await;
    at(&server, 89);
    assert_eq!(head(&server, &path("young")).await.status, 200);
    at(&server, 90);
    goes(&server, &path("young")).await;
    let gauge = |name| server.metrics.gauge(name, []).get();
    until("nothing is left", || gauge(&ingest::RECORDINGS_DISK) == 0.0).await;
    until("it is counted", || expired(&server) == 1).await;
    assert_eq!(gauge(&ingest::RECORDINGS), 0.0);
    assert_eq!(dir.path().join("recordings").read_dir().unwrap().count(), 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_crash_left_of_a_removal_goes_too() {
    let dir = TempDir::new().unwrap();
    let server = serve(&dir, &[HOUR]).await;
    put(&server, "walk", "", b"walk").await;
    server.stop().await;
    // The content goes first, what is known of it last.
    let files = || dir.path().join("recordings").read_dir().unwrap().map(|entry| entry.unwrap().path());
    for file in files().filter(|file| file.extension().is_none_or(|ending| ending != "about")) {
        std::fs::remove_file(file).unwrap();
    }
    assert_eq!(files().count(), 1);
    let server = serve(&dir, &[HOUR]).await;
    at(&server, 60);
    until("nothing is left", || files().count() == 0).await;
    until("and nothing counts", || server.metrics.gauge(&ingest::RECORDINGS, []).get() == 0.0).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_on_its_way_into_the_log_stays_until_it_is_there() {
    let dir = TempDir::new().unwrap();
    let server = serve(&dir, &[HOUR, "recordings.ingest-rate=100"]).await;
    let rows: String = (0..1_000).map(|n| format!("{{\"ts\": {n}}}\n")).collect();
    put(&server, "walk", "content-type: application/x-ndjson\r\n", rows.as_bytes()).await;
    let ingest = ask(server.address, "POST", &format!("{}/ingest", path("walk")), "", b"").await;
    assert_eq!(ingest.status, 202);
    let status = async || {
        let reply = ask(server.address, "GET", &format!("{}/status", path("walk")), "", b"").await;
        (reply.status, reply.json()["state"].as_str().unwrap_or_default().to_owned())
    };
    at(&server, 600);
    // A pace of 100 rows a second: the sweeps that come meanwhile leave it alone.
    let begun = Instant::now();
    let mut seen = 0;
    loop {
        match status().await {
            (200, state) if state == "running" => seen += 1,
            (200, state) => assert_eq!(state, "done"),
            (status, _) => break assert_eq!(status, 404),
        }
        assert!(begun.elapsed() < DEADLINE);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(seen > 0);
    let there: usize = server.log.records().iter().map(|record| record.batch.len()).sum();
    assert_eq!(there, 1_000, "all rows went before the recording did");
    until("it is counted", || expired(&server) == 1).await;
    server.stop().await;
}
