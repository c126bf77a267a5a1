//! `evenkeel run --input FILE --once`: a file through the whole pipeline, on one machine.
//!
//! The real services over the embedded log and store, in this process: what a file run shows, a fleet gets.

use crate::cli::{ConfigArgs, DataDir};
use crate::cmd::serve;
use crate::config::Config;
use crate::failure::Failure;
use crate::file::{self, BytesRead, Load, LoadFailure, LoadReport, RefusedLine, Spool, Survey};
use crate::machine::Machine;
use crate::progress::Progress;
use crate::summary::{Loaded, Summary};
use clap::ValueEnum;
use evenkeel_chassis::drain::Drain;
use evenkeel_chassis::exit::Exit;
use evenkeel_chassis::{memory, signals};
use evenkeel_local::{LoadError, LoadProgress, Local};
use evenkeel_telemetry::{LogTo, Telemetry};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Longest time without any movement before the run gives up.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often the supervising thread looks.
const LOOK: Duration = Duration::from_millis(20);
/// Refused lines that are shown; the rest is counted, and all are in `dlq`.
const SHOWN_MAX: usize = 20;

/// One machine for real use: serve HTTP; or, with --input, load a file of events
///
/// Without --input: ingest, coalescer and sink in one process over a durable log and store, until SIGTERM or
/// Ctrl-C. Kill it and start again: nothing is lost, nothing double.
///
/// With --input FILE --once: the file goes through the same pipeline, every window closes at its end.
///
/// CSV: the first line names the columns: stream_id, ts (ms since the epoch or RFC 3339) or ts_ms, optional
/// seq and arrival; every other numeric column is a field; an empty cell = the event lacks it.
///
/// NDJSON: {"stream_id", "ts": ms or RFC 3339, "seq"?, "arrival"?: ms, "fields": {name: number}} per line.
///
/// Either may be gzip. Lines without seq are numbered per stream, going on from what the data directory
/// holds. A file that was loaded before changes nothing; one whose load was cut off goes on where it was.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The file; - = standard input
    #[arg(long, value_name = "FILE", requires = "once")]
    input: Option<PathBuf>,
    /// Close every window at the end of the file (closed_by = end) and exit
    #[arg(long, requires = "input")]
    once: bool,
    #[command(flatten)]
    data: DataDir,
    /// Arrival of events without one: file = the largest ts so far of their stream; now = the clock
    #[arg(long, value_enum, default_value_t = ArrivalRule::File)]
    arrival: ArrivalRule,
    /// Print the summary as one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ArrivalRule {
    File,
    Now,
}

/// Runs the command.
pub fn execute(args: &Args) -> Result<Exit, Failure> {
    match &args.input {
        Some(input) => load_file(args, input),
        None => serve::execute(&args.data, &args.config),
    }
}

fn load_file(args: &Args, given: &Path) -> Result<Exit, Failure> {
    let config = Config::of_file_run(&args.config.overrides()?)?;
    let began = Instant::now();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime =
        runtime.map_err(|e| Failure::new(Exit::Internal, format!("no thread could be started: {e}")))?;
    let _inside = runtime.enter();
    let drain = Drain::new(config.process.drain_grace.duration());
    runtime.block_on(async { signals::watch(drain.clone()) }).map_err(|e| Failure::new(Exit::Internal, e))?;
    let settings =
        config.process.telemetry_settings("evenkeel-run", env!("CARGO_PKG_VERSION"), "", LogTo::Stderr);
    let telemetry = Telemetry::start(&settings)?;
    let run =
        FileRun { args, given, config: &config, drain, telemetry: &telemetry, progress: Progress::new() };
    let outcome = run.go(began);
    run.progress.clear();
    telemetry.shutdown(config.process.telemetry.flush_timeout.duration());
    outcome
}

struct FileRun<'a> {
    args: &'a Args,
    given: &'a Path,
    config: &'a Config,
    drain: Drain,
    telemetry: &'a Telemetry,
    progress: Progress,
}

/// The input as a file that can be read twice.
struct Input {
    path: PathBuf,
    name: String,
    /// Removes the kept input at the end.
    _spool: Option<Spool>,
}

impl FileRun<'_> {
    fn go(&self, began: Instant) -> Result<Exit, Failure> {
        let local = Local::open(&self.args.data.data_dir, self.config.local.clone())?;
        let input = self.input()?;
        let read = BytesRead::default();
        self.progress.step("reading");
        let survey = file::survey(&input.path, &read)?;
        let machine = Machine::start(
            &local,
            &self.config.services,
            self.telemetry.emitter(),
            memory::limit_bytes(),
            RandomState::new().build_hasher().finish(),
            self.config.process.drain_grace.duration(),
        )?;
        let mut refused = Vec::new();
        let loaded = self.load(&local, &machine, &input, &survey, &read, &mut refused);
        let finished = loaded.as_ref().is_ok_and(|loaded| loaded.report.progress.finished);
        let quiet = match finished {
            true => {
                machine.end_input();
                self.progress.step("closing windows");
                machine.wait_quiet(&local, PATIENCE, || {})
            }
            false => Ok(()), // what was loaded stays; the windows stay open for the rest
        };
        let (coalescer, sink) = (machine.coalescer.get(), machine.sink.get());
        machine.stop()?; // the services' own errors first: the others follow from them
        quiet?;
        let loaded = loaded?;
        self.progress.clear();
        let summary = Summary {
            file: input.name,
            data_dir: self.args.data.data_dir.display().to_string(),
            loaded,
            left_out: survey.left_out(),
            refused,
            coalescer,
            sink,
            seconds: began.elapsed().as_secs_f64(),
        };
        self.conclude(&summary, finished)
    }

    fn conclude(&self, summary: &Summary, finished: bool) -> Result<Exit, Failure> {
        if !finished {
            let exit = self.drain.cause().map_or(Exit::Internal, signals::at_once);
            let line = summary.loaded.report.progress.next_line;
            let message = format!("stopped after line {line}; the same command goes on from there");
            return Err(Failure::new(exit, message));
        }
        print!("{}", if self.args.json { summary.json() } else { summary.text() });
        match summary.imbalance() {
            0 => Ok(Exit::Ok),
            events => Err(Failure::new(
                Exit::Internal,
                format!("the ledger does not balance: {events} events are unaccounted for; please report it"),
            )),
        }
    }

    fn input(&self) -> Result<Input, Failure> {
        let given = self.given;
        if !file::needs_spool(given) {
            let name =
                given.file_name().map_or_else(|| given.display().to_string(), |n| n.display().to_string());
            return Ok(Input { path: given.to_owned(), name, _spool: None });
        }
        self.progress.step("keeping the input");
        let spool = file::spool(given, &self.args.data.data_dir)?;
        Ok(Input { path: spool.path().to_owned(), name: "standard input".to_owned(), _spool: Some(spool) })
    }

    /// Loads the file on a thread of its own and watches over it.
    fn load(
        &self,
        local: &Local,
        machine: &Machine,
        input: &Input,
        survey: &Survey,
        read: &BytesRead,
        refused: &mut Vec<RefusedLine>,
    ) -> Result<Loaded, Failure> {
        let loader = match local.loads().begin(&survey.digest) {
            Ok(loader) => loader,
            Err(LoadError::Finished) => return known_file(local, survey),
            Err(error) => return Err(error.into()),
        };
        self.progress.bytes("loading", length(&input.path));
        let stop = AtomicBool::new(false);
        let mut on_refused = |line: RefusedLine| self.show_refused(&input.name, line, refused);
        let load = Load {
            path: &input.path,
            name: &input.name,
            survey,
            arrival_now: self.args.arrival == ArrivalRule::Now,
            partitions: local.partitions(),
            read,
            stop: &stop,
            refused: &mut on_refused,
        };
        let outcome = std::thread::scope(|scope| {
            let loading = scope.spawn(move || load.run(loader));
            while !loading.is_finished() {
                self.progress.set(read.get());
                if self.drain.is_draining() || machine.has_failed() {
                    stop.store(true, Ordering::Release);
                }
                std::thread::sleep(LOOK);
            }
            loading.join()
        });
        let panicked = || Failure::new(Exit::Internal, "the loading thread panicked; please report it");
        let report = outcome.map_err(|_| panicked())?.map_err(|error: LoadFailure| Failure::from(error))?;
        self.tell_the_rest(report.bad_lines_now);
        Ok(Loaded { report, known: false })
    }

    fn show_refused(&self, name: &str, refused: RefusedLine, shown: &mut Vec<RefusedLine>) {
        if shown.len() < SHOWN_MAX {
            self.progress.say(&format!("{name}:{}: {}", refused.line, refused.error));
            shown.push(refused);
        }
    }

    fn tell_the_rest(&self, bad_lines: u64) {
        let rest = bad_lines.saturating_sub(SHOWN_MAX as u64);
        if rest > 0 {
            self.progress.say(&format!("… and {rest} more lines refused; all are in dlq with their reasons"));
        }
    }
}

/// A file that was loaded before: nothing is appended.
fn known_file(local: &Local, survey: &Survey) -> Result<Loaded, Failure> {
    let progress = local
        .loads()
        .known(&survey.digest)?
        .unwrap_or(LoadProgress { finished: true, ..LoadProgress::default() });
    Ok(Loaded { report: LoadReport { progress, events_now: 0, bad_lines_now: 0 }, known: true })
}

fn length(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |m| m.len())
}
