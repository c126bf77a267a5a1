//! `bench recovery`: how long rows are missing when a coalescer dies, and when it leaves.
//!
//! Two coalescers share the partitions of a live fleet; one is killed with -9 (or told to leave by SIGTERM).
//! Measured from outside, by a reader of committed rows: the longest time in which a partition brought no row.

use super::rows::Rows;
use super::traffic::Traffic;
use super::{Made, Options, Outcome, coalescer};
use crate::bench::report::{Goal, Machine, Measured, Report, median};
use evenkeel_kafka::KafkaConfig;
use serde_json::json;
use std::thread;
use std::time::{Duration, Instant};

/// kill -9: the next row at most so long past the session timeout, s.
const NEXT_ROW_S: f64 = 5.0;
/// SIGTERM: the pause at most so long, s.
const PAUSE_S: f64 = 2.0;
/// The coalescer's default tick: rows come in such steps anyway.
const INTERVAL_S: f64 = 1.0;
/// The fleet runs so long first: every stream has sent several times, windows of both sizes are open.
const WARM: Duration = Duration::from_secs(40);
/// No recovery takes so long.
const PATIENCE: Duration = Duration::from_secs(90);
/// Rows are watched so long after all partitions flow again.
const AFTER: Duration = Duration::from_secs(10);

/// Runs the bench.
pub fn run(options: &Options, say: &mut dyn FnMut(&str)) -> Outcome<Report> {
    let made = Made::new(&options.brokers, options.partitions)?;
    let session = made.config.timeouts.session.duration().as_secs_f64();
    let traffic = Traffic::start(&made.config, options.streams, 5)?;
    let (mut killed, mut left) = (Vec::new(), Vec::new());
    {
        let rows = Rows::watch(&made.config)?;
        for run in 0..options.runs {
            for kill in [true, false] {
                let gap = gap(options, &made.config, &rows, kill, say)?.as_secs_f64();
                let what = if kill { "kill -9" } else { "SIGTERM" };
                say(&format!("run {}: {what}: rows of a partition missing for {gap:.2} s at most", run + 1));
                if kill {
                    killed.push(gap - session)
                } else {
                    left.push(gap - INTERVAL_S)
                }
                traffic.check()?;
            }
        }
    }
    drop(traffic);
    made.topics.remove()?;
    let (killed, left) = (median(&mut killed), median(&mut left));
    let measured = |name: &str, value| Measured { name: name.to_owned(), value, unit: "s" };
    Ok(Report {
        bench: "recovery",
        machine: Machine::here(),
        settings: json!({
            "streams": options.streams, "partitions": options.partitions, "runs": options.runs,
            "coalescers": 2, "workers each": 1, "session timeout, s": session, "sizes": ["5s", "1m"],
            "records per second": options.streams / 5, "events per record": 5,
        }),
        results: vec![
            measured("kill -9: next row past the session timeout", killed),
            measured("SIGTERM: longest gap between rows, less the tick", left),
        ],
        goals: vec![
            Goal::at_most("kill -9: next row past the session timeout, s", killed, NEXT_ROW_S),
            Goal::at_most("SIGTERM: pause, s", left, PAUSE_S),
        ],
    })
}

fn gap(
    options: &Options,
    config: &KafkaConfig,
    rows: &Rows,
    kill: bool,
    say: &mut dyn FnMut(&str),
) -> Outcome<Duration> {
    let partitions = options.partitions;
    let (one, mut other) = (coalescer(config, &[])?, coalescer(config, &[])?);
    say("two coalescers share the partitions; warming up");
    thread::sleep(WARM);
    flow(rows, Instant::now(), partitions, &mut other)?;
    let then = Instant::now();
    if kill {
        one.kill()?
    } else {
        one.terminate()?
    }
    // Long enough for whoever died to be missed; then everything flows again.
    let missed = config.timeouts.session.duration() + Duration::from_secs(2);
    thread::sleep(missed.saturating_sub(then.elapsed()));
    flow(rows, Instant::now(), partitions, &mut other)?;
    thread::sleep(AFTER);
    let gap = rows.longest_gap(then, partitions).ok_or("a partition brings no rows")?;
    other.terminate()?;
    Ok(gap)
}

/// Waits until every partition brings rows.
fn flow(rows: &Rows, from: Instant, partitions: u32, process: &mut super::Process) -> Outcome<()> {
    while !rows.all_flow_since(from, partitions) {
        if from.elapsed() > PATIENCE {
            return Err(format!("not every partition brought rows within {} s", PATIENCE.as_secs()).into());
        }
        process.resident()?; // also: it runs
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
