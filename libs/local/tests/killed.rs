//! kill -9 between any two instructions: what was acknowledged is there, and nothing is there by halves.
//!
//! The writing process is this test again, with a directory in its environment. It says on stdout what was
//! acknowledged; the parent kills it after a line drawn by lot and then reads the directory.
//!
//! Alone in its binary: a process that is being started holds for a moment whatever the other tests of its
//! parent have open, the lock of a data directory too.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "log_db/machine.rs"]
#[allow(dead_code, reason = "the rest of it is for log_db")]
mod machine;

use crate::machine::{Entry, Machine};
use evenkeel_local::{Durability, LocalOptions};
use evenkeel_model::Topic;
use evenkeel_scenarios::Rng;
use evenkeel_seam::{CommitMeta, Outputs, Position, TxnResult};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

const DIR: &str = "EVENKEEL_KILLED_DIR";
const DURABILITY: &str = "EVENKEEL_KILLED_DURABILITY";
const PARTITIONS: u32 = 2;
/// Records of each ticket and of each commit, spread over the partitions.
const PARTS: u32 = 6;
/// Tickets on their way together.
const BURST: u64 = 3;
const KILLS: u64 = 12;

fn options(durability: Durability) -> LocalOptions {
    LocalOptions { partitions: Some(PARTITIONS), durability, ..LocalOptions::default() }
}

/// `PARTS` records that name their number.
fn records(topic: Topic, number: u64) -> Outputs {
    let mut outputs = Outputs::new();
    for part in 0..PARTS {
        let entry: Entry = (Some(b"s".to_vec()), Some(format!("{number}.{part}").into_bytes()));
        Machine::put(&mut outputs, topic, part % PARTITIONS, &entry);
    }
    outputs
}

fn position(partition: u32, number: u64) -> Position {
    // No retention here: `replay_from` is free to carry the number.
    let meta = CommitMeta { replay_from: number, epoch: number, ..CommitMeta::default() };
    Position { partition, offset: number, meta: Some(meta) }
}

/// What a directory holds: the newest ticket and the newest commit; everything up to them is whole.
fn examine(machine: &mut Machine) -> (u64, u64) {
    let tickets = whole(machine, Topic::Events);
    let commits = whole(machine, Topic::Windows);
    let committed = |p: u32| machine.committed[&p].as_ref();
    for partition in 0..PARTITIONS {
        let Some(found) = committed(partition) else {
            assert_eq!(commits, 0, "rows without a position");
            continue;
        };
        assert_eq!(found.offset, commits, "offset and rows of one transaction");
        let meta = found.meta.as_ref().unwrap();
        assert_eq!((meta.replay_from, meta.epoch), (commits, commits));
        assert_eq!(meta.windows_to, machine.local.end(Topic::Windows, partition));
    }
    (tickets, commits)
}

/// The newest number in a topic; each number up to it has all its parts once, in order.
fn whole(machine: &mut Machine, topic: Topic) -> u64 {
    let mut parts: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
    for partition in 0..PARTITIONS {
        let all = machine.read_all(topic, partition);
        assert!(all.records.keys().copied().eq(0..all.next), "{topic}[{partition}]: offsets have gaps");
        let mut last = 0;
        for (_, value) in all.records.into_values() {
            let text = String::from_utf8(value.unwrap()).unwrap();
            let (number, part) = text.split_once('.').unwrap();
            let (number, part): (u64, u32) = (number.parse().unwrap(), part.parse().unwrap());
            assert!(last <= number, "{topic}[{partition}]: {number} after {last}");
            last = number;
            parts.entry(number).or_default().push(part);
        }
    }
    for (want, (number, parts)) in (1..).zip(&mut parts) {
        parts.sort_unstable();
        assert_eq!((*number, &parts[..]), (want, &[0, 1, 2, 3, 4, 5][..]), "{topic}: not whole");
    }
    parts.len() as u64
}

/// Appends and commits, and says what is acknowledged; for ever, or so many rounds.
fn write(dir: &Path, durability: Durability, rounds: Option<u64>) {
    let mut machine = Machine::open(dir, options(durability));
    let (mut ticket, mut commit) = examine(&mut machine);
    let mut out = std::io::stdout();
    writeln!(out).unwrap(); // the test harness has begun a line
    let mut done = 0;
    while rounds.is_none_or(|rounds| done < rounds) {
        for _ in 0..BURST {
            ticket += 1;
            machine.submit(&records(Topic::Events, ticket));
        }
        commit += 1;
        let positions = (0..PARTITIONS).map(|p| position(p, commit)).collect();
        machine.begin(records(Topic::Windows, commit), positions);
        let acks = machine.acks(BURST as usize);
        assert!(acks.iter().all(|ack| ack.result.is_ok()), "{acks:?}");
        writeln!(out, "T {ticket} .").unwrap();
        assert!(matches!(machine.outcome(), TxnResult::Committed(_)));
        writeln!(out, "C {commit} .").unwrap();
        done += 1;
    }
}

const TEST: &str = "killed_at_any_moment_what_was_acknowledged_is_there_and_nothing_by_halves";

#[test]
fn killed_at_any_moment_what_was_acknowledged_is_there_and_nothing_by_halves() {
    if let Ok(dir) = std::env::var(DIR) {
        let durability = std::env::var(DURABILITY).ok().and_then(|name| Durability::parse(&name)).unwrap();
        return write(Path::new(&dir), durability, None);
    }
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), Durability::Process, Some(5)); // the writer, when nobody kills it
    let mut machine = Machine::open(dir.path(), options(Durability::Process));
    assert_eq!(examine(&mut machine), (5 * BURST, 5));
    drop(machine);
    for durability in [Durability::Process, Durability::Power] {
        let dir = tempfile::tempdir().unwrap();
        let mut rng = Rng::new(KILLS);
        for _ in 0..KILLS {
            let (tickets, commits) = kill_after(dir.path(), durability, rng.index(40) + 1);
            let mut machine = Machine::open(dir.path(), options(durability));
            let found = examine(&mut machine);
            assert!(found.0 >= tickets && found.1 >= commits, "{found:?}, acknowledged {tickets}, {commits}");
            // What was under way may have made it: one burst, one commit.
            assert!(found.0 <= tickets + BURST && found.1 <= commits + 1, "{found:?} {tickets} {commits}");
        }
    }
}

/// Starts a writer, kills it after so many lines; returns the newest ticket and commit it acknowledged.
fn kill_after(dir: &Path, durability: Durability, lines: usize) -> (u64, u64) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", TEST, "--nocapture", "--test-threads=1"])
        .env(DIR, dir)
        .env(DURABILITY, durability.as_str())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
    let (mut tickets, mut commits) = (0, 0);
    let mut hear = |line: &str| {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["T", n, "."] => tickets = n.parse().unwrap(),
            ["C", n, "."] => commits = n.parse().unwrap(),
            _ => return false, // the test harness's own, or cut by the kill
        }
        true
    };
    let mut heard = 0;
    while heard < lines {
        heard += usize::from(hear(&said.next().expect("the writer ended by itself").unwrap()));
    }
    child.kill().unwrap();
    for line in said.map_while(Result::ok) {
        hear(&line);
    }
    child.wait().unwrap();
    (tickets, commits)
}
