//! Recordings on their way into the log: formats, numbering, pace, a log that is away, a server that ends in between.

use crate::client::{DEADLINE, Reply};
use crate::fake::{Appended, Fake, Mode};
use crate::recordings::{PATH, ask, serve};
use crate::server::{Server, start_on};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Instant;
use tempfile::TempDir;

const CSV: &str = "content-type: text/csv\r\n";
const NDJSON: &str = "content-type: application/x-ndjson\r\n";

async fn status(server: &Server) -> Value {
    let reply = ask(server.address, "GET", &format!("{PATH}/status"), "", b"").await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

async fn begin(server: &Server) -> Reply {
    ask(server.address, "POST", &format!("{PATH}/ingest"), "", b"").await
}

/// Waits until the ingest runs no more.
async fn ends(server: &Server) -> Value {
    let begun = Instant::now();
    loop {
        let now = status(server).await;
        if now["state"] != "running" {
            return now;
        }
        assert!(begun.elapsed() < DEADLINE, "{now}");
    }
}

/// Every row of the log: its seq, and its time. A row that is there twice must be the same.
fn rows(records: &[Appended]) -> BTreeMap<u64, i64> {
    let mut rows = BTreeMap::new();
    for Appended { batch, .. } in records {
        assert!(batch.backfill && batch.stream_id == "imu/7", "{batch:?}");
        assert_eq!(batch.seq.len(), batch.len(), "every row has a seq");
        for (seq, ts) in batch.seq.iter().zip(&batch.ts) {
            assert!(rows.insert(*seq, *ts).is_none_or(|before| before == *ts), "two rows have seq {seq}");
        }
    }
    rows
}

fn ndjson(rows: i64) -> String {
    (0..rows).map(|n| format!("{{\"ts\": {}, \"fields\": {{\"ax\": {n}}}}}\n", 1_000 + n)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_every_format_become_backfill_with_a_seq() {
    for (kind, text) in [
        (NDJSON, format!("\u{feff}{}", ndjson(500))),
        (
            CSV,
            format!(
                "\nts,room,ax\n{}",
                (0..500).map(|n| format!("{},hall,{n}\r\n", 1_000 + n)).collect::<String>()
            ),
        ),
    ] {
        let dir = TempDir::new().unwrap();
        let server = serve(&dir, &["recordings.ingest-rate=1000000"]).await;
        assert_eq!(ask(server.address, "PUT", PATH, kind, text.as_bytes()).await.status, 201);
        assert_eq!(status(&server).await["state"], "idle");
        assert_eq!(begin(&server).await.status, 202);
        let done = ends(&server).await;
        assert_eq!(
            (&done["state"], &done["accepted"], &done["rejected"]),
            (&json!("done"), &json!(500), &json!(0)),
            "{done}"
        );
        assert_eq!(done["offset_bytes"], done["size_bytes"]);
        let rows = rows(&server.log.durable());
        assert_eq!(rows.len(), 500);
        let first = *rows.keys().next().unwrap();
        assert!(rows.keys().copied().eq(first..first + 500), "neighbours have neighbouring numbers");
        assert!(rows.values().copied().eq(1_000..1_500), "in the order of the file");
        assert_eq!(first >> 62, 1);
        // Done is done: asked again it changes nothing.
        assert_eq!(begin(&server).await.json()["state"], "done");
        assert_eq!(server.log.durable().iter().map(|r| r.batch.len()).sum::<usize>(), 500);
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_file_is_ingested_block_by_block() {
    let dir = TempDir::new().unwrap();
    let server = serve(&dir, &["recordings.ingest-rate=1000000"]).await;
    let schema = r#"{"type":"record","name":"row","fields":[{"name":"ts","type":"long"},{"name":"ax","type":"double"}]}"#;
    let schema = apache_avro::Schema::parse_str(schema).unwrap();
    let mut writer = apache_avro::Writer::new(&schema, Vec::new()).unwrap();
    for n in 0..300i64 {
        let mut row = apache_avro::types::Record::new(&schema).unwrap();
        row.put("ts", 1_000 + n);
        row.put("ax", n as f64);
        writer.append_value(row).unwrap();
        if n % 40 == 39 {
            writer.flush().unwrap();
        }
    }
    let file = writer.into_inner().unwrap();
    ask(server.address, "PUT", PATH, "content-type: application/avro\r\n", &file).await;
    assert_eq!(begin(&server).await.status, 202);
    let done = ends(&server).await;
    assert_eq!((&done["state"], &done["accepted"]), (&json!("done"), &json!(300)), "{done}");
    let rows = rows(&server.log.durable());
    assert!(rows.values().copied().eq(1_000..1_300));
    let first = *rows.keys().next().unwrap();
    assert!(rows.keys().copied().eq(first..first + 300));
    assert!(server.log.durable().len() >= 8, "a delivery per block");
    server.stop().await;

    // Cut within a block: what is whole is there, and the end is told.
    let dir = TempDir::new().unwrap();
    let server = serve(&dir, &["recordings.ingest-rate=1000000"]).await;
    ask(server.address, "PUT", PATH, "content-type: application/avro\r\n", &file[..file.len() - 30]).await;
    begin(&server).await;
    let failed = ends(&server).await;
    assert_eq!((&failed["state"], &failed["accepted"]), (&json!("failed"), &json!(280)), "{failed}");
    assert!(failed["error"].as_str().unwrap().contains("ends within a block"), "{failed}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seq_of_the_file_stays_and_rows_that_are_none_are_counted() {
    let dir = TempDir::new().unwrap();
    let server = serve(&dir, &["recordings.ingest-rate=1000000"]).await;
    let text = "{\"ts\": 5, \"seq\": 17}\n\nnonsense\n{\"ts\": 6}\n{\"ts\": 7, \"stream_id\": \"bowl\"}";
    ask(server.address, "PUT", PATH, NDJSON, text.as_bytes()).await;
    begin(&server).await;
    let done = ends(&server).await;
    assert_eq!(
        (&done["rows"], &done["accepted"], &done["rejected"]),
        (&json!(4), &json!(2), &json!(2)),
        "{done}"
    );
    let listed: Vec<u64> =
        done["listed"].as_array().unwrap().iter().map(|r| r["row"].as_u64().unwrap()).collect();
    assert_eq!(listed, [1, 3]);
    let rows = rows(&server.log.durable());
    assert_eq!(rows[&17], 5);
    let (seq, ts) = rows.last_key_value().unwrap();
    assert_eq!((*ts, seq & 0xffff_ffff), (6, 2), "the number of its row");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_ends_in_between_goes_on_and_doubles_nothing() {
    let dir = TempDir::new().unwrap();
    let at = format!("recordings.dir={}", dir.path().join("recordings").display());
    let changes = [at.as_str(), "recordings.disk-reserve=0B", "recordings.ingest-rate=2000"];
    let log = Fake::new();
    let server = start_on(&changes, log.clone()).await;
    ask(server.address, "PUT", PATH, NDJSON, ndjson(3_000).as_bytes()).await;
    begin(&server).await;
    let begun = Instant::now();
    while status(&server).await["accepted"].as_u64().unwrap() < 500 {
        assert!(begun.elapsed() < DEADLINE);
    }
    // The log takes a piece and its answer is lost with the server: that piece comes again.
    log.set(Mode::Hold);
    let before = log.records().len();
    while log.records().len() == before {
        assert!(begun.elapsed() < DEADLINE);
        tokio::task::yield_now().await;
    }
    let told = status(&server).await["accepted"].as_u64().unwrap();
    let dir_now = dir.path().join("again");
    copy(&dir.path().join("recordings"), &dir_now);
    drop(server); // without a drain: its tasks end with the test's handle on them
    log.set(Mode::Ack);
    log.release();

    let at = format!("recordings.dir={}", dir_now.display());
    let server =
        start_on(&[at.as_str(), "recordings.disk-reserve=0B", "recordings.ingest-rate=1000000"], log.clone())
            .await;
    let done = ends(&server).await;
    assert_eq!((&done["state"], &done["accepted"]), (&json!("done"), &json!(3_000)), "{done}");
    let total: usize = log.records().iter().map(|record| record.batch.len()).sum();
    assert!(total > 3_000 && told < 3_000, "some rows came twice ({total}), under the same seq:");
    let rows = rows(&log.records());
    assert!(rows.values().copied().eq(1_000..4_000), "each row is there, once by its seq");
    server.stop().await;
}

/// What a crash leaves is what is on disk at one moment, whoever still has it open. A file that gets its name while
/// they are copied makes that another moment.
fn copy(from: &std::path::Path, to: &std::path::Path) {
    let begun = Instant::now();
    while let Err(error) = copy_once(from, to) {
        assert!(error.kind() == std::io::ErrorKind::NotFound && begun.elapsed() < DEADLINE, "{error}");
        std::fs::remove_dir_all(to).unwrap();
    }
}

fn copy_once(from: &std::path::Path, to: &std::path::Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        std::fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_recording_of_the_same_name_begins_anew() {
    let dir = TempDir::new().unwrap();
    let server = serve(&dir, &["recordings.ingest-rate=1000000"]).await;
    for (round, rows) in [(0, 100), (1, 50)] {
        ask(server.address, "PUT", PATH, NDJSON, ndjson(rows).as_bytes()).await;
        assert_eq!(status(&server).await["state"], "idle", "round {round}");
        let begun = Instant::now();
        while begin(&server).await.status == 503 {
            assert!(begun.elapsed() < DEADLINE, "its predecessor ends");
        }
        let done = ends(&server).await;
        assert_eq!((&done["state"], &done["accepted"]), (&json!("done"), &json!(rows)), "{done}");
        assert_eq!(ask(server.address, "DELETE", PATH, "", b"").await.status, 204);
    }
    assert_eq!(rows(&server.log.durable()).len(), 150, "another content has other numbers");
    // A page of another site cannot begin one.
    ask(server.address, "PUT", PATH, NDJSON, b"").await;
    let foreign =
        ask(server.address, "POST", &format!("{PATH}/ingest"), "origin: https://evil.example\r\n", b"").await;
    assert_eq!((foreign.status, foreign.slug().as_str()), (403, "forbidden"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_away_is_waited_for() {
    let dir = TempDir::new().unwrap();
    let server = serve(&dir, &["recordings.ingest-rate=1000000", "retry.base=1ms", "retry.spread=1ms"]).await;
    ask(server.address, "PUT", PATH, NDJSON, ndjson(100).as_bytes()).await;
    server.log.set(Mode::Fail);
    begin(&server).await;
    let begun = Instant::now();
    while server.log.records().len() < 3 {
        assert!(begun.elapsed() < DEADLINE, "it is tried again");
        tokio::task::yield_now().await;
    }
    assert_eq!(status(&server).await["accepted"], 0);
    server.log.set(Mode::Ack);
    assert_eq!(ends(&server).await["accepted"], 100);
    assert_eq!(rows(&server.log.records()).len(), 100, "every try has the same numbers");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_keeps_its_rate_while_its_recording_is_ingested() {
    let dir = TempDir::new().unwrap();
    let changes = ["recordings.ingest-rate=1000000", "device.rate-max=1", "device.burst=10"];
    let server = serve(&dir, &changes).await;
    ask(server.address, "PUT", PATH, NDJSON, ndjson(5_000).as_bytes()).await;
    begin(&server).await;
    assert_eq!(ends(&server).await["accepted"], 5_000);
    let live: String = (0..10).map(|n| format!("{{\"ts\": {n}}}\n")).collect();
    let reply = ask(
        server.address,
        "POST",
        "/v1/streams/imu%2F7/events",
        "content-type: application/x-ndjson\r\n",
        live.as_bytes(),
    )
    .await;
    assert_eq!(reply.json()["accepted"], 10);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_ingested_is_refused() {
    let dir = TempDir::new().unwrap();
    let server = serve(&dir, &["recordings.ingests-max=1", "recordings.ingest-rate=1"]).await;
    assert_eq!(begin(&server).await.slug(), "not-found");
    ask(server.address, "PUT", PATH, "content-type: text/csv\r\nupload-complete: ?0\r\n", b"a,b\n1,2\n")
        .await;
    let early = begin(&server).await;
    assert_eq!((early.status, early.slug().as_str()), (409, "recording-unfinished"));
    ask(server.address, "PATCH", PATH, "upload-offset: 8\r\n", b"").await;
    assert_eq!(begin(&server).await.status, 202);
    let failed = ends(&server).await;
    assert_eq!(failed["state"], "failed");
    assert!(failed["error"].as_str().unwrap().contains("no column ts"), "{failed}");

    let path = |id: &str| format!("/v1/streams/s/recordings/{id}");
    ask(server.address, "PUT", &path("film"), "content-type: video/mp4\r\n", b"x").await;
    let film = ask(server.address, "POST", &format!("{}/ingest", path("film")), "", b"").await;
    assert_eq!((film.status, film.slug().as_str()), (415, "unsupported-media-type"));

    for id in ["a", "b"] {
        ask(server.address, "PUT", &path(id), NDJSON, ndjson(100).as_bytes()).await;
    }
    assert_eq!(ask(server.address, "POST", &format!("{}/ingest", path("a")), "", b"").await.status, 202);
    let busy = ask(server.address, "POST", &format!("{}/ingest", path("b")), "", b"").await;
    assert_eq!((busy.status, busy.slug().as_str()), (503, "busy"));
    // Removed while it is on its way: there is room for the other.
    assert_eq!(ask(server.address, "DELETE", &path("a"), "", b"").await.status, 204);
    let begun = Instant::now();
    while ask(server.address, "POST", &format!("{}/ingest", path("b")), "", b"").await.status == 503 {
        assert!(begun.elapsed() < DEADLINE);
    }
    server.stop().await;
}
