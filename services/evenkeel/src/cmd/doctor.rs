//! `evenkeel doctor`: is everything as the services need it, and what to do where it is not.

use crate::cli::ConfigArgs;
use crate::config::ClusterConfig;
use crate::doctor::{self, Asked, Part};
use crate::failure::Failure;
use evenkeel_chassis::exit::Exit;
use evenkeel_kafka::topics::{DECLARED, TopicsSpec};
use std::io::Write as _;

/// Look at Kafka, the store, the registry, files and memory, with the configuration of a service
///
/// Nothing is changed but for one heartbeat in the topic `clock`. Exit 0 without an error (warnings and notes are
/// told); else the smallest code among the errors' own: 2 for configuration, login and rights, 3 for what is away, 4
/// for what does not match, 5 for a disk.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// What these services need, and nothing else; all of them by default, the scorer if it has a model or a rule
    #[arg(long = "only", value_name = "SERVICE", value_delimiter = ',')]
    only: Vec<Part>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Runs the command.
pub fn execute(args: &Args) -> Result<Exit, Failure> {
    let config = ClusterConfig::load(&args.config.overrides()?)?;
    let spec = TopicsSpec::parse(DECLARED).map_err(|e| Failure::new(Exit::Internal, e))?;
    let parts = match args.only.as_slice() {
        // Whoever has neither model nor rule runs no scorer.
        [] => Part::ALL.into_iter().filter(|p| *p != Part::Scorer || config.scorer.live.is_on()).collect(),
        only => only.to_vec(),
    };
    let report = doctor::examine(&doctor::gather(Asked { config: &config, spec, parts }));
    let text = match args.json {
        true => format!("{:#}\n", report.json()),
        false => report.text(),
    };
    // Whoever read our output may have left: the exit code says it too.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(report.exit())
}
