//! `bench coalescer`: what an event costs through real Kafka, exactly once, rows written, as a ratio to a bare
//! consumer that makes the same fetch calls with the same settings and only decodes.
//!
//! Both run in this process, one after the other over the same records of topics made for the bench, several
//! times in turn; CPU is that of the whole process, the Kafka client's threads included.

mod bare;
mod fill;
mod whole;

use super::report::{Goal, Machine, Measured, Report, median};
use super::topics::Made;
use super::{Outcome, cpu};
use evenkeel_kafka::{KafkaConfig, KafkaWorker, WorkerOptions};
use evenkeel_model::Topic;
use evenkeel_telemetry::Emitter;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// CPU per event ≤ 2 × the bare consumer with one event per record …
const RATIO_SINGLES: f64 = 2.0;
/// … and ≤ 4 × with batches of 50.
const RATIO_BATCHES: f64 = 4.0;
/// ≥ 1.5 M events per CPU-second with one event per record …
const SINGLES_PER_CPU_SECOND: f64 = 1.5e6;
/// … and ≥ 12 M with batches of 50.
const BATCHES_PER_CPU_SECOND: f64 = 12e6;

/// Events of one stream in one window.
const EVENTS_PER_WINDOW: usize = 50;
/// The one window size.
const SIZE_MS: i64 = 5_000;
/// Nothing here takes so long without progress.
const PATIENCE: Duration = Duration::from_secs(300);

/// How large the bench is.
#[derive(Debug, Clone)]
pub struct Options {
    /// Bootstrap brokers.
    pub brokers: String,
    /// Streams.
    pub streams: usize,
    /// Windows of each stream with one event per record.
    pub windows_of_singles: usize,
    /// Windows of each stream in batches of 50.
    pub windows_of_batches: usize,
    /// Runs; medians count.
    pub runs: usize,
    /// Partitions of the topics.
    pub partitions: u32,
}

/// What one run took.
#[derive(Debug, Clone, Copy)]
struct Took {
    cpu: f64,
    wall: f64,
}

/// Runs the bench.
pub fn run(options: &Options, emitter: &Emitter, say: &mut dyn FnMut(&str)) -> Outcome<Report> {
    let mut results = Vec::new();
    let mut goals = Vec::new();
    for (batch, windows) in [(EVENTS_PER_WINDOW, options.windows_of_batches), (1, options.windows_of_singles)]
    {
        let kind = if batch == 1 { "one event per record" } else { "batches of 50" };
        let topics = Made::new(&options.brokers, options.partitions)?;
        let events = options.streams * windows * EVENTS_PER_WINDOW;
        say(&format!("{kind}: filling {} with {events} events", topics.config.topic(Topic::Events)));
        let ends = fill::fill(&topics.config, options.streams, windows, batch)?;
        let (mut bare, mut whole, mut wall) = (Vec::new(), Vec::new(), Vec::new());
        for run in 0..options.runs {
            let floor = bare::run(&topics.config, run, &ends, events as u64)?;
            let took = whole::run(&topics.config, run, &ends, events as u64, emitter)?;
            let rate = |took: Took| events as f64 / took.cpu;
            say(&format!(
                "{kind}, run {}: bare {:.2} M, coalescer {:.2} M events per CPU-second",
                run + 1,
                rate(floor) / 1e6,
                rate(took) / 1e6
            ));
            bare.push(rate(floor));
            whole.push(rate(took));
            wall.push(events as f64 / took.wall);
        }
        topics.topics.remove()?;
        let mut ratios: Vec<f64> = bare.iter().zip(&whole).map(|(bare, whole)| bare / whole).collect();
        let (bare, whole, ratio) = (median(&mut bare), median(&mut whole), median(&mut ratios));
        let mut add = |what: &str, value, unit| {
            results.push(Measured { name: format!("{kind}: {what}"), value, unit });
        };
        add("bare consumer and decoding", bare, "events/CPU-s");
        add("coalescer, exactly once", whole, "events/CPU-s");
        add("coalescer, wall clock", median(&mut wall), "events/s");
        add("CPU per event, coalescer to bare", ratio, "x");
        goals.extend(match batch {
            1 => [
                Goal::at_most("CPU per event to bare, one event per record", ratio, RATIO_SINGLES),
                Goal::at_least("events/CPU-s, one event per record", whole, SINGLES_PER_CPU_SECOND),
            ],
            _ => [
                Goal::at_most("CPU per event to bare, batches of 50", ratio, RATIO_BATCHES),
                Goal::at_least("events/CPU-s, batches of 50", whole, BATCHES_PER_CPU_SECOND),
            ],
        });
    }
    let settings = json!({
        "streams": options.streams, "events per window": EVENTS_PER_WINDOW, "fields": 4, "sizes": ["5s"],
        "windows, batches": options.windows_of_batches, "windows, singles": options.windows_of_singles,
        "partitions": options.partitions, "runs": options.runs, "workers": 1, "seq": true,
    });
    Ok(Report { bench: "coalescer", machine: Machine::here(), settings, results, goals })
}

/// A worker on the bench's topics, in a group of its own.
fn join(config: &KafkaConfig, group: &str) -> Outcome<KafkaWorker> {
    let config = KafkaConfig { group: Some(format!("{}.{group}", config.prefix)), ..config.clone() };
    let options = WorkerOptions {
        service: "coalescer".to_owned(),
        transactional_id: format!("{}-{group}", config.prefix),
        topic: Topic::Events,
        headers: false,
    };
    Ok(KafkaWorker::connect(&config, options)?)
}

/// CPU and time of a piece of work.
fn timed<T>(work: impl FnOnce() -> Outcome<T>) -> Outcome<(Took, T)> {
    let (cpu, began) = (cpu::own_seconds(), Instant::now());
    let done = work()?;
    Ok((Took { cpu: cpu::own_seconds() - cpu, wall: began.elapsed().as_secs_f64() }, done))
}

/// The offset after the last record, per partition.
type Ends = BTreeMap<u32, u64>;

fn reached(positions: &BTreeMap<u32, u64>, ends: &Ends) -> bool {
    ends.iter().all(|(partition, end)| positions.get(partition).is_some_and(|at| at >= end))
}
