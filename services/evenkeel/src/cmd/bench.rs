//! `evenkeel bench`: figures of this machine.

use crate::bench;
use crate::failure::Failure;
use clap::Subcommand;
use evenkeel_chassis::exit::Exit;

/// Measure this machine
#[derive(Debug, Subcommand)]
pub enum What {
    /// Events per second that one CPU folds
    Core(Core),
}

/// How large the bench is.
#[derive(Debug, clap::Args)]
pub struct Core {
    /// Streams, visited in turn
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    streams: usize,
    /// Events fed per run
    #[arg(long, value_name = "N", default_value_t = 30_000_000)]
    events: usize,
    /// Runs; the median counts
    #[arg(long, value_name = "N", default_value_t = 3)]
    runs: usize,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the command. Exit 0 also when a goal is not met: the report says so.
pub fn execute(what: &What) -> Result<Exit, Failure> {
    let What::Core(args) = what;
    let options =
        bench::core::Options { streams: args.streams.max(1), events: args.events, runs: args.runs.max(1) };
    let report = bench::core::run(&options).map_err(|e| Failure::new(Exit::Internal, e))?;
    if args.json {
        let text = serde_json::to_string(&report).map_err(|e| Failure::new(Exit::Internal, e))?;
        println!("{text}");
    } else {
        print!("{}", report.table());
    }
    Ok(Exit::Ok)
}
