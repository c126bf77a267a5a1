//! `bench spool`: our spool beside `stream-download`, `tempfile` and Python's SpooledTemporaryFile: filled from the same
//! stream, then read at random by threads, every byte touched.
//!
//! Owns: the order of the runs and what is compared. Each contender is a process of its own (tests/peers/spool), ours
//! too, so that memory is its alone; they take turns, and each block begins with another one.

mod goals;

use super::Outcome;
use super::report::{Machine, Measured, Report, median};
use goals::{ceilings, goals};
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

/// Where the contenders are, and how much.
#[derive(Debug, Clone)]
pub struct Options {
    /// The program of tests/peers/spool/build.sh.
    pub program: PathBuf,
    /// Python; `None` = without it.
    pub python: Option<PathBuf>,
    /// Bytes read at random in each run, by all readers together.
    pub read_bytes: u64,
    /// Blocks; medians count.
    pub runs: usize,
}

/// The contender in Python.
const PEER_PY: &str = include_str!("../../../../../tests/peers/spool/peer.py");
const OURS: &str = "ours";
const PYTHON: &str = "python";
/// No buffer: a vector that is full, read without a copy or a lock. What nobody can beat on this machine; at the size that
/// fits in memory only.
const BARE: &str = "bare";
/// Sizes, bytes: within the memory that each may keep (5 MiB), beyond it, and far beyond it.
const SIZES: [(u64, &str); 3] = [(4 << 20, "4 MiB"), (64 << 20, "64 MiB"), (1 << 30, "1 GiB")];
const READERS: [u64; 2] = [1, 16];

/// What a contender prints.
#[derive(Debug, Clone, Copy, Deserialize)]
struct Run {
    fill_s: f64,
    reads_s: f64,
    held_bytes: f64,
}

/// Medians of one contender at one place.
#[derive(Debug, Clone, Copy)]
struct Median {
    fill_s: f64,
    reads_s: f64,
    held_bytes: f64,
}

/// (size, readers, contender)
type Place = (u64, u64, &'static str);

/// Runs it all; `say` hears of each run.
pub fn run(options: &Options, say: &mut dyn FnMut(&str)) -> Outcome<Report> {
    let python = options.python.as_ref().map(|_| PYTHON);
    let contenders: Vec<&'static str> =
        [OURS, "stream-download", "tempfile"].into_iter().chain(python).collect();
    let mut runs = BTreeMap::<Place, Vec<Run>>::new();
    for block in 0..options.runs {
        for (size, title) in SIZES {
            let bare = (size <= goals::MEMORY_BYTES_MAX).then_some(BARE);
            let contenders: Vec<_> = contenders.iter().copied().chain(bare).collect();
            for readers in READERS {
                for turn in 0..contenders.len() {
                    let contender = contenders[(block + turn) % contenders.len()];
                    let run = once(options, contender, size, readers)?;
                    say(&format!(
                        "block {}, {title}, {readers} readers, {contender}: filled in {:.3} s, read in {:.3} s, {:.1} MiB held",
                        block + 1,
                        run.fill_s,
                        run.reads_s,
                        run.held_bytes / f64::from(1 << 20),
                    ));
                    runs.entry((size, readers, contender)).or_default().push(run);
                }
            }
        }
    }
    let medians: BTreeMap<Place, Median> = runs.iter().map(|(place, runs)| (*place, of(runs))).collect();
    Ok(Report {
        bench: "spool",
        machine: Machine::here(),
        settings: json!({
            "runs": options.runs, "read_bytes": options.read_bytes, "contenders": contenders,
            "memory_bytes_max": goals::MEMORY_BYTES_MAX, "contenders_build": "release",
        }),
        results: results(&medians, options.read_bytes).into_iter().chain(ceilings(&medians)).collect(),
        goals: goals(&medians),
    })
}

fn once(options: &Options, contender: &str, size: u64, readers: u64) -> Outcome<Run> {
    let mut command = match (&options.python, contender) {
        (Some(python), PYTHON) => {
            let mut command = Command::new(python);
            command.args(["-c", PEER_PY]);
            command
        }
        _ => {
            let mut command = Command::new(&options.program);
            command.arg(contender);
            command
        }
    };
    let output = command.args([size, readers, options.read_bytes].map(|n| n.to_string())).output()?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{contender} at {size} bytes: {}: {}", output.status, error.trim()).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn of(runs: &[Run]) -> Median {
    let figure = |of: fn(&Run) -> f64| median(&mut runs.iter().map(of).collect::<Vec<_>>());
    Median {
        fill_s: figure(|run| run.fill_s),
        reads_s: figure(|run| run.reads_s),
        held_bytes: figure(|run| run.held_bytes),
    }
}

fn results(medians: &BTreeMap<Place, Median>, read_bytes: u64) -> Vec<Measured> {
    let mib = f64::from(1 << 20);
    let mut results = Vec::new();
    for ((size, readers, contender), median) in medians {
        let title = SIZES.iter().find(|(of, _)| of == size).map_or("", |(_, title)| title);
        let mut add = |what: &str, value, unit| {
            let name = format!("{title}, {readers} readers, {contender}: {what}");
            results.push(Measured { name, value, unit });
        };
        add("fill", *size as f64 / mib / median.fill_s, "MiB/s");
        add("reads", read_bytes as f64 / mib / median.reads_s, "MiB/s");
        add("memory", median.held_bytes / mib, "MiB");
    }
    results
}
