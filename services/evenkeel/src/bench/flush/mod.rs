//! `bench flush`: every flush policy over every trace of the simulation, before both model brokers; `live` plays the
//! same traces before a real one.
//!
//! Owns: which policies are compared, the goals. Never, simulating: a clock; the outcome is a function of the seeds, so
//! a debug build gives the same figures. Several seeds are played and the median of each figure counts.

mod drawing;
mod goals;
pub mod live;

use super::Outcome;
use super::report::{Machine, Measured, Report, median};
use evenkeel_flush::simulate::{Broker, Trace, World, oracle};
use evenkeel_flush::{Linger, Policy, Rate, RateMerged, SelfClocked, Static};
use serde_json::json;
use std::fmt::Write as _;

pub use drawing::draw;

/// How much is played.
#[derive(Debug, Clone)]
pub struct Options {
    /// Seeds 1 to this; the median counts.
    pub seeds: u64,
    /// Traces by name; empty = all.
    pub traces: Vec<&'static str>,
}

/// What is compared with everything.
const ORACLE: &str = "oracle";

/// The policies by the name they are shown with; the oracle, which is no policy, comes last.
fn policies() -> Vec<(&'static str, Option<Policy>)> {
    let linger = |linger_ms| Policy::Linger(Linger { linger_ms, ..Linger::default() });
    vec![
        ("static 256 KiB", Some(Policy::Static(Static::default()))),
        ("linger 0", Some(linger(0))),
        ("linger 5 ms", Some(linger(5))),
        ("rate", Some(Policy::Rate(Rate::default()))),
        ("rate-merged", Some(Policy::RateMerged(RateMerged::default()))),
        ("self-clocked", Some(Policy::SelfClocked(SelfClocked::default()))),
        (ORACLE, None),
    ]
}

/// Latency from arrival to acknowledgement, ms, and what the broker had to do.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Figures {
    mean: f64,
    p50: f64,
    p99: f64,
    p999: f64,
    /// Per second; 0 for the oracle, which is pieced together from several runs.
    requests: f64,
    /// Of all events, 0 to 1.
    refused: f64,
    /// Median of a lone record's way to the broker at the same time, ms. Live only.
    floor: f64,
    /// CPU time of the process per event, µs: the load and the probe included. Live only.
    cpu_us: f64,
}

/// One policy on one trace before one broker.
#[derive(Debug, Clone)]
struct Cell {
    broker: &'static str,
    trace: &'static str,
    policy: &'static str,
    /// By seed.
    seeds: Vec<Figures>,
}

impl Cell {
    fn median(&self) -> Figures {
        let of = |get: fn(&Figures) -> f64| median(&mut self.seeds.iter().map(get).collect::<Vec<_>>());
        Figures {
            mean: of(|f| f.mean),
            p50: of(|f| f.p50),
            p99: of(|f| f.p99),
            p999: of(|f| f.p999),
            requests: of(|f| f.requests),
            refused: of(|f| f.refused),
            floor: of(|f| f.floor),
            cpu_us: of(|f| f.cpu_us),
        }
    }
}

/// Everything that was played: brokers, in them traces, in them policies.
#[derive(Debug, Clone)]
pub struct Grid {
    cells: Vec<Cell>,
}

/// Plays everything; `say` hears of each world.
pub fn run(options: &Options, say: &mut dyn FnMut(&str)) -> (Report, Grid) {
    let mut grid = Grid { cells: Vec::new() };
    for broker in [Broker::ordinary(), Broker::slow()] {
        for seed in 1..=options.seeds.max(1) {
            let chosen = |t: &Trace| options.traces.is_empty() || options.traces.contains(&t.name);
            for trace in Trace::all(seed).into_iter().filter(chosen) {
                say(&format!("broker {}, seed {seed}, trace {}", broker.name, trace.name));
                grid.play(seed, &trace, &broker);
            }
        }
    }
    let settings = json!({
        "seeds": options.seeds.max(1), "events": "100 B", "latency": "from arrival to acknowledgement",
        "brokers": ["ordinary: 200 µs a request, 100 MB/s, 6 partitions", "slow: 800 µs, 50 MB/s, 12 partitions"],
    });
    let report = Report {
        bench: "flush",
        machine: Machine::here(),
        settings,
        results: grid.measured(),
        goals: goals::of(&grid),
    };
    (report, grid)
}

impl Grid {
    fn play(&mut self, seed: u64, trace: &Trace, broker: &Broker) {
        let world = World::new(seed, trace, broker);
        for (name, policy) in policies() {
            let outcome = match &policy {
                Some(policy) => world.play(policy),
                None => oracle(&world),
            };
            let latency = outcome.latency();
            let answered = outcome.events() as f64;
            let refused = outcome.refused_events as f64;
            let figures = Figures {
                mean: latency.mean_ms,
                p50: latency.p50_ms,
                p99: latency.p99_ms,
                p999: latency.p999_ms,
                requests: policy.map_or(0.0, |_| outcome.requests_per_s()),
                refused: refused / (answered + refused).max(1.0),
                ..Figures::default()
            };
            self.cell(broker.name, trace.name, name).seeds.push(figures);
        }
    }

    fn cell(&mut self, broker: &'static str, trace: &'static str, policy: &'static str) -> &mut Cell {
        let at = self.cells.iter().position(|c| (c.broker, c.trace, c.policy) == (broker, trace, policy));
        let at = at.unwrap_or_else(|| {
            self.cells.push(Cell { broker, trace, policy, seeds: Vec::new() });
            self.cells.len() - 1
        });
        &mut self.cells[at]
    }

    fn find(&self, broker: &str, trace: &str, policy: &str) -> Option<&Cell> {
        self.cells.iter().find(|c| (c.broker, c.trace, c.policy) == (broker, trace, policy))
    }

    /// Brokers or traces, each once, in the order they were played.
    fn each(&self, get: fn(&Cell) -> &'static str) -> Vec<&'static str> {
        let mut names = Vec::new();
        for cell in &self.cells {
            if !names.contains(&get(cell)) {
                names.push(get(cell));
            }
        }
        names
    }

    fn measured(&self) -> Vec<Measured> {
        let mut results = Vec::new();
        for cell in &self.cells {
            let m = cell.median();
            let mut add = |what: &str, value, unit| {
                let name = format!("{}, {}, {}: {what}", cell.broker, cell.trace, cell.policy);
                results.push(Measured { name, value, unit });
            };
            add("mean", m.mean, "ms");
            add("p50", m.p50, "ms");
            add("p99", m.p99, "ms");
            add("p99.9", m.p999, "ms");
            if cell.policy != ORACLE {
                add("requests", m.requests, "1/s");
            }
            if m.refused > 0.0 {
                add("refused", m.refused * 100.0, "%");
            }
            if cell.is_live() {
                add("floor, p50", m.floor, "ms");
                add("added to the floor, p50", m.p50 - m.floor, "ms");
                add("CPU per event", m.cpu_us, "µs");
            }
        }
        results
    }

    /// The results as people read them: a line per trace and policy.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for broker in self.each(|c| c.broker) {
            let live = if broker == live::LIVE {
                format!(" {:>9} {:>9}", "floor", "µs CPU/ev")
            } else {
                String::new()
            };
            let head = format!("broker {broker}: latency, ms");
            let _ = writeln!(
                text,
                "\n  {head:<38} {:>9} {:>9} {:>9} {:>9} {:>10}{live}",
                "mean", "p50", "p99", "p99.9", "requests/s"
            );
            for cell in self.cells.iter().filter(|c| c.broker == broker) {
                text.push_str(&cell.line());
            }
        }
        text.push('\n');
        text
    }
}

impl Cell {
    /// A line of the table.
    fn line(&self) -> String {
        let m = self.median();
        let name = format!("{}, {}", self.trace, self.policy);
        let requests = if self.policy == ORACLE { "-".to_owned() } else { format!("{:.0}", m.requests) };
        let live =
            if self.is_live() { format!(" {:>9.2} {:>9.2}", m.floor, m.cpu_us) } else { String::new() };
        let Figures { mean, p50, p99, p999, .. } = m;
        format!("  {name:<38} {mean:>9.2} {p50:>9.2} {p99:>9.2} {p999:>9.2} {requests:>10}{live}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_traces_give_every_goal_a_table_and_a_drawing() {
        let options = Options { seeds: 1, traces: vec!["500 ev/s", "burst on/off"] };
        let (report, grid) = run(&options, &mut |_| {});
        assert_eq!(grid.cells.len(), 2 * 2 * policies().len());
        assert_eq!(report.goals.len(), 2 * 5);
        assert!(report.goals.iter().all(|g| g.value > 0.0), "{:?}", report.goals);
        assert!(report.results.iter().any(|m| m.name == "slow, burst on/off, oracle: p99.9"));
        assert!(report.table_of(&grid.text()).contains("500 ev/s, self-clocked"));
        let svg = draw(&grid);
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        assert_eq!(svg.matches("<svg").count(), 1);
        for word in ["self-clocked", "burst on/off", "p99.9", "broker slow"] {
            assert!(svg.contains(word), "{word}");
        }
    }
}
