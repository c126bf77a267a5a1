//! `bench score`: rows per second of a model, beside source C's pipeline in Python (a row of a data frame, then
//! predict_proba) and onnxruntime, on the same models and rows in one run.
//!
//! Owns: the order of the runs and what is compared. The contenders in Python are processes of their own
//! (tests/peers/score) with their own clock, onnxruntime with one thread. Never: reading files within a measured
//! stretch. Scores are summed and compared, so that nobody is quick by doing something else.

mod goals;

use super::Outcome;
use super::cpu;
use super::report::{Machine, Measured, Report, median};
use evenkeel_scorer::{Config, DEFAULT_TOML, Memory, Prepared, prepare};
use goals::goals;
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;

/// Where Python is, and how much.
#[derive(Debug, Clone)]
pub struct Options {
    /// The program of tests/peers/score/build.sh.
    pub python: PathBuf,
    /// Rows of the file.
    pub rows: usize,
    /// Blocks; medians count.
    pub runs: usize,
}

/// The contenders in Python.
const PEER_PY: &str = include_str!("../../../../../tests/peers/score/peer.py");
const OURS: &str = "ours";
const SCIKIT: &str = "scikit-learn";
const RUNTIME: &str = "onnxruntime";
const LINEAR: &str = "linear";
const TREE: &str = "tree";
const MODELS: [&str; 2] = [LINEAR, TREE];
const STREAM: &str = "row by row";
const BATCH: &str = "all at once";
/// Rows that scikit-learn takes a second or more for.
const SCIKIT_ROWS: usize = 1_000;
/// Times all rows are scored at once per run: a stretch long enough for the clock.
const ROUNDS: usize = 10;
/// Rows of one block of a batch, as `evenkeel score` has them.
const BLOCK_ROWS: usize = 4_096;
/// How far mean scores may differ: onnxruntime and scikit-learn are in floats of other orders.
const MEAN_OFF_MAX: f64 = 1e-4;

/// What a contender prints.
#[derive(Debug, Clone, Copy, Deserialize)]
struct Run {
    rows: usize,
    seconds: f64,
    cpu_s: f64,
    p99_us: f64,
    sum: f64,
}

/// Medians of one contender at one place.
#[derive(Debug, Clone, Copy)]
struct Median {
    /// Rows per second; of batches per CPU second.
    rate: f64,
    p99_us: f64,
}

/// By (model, way, contender).
type Medians = BTreeMap<(&'static str, &'static str, &'static str), Median>;

/// Runs it all; `say` hears of each run.
pub fn run(options: &Options, say: &mut dyn FnMut(&str)) -> Outcome<Report> {
    let folder = tempfile::tempdir()?;
    let stage = Stage { options, folder: folder.path() };
    say("training the models");
    stage.python(&["make", &stage.folder_text(), &options.rows.to_string()])?;
    let mut runs = BTreeMap::<_, Vec<Run>>::new();
    for block in 0..options.runs {
        for model in MODELS {
            let prepared = stage.prepared(model)?;
            let ways = [(STREAM, OURS), (STREAM, SCIKIT), (STREAM, RUNTIME), (BATCH, OURS), (BATCH, RUNTIME)];
            let mut mean = None;
            for turn in 0..ways.len() {
                let (way, who) = ways[(block + turn) % ways.len()];
                let run = stage.once(model, way, who, &prepared)?;
                let rate = rate(way, &run);
                say(&format!("block {}, {model}, {way}, {who}: {rate:.0} rows/s", block + 1));
                agree(&mut mean, who, options.rows, way, &run)?;
                runs.entry((model, way, who)).or_default().push(run);
            }
        }
    }
    let medians: Medians = runs.iter().map(|(place, runs)| (*place, of(place.1, runs))).collect();
    Ok(Report {
        bench: "score",
        machine: Machine::here(),
        settings: json!({
            "runs": options.runs, "rows": options.rows, "rows of scikit-learn": options.rows.min(SCIKIT_ROWS),
            "rounds of a batch": ROUNDS, "columns": 8,
            "linear": "imputer, scaler, logistic regression",
            "tree": "imputer, scaler, random forest of 100 trees of depth 8",
            "threads of each": 1, "all at once": "rows per CPU second",
        }),
        results: results(&medians),
        goals: goals(&medians),
    })
}

struct Stage<'a> {
    options: &'a Options,
    folder: &'a Path,
}

impl Stage<'_> {
    fn folder_text(&self) -> String {
        self.folder.display().to_string()
    }

    fn python(&self, args: &[&str]) -> Outcome<Output> {
        let output = Command::new(&self.options.python).args(["-c", PEER_PY]).args(args).output()?;
        if !output.status.success() {
            let error = String::from_utf8_lossy(&output.stderr);
            return Err(format!("{args:?} in Python: {}: {}", output.status, error.trim()).into());
        }
        Ok(output)
    }

    fn prepared(&self, model: &str) -> Outcome<Prepared> {
        let mut config: Config = toml::from_str(DEFAULT_TOML)?;
        config.model = self.folder.join(format!("{model}.onnx"));
        config.input = self.folder.join("rows.csv");
        Ok(prepare(&config.plan()?)?)
    }

    fn once(&self, model: &str, way: &str, who: &str, prepared: &Prepared) -> Outcome<Run> {
        let scikit_rows = self.options.rows.min(SCIKIT_ROWS);
        let (what, count) = match (who, way) {
            (OURS, STREAM) => return Ok(stream(prepared)),
            (OURS, _) => return Ok(batch(prepared)),
            (SCIKIT, _) => ("scikit", scikit_rows),
            (_, STREAM) => ("stream", self.options.rows),
            _ => ("batch", ROUNDS),
        };
        let output = self.python(&[what, &self.folder_text(), model, &count.to_string()])?;
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}

/// Row after row, as `evenkeel score --mode stream` does, without its file.
fn stream(Prepared { model, frame, binding }: &Prepared) -> Run {
    let mut memory = Memory::default();
    let mut score = |row| model.score(binding, frame, row, &mut memory).unwrap_or(f64::NAN);
    score(0);
    let (mut spent_us, mut sum) = (Vec::with_capacity(frame.rows), 0.0);
    let (cpu_s, began) = (cpu::own_seconds_exact(), Instant::now());
    for row in 0..frame.rows {
        let at = Instant::now();
        sum += score(row);
        spent_us.push(at.elapsed().as_secs_f64() * 1e6);
    }
    let seconds = began.elapsed().as_secs_f64();
    let cpu_s = cpu::own_seconds_exact() - cpu_s;
    spent_us.sort_unstable_by(f64::total_cmp);
    let p99_us = spent_us.get(spent_us.len().saturating_sub(1) * 99 / 100).copied().unwrap_or(0.0);
    Run { rows: frame.rows, seconds, cpu_s, p99_us, sum }
}

/// All rows, block by block, as `evenkeel score --mode batch` does, without its file.
fn batch(Prepared { model, frame, binding }: &Prepared) -> Run {
    let mut memory = Memory::default();
    let mut sum = 0.0;
    let (cpu_s, began) = (cpu::own_seconds_exact(), Instant::now());
    for _ in 0..ROUNDS {
        sum = 0.0;
        for start in (0..frame.rows).step_by(BLOCK_ROWS) {
            let range = start..frame.rows.min(start + BLOCK_ROWS);
            let scores = model.score_rows(binding, frame, range, &mut memory);
            sum += scores.into_iter().map(|score| score.unwrap_or(f64::NAN)).sum::<f64>();
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let cpu_s = cpu::own_seconds_exact() - cpu_s;
    Run { rows: ROUNDS * frame.rows, seconds, cpu_s, p99_us: 0.0, sum }
}

/// Everybody who scores all rows comes to the same mean.
fn agree(mean: &mut Option<f64>, who: &str, rows: usize, way: &str, run: &Run) -> Outcome<()> {
    let scored = if way == BATCH { run.rows / ROUNDS } else { run.rows };
    if scored != rows {
        return Ok(()); // a part of the rows has another mean
    }
    let own = run.sum / rows as f64;
    let first = *mean.get_or_insert(own);
    if (own - first).abs() <= MEAN_OFF_MAX {
        return Ok(());
    }
    Err(format!("{who}, {way}: the mean score is {own}, another contender's {first}").into())
}

fn rate(way: &str, run: &Run) -> f64 {
    let time = if way == BATCH { run.cpu_s } else { run.seconds };
    run.rows as f64 / time.max(1e-9)
}

fn of(way: &str, runs: &[Run]) -> Median {
    Median {
        rate: median(&mut runs.iter().map(|run| rate(way, run)).collect::<Vec<_>>()),
        p99_us: median(&mut runs.iter().map(|run| run.p99_us).collect::<Vec<_>>()),
    }
}

fn results(medians: &Medians) -> Vec<Measured> {
    let mut results = Vec::new();
    for ((model, way, who), median) in medians {
        results.push(Measured { name: format!("{model}, {way}, {who}"), value: median.rate, unit: "rows/s" });
        if *way == STREAM {
            let name = format!("{model}, {way}, {who}: p99 of a row");
            results.push(Measured { name, value: median.p99_us, unit: "µs" });
        }
    }
    results
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(rows: usize, sum: f64) -> Run {
        Run { rows, seconds: 2.0, cpu_s: 1.0, p99_us: 3.0, sum }
    }

    #[test]
    fn a_contender_with_other_scores_is_found() {
        let mut mean = None;
        agree(&mut mean, OURS, 100, STREAM, &run(100, 50.0)).unwrap();
        agree(&mut mean, RUNTIME, 100, BATCH, &run(100 * ROUNDS, 50.0)).unwrap();
        agree(&mut mean, SCIKIT, 100, STREAM, &run(10, 9.0)).unwrap(); // of other rows
        let error = agree(&mut mean, RUNTIME, 100, STREAM, &run(100, 51.0)).unwrap_err().to_string();
        assert!(error.contains("0.51") && error.contains("0.5"), "{error}");
    }

    #[test]
    fn a_batch_is_judged_by_its_cpu_time() {
        assert_eq!((rate(STREAM, &run(100, 0.0)), rate(BATCH, &run(100, 0.0))), (50.0, 100.0));
        assert_eq!(of(STREAM, &[run(1, 0.0), run(3, 0.0), run(2, 0.0)]).rate, 1.0);
    }
}
