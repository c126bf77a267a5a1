//! The command line: what there is to type. Each command's own arguments are in `cmd`.

use crate::cmd::service::{self, Service};
use crate::cmd::{bench, demo, doctor, fetch, plan, profile, query, run, score, setup, top};
use crate::config::Overrides;
use crate::failure::Failure;
use clap::{Args, Parser, Subcommand};
use evenkeel_chassis::config::Sources;
use evenkeel_chassis::exit::Exit;
use std::path::PathBuf;

/// Event streams become exact window rows: bounded memory, exactly once.
#[derive(Debug, Parser)]
#[command(name = "evenkeel", version, after_help = exit_codes())]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Args),
    Run(run::Args),
    #[command(subcommand)]
    Query(query::What),
    /// The ingest service of a cluster: HTTP in, Kafka out
    Ingest(service::Args),
    /// The coalescer service of a cluster: events become windows, exactly once
    Coalescer(service::Args),
    /// The sink service of a cluster: rows go to ScyllaDB or Cassandra
    Sink(service::Args),
    /// The gateway of a cluster: live frames to browsers, over WebSocket and server-sent events
    Gateway(service::Args),
    /// The scorer service of a cluster: models and rules over windows, exactly once
    Scorer(service::Args),
    #[command(subcommand)]
    Topics(setup::TopicsCommand),
    #[command(subcommand)]
    Cql(setup::CqlCommand),
    Plan(plan::Args),
    Doctor(doctor::Args),
    Top(top::Args),
    Score(score::Args),
    Profile(profile::Args),
    Fetch(fetch::Args),
    #[command(subcommand)]
    Bench(bench::What),
}

/// Where the data of one machine lies.
#[derive(Debug, Args)]
pub struct DataDir {
    /// Directory of the embedded log and store; it is made if it is not there
    #[arg(long, value_name = "DIR", default_value = "evenkeel-data", env = "EVENKEEL_DATA_DIR")]
    pub data_dir: PathBuf,
}

/// What overrides the defaults.
#[derive(Debug, Clone, Args)]
pub struct ConfigArgs {
    /// Configuration file (TOML, one table per service)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Override one key, e.g. coalescer.lateness=5s; may be given several times
    #[arg(long = "set", value_name = "SERVICE.KEY=VALUE")]
    sets: Vec<String>,
}

impl Cli {
    /// Runs the command.
    pub fn execute(self) -> Result<Exit, Failure> {
        match self.command {
            Command::Demo(args) => demo::execute(&args),
            Command::Run(args) => run::execute(&args),
            Command::Ingest(args) => service::execute(Service::Ingest, &args),
            Command::Coalescer(args) => service::execute(Service::Coalescer, &args),
            Command::Sink(args) => service::execute(Service::Sink, &args),
            Command::Gateway(args) => service::execute(Service::Gateway, &args),
            Command::Scorer(args) => service::execute(Service::Scorer, &args),
            Command::Topics(command) => setup::topics(&command),
            Command::Cql(command) => setup::cql(&command),
            Command::Plan(args) => plan::execute(&args),
            Command::Doctor(args) => doctor::execute(&args),
            Command::Top(args) => top::execute(&args),
            Command::Score(args) => score::execute(&args),
            Command::Profile(args) => profile::execute(&args),
            Command::Fetch(args) => fetch::execute(&args),
            Command::Bench(what) => bench::execute(&what),
            Command::Query(query::What::Windows(args)) => query::windows(&args),
            Command::Query(query::What::Scores(args)) => query::scores(&args),
        }
    }
}

impl ConfigArgs {
    /// The layers over the defaults: file < environment < `--set`.
    pub fn overrides(&self) -> Result<Overrides, Failure> {
        let mut sources = Sources::default();
        if let Some(path) = &self.config {
            sources.file(path)?;
        }
        // A variable that is not text is not ours: ours are ASCII.
        let ours =
            std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        sources.env(ours)?;
        for set in &self.sets {
            sources.set(set)?;
        }
        Ok(Overrides::checked(sources)?)
    }
}

fn exit_codes() -> String {
    let mut text = String::from("Exit codes:\n");
    for exit in Exit::ALL {
        text.push_str(&format!("  {:>3}  {}\n", exit.code(), exit.meaning()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    /// A line of a shell as words; no more of a shell than documents use.
    fn words(line: &str) -> Vec<String> {
        let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
        for c in line.chars() {
            match quote {
                Some(q) if c == q => quote = None,
                None if c == '\'' || c == '"' => quote = Some(c),
                None if c == '#' && word.is_empty() => break,
                None if c.is_whitespace() => words.push(std::mem::take(&mut word)),
                _ => word.push(c),
            }
        }
        words.push(word);
        words.retain(|word| !word.is_empty());
        words
    }

    #[test]
    fn every_command_of_the_documents_can_be_typed() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
        let docs = std::fs::read_dir(format!("{root}/docs")).unwrap().map(|entry| entry.unwrap().path());
        let books =
            std::fs::read_dir(format!("{root}/docs/runbooks")).unwrap().map(|entry| entry.unwrap().path());
        let others = ["README.md", "helm/evenkeel/README.md"].map(|path| format!("{root}/{path}").into());
        let mut typed = 0;
        for path in docs.chain(books).chain(others).filter(|path| path.extension().is_some_and(|e| e == "md"))
        {
            let text = std::fs::read_to_string(&path).unwrap();
            let lines = text.lines().map(|line| line.split('|').next().unwrap_or(line));
            let inline = text.split('`').skip(1).step_by(2);
            for line in
                lines.chain(inline).filter(|line| line.starts_with("evenkeel ") && !line.contains('…'))
            {
                // A name for a number or a text, which stands where a reader puts his own.
                let words =
                    words(line).into_iter().map(|word| if word == "N" { "7".to_owned() } else { word });
                let words: Vec<String> = words.collect();
                let plain =
                    |word: &String| word.starts_with('-') || word.chars().all(|c| c.is_ascii_lowercase());
                // "evenkeel demo and run" is prose, "evenkeel topics" a group of commands.
                if words.len() < 3 || !words[1..3].iter().all(plain) {
                    continue;
                }
                if let Err(error) = Cli::try_parse_from(&words) {
                    assert!(!error.use_stderr(), "{}: `{line}`: {error}", path.display());
                }
                typed += 1;
            }
        }
        assert!(typed > 20, "only {typed} commands were found");
    }

    #[test]
    fn the_command_line_is_well_formed_and_tells_the_exit_codes() {
        Cli::command().debug_assert();
        let help = Cli::command().render_long_help().to_string();
        assert!(help.contains("  4  the data, a partition count or a version does not match"), "{help}");
    }
}
