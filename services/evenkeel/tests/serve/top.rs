//! `evenkeel top` beside a machine that serves: lines for a pipe, objects for a program, a view for a terminal.

use crate::machine::FLEET;
use crate::server::{DEADLINE, Server, post};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

fn top(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
    command.arg("top").args(args).stdin(Stdio::null());
    command
}

fn figure(view: &Value, list: &str, name: &str) -> Option<f64> {
    let figures = view[list].as_array().unwrap().iter();
    figures.filter(|figure| figure["name"] == name).find_map(|figure| figure["value"].as_f64())
}

/// Reads lines until one fits; the process must not end before.
#[track_caller]
fn until(child: &mut Child, what: &str, mut fits: impl FnMut(&str) -> bool) {
    let (lines, began) = (BufReader::new(child.stdout.take().unwrap()).lines(), Instant::now());
    for line in lines.map_while(Result::ok) {
        if fits(&line) {
            return;
        }
        assert!(began.elapsed() < DEADLINE, "no line with {what}; the last: {line}");
    }
    panic!("it ended before {what}");
}

#[test]
fn rates_bounds_and_drops_of_a_running_machine_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let mut child = top(&[&server.admin, "--json", "--interval", "200ms", "--streams", "100000"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    let (address, start) = (server.ingest.clone(), now_ms - 60_000);
    let mut n = 0;
    until(&mut child, "accepted events and a refused one", |line| {
        // Something new before every reading, until one shows it.
        let (status, _) = post(&address, &FLEET.body(n, start)).unwrap();
        assert_eq!(status, 200);
        post(&address, "{\"stream_id\":\"x\",\"ts\":1,\"fields\":{\"v\":\"nan\"}}\n").unwrap();
        n += 1;
        let view: Value = serde_json::from_str(line).unwrap();
        assert_eq!(view["services"][0]["name"], "evenkeel");
        assert!(view["memory"]["planned"].as_f64().unwrap() > 1e6, "{view}");
        let bounds: Vec<&str> =
            view["bounds"].as_array().unwrap().iter().map(|b| b["name"].as_str().unwrap()).collect();
        assert!(["memory", "state", "in flight"].iter().all(|name| bounds.contains(name)), "{bounds:?}");
        let dropped = view["drops"].as_array().unwrap().iter().any(|drop| drop["rate"].as_f64() > Some(0.0));
        let flows =
            ["events accepted", "events counted"].iter().all(|name| figure(&view, "rates", name) > Some(0.0));
        flows && dropped && figure(&view, "levels", "acknowledged within, p99").is_some()
    });
    child.kill().unwrap();
    child.wait().unwrap();

    let once = top(&[&server.admin, "127.0.0.1:1", "--once", "--interval", "100ms"]).output().unwrap();
    let text = String::from_utf8(once.stdout).unwrap();
    assert!(once.status.success(), "{text}");
    for want in [
        "evenkeel",
        "ready",
        "127.0.0.1:1",
        "away: ",
        "events accepted",
        "used of limit",
        "dropped or refused",
    ] {
        assert!(text.contains(want), "{want}: {text}");
    }
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn nobody_there_is_exit_code_3_with_what_to_do() {
    let output = top(&["127.0.0.1:1", "--once", "--interval", "10ms"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("name where their /metrics are"), "{said}");
}

#[test]
fn a_terminal_gets_a_view_that_q_ends() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    // `script` is what gives it a terminal here.
    let line = format!(
        "stty rows 40 cols 130; exec {} top {} --interval 100ms",
        env!("CARGO_BIN_EXE_evenkeel"),
        server.admin
    );
    let mut child = Command::new("script")
        .args(["-qfec", &line, "/dev/null"])
        .env("TERM", "xterm-256color")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // Words only: blanks between them are not written, the cursor is moved.
    let (mut shown, mut stdout, began) = (Vec::new(), child.stdout.take().unwrap(), Instant::now());
    let mut piece = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&shown).into_owned();
        let wanted = ["services", "second", "memory", "limit", "refused", "ready"];
        if wanted.iter().all(|want| text.contains(want)) {
            break;
        }
        assert!(began.elapsed() < DEADLINE, "{text}");
        let read = stdout.read(&mut piece).unwrap();
        assert!(read > 0, "it ended: {text}");
        shown.extend_from_slice(&piece[..read]);
    }
    child.stdin.take().unwrap().write_all(b"q").unwrap();
    stdout.read_to_end(&mut shown).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    // The screen is left as it was found.
    assert!(String::from_utf8_lossy(&shown).contains("\u{1b}[?1049l"));
    assert_eq!(server.terminate(), Some(0));
}
