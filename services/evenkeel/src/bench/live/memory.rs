//! `bench memory`: resident memory of a coalescer against its plan; after a burst; with a million quiet streams.

use super::traffic::Traffic;
use super::{Made, Options, Outcome, coalescer, mean, watch};
use crate::bench::fleet::{batch_of, device};
use crate::bench::loader::Loader;
use crate::bench::report::{Goal, Machine, Measured, Report};
use evenkeel_model::partition_of;
use evenkeel_plan::{Fleet, plan};
use evenkeel_window::Settings;
use serde_json::json;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Resident within 20 % of the plan.
const PLAN_RATIO: f64 = 1.2;
/// Back within 5 % in 60 s after a burst of ten times the rate.
const BURST_RATIO: f64 = 1.05;
/// One million quiet streams add at most 100 MB.
const QUIET_MB: f64 = 100.0;

const MIB: f64 = (1 << 20) as f64;
/// Until windows of one minute have come and gone.
const WARM: Duration = Duration::from_secs(100);
const STEADY: Duration = Duration::from_secs(60);
const BURST: Duration = Duration::from_secs(30);
const BACK: Duration = Duration::from_secs(60);
/// How long the resident size is averaged at an end.
const LOOK: Duration = Duration::from_secs(20);
const QUIET_STREAMS: usize = 1_000_000;

/// Runs the bench.
pub fn run(options: &Options, say: &mut dyn FnMut(&str)) -> Outcome<Report> {
    let active = active(options, say)?;
    let quiet = quiet(options, say)?;
    let measured = |name: &str, value, unit| Measured { name: name.to_owned(), value, unit };
    let (ratio, back) = (active.steady / active.planned, active.after / active.steady);
    Ok(Report {
        bench: "memory",
        machine: Machine::here(),
        settings: json!({
            "streams": options.streams, "fields": 4, "sizes": ["5s", "1m"], "events/s of a stream": 1,
            "burst": "10 events/s for 30 s", "quiet streams": QUIET_STREAMS, "partitions": options.partitions,
        }),
        results: vec![
            measured("planned", active.planned / MIB, "MiB"),
            measured("resident in steady state, highest", active.steady / MIB, "MiB"),
            measured("resident in the burst, highest", active.burst / MIB, "MiB"),
            measured("resident 60 s after the burst, highest", active.after / MIB, "MiB"),
            measured("a million streams that fell silent add, 2 min later", quiet.fell_silent / 1e6, "MB"),
            measured("a million marks that were recovered add", quiet.recovered / 1e6, "MB"),
        ],
        goals: vec![
            Goal::at_most("resident to plan", ratio.max(1.0 / ratio), PLAN_RATIO),
            Goal::at_most("resident 60 s after the burst to before", back, BURST_RATIO),
            Goal::at_most("a million idle marks, MB", quiet.recovered / 1e6, QUIET_MB),
        ],
    })
}

/// Bytes.
struct Active {
    planned: f64,
    steady: f64,
    burst: f64,
    after: f64,
}

fn highest(seen: &[u64]) -> f64 {
    seen.iter().max().copied().unwrap_or(0) as f64
}

fn active(options: &Options, say: &mut dyn FnMut(&str)) -> Outcome<Active> {
    let made = Made::new(&options.brokers, options.partitions)?;
    let settings = Settings::default();
    let fleet = Fleet {
        streams: options.streams as u64,
        id_bytes: device(0).len() as u32,
        rate_per_second: 1,
        ..Fleet::default()
    };
    let planned = plan(&fleet, &settings, &settings.classes[0]).resident_bytes as f64;
    let traffic = Traffic::start(&made.config, options.streams, 5)?;
    let mut process = coalescer(&made.config, &[])?;
    watch(&mut process, WARM, say, "filling")?;
    let steady = highest(&watch(&mut process, STEADY, say, "steady")?);
    traffic.set(50);
    let burst = highest(&watch(&mut process, BURST, say, "burst")?);
    traffic.set(5);
    watch(&mut process, BACK, say, "after the burst")?;
    let after = highest(&watch(&mut process, LOOK, say, "60 s later")?);
    traffic.check()?;
    drop(traffic);
    process.terminate()?;
    made.topics.remove()?;
    Ok(Active { planned, steady, burst, after })
}

/// What a million quiet streams add, bytes.
struct Quiet {
    /// In the process that saw them active: with what the allocator has not given back yet.
    fell_silent: f64,
    /// In one that knows them by their marks only.
    recovered: f64,
}

/// A million streams send once and fall silent; then the process starts again.
fn quiet(options: &Options, say: &mut dyn FnMut(&str)) -> Outcome<Quiet> {
    let made = Made::new(&options.brokers, options.partitions)?;
    // One stream goes on: without any traffic at all the live clock would stand.
    let traffic = Traffic::start(&made.config, 1, 5)?;
    let quick = ["coalescer.idle-timeout=10s", "coalescer.idle-evict=20s", "coalescer.mark-refresh=10s"];
    let mut process = coalescer(&made.config, &quick)?;
    let before = mean(&watch(&mut process, LOOK, say, "without quiet streams")?);
    let mut loader = Loader::new(&made.config)?;
    let partitions = loader.partitions();
    let mut events = batch_of(1);
    for n in 0..QUIET_STREAMS {
        events.stream_id = format!("quiet/{n:08}");
        events.arrival_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as i64;
        events.ts[0] = events.arrival_ms;
        loader.push(partition_of(&events.stream_id, partitions), &events)?;
    }
    loader.finish()?;
    watch(&mut process, Duration::from_secs(120), say, "a million streams fall silent")?;
    let fell_silent = mean(&watch(&mut process, LOOK, say, "a million quiet streams")?) - before;
    process.terminate()?;
    let mut process = coalescer(&made.config, &quick)?;
    watch(&mut process, BACK, say, "started again")?;
    let recovered = mean(&watch(&mut process, LOOK, say, "a million marks")?) - before;
    drop(traffic);
    process.terminate()?;
    made.topics.remove()?;
    Ok(Quiet { fell_silent, recovered })
}
