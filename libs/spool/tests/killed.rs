//! kill -9 between any two instructions: a recording has all that was answered, and nothing wrong; a buffer
//! leaves nothing.
//!
//! The process that writes is this test again, with a directory in its environment. It says on stdout what was
//! answered; the parent kills it after a line drawn by lot and then reads the directory.
//!
//! Alone in its binary: a process that is being started holds for a moment whatever its parent has open, the
//! lock of a recording too.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use evenkeel_spool::{
    Fill, Recording, RecordingOptions, RecoverError, Source, SpoolBuffer, SpoolOptions, SyncPolicy, Verify,
};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

const DIR: &str = "EVENKEEL_SPOOL_KILLED_DIR";
const TEST: &str = "killed_at_any_moment_what_was_answered_is_there_and_a_buffer_leaves_nothing";
const KILLS: u64 = 15;

/// The content: its bytes tell their place.
fn byte(at: u64) -> u8 {
    at.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes()[0]
}

fn options(verify: Verify) -> RecordingOptions {
    RecordingOptions {
        sync: SyncPolicy::Bytes(200_000),
        verify,
        disk_reserve_bytes: 0,
        ..RecordingOptions::default()
    }
}

/// Appends for ever, and says how far; beside it a buffer spills for ever.
fn write(dir: &Path) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let _entered = runtime.enter();
    let spool = SpoolOptions {
        memory_bytes_max: 64 << 10,
        dir: dir.to_path_buf(),
        fill: Fill::All,
        disk_reserve_bytes: 0,
        disk_bytes_max: 64 << 20,
        ..SpoolOptions::default()
    };
    let buffer = SpoolBuffer::new(Source::read(tokio::io::repeat(7)), spool).unwrap();
    buffer.read_at_blocking(1 << 20, 10).unwrap();
    assert!(buffer.status().disk_bytes > 0);
    let (recording, recovered) = Recording::open(dir.join("rec"), options(Verify::Tail)).unwrap();
    let mut out = std::io::stdout();
    writeln!(out).unwrap(); // the test harness has begun a line
    let (mut at, mut step) = (recovered.kept_bytes, 0u64);
    loop {
        step = (step * 31 + 17) % 4_099;
        let bytes: Vec<u8> = (at..at + step * 7 + 1).map(byte).collect();
        at = recording.append_blocking(at, &bytes).unwrap();
        writeln!(out, "A {at} {} .", recording.len_durable()).unwrap();
    }
}

/// The writer's last whole line before it was killed after `lines`: appended, durable.
fn kill_after(dir: &Path, lines: u64) -> (u64, u64) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([TEST, "--exact", "--nocapture"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut answered = (0, 0);
    let mut seen = 0;
    for line in said {
        let line = line.unwrap();
        let parts: Vec<&str> = line.split(' ').collect();
        if let ["A", at, durable, "."] = parts[..] {
            answered = (at.parse().unwrap(), durable.parse().unwrap());
            seen += 1;
            if seen == 1 {
                let held = Recording::open(dir.join("rec"), options(Verify::Tail));
                assert!(matches!(held, Err(RecoverError::Held { .. })), "the writer lives: {held:?}");
            }
            if seen == lines {
                child.kill().unwrap();
            }
        }
    }
    child.wait().unwrap();
    assert!(seen >= lines, "the writer ended by itself after {seen} lines");
    answered
}

#[test]
fn killed_at_any_moment_what_was_answered_is_there_and_a_buffer_leaves_nothing() {
    if let Some(dir) = std::env::var_os(DIR) {
        return write(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let mut lot = 12_345u64;
    for kill in 0..KILLS {
        lot = lot.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (appended, durable) = kill_after(dir.path(), 1 + (lot >> 33) % 60);
        let mut names: Vec<_> =
            std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["rec", "rec.journal"], "nothing of the buffer");
        let (recording, recovered) = Recording::open(dir.path().join("rec"), options(Verify::All)).unwrap();
        let kept = recovered.kept_bytes;
        assert!(
            kept >= appended && appended >= durable,
            "kill {kill}: {kept} kept, {appended} were answered"
        );
        assert!(recording.len_durable() >= durable);
        assert_eq!(recovered.verified_bytes, kept);
        let bytes = recording.buffer().read_at_blocking(0, usize::try_from(kept).unwrap()).unwrap();
        assert!(bytes.iter().enumerate().all(|(at, b)| *b == byte(at as u64)), "kill {kill}: a wrong byte");
    }
}
