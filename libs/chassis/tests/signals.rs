//! Signals to a real process: this test binary runs itself as the process that gets them.

#![allow(clippy::unwrap_used)] // the helpers of tests are tests

use evenkeel_chassis::drain::{Cause, Drain};
use evenkeel_chassis::signals;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

const ROLE: &str = "CHASSIS_SIGNALS_TEST_ROLE";
const DEADLINE: Duration = Duration::from_secs(30);

/// Not a test of its own: the process under test, when the role is set.
#[test]
fn process_under_test() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let code = runtime.block_on(async {
        let drain = Drain::new(if role == "slow" { Duration::from_millis(300) } else { DEADLINE });
        signals::watch(drain.clone()).unwrap();
        println!("watching");
        let cause = drain.begun().await;
        println!("draining after {cause}");
        if role != "drains" {
            std::future::pending::<()>().await;
        }
        u8::from(cause != Cause::Terminate)
    });
    std::process::exit(code.into());
}

fn start(role: &str) -> (Child, BufReader<ChildStdout>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "process_under_test", "--nocapture", "--test-threads=1"])
        .env(ROLE, role)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    wait_for(&mut lines, "watching");
    (child, lines)
}

/// Reads lines until one holds the text; the child ends its output when it ends, so this ends too.
fn wait_for(lines: &mut impl BufRead, text: &str) {
    let mut line = String::new();
    while !line.contains(text) {
        line.clear();
        assert_ne!(lines.read_line(&mut line).unwrap(), 0, "the process ended before it said {text:?}");
    }
}

fn send(child: &Child, signal: &str) {
    let sent = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

fn code(mut child: Child, mut rest: impl Read) -> Option<i32> {
    let until = Instant::now() + DEADLINE;
    while Instant::now() < until {
        if let Some(status) = child.try_wait().unwrap() {
            let mut out = Vec::new();
            rest.read_to_end(&mut out).unwrap();
            return status.code();
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    None
}

#[test]
fn the_first_signal_drains() {
    let (child, mut lines) = start("drains");
    send(&child, "-TERM");
    wait_for(&mut lines, "draining after SIGTERM");
    assert_eq!(code(child, lines), Some(0));
}

#[test]
fn the_second_signal_ends_at_once_with_its_own_code() {
    for (signal, expected) in [("-TERM", 143), ("-INT", 130)] {
        let (child, mut lines) = start("stuck");
        send(&child, "-INT");
        wait_for(&mut lines, "draining after SIGINT");
        send(&child, signal);
        assert_eq!(code(child, lines), Some(expected));
    }
}

/// Something the drain waits for is away: the process does not outlast its grace.
#[test]
fn the_deadline_of_the_drain_ends_it_with_the_signals_code() {
    for (signal, expected) in [("-TERM", 143), ("-INT", 130)] {
        let (child, lines) = start("slow");
        send(&child, signal);
        assert_eq!(code(child, lines), Some(expected));
    }
}
