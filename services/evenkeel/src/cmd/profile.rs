//! `evenkeel profile`: what a model was trained on, for the scorer's drift figures.

use crate::failure::Failure;
use evenkeel_chassis::exit::Exit;
use evenkeel_scorer::write_profile;
use std::path::PathBuf;

/// Write the profile of a model's training rows, which the scorer measures drift against (scorer.live.profile)
///
/// Of each column of numbers: where bins of about the same share meet, the share of each, and that of missing
/// values. The columns must be named as the model's features, e.g. weight.mean.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The rows: CSV or Parquet
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// The profile, a JSON file
    #[arg(long, value_name = "FILE", default_value = "profile.json")]
    out: PathBuf,
    /// The columns, separated by commas [default: all columns of numbers]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    features: Vec<String>,
    /// Bins of each column
    #[arg(long, value_name = "N", default_value_t = 10)]
    bins: usize,
}

/// Runs the command.
pub fn execute(args: &Args) -> Result<Exit, Failure> {
    let features = write_profile(&args.input, &args.features, args.bins, &args.out)?;
    println!("{}: {}", args.out.display(), features.join(", "));
    Ok(Exit::Ok)
}
