//! `evenkeel score`: a model over a file of rows.

use crate::config::{Overrides as Sections, scorer_config};
use crate::failure::Failure;
use crate::human::count;
use crate::progress::Progress as Bar;
use clap::ValueEnum;
use evenkeel_chassis::config::Sources;
use evenkeel_chassis::exit::Exit;
use evenkeel_scorer::{
    self as scorer, Config, Counted, Mode, Overrides, Plan, RuntimeName, Summary, TestMode,
};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Instant;

/// Score a file of rows with an ONNX model: at once, row by row, through a bounded queue
///
/// batch writes batch_inference.csv: the input's columns, score, prediction. stream writes
/// stream_inference.jsonl, one row after the other. async_stream replays the rows with random gaps into a bounded
/// queue that drops and counts when it is full, before a pool of workers: stream_inference_async.jsonl and
/// streaming_metrics.json. both is all three.
///
/// Columns are matched by name to the model's inputs; the score is the positive class's probability.
///
/// TEST_MODE=1 caps jitter (1 ms), queue (TEST_QUEUE_MAX, 8), workers (TEST_STREAM_WORKERS, 1) and rows
/// (TEST_STREAM_ROWS, 16).
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Which ways to score [default: both]
    #[arg(long, value_enum)]
    mode: Option<ModeName>,
    /// The ONNX model
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Who runs it: our own evaluator, tract (neural networks), onnxruntime [default: auto = own, else tract]
    #[arg(long, value_enum)]
    runtime: Option<RuntimeArg>,
    /// The shared library of onnxruntime, for --runtime ort
    #[arg(long, value_name = "FILE")]
    ort_library: Option<PathBuf>,
    /// The rows: CSV or Parquet
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Where the files go [default: artifacts]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Rows that the stream modes replay [default: 64]
    #[arg(long, value_name = "N")]
    rows: Option<usize>,
    /// A score at or above it is prediction 1 [default: 0.5]
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true)]
    threshold: Option<f64>,
    /// Mean gap between arrivals, ms; the standard deviation is a quarter of it [default: 5.0]
    #[arg(long, value_name = "MS", allow_negative_numbers = true)]
    jitter_ms: Option<f64>,
    /// Rows that may wait; rows in work do not count [default: 32]
    #[arg(long, value_name = "N")]
    queue_max: Option<usize>,
    /// Threads that score [default: 2]
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
    /// What a full queue does [default: drop-new]
    #[arg(long, value_enum)]
    drop_policy: Option<PolicyName>,
    /// The seed of the arrivals [default: 0]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// The columns of a model with one input, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    features: Option<Vec<String>>,
    /// The class whose probability is the score [default: the second of two]
    #[arg(long, value_name = "CLASS")]
    positive_class: Option<String>,
    /// A YAML file with any of these, under the same names; the command line wins
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the summary as one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ModeName {
    Batch,
    Stream,
    #[value(name = "async_stream")]
    AsyncStream,
    Both,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum RuntimeArg {
    Auto,
    Own,
    Tract,
    Ort,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum PolicyName {
    DropNew,
    DropOldest,
    Block,
}

impl Args {
    fn overrides(&self) -> Overrides {
        Overrides {
            mode: self.mode.map(|mode| match mode {
                ModeName::Batch => Mode::Batch,
                ModeName::Stream => Mode::Stream,
                ModeName::AsyncStream => Mode::AsyncStream,
                ModeName::Both => Mode::Both,
            }),
            model: self.model.clone(),
            runtime: self.runtime.map(|runtime| match runtime {
                RuntimeArg::Auto => RuntimeName::Auto,
                RuntimeArg::Own => RuntimeName::Own,
                RuntimeArg::Tract => RuntimeName::Tract,
                RuntimeArg::Ort => RuntimeName::Ort,
            }),
            ort_library: self.ort_library.clone(),
            input: self.input.clone(),
            out: self.out.clone(),
            rows: self.rows,
            threshold: self.threshold,
            jitter_ms: self.jitter_ms,
            queue_max: self.queue_max,
            workers: self.workers,
            drop_policy: self.drop_policy.map(|policy| match policy {
                PolicyName::DropNew => scorer::Policy::DropNew,
                PolicyName::DropOldest => scorer::Policy::DropOldest,
                PolicyName::Block => scorer::Policy::Block,
            }),
            seed: self.seed,
            features: self.features.clone(),
            positive_class: self.positive_class.clone(),
            input_max: None, // a matter of the machine, not of a command: file or environment
        }
    }

    /// Default < environment < file < command line < the caps of a test run.
    fn plan(&self) -> Result<Plan, Failure> {
        let mut sources = Sources::default();
        let ours =
            std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        sources.env(ours)?;
        let mut config: Config = scorer_config(&Sections::checked(sources)?)?;
        if let Some(path) = &self.config {
            config = config.with(scorer::read_overrides(path)?);
        }
        config = config.with(self.overrides());
        let plan = config.clone().plan()?; // what is asked for must make sense, capped or not
        match TestMode::of(|name| std::env::var(name).ok())? {
            None => Ok(plan),
            Some(test) => {
                test.cap(&mut config);
                Ok(config.plan()?)
            }
        }
    }
}

/// Runs the command.
pub fn execute(args: &Args) -> Result<Exit, Failure> {
    let plan = args.plan()?;
    let began = Instant::now();
    let bar = Bar::new();
    bar.step("reading");
    let outcome = scorer::prepare(&plan).and_then(|prepared| {
        let mut shown = "";
        scorer::run(&prepared, &plan, &mut |now: scorer::Progress| {
            if shown != now.what {
                shown = now.what;
                bar.rows(now.what, now.rows as u64);
            }
            bar.set(now.done as u64);
        })
    });
    bar.clear();
    let summary = outcome?;
    let seconds = began.elapsed().as_secs_f64();
    let out = plan.config().out.display().to_string();
    if args.json {
        println!("{}", as_json(&summary, &out, seconds));
    } else {
        print!("{}", as_text(&summary, &out, seconds));
    }
    for (mode, counted) in &summary.modes {
        tell_errors(*mode, counted);
    }
    match summary.errors() {
        0 => Ok(Exit::Ok),
        errors => {
            let message = format!("{} rows could not be scored; the others are in {out}", count(errors));
            Err(Failure::new(Exit::Refused, message))
        }
    }
}

const fn name(mode: Mode) -> &'static str {
    match mode {
        Mode::Batch => "batch",
        Mode::Stream => "stream",
        Mode::AsyncStream => "async_stream",
        Mode::Both => "both",
    }
}

fn tell_errors(mode: Mode, counted: &Counted) {
    for line in &counted.shown {
        eprintln!("{}: {line}", name(mode));
    }
    let rest = counted.errors.saturating_sub(counted.shown.len() as u64);
    if rest > 0 {
        eprintln!("{}: … and {} more rows", name(mode), count(rest));
    }
}

fn as_json(summary: &Summary, out: &str, seconds: f64) -> Value {
    let modes = summary.modes.iter().map(|(mode, counted)| {
        (name(*mode).to_owned(), json!({"scored": counted.scored, "errors": counted.errors}))
    });
    json!({
        "rows": summary.rows,
        "runtime": summary.runtime,
        "modes": modes.collect::<serde_json::Map<_, _>>(),
        "streaming_metrics": summary.report,
        "out": out,
        "seconds": seconds,
    })
}

fn as_text(summary: &Summary, out: &str, seconds: f64) -> String {
    let mut text =
        format!("rows          {}\nruntime       {}\n", count(summary.rows as u64), summary.runtime);
    for (mode, counted) in &summary.modes {
        let _ = writeln!(
            text,
            "{:<13} {} scored, {} errors",
            name(*mode),
            count(counted.scored),
            count(counted.errors)
        );
    }
    if let Some(report) = &summary.report {
        let _ = writeln!(
            text,
            "queue         {} of {} dropped ({:.1} %); latency p50 {:.2} ms, p95 {:.2} ms",
            count(report.dropped),
            count(report.produced),
            report.drop_rate * 100.0,
            report.queue_latency_ms_p50,
            report.queue_latency_ms_p95
        );
    }
    let _ = writeln!(text, "time          {seconds:.2} s; files in {out}");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_scorer::Report;

    fn summary() -> Summary {
        let counted = Counted { scored: 63, errors: 1, shown: vec!["row 7: the score is NaN".to_owned()] };
        let report = Report::new(1, 0, vec![1.0, 2.0, 3.0], (2, 32, 5.0));
        Summary {
            rows: 2_000,
            runtime: "own",
            modes: vec![(Mode::Batch, counted), (Mode::AsyncStream, Counted::default())],
            report: Some(report),
        }
    }

    #[test]
    fn for_people() {
        let want = "rows          2,000\nruntime       own\nbatch         63 scored, 1 errors\nasync_stream  0 scored, 0 errors\n\
                    queue         1 of 4 dropped (25.0 %); latency p50 2.00 ms, p95 2.90 ms\n\
                    time          0.25 s; files in artifacts\n";
        assert_eq!(as_text(&summary(), "artifacts", 0.25), want);
    }

    #[test]
    fn for_programs() {
        let value = as_json(&summary(), "artifacts", 0.25);
        assert_eq!(value["modes"]["batch"], json!({"scored": 63, "errors": 1}));
        assert_eq!(value["streaming_metrics"]["drop_rate"], 0.25);
        assert_eq!((&value["rows"], &value["out"]), (&json!(2_000), &json!("artifacts")));
        assert_eq!(value["runtime"], "own");
    }
}
