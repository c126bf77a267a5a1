//! `evenkeel plan`: what a fleet costs in memory, before it is there.

use crate::cli::ConfigArgs;
use crate::cmd::helm_values;
use crate::config::ServerConfig;
use crate::failure::Failure;
use crate::human::{bytes, count};
use evenkeel_chassis::exit::Exit;
use evenkeel_chassis::memory;
use evenkeel_plan::{Fleet, Plan, plan};
use serde_json::json;

/// What a fleet costs in memory: steady, in a reconnect storm, at worst
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Streams that send
    #[arg(long, value_name = "N")]
    streams: u64,
    /// Streams that sent within max-age and are quiet now
    #[arg(long, value_name = "N", default_value_t = 0)]
    quiet_streams: u64,
    /// Numeric fields of an event
    #[arg(long, value_name = "N", default_value_t = 4)]
    fields: u32,
    /// Typical length of a stream id, bytes
    #[arg(long, value_name = "BYTES", default_value_t = 24)]
    id_bytes: u32,
    /// Events per second of one stream
    #[arg(long, value_name = "N", default_value_t = 10)]
    rate: u32,
    /// Seq intervals of a window where events are lost or shuffled
    #[arg(long, value_name = "N", default_value_t = 1)]
    seq_intervals: u32,
    /// Devices set no seq
    #[arg(long)]
    no_seq: bool,
    /// A stream of the class to plan for (its id decides the class)
    #[arg(long, value_name = "ID", default_value = "device/1")]
    like: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Print values of the Helm chart for this fleet
    #[arg(long, conflicts_with = "json")]
    helm: bool,
    /// With --helm: how many coalescer pods; the fleet must fit when one of them is away
    #[arg(long, value_name = "N", default_value_t = 2, requires = "helm", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pods: u32,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Runs the command. Exit 0 also when the fleet does not fit: the answer says so.
pub fn execute(args: &Args) -> Result<Exit, Failure> {
    let config = ServerConfig::of_run(&args.config.overrides()?)?.services.coalescer;
    let settings = config.settings().map_err(|e| Failure::new(Exit::Usage, e))?;
    let class = &settings.classes[settings.class_of(&args.like)];
    let fleet = Fleet {
        streams: args.streams,
        quiet_streams: args.quiet_streams,
        fields: args.fields,
        id_bytes: args.id_bytes,
        rate_per_second: args.rate,
        has_seq: !args.no_seq,
        seq_intervals: args.seq_intervals,
        ..Fleet::default()
    };
    if args.helm {
        print!(
            "{}",
            helm_values::of_fleet(&fleet, args.pods, config.memory_budget, |f| plan(f, &settings, class))
        );
        return Ok(Exit::Ok);
    }
    let budget = config.memory_budget.bytes(memory::limit_bytes());
    let sum = plan(&fleet, &settings, class);
    if args.json {
        println!("{}", as_json(&sum, budget));
    } else {
        print!("{}", as_text(&fleet, &sum, budget));
    }
    Ok(Exit::Ok)
}

fn as_json(sum: &Plan, budget: Option<u64>) -> serde_json::Value {
    json!({
        "per_stream_bytes": sum.per_stream_bytes, "per_quiet_stream_bytes": sum.per_quiet_bytes,
        "steady_bytes": sum.steady_bytes, "resident_bytes": sum.resident_bytes,
        "storm_bytes": sum.storm_bytes, "worst_bytes": sum.worst_bytes,
        "rows_per_second": sum.rows_per_second, "budget_bytes": budget,
        "fits": budget.is_none_or(|b| sum.steady_bytes <= b),
    })
}

fn as_text(fleet: &Fleet, sum: &Plan, budget: Option<u64>) -> String {
    let line = |name: &str, value: String| format!("{name:<34}{value:>14}\n");
    let mut text = line("streams", count(fleet.streams));
    text += &line("one stream", bytes(sum.per_stream_bytes));
    text += &line("one quiet stream", bytes(sum.per_quiet_bytes));
    text += &line("steady", bytes(sum.steady_bytes));
    text += &line("a coalescer in all", bytes(sum.resident_bytes));
    text += &line("storm (all replay 5 min)", bytes(sum.storm_bytes));
    text += &line("worst (then eviction holds it)", bytes(sum.worst_bytes));
    text += &line("rows per second", format!("{:.0}", sum.rows_per_second));
    match budget {
        Some(budget) if sum.steady_bytes <= budget => text += &line("budget: fits", bytes(budget)),
        Some(budget) => text += &line("budget: TOO SMALL", bytes(budget)),
        None => text += &line("budget", "unknown".to_owned()),
    }
    text
}
