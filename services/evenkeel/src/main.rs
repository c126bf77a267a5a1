//! `evenkeel`: the one binary. Parses the command line, runs the command, says what went wrong, exits with
//! its code.

mod allocator;
mod bench;
mod cli;
mod cluster;
mod cmd;
mod config;
mod demo;
mod doctor;
mod failure;
mod file;
mod human;
mod live;
mod machine;
mod progress;
mod server;
mod show;
mod summary;
mod top;

use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::Cli::parse().execute() {
        Ok(exit) => exit.into(),
        Err(failure) => {
            eprintln!("evenkeel: {failure}");
            failure.exit.into()
        }
    }
}
