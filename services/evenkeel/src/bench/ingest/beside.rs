//! `bench recordings`: what live traffic's answers take with and without a recording on its way into the log beside it.
//!
//! Owns: the order of the turns. One process of ours serves a whole run: a turn without, one with an ingest at the
//! default pace from its first to its last moment, and one without again, so that what the machine does by itself shows
//! as the difference of the two. Latency counts from the moment a request was due.

use super::super::report::{Goal, Machine, Measured, Report, median};
use super::super::topics::Made;
use super::Outcome;
use super::load::{self, Load, now_ms};
use super::payload::Form;
use super::servers::Servers;
use super::wire::Wire;
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Where and how much.
#[derive(Debug, Clone)]
pub struct Options {
    /// Bootstrap brokers.
    pub brokers: String,
    /// Length of each turn, s.
    pub seconds: u64,
    /// Live requests per second.
    pub rate: u32,
    /// Runs; medians count.
    pub runs: usize,
}

const PARTITIONS: u32 = 12;
const CONNECTIONS: u64 = 32;
/// Events of a live request.
const EVENTS: u64 = 10;
/// Rows per second of an ingest: the default of `recordings.ingest-rate`.
const PACE: u64 = 2_000;
/// p99 beside an ingest over p99 without, at most: unmoved.
const UNMOVED: f64 = 1.1;
/// Longest wait for an answer about a recording.
const PATIENCE: Duration = Duration::from_secs(30);

/// Latencies of a turn, ms.
struct Turn {
    p50: f64,
    p99: f64,
    p999: f64,
}

type Figure = (&'static str, fn(&Turn) -> f64);

/// What is shown of a turn.
const FIGURES: [Figure; 3] = [("p50", |t| t.p50), ("p99", |t| t.p99), ("p99.9", |t| t.p999)];

/// The turns of a run.
struct Run {
    before: Turn,
    beside: Turn,
    after: Turn,
}

/// Runs it all; `say` hears of each run.
pub fn run(options: &Options, say: &mut dyn FnMut(&str)) -> Outcome<Report> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let made = Made::new(&options.brokers, PARTITIONS).map_err(|e| e.to_string())?;
    let mut runs = Vec::new();
    for number in 1..=options.runs {
        let dir = tempfile::tempdir()?;
        let set = format!("ingest.recordings.dir={}", dir.path().display());
        let servers = Servers::ours(&made.config, false, &[set])?;
        let play = |seconds| runtime.block_on(turn(&servers, options, seconds));
        play(2)?; // to warm up
        let before = play(options.seconds)?;
        let recording = Recording::begin(&servers.address, (options.seconds + 5) * PACE)?;
        let beside = play(options.seconds)?;
        recording.still_runs()?;
        recording.remove()?;
        let run = Run { before, beside, after: play(options.seconds)? };
        say(&format!(
            "run {number} of {}: p99 {:.2} ms, beside an ingest {:.2} ms, {:.2} ms",
            options.runs, run.before.p99, run.beside.p99, run.after.p99
        ));
        runs.push(run);
    }
    made.topics.remove().map_err(|e| e.to_string())?;
    Ok(report(options, &runs))
}

async fn turn(servers: &Servers, options: &Options, seconds: u64) -> Outcome<Turn> {
    let wire = Wire::Http { path: "/v1/events", content_type: "application/json", form: Form::Json };
    let load = Load {
        rate: f64::from(options.rate),
        events: EVENTS,
        time: Duration::from_secs(seconds),
        connections: CONNECTIONS,
    };
    let tally = load::play(&wire, &servers.address, load).await?;
    if tally.refused > 0 {
        return Err(format!("{} live events were refused", tally.refused).into());
    }
    let ms = |quantile| tally.took_us.value_at_quantile(quantile) as f64 / 1e3;
    Ok(Turn { p50: ms(0.5), p99: ms(0.99), p999: ms(0.999) })
}

/// A recording on its way into the log.
struct Recording<'a> {
    address: &'a str,
}

const PATH: &str = "/v1/streams/bench-recorded/recordings/walk";

impl<'a> Recording<'a> {
    /// Uploads so many rows and begins their ingest; answers when the first of them are in the log.
    fn begin(address: &'a str, rows: u64) -> Outcome<Self> {
        let (recording, first_ms) = (Self { address }, now_ms()? - rows as i64);
        let line = |row: u64| format!("{},{},{}\n", first_ms + row as i64, row % 997, row % 89);
        let csv: String = std::iter::once("ts,ax,ay\n".to_owned()).chain((0..rows).map(line)).collect();
        recording.ask("PUT", "", "content-type: text/csv\r\n", csv.as_bytes())?;
        recording.ask("POST", "/ingest", "", b"")?;
        let begun = Instant::now();
        while recording.status()?["accepted"].as_u64().unwrap_or(0) == 0 {
            if begun.elapsed() > PATIENCE {
                return Err("no row of the recording came into the log".into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(recording)
    }

    /// An error unless it was on its way all the time.
    fn still_runs(&self) -> Outcome<()> {
        let status = self.status()?;
        match status["state"].as_str() {
            Some("running") => Ok(()),
            _ => Err(format!("the ingest did not last as long as the turn: {status}").into()),
        }
    }

    fn remove(self) -> Outcome<()> {
        self.ask("DELETE", "", "", b"").map(drop)
    }

    fn status(&self) -> Outcome<Value> {
        Ok(serde_json::from_str(&self.ask("GET", "/status", "", b"")?)?)
    }

    /// The body of an answer that is none of an error.
    fn ask(&self, method: &str, facet: &str, headers: &str, body: &[u8]) -> Outcome<String> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let length = body.len();
        let head = format!(
            "{method} {PATH}{facet} HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n"
        );
        stream.write_all(&[head.as_bytes(), body].concat())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        match answer.split_once("\r\n\r\n") {
            Some((head, body)) if head.starts_with("HTTP/1.1 2") => Ok(body.to_owned()),
            _ => Err(format!("{method} {PATH}{facet}: {answer}").into()),
        }
    }
}

fn report(options: &Options, runs: &[Run]) -> Report {
    let of = |figure: &dyn Fn(&Run) -> f64| median(&mut runs.iter().map(figure).collect::<Vec<_>>());
    let mut results = Vec::new();
    for (name, figure) in FIGURES {
        let mut add = |what: &str, value| {
            results.push(Measured { name: format!("{name}, {what}"), value, unit: "ms" });
        };
        add("before", of(&|run| figure(&run.before)));
        add("beside an ingest", of(&|run| figure(&run.beside)));
        add("after", of(&|run| figure(&run.after)));
    }
    let noise = of(&|run| run.after.p99.max(run.before.p99) / run.after.p99.min(run.before.p99));
    results.push(Measured {
        name: "the two turns without, p99 apart".to_owned(),
        value: noise,
        unit: "times",
    });
    let moved = of(&|run| run.beside.p99 / ((run.before.p99 + run.after.p99) / 2.0));
    Report {
        bench: "recordings",
        machine: Machine::here(),
        settings: json!({
            "runs": options.runs, "seconds": options.seconds, "requests_per_s": options.rate, "events": EVENTS,
            "connections": CONNECTIONS, "partitions": PARTITIONS, "ingest_rows_per_s": PACE,
            "latency": "from the moment a request was due",
        }),
        results,
        goals: vec![Goal::at_most("p99 beside an ingest, times p99 without", moved, UNMOVED)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_beside_is_compared_with_those_around_it() {
        let turn = |p99| Turn { p50: 1.0, p99, p999: 9.0 };
        let run =
            |before, beside, after| Run { before: turn(before), beside: turn(beside), after: turn(after) };
        let options = Options { brokers: String::new(), seconds: 1, rate: 1, runs: 3 };
        let report = report(&options, &[run(2.0, 3.0, 4.0), run(2.0, 9.0, 4.0), run(1.0, 1.0, 1.0)]);
        assert_eq!((report.goals[0].value, report.goals[0].met), (1.0, true));
        let noise = report.results.last().map(|noise| noise.value);
        assert_eq!(noise, Some(2.0));
    }
}
