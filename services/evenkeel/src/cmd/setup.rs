//! `evenkeel topics` and `evenkeel cql`: what must exist in Kafka and in the store.

use crate::cli::ConfigArgs;
use crate::config::ClusterConfig;
use crate::failure::Failure;
use clap::Subcommand;
use evenkeel_chassis::exit::Exit;
use evenkeel_kafka::topics::{DECLARED, Topics, TopicsSpec};

/// Create Kafka topics, or compare them with what is declared
#[derive(Debug, Subcommand)]
pub enum TopicsCommand {
    /// Make the topics that are missing
    Create(TopicsArgs),
    /// Show how the cluster's topics differ; exit 4 if they do
    Diff(TopicsArgs),
}

/// Which topics.
#[derive(Debug, clap::Args)]
pub struct TopicsArgs {
    /// Partitions of every topic, instead of the declared ones
    #[arg(long, value_name = "N")]
    partitions: Option<u32>,
    /// One broker: one replica, no setting that needs more
    #[arg(long)]
    one_broker: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Set up the CQL store
#[derive(Debug, Subcommand)]
pub enum CqlCommand {
    /// Create the keyspace and tables, or bring them to this version; safe to repeat
    Migrate {
        #[command(flatten)]
        config: ConfigArgs,
    },
}

/// Runs `topics`.
pub fn topics(command: &TopicsCommand) -> Result<Exit, Failure> {
    let (TopicsCommand::Create(args) | TopicsCommand::Diff(args)) = command;
    let config = ClusterConfig::load(&args.config.overrides()?)?;
    let mut spec = TopicsSpec::parse(DECLARED).map_err(|e| Failure::new(Exit::Internal, e))?;
    if let Some(partitions) = args.partitions {
        spec = spec.with_partitions(partitions);
    }
    if args.one_broker {
        spec = spec.for_one_broker();
    }
    let topics = Topics::connect(&config.kafka)?;
    if matches!(command, TopicsCommand::Create(_)) {
        let done = topics.create(&spec)?;
        match args.json {
            true => println!("{}", serde_json::json!(done)),
            false => {
                done.created.iter().for_each(|name| println!("created   {name}"));
                done.existing.iter().for_each(|name| println!("existing  {name}"));
            }
        }
        return Ok(Exit::Ok);
    }
    let differences = topics.diff(&spec)?;
    match args.json {
        true => println!("{}", serde_json::json!(differences)),
        false => differences.iter().for_each(|difference| println!("{difference}")),
    }
    match differences.is_empty() {
        true => Ok(Exit::Ok),
        false => Err(Failure::new(Exit::Refused, format!("{} differences", differences.len()))),
    }
}

/// Runs `cql`.
pub fn cql(CqlCommand::Migrate { config }: &CqlCommand) -> Result<Exit, Failure> {
    let config = ClusterConfig::load(&config.overrides()?)?;
    let report = evenkeel_cql::migrate(&config.cql)?;
    println!("{:?} {}", report.server, report.release);
    report.applied.iter().for_each(|what| println!("applied   {what}"));
    report.warnings.iter().for_each(|what| println!("warning   {what}"));
    if report.applied.is_empty() {
        println!("everything was there");
    }
    Ok(Exit::Ok)
}
