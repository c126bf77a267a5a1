//! Recordings through the real binary: kill -9 under an upload and under an ingest, and `evenkeel fetch`.

use crate::machine::stored;
use crate::server::{DEADLINE, Reply, Server, exchange, until};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const PATH: &str = "/v1/streams/imu%2F7/recordings/walk";

fn ask(server: &Server, method: &str, path: &str, headers: &str, body: &[u8]) -> Reply {
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n"
    );
    exchange(&server.ingest, &[head.as_bytes(), body].concat()).expect("an answer")
}

/// Where an upload goes on; `None` while there is no recording.
fn offset(server: &Server) -> Option<usize> {
    ask(server, "HEAD", PATH, "", b"").header("upload-offset")?.parse().ok()
}

fn status(server: &Server) -> Value {
    serde_json::from_str(&ask(server, "GET", &format!("{PATH}/status"), "", b"").body).unwrap()
}

fn fetch(server: &Server, out: &Path, more: &[&str]) -> Output {
    let url = format!("http://{}{PATH}", server.ingest);
    let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
    command.args(["fetch", &url, "--out"]).arg(out).args(more).output().unwrap()
}

/// Sends the head and a part of an upload and keeps the connection.
fn begin_upload(server: &Server, method: &str, headers: &str, length: usize, part: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(&server.ingest).unwrap();
    let head = format!("{method} {PATH} HTTP/1.1\r\nhost: x\r\n{headers}content-length: {length}\r\n\r\n");
    stream.write_all(&[head.as_bytes(), part].concat()).unwrap();
    stream
}

#[test]
fn kill_9_leaves_what_came_and_doubles_no_row() {
    const ROWS: i64 = 9_000;
    const STEP_MS: i64 = 20;
    let dir = tempfile::tempdir().unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    let start_ms = (now - 600_000) / 5_000 * 5_000;
    let rows: String = (0..ROWS).map(|n| format!("{},{n}\n", start_ms + n * STEP_MS)).collect();
    let csv = format!("ts,v\n{rows}").into_bytes();

    // The upload is killed twice, and goes on where it was.
    let mut server = Server::start(dir.path(), &[]);
    let mut sent = 0;
    for (method, kind) in [("PUT", "content-type: text/csv\r\n"), ("PATCH", "")] {
        let part = &csv[sent..sent + 50_000];
        let headers = format!("{kind}upload-offset: {sent}\r\n");
        let connection = begin_upload(&server, method, &headers, csv.len() - sent, part);
        sent += part.len();
        until("the part is there", || offset(&server) == Some(sent));
        server.kill();
        drop(connection);
        server = Server::start(dir.path(), &["ingest.recordings.ingest-rate=3000"]);
        assert_eq!(offset(&server), Some(sent), "what was told stays");
    }
    let done = ask(&server, "PATCH", PATH, &format!("upload-offset: {sent}\r\n"), &csv[sent..]);
    assert_eq!(done.status, 204, "{done:?}");
    let out = dir.path().join("walk.csv");
    assert!(fetch(&server, &out, &[]).status.success());
    assert!(std::fs::read(&out).unwrap() == csv);
    let part = fetch(&server, &out, &["--range", "10-109", "--json"]);
    assert!(part.status.success());
    assert_eq!(std::fs::read(&out).unwrap(), &csv[10..110]);
    assert_eq!(serde_json::from_slice::<Value>(&part.stdout).unwrap()["bytes"], 100);
    let beyond = fetch(&server, &dir.path().join("none"), &["--range", "99999999-"]);
    assert_eq!((beyond.status.code(), dir.path().join("none").exists()), (Some(4), false));

    // The ingest is killed in the middle, more than once.
    assert_eq!(ask(&server, "POST", &format!("{PATH}/ingest"), "", b"").status, 202);
    for accepted in [1_000, 4_000] {
        until("rows go in", || status(&server)["accepted"].as_i64().unwrap() >= accepted);
        server.kill();
        server = Server::start(dir.path(), &["ingest.recordings.ingest-rate=3000"]);
    }
    until("it is done", || status(&server)["state"] == "done");
    assert_eq!(status(&server)["accepted"], ROWS);
    // The last windows are still open; those before are stored, each row in one of them, once.
    let to = start_ms + 120_000;
    let want: BTreeMap<_, _> = (0..120_000 / 5_000)
        .map(|window| {
            let (t_start, first) = (start_ms + window * 5_000, window * 5_000 / STEP_MS);
            let sum: i64 = (first..first + 5_000 / STEP_MS).sum();
            (("imu/7".to_owned(), t_start), ((5_000 / STEP_MS) as u64, sum as f64))
        })
        .collect();
    let began = Instant::now();
    while stored(dir.path(), to) != want && began.elapsed() < DEADLINE {
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(stored(dir.path(), to), want);
    assert_eq!(server.terminate(), Some(0));
}
