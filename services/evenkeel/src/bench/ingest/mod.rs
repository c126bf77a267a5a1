//! `bench ingest`: what an accepted event costs, how long its answer takes, what an idle connection holds; beside the
//! OpenTelemetry Collector and Mosquitto where the work is the same.
//!
//! Owns: the ways of sending and their rates. In each run every way has its turn against a fresh process; an event
//! counts once its answer, which every server gives after the broker's, has come. CPU is the server's alone: client and
//! broker are other processes.

pub mod beside;
mod idle;
mod load;
mod payload;
mod servers;
mod wire;

use super::report::{Goal, Machine, Measured, Report, median};
use super::topics::Made;
use evenkeel_model::Topic;
use load::{Load, Tally};
use payload::Form;
use serde_json::json;
use servers::Servers;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use wire::Wire;

/// As the other benches', from any thread.
type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Where and how much.
#[derive(Debug, Clone)]
pub struct Options {
    /// Bootstrap brokers.
    pub brokers: String,
    /// The Collector's program; `None` = without it.
    pub collector: Option<PathBuf>,
    /// Mosquitto's program; `None` = without it.
    pub mosquitto: Option<PathBuf>,
    /// Length of each turn, s.
    pub seconds: u64,
    /// Idle connections that are opened at once.
    pub idle: usize,
    /// Every rate times this.
    pub times: f64,
    /// Runs; medians count.
    pub runs: usize,
}

const CONNECTIONS: u64 = 32;
const PARTITIONS: u32 = 12;

/// Events per CPU-second over the Collector's, at least.
const COLLECTOR_TIMES: f64 = 5.0;
/// Bytes of an idle connection without TLS, at most.
const IDLE_BYTES: f64 = 12.0 * 1024.0;

/// Who serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Ours,
    Collector,
    Mosquitto,
}

/// A way of sending.
struct Way {
    name: &'static str,
    who: Who,
    wire: Wire,
    /// Messages per second, and events in each.
    rate: f64,
    events: u64,
}

const HTTP_BATCH: &str = "HTTP, 100 JSON events a request";
const AVRO_BATCH: &str = "HTTP, 100 events a request, Avro";
const COLLECTOR: &str = "Collector: OTLP, 100 records a request";
const MQTT: &str = "MQTT QoS 1, an event a message";
const MOSQUITTO: &str = "Mosquitto and our bridge, the same";

fn ways() -> Vec<Way> {
    let http = |path, content_type, form| Wire::Http { path, content_type, form };
    let json = || http("/v1/events", "application/json", Form::Json);
    let avro = || http("/v1/events", "application/vnd.evenkeel.batch+avro", Form::Avro);
    let otlp = || http("/v1/logs", "application/x-protobuf", Form::Otlp);
    let way = |name, who, wire, rate, events| Way { name, who, wire, rate, events };
    vec![
        way(HTTP_BATCH, Who::Ours, json(), 300.0, 100),
        way(AVRO_BATCH, Who::Ours, avro(), 300.0, 100),
        way(COLLECTOR, Who::Collector, otlp(), 300.0, 100),
        way("HTTP, an event a request", Who::Ours, json(), 1_000.0, 1),
        way("WebSocket, 10 events a message", Who::Ours, Wire::WebSocket, 1_000.0, 10),
        way(MQTT, Who::Ours, Wire::Mqtt, 1_000.0, 1),
        way(MOSQUITTO, Who::Mosquitto, Wire::Mqtt, 1_000.0, 1),
    ]
}

/// What a turn came to.
struct Turn {
    per_cpu_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    p999_ms: f64,
}

type Figure = (&'static str, fn(&Turn) -> f64, &'static str);

/// What is shown of a turn: name, figure, unit.
const FIGURES: [Figure; 4] = [
    ("events", |t| t.per_cpu_second, "per CPU-second"),
    ("p50", |t| t.p50_ms, "ms"),
    ("p99", |t| t.p99_ms, "ms"),
    ("p99.9", |t| t.p999_ms, "ms"),
];

/// Runs it all; `say` hears of each turn.
pub fn run(options: &Options, say: &mut dyn FnMut(&str)) -> Outcome<Report> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let made = Made::new(&options.brokers, PARTITIONS).map_err(|e| e.to_string())?;
    let (mut turns, mut idles) = (BTreeMap::<_, Vec<Turn>>::new(), BTreeMap::<_, Vec<f64>>::new());
    for run in 1..=options.runs {
        for way in ways() {
            let Some(servers) = serve(&way, options, &made)? else { continue };
            let turn = runtime.block_on(take(&way, servers, options))?;
            say(&format!(
                "run {run} of {}, {}: {:.0} events per CPU-second, p50 {:.2} p99 {:.2} p99.9 {:.2} ms",
                options.runs, way.name, turn.per_cpu_second, turn.p50_ms, turn.p99_ms, turn.p999_ms
            ));
            turns.entry(way.name).or_default().push(turn);
        }
        for (name, wire, mqtt) in idle::kinds() {
            let servers = Servers::ours(&made.config, mqtt, &[])?;
            let bytes = runtime.block_on(idle::bytes(&wire, &servers, options.idle))?;
            say(&format!("run {run} of {}, {name}: {bytes:.0} bytes per connection", options.runs));
            idles.entry(name).or_default().push(bytes);
        }
    }
    made.topics.remove()?;
    Ok(report(options, &turns, &idles))
}

/// The servers of a way; `None` = a peer that is not there.
fn serve(way: &Way, options: &Options, made: &Made) -> Outcome<Option<Servers>> {
    Ok(match (way.who, &options.collector, &options.mosquitto) {
        (Who::Ours, ..) => Some(Servers::ours(&made.config, matches!(way.wire, Wire::Mqtt), &[])?),
        (Who::Collector, Some(program), _) => {
            Some(Servers::collector(program, &made.config, &made.config.topic(Topic::Events))?)
        }
        (Who::Mosquitto, _, Some(program)) => Some(Servers::mosquitto(program, &made.config)?),
        _ => None,
    })
}

/// One turn: a second to warm up, then what counts.
async fn take(way: &Way, mut servers: Servers, options: &Options) -> Outcome<Turn> {
    let load = |seconds| Load {
        rate: way.rate * options.times,
        events: way.events,
        time: Duration::from_secs(seconds),
        connections: CONNECTIONS,
    };
    load::play(&way.wire, &servers.address, load(1)).await?;
    let (before, taken) = (servers.cpu_seconds(), servers.metric(TAKEN).unwrap_or(0.0));
    let tally = load::play(&way.wire, &servers.address, load(options.seconds)).await?;
    if way.who == Who::Mosquitto {
        // It answers before our bridge has the message.
        let all = taken + tally.accepted as f64;
        servers.until("the bridge has taken what was sent", TAKEN, all)?;
    }
    let cpu = servers.cpu_seconds() - before;
    if tally.refused > 0 {
        return Err(format!("{}: {} events were refused", way.name, tally.refused).into());
    }
    Ok(turn_of(&tally, cpu))
}

fn turn_of(tally: &Tally, cpu_seconds: f64) -> Turn {
    let ms = |quantile| tally.took_us.value_at_quantile(quantile) as f64 / 1e3;
    let per_cpu_second = tally.accepted as f64 / cpu_seconds.max(0.01);
    Turn { per_cpu_second, p50_ms: ms(0.5), p99_ms: ms(0.99), p999_ms: ms(0.999) }
}

const TAKEN: &str = "evenkeel_ingest_events_total{outcome=\"accepted\",protocol=\"bridge\"}";

fn report(
    options: &Options,
    turns: &BTreeMap<&'static str, Vec<Turn>>,
    idles: &BTreeMap<&'static str, Vec<f64>>,
) -> Report {
    let of = |name: &str, figure: fn(&Turn) -> f64| {
        turns.get(name).map(|all| median(&mut all.iter().map(figure).collect::<Vec<_>>()))
    };
    let mut results = Vec::new();
    for way in ways() {
        for (what, figure, unit) in FIGURES {
            let value = of(way.name, figure);
            results.extend(value.map(|value| Measured {
                name: format!("{}: {what}", way.name),
                value,
                unit,
            }));
        }
    }
    let mut goals = Vec::new();
    for (name, values) in idles {
        let value = median(&mut values.clone());
        results.push(Measured { name: format!("idle, {name}"), value, unit: "B a connection" });
        goals.push(Goal::at_most(format!("bytes of an idle connection, {name}"), value, IDLE_BYTES));
    }
    let cost = |t: &Turn| t.per_cpu_second;
    for name in [AVRO_BATCH, HTTP_BATCH] {
        if let (Some(ours), Some(theirs)) = (of(name, cost), of(COLLECTOR, cost)) {
            let goal = format!("events per CPU-second over the Collector's, {name}");
            goals.push(Goal::at_least(goal, ours / theirs, COLLECTOR_TIMES));
        }
    }
    if let (Some(ours), Some(theirs)) = (of(MQTT, cost), of(MOSQUITTO, cost)) {
        let name = "events per CPU-second over Mosquitto's and the bridge's, MQTT".to_owned();
        results.push(Measured { name, value: ours / theirs, unit: "times" });
    }
    let settings = json!({
        "runs": options.runs, "seconds": options.seconds, "times": options.times, "connections": CONNECTIONS, "partitions": PARTITIONS,
        "idle": options.idle, "events": "4 fields, seq", "latency": "from the moment a message was due",
        "cpu": "the server's process alone; it answers after the broker's acknowledgement (Mosquitto: before)",
    });
    Report { bench: "ingest", machine: Machine::here(), settings, results, goals }
}
