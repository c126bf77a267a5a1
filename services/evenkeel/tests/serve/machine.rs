//! One machine under kill -9, its endpoints, what it refuses at the start, the demo and the plan.

use crate::server::{DEADLINE, Server, get, post, run_anywhere};
use evenkeel_scenarios::{Fleet, Rows};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Who sends.
pub const FLEET: Fleet = Fleet { streams: 5 };

/// Stored (count, sum of `v`) per stream and 5 s window that starts before `to`.
pub fn stored(data_dir: &Path, to: i64) -> Rows {
    stored_as(Command::new(env!("CARGO_BIN_EXE_evenkeel")), data_dir, to)
}

/// The same asked by a command that ends in the binary.
pub fn stored_as(mut binary: Command, data_dir: &Path, to: i64) -> Rows {
    let output = binary
        .args(["query", "windows", "--size", "5s", "--format", "json", "--to", &to.to_string(), "--data-dir"])
        .arg(data_dir)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut rows = BTreeMap::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        let key = (row["stream_id"].as_str().unwrap().to_owned(), row["t_start"].as_i64().unwrap());
        let sum = row["stats"]["v"]["sum"].as_f64().unwrap();
        let old = rows.insert(key, (row["count"].as_u64().unwrap(), sum));
        assert!(old.is_none(), "two rows for one window");
    }
    rows
}

#[test]
fn kill_9_loses_nothing_and_doubles_nothing() {
    const REQUESTS: u64 = 60;
    let dir = tempfile::tempdir().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64;
    let start_ms = (now - 120_000) / 5_000 * 5_000;
    let mut server = Server::start(dir.path(), &[]);
    let mut kills = 0;
    for n in 0..REQUESTS {
        let body = FLEET.body(n, start_ms);
        if n % 9 == 4 {
            // Killed while the request is under way: whether it got into the log is not known, so it is sent
            // again, as a device does.
            let address = server.ingest.clone();
            let sent = body.clone();
            let request = std::thread::spawn(move || post(&address, &sent));
            server.kill();
            kills += 1;
            let _ = request.join().unwrap();
            server = Server::start(dir.path(), &[]);
        }
        let (status, answer) = post(&server.ingest, &body).unwrap();
        assert_eq!(status, 200, "{answer}");
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["accepted"], 50);
    }
    assert!(kills >= 6);
    // One late look at the clock closes everything before it.
    assert_eq!(post(&server.ingest, &FLEET.closing(now)).unwrap().0, 200);
    let want = FLEET.expected(REQUESTS, start_ms);
    let before = now / 5_000 * 5_000;
    let began = Instant::now();
    while stored(dir.path(), before) != want && began.elapsed() < DEADLINE {
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(stored(dir.path(), before), want); // EK-LATE-1, EK-WIN-1 across kill -9
    assert!(get(&server.admin, "/metrics").1.contains("evenkeel_sink_write_duration_seconds_count"));
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn it_says_that_it_is_alive_and_ready_and_what_it_does() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    assert_eq!(post(&server.ingest, &FLEET.body(0, 1_700_000_000_000)).unwrap().0, 200);
    assert_eq!(get(&server.admin, "/livez").0, 200);
    assert_eq!(get(&server.admin, "/readyz").0, 200);
    let began = Instant::now();
    loop {
        let (status, text) = get(&server.admin, "/metrics");
        assert_eq!(status, 200);
        let seen = [
            "evenkeel_ingest_events_total{",
            "evenkeel_coalescer_events_total{",
            "evenkeel_coalescer_ledger_imbalance{size=\"5000\"} 0",
            "evenkeel_coalescer_tick_jitter_seconds_bucket",
            "evenkeel_coalescer_memory_budget_bytes",
            "evenkeel_coalescer_windows_pending ",
            "evenkeel_coalescer_watermark_lag_seconds ",
            "evenkeel_coalescer_skew_seconds_bucket",
            "evenkeel_coalescer_commit_duration_seconds_bucket",
            "evenkeel_coalescer_consumer_lag{topic=\"events\"} 0",
            "evenkeel_sink_consumer_lag{topic=\"windows\"} 0",
        ];
        let missing: Vec<_> = seen.iter().filter(|name| !text.contains(*name)).collect();
        if missing.is_empty() {
            break;
        }
        assert!(began.elapsed() < DEADLINE, "missing {missing:?} in\n{text}");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn rules_raise_alerts_on_one_machine() {
    let dir = tempfile::tempdir().unwrap();
    let rule = "scorer.live.rule=[{ name = \"any\", field = \"v.max\", above = 0.0, severity = \"info\" }]";
    let server = Server::start(dir.path(), &[rule, "scorer.live.sizes=[\"5s\"]"]);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64;
    assert_eq!(post(&server.ingest, &FLEET.body(0, now - 120_000)).unwrap().0, 200);
    assert_eq!(post(&server.ingest, &FLEET.closing(now)).unwrap().0, 200);
    let began = Instant::now();
    let standing = |line: &str| {
        let all = format!(" {}", FLEET.streams);
        line.starts_with("evenkeel_scorer_alerts_standing") && line.ends_with(&all)
    };
    loop {
        let (_, text) = get(&server.admin, "/metrics");
        if text.lines().any(standing) {
            assert!(
                text.contains("evenkeel_scorer_alerts_total{action=\"raise\",severity=\"info\"}"),
                "{text}"
            );
            break;
        }
        assert!(began.elapsed() < DEADLINE, "not every stream has its alert in\n{text}");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(server.terminate(), Some(0));
}

/// Starts of the windows of each stream that start before `to`, as `query` shows them, sorted.
fn shown(what: &str, data_dir: &Path, to: i64) -> Vec<(String, i64)> {
    let output = Command::new(env!("CARGO_BIN_EXE_evenkeel"))
        .args(["query", what, "--size", "5s", "--format", "json", "--to", &to.to_string(), "--data-dir"])
        .arg(data_dir)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    let values = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let key = |v: Value| (v["stream_id"].as_str().unwrap().to_owned(), v["t_start"].as_i64().unwrap());
    let mut keys: Vec<_> = values.map(key).collect();
    keys.sort_unstable();
    keys
}

#[test]
fn each_window_has_one_stored_score_across_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/models/cases/linear_regression.onnx");
    let sets = [
        format!("scorer.live.model={model}"),
        "scorer.live.features=[\"v.mean\", \"v.max\", \"v.min\", \"count\", \"missing\", \"v.last\"]"
            .to_owned(),
        "scorer.live.sizes=[\"5s\"]".to_owned(),
        "sink.interval=50ms".to_owned(),
    ];
    let sets: Vec<&str> = sets.iter().map(String::as_str).collect();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64;
    let start_ms = (now - 120_000) / 5_000 * 5_000;
    let mut server = Server::start(dir.path(), &sets);
    for n in 0..30 {
        assert_eq!(post(&server.ingest, &FLEET.body(n, start_ms)).unwrap().0, 200);
        if n % 10 == 9 {
            server.kill();
            server = Server::start(dir.path(), &sets);
        }
    }
    assert_eq!(post(&server.ingest, &FLEET.closing(now)).unwrap().0, 200);
    let (want, before) = (FLEET.expected(30, start_ms), now / 5_000 * 5_000);
    let began = Instant::now();
    while (stored(dir.path(), before) != want || shown("scores", dir.path(), before).len() < want.len())
        && began.elapsed() < DEADLINE
    {
        std::thread::sleep(Duration::from_millis(100));
    }
    let windows = shown("windows", dir.path(), before);
    assert!(!windows.is_empty());
    assert_eq!(shown("scores", dir.path(), before), windows);
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn a_second_process_on_the_same_directory_is_refused_with_a_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let second = run_anywhere().arg("--data-dir").arg(dir.path()).output().unwrap();
    assert_eq!(second.status.code(), Some(3));
    let text = String::from_utf8_lossy(&second.stderr);
    assert!(text.contains("another process has the data directory"), "{text}");
    server.kill();
}

#[test]
fn wrong_configuration_is_refused_with_the_key_and_what_is_allowed() {
    for (set, want) in [
        ("coalescer.sizes=[\"10m\"]", "size-max = 5m"),
        ("coalescer.latenes=5s", "latenes"),
        ("coalescer.lateness=5", "unit"),
        ("coalescer.streams-expected=100000000000", "evenkeel plan"),
        ("ingest.listen=0.0.0.0:0", "token"),
        ("nobody.key=1", "nobody"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let output = run_anywhere().args(["--set", set, "--data-dir"]).arg(dir.path()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{set}: {text}");
        assert!(text.contains(want), "{set}: {text}");
    }
}

#[test]
fn the_demo_ends_with_an_exact_count() {
    let output = Command::new(env!("CARGO_BIN_EXE_evenkeel"))
        .args(["demo", "--for", "6s", "--plain", "--bowls", "10", "--wearables", "10"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{text}\n{errors}");
    assert!(text.contains("exact: nothing lost, nothing double"), "{text}");
    assert!(text.contains("ledger 0"), "{text}");
}

/// As in `evenkeel demo | head -1`.
#[test]
fn the_demo_ends_when_nobody_reads_it_any_more() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_evenkeel"))
        .args(["demo", "--bowls", "5", "--wearables", "5"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let line = BufReader::new(child.stdout.take().unwrap()).lines().next().unwrap().unwrap();
    assert!(line.starts_with("see http://"), "{line}"); // the reader is dropped with the statement
    let began = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if began.elapsed() > DEADLINE {
            child.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert_eq!(status.code(), Some(0), "{errors}");
}

#[test]
fn plan_prints_the_sum_and_whether_it_fits() {
    let output = Command::new(env!("CARGO_BIN_EXE_evenkeel"))
        .args(["plan", "--streams", "100000", "--json"])
        .output()
        .unwrap();
    let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(plan["steady_bytes"], 100_000 * plan["per_stream_bytes"].as_u64().unwrap());
    assert!(plan["storm_bytes"].as_u64() > plan["steady_bytes"].as_u64());
}
