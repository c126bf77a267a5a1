//! `evenkeel bench`: figures of this machine.

use crate::bench::{self, Report};
use crate::failure::Failure;
use clap::Subcommand;
use evenkeel_chassis::exit::Exit;
use evenkeel_telemetry::{Emitter, Metrics};
use std::path::PathBuf;

/// Measure this machine
#[derive(Debug, Subcommand)]
pub enum What {
    /// Events per second that one CPU folds
    Core(Core),
    /// What an event costs through real Kafka, exactly once, beside a bare consumer (makes topics of its own)
    Coalescer(Coalescer),
    /// Latency of every flush policy on every trace, simulated, or with --live before a real Kafka (some minutes)
    Flush(Flush),
    /// What an accepted event costs by each protocol, and an idle connection, beside the Collector and Mosquitto
    Ingest(Ingest),
    /// What a delivery to a screen costs, how old it is in overload, what an idle screen holds; beside nats-server
    Gateway(Gateway),
    /// Resident memory of a coalescer against its plan, after a burst, with a million quiet streams (8 minutes)
    Memory(Live),
    /// Whether live traffic answers as quickly while a recording is ingested beside it (some minutes)
    Recordings(Recordings),
    /// Rows per second of a linear model and of trees, beside pandas with scikit-learn and onnxruntime (a minute)
    Score(Score),
    /// The spool beside stream-download, tempfile and Python: filled, then read at random (some minutes)
    Spool(Spool),
    /// How long rows are missing when a coalescer is killed, and when it leaves (some minutes)
    Recovery(Live),
}

/// Coalescer processes under a live load.
#[derive(Debug, clap::Args)]
pub struct Live {
    /// Kafka's bootstrap brokers
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092")]
    brokers: String,
    /// Active streams
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    streams: usize,
    /// Partitions of the topics
    #[arg(long, value_name = "N", default_value_t = 12)]
    partitions: u32,
    #[command(flatten)]
    shown: Shown,
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
    #[command(flatten)]
    shown: Shown,
}

/// How large the bench is, and where Kafka is.
#[derive(Debug, clap::Args)]
pub struct Coalescer {
    /// Kafka's bootstrap brokers
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092")]
    brokers: String,
    /// Streams
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    streams: usize,
    /// Windows of 50 events of each stream, one event per record
    #[arg(long, value_name = "N", default_value_t = 2)]
    singles: usize,
    /// Windows of 50 events of each stream, one record per window
    #[arg(long, value_name = "N", default_value_t = 6)]
    batches: usize,
    /// Partitions of the topics
    #[arg(long, value_name = "N", default_value_t = 12)]
    partitions: u32,
    #[command(flatten)]
    shown: Shown,
}

/// How much is simulated, and where the picture goes.
#[derive(Debug, clap::Args)]
pub struct Flush {
    /// Draw p50, p99 and p99.9 of every policy into this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Play before a real Kafka: every policy in every run, in random order (makes a topic of its own)
    #[arg(long)]
    live: bool,
    /// Kafka's bootstrap brokers, for --live
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092", requires = "live")]
    brokers: String,
    /// Partitions of the topic, for --live
    #[arg(long, value_name = "N", default_value_t = 6, requires = "live")]
    partitions: u32,
    /// Length of a trace, s, for --live
    #[arg(long, value_name = "S", default_value_t = 12, requires = "live")]
    seconds: u64,
    /// A trace to play, again for more, for --live
    #[arg(long = "trace", value_name = "NAME", requires = "live", default_values = LIVE_TRACES)]
    traces: Vec<String>,
    #[command(flatten)]
    shown: Shown,
}

/// How much is sent, and where the servers are.
#[derive(Debug, clap::Args)]
pub struct Ingest {
    /// Kafka's bootstrap brokers
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092")]
    brokers: String,
    /// The OpenTelemetry Collector of tests/peers/otelcol/build.sh; without it there is no comparison
    #[arg(long, value_name = "PROGRAM")]
    collector: Option<PathBuf>,
    /// Mosquitto; without it there is no comparison
    #[arg(long, value_name = "PROGRAM")]
    mosquitto: Option<PathBuf>,
    /// Length of each way's turn, s
    #[arg(long, value_name = "S", default_value_t = 10)]
    seconds: u64,
    /// Every way's rate times this: near a server's limit its wake-ups are shared by more events
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    times: f64,
    /// Idle connections opened at once
    #[arg(long, value_name = "N", default_value_t = 5_000)]
    idle: usize,
    #[command(flatten)]
    shown: Shown,
}

/// How much is sent, and where Kafka is.
#[derive(Debug, clap::Args)]
pub struct Recordings {
    /// Kafka's bootstrap brokers
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092")]
    brokers: String,
    /// Length of each turn, s
    #[arg(long, value_name = "S", default_value_t = 10)]
    seconds: u64,
    /// Live requests per second, 10 events each
    #[arg(long, value_name = "N", default_value_t = 300)]
    rate: u32,
    #[command(flatten)]
    shown: Shown,
}

/// How many screens, and where the peer is.
#[derive(Debug, clap::Args)]
pub struct Gateway {
    /// The nats-server of tests/peers/nats/build.sh; without it there is no comparison
    #[arg(long, value_name = "PROGRAM")]
    nats: Option<PathBuf>,
    /// Length of each turn, s
    #[arg(long, value_name = "S", default_value_t = 10)]
    seconds: u64,
    /// Idle connections opened at once
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    idle: usize,
    /// Be the gateway that is measured, with so many frames a second of each topic
    #[arg(long, value_name = "HZ", hide = true)]
    serve: Option<u64>,
    /// Its topics
    #[arg(long, value_name = "N", hide = true, default_value_t = 10)]
    topics: usize,
    /// Each topic beats at a time of its own
    #[arg(long, hide = true)]
    spread: bool,
    #[command(flatten)]
    shown: Shown,
}

/// Where the contenders are.
#[derive(Debug, clap::Args)]
pub struct Spool {
    /// The program of tests/peers/spool/build.sh
    #[arg(long, value_name = "PROGRAM")]
    contenders: PathBuf,
    /// Python 3; without it there is no comparison with it
    #[arg(long, value_name = "PROGRAM")]
    python: Option<PathBuf>,
    /// MiB read at random in each run, by all readers together
    #[arg(long, value_name = "N", default_value_t = 1_024)]
    read_mib: u64,
    #[command(flatten)]
    shown: Shown,
}

/// Where Python is, and how many rows.
#[derive(Debug, clap::Args)]
pub struct Score {
    /// The Python of tests/peers/score/build.sh
    #[arg(long, value_name = "PROGRAM")]
    python: PathBuf,
    /// Rows of the file
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    rows: usize,
    #[command(flatten)]
    shown: Shown,
}

/// What `bench flush --live` plays unless told otherwise: the idle lane, two steady rates, and the named traces.
const LIVE_TRACES: [&str; 5] = ["idle", "500 ev/s", "5K ev/s", "burst on/off", "diurnal"];

/// What every bench has.
#[derive(Debug, clap::Args)]
struct Shown {
    /// Runs; the median counts
    #[arg(long, value_name = "N", default_value_t = 3)]
    runs: usize,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the command. Exit 0 also when a goal is not met: the report says so.
pub fn execute(what: &What) -> Result<Exit, Failure> {
    match what {
        What::Core(args) => {
            let (streams, runs) = (args.streams.max(1), args.shown.runs.max(1));
            let options = bench::core::Options { streams, events: args.events, runs };
            let report = bench::core::run(&options).map_err(|e| Failure::new(Exit::Internal, e))?;
            show(&report, &args.shown)
        }
        What::Coalescer(args) => {
            let options = bench::coalescer::Options {
                brokers: args.brokers.clone(),
                streams: args.streams.max(1),
                windows_of_singles: args.singles.max(1),
                windows_of_batches: args.batches.max(1),
                runs: args.shown.runs.max(1),
                partitions: args.partitions.max(1),
            };
            let metrics = Metrics::new().map_err(|e| Failure::new(Exit::Internal, e))?;
            let emitter = Emitter::new(metrics);
            let report = bench::coalescer::run(&options, &emitter, &mut |line| eprintln!("{line}"))
                .map_err(|e| Failure::new(Exit::Unreachable, e))?;
            show(&report, &args.shown)
        }
        What::Flush(args) => flush(args),
        What::Ingest(args) => {
            let options = bench::ingest::Options {
                brokers: args.brokers.clone(),
                collector: args.collector.clone(),
                mosquitto: args.mosquitto.clone(),
                seconds: args.seconds.max(1),
                times: args.times.clamp(0.01, 100.0),
                idle: args.idle.max(1),
                runs: args.shown.runs.max(1),
            };
            let report = bench::ingest::run(&options, &mut |line| eprintln!("{line}"))
                .map_err(|e| Failure::new(Exit::Unreachable, e))?;
            show(&report, &args.shown)
        }
        What::Recordings(args) => recordings(args),
        What::Score(args) => {
            let (rows, runs) = (args.rows.max(1), args.shown.runs.max(1));
            let options = bench::score::Options { python: args.python.clone(), rows, runs };
            let report = bench::score::run(&options, &mut |line| eprintln!("{line}"))
                .map_err(|e| Failure::new(Exit::Usage, e))?;
            show(&report, &args.shown)
        }
        What::Gateway(args) => gateway(args),
        What::Spool(args) => {
            let options = bench::spool::Options {
                program: args.contenders.clone(),
                python: args.python.clone(),
                read_bytes: args.read_mib.max(1) << 20,
                runs: args.shown.runs.max(1),
            };
            let report = bench::spool::run(&options, &mut |line| eprintln!("{line}"))
                .map_err(|e| Failure::new(Exit::Usage, e))?;
            show(&report, &args.shown)
        }
        What::Memory(args) => live(args, bench::live::memory::run),
        What::Recovery(args) => live(args, bench::live::recovery::run),
    }
}

fn recordings(args: &Recordings) -> Result<Exit, Failure> {
    let options = bench::ingest::beside::Options {
        brokers: args.brokers.clone(),
        seconds: args.seconds.max(1),
        rate: args.rate.max(1),
        runs: args.shown.runs.max(1),
    };
    let report = bench::ingest::beside::run(&options, &mut |line| eprintln!("{line}"))
        .map_err(|e| Failure::new(Exit::Unreachable, e))?;
    show(&report, &args.shown)
}

fn gateway(args: &Gateway) -> Result<Exit, Failure> {
    if let Some(hz) = args.serve {
        bench::gateway::serve(args.topics, hz, args.spread).map_err(|e| Failure::new(Exit::Internal, e))?;
        return Ok(Exit::Ok);
    }
    let options = bench::gateway::Options {
        nats: args.nats.clone(),
        seconds: args.seconds.max(1),
        idle: args.idle.max(1),
        runs: args.shown.runs.max(1),
    };
    let report = bench::gateway::run(&options, &mut |line| eprintln!("{line}"))
        .map_err(|e| Failure::new(Exit::Internal, e))?;
    show(&report, &args.shown)
}

/// A run is a seed, or a block.
fn flush(args: &Flush) -> Result<Exit, Failure> {
    let (runs, say) = (args.shown.runs as u64, &mut |line: &str| eprintln!("{line}"));
    let (report, grid) = if args.live {
        let options = bench::flush::live::Options {
            brokers: args.brokers.clone(),
            partitions: args.partitions.max(1),
            blocks: runs.max(1),
            seconds: args.seconds.max(1),
            traces: args.traces.clone(),
        };
        bench::flush::live::run(&options, say).map_err(|e| Failure::new(Exit::Unreachable, e))?
    } else {
        bench::flush::run(&bench::flush::Options { seeds: runs, traces: Vec::new() }, say)
    };
    if let Some(file) = &args.svg {
        std::fs::write(file, bench::flush::draw(&grid))
            .map_err(|e| Failure::new(Exit::Internal, format!("{}: {e}", file.display())))?;
    }
    if args.shown.json {
        return show(&report, &args.shown);
    }
    print!("{}", report.table_of(&grid.text()));
    Ok(Exit::Ok)
}

type LiveBench =
    fn(&bench::live::Options, &mut dyn FnMut(&str)) -> Result<Report, Box<dyn std::error::Error>>;

fn live(args: &Live, bench: LiveBench) -> Result<Exit, Failure> {
    let options = bench::live::Options {
        brokers: args.brokers.clone(),
        streams: args.streams.max(1),
        partitions: args.partitions.max(1),
        runs: args.shown.runs.max(1),
    };
    let report =
        bench(&options, &mut |line| eprintln!("{line}")).map_err(|e| Failure::new(Exit::Unreachable, e))?;
    show(&report, &args.shown)
}

fn show(report: &Report, shown: &Shown) -> Result<Exit, Failure> {
    if shown.json {
        let text = serde_json::to_string(report).map_err(|e| Failure::new(Exit::Internal, e))?;
        println!("{text}");
    } else {
        print!("{}", report.table());
    }
    Ok(Exit::Ok)
}
