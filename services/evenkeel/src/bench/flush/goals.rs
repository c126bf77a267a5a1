//! What the policies are to reach, for each broker: a ratio per seed, the median of the seeds, and where a goal
//! speaks of every trace, the worst trace.

use super::super::report::{Goal, median};
use super::live::LIVE;
use super::{Figures, Grid, ORACLE};

/// On the bursty trace p99 at least so many times below static 256 KiB …
const BURSTY_P99: f64 = 6.7;
/// … and p99.9, which is what source B claims for its rule: 240 to 36 ms, and 1.4 s to 110 ms …
const BURSTY_P999: f64 = 12.7;
/// … with a mean that is not higher.
const BURSTY_MEAN: f64 = 1.0;
/// p99 on every trace to that of source B's rule.
const TO_RATE: f64 = 1.0;
/// p99 on every trace to the best static setting per segment.
const TO_ORACLE: f64 = 1.1;

/// Live: what a lane adds to a lone record's way, ms, …
const IDLE_ADDS_MS: f64 = 0.3;
/// … and CPU per event to linger 5 ms.
const CPU_TO_LINGER: f64 = 1.3;
/// The traces that the live goals name.
const NAMED: [&str; 2] = [BURSTY, "diurnal"];

const OWN: &str = "self-clocked";
const BURSTY: &str = "burst on/off";

/// Five goals per broker.
pub fn of(grid: &Grid) -> Vec<Goal> {
    let mut goals = Vec::new();
    for broker in grid.each(|c| c.broker) {
        let fixed = |get| ratio(grid, broker, BURSTY, ["static 256 KiB", OWN], get).unwrap_or(0.0);
        let worst = |other| {
            let traces = grid.each(|c| c.trace);
            let ratios =
                traces.iter().filter_map(|trace| ratio(grid, broker, trace, [OWN, other], |f| f.p99));
            ratios.fold(0.0, f64::max)
        };
        let mean = ratio(grid, broker, BURSTY, [OWN, "static 256 KiB"], |f| f.mean).unwrap_or(f64::MAX);
        let named = |what: &str| format!("{broker}: {what}");
        goals.extend([
            Goal::at_least(named("bursts, p99, static to own"), fixed(|f| f.p99), BURSTY_P99),
            Goal::at_least(named("bursts, p99.9, static to own"), fixed(|f| f.p999), BURSTY_P999),
            Goal::at_most(named("bursts, mean, own to static"), mean, BURSTY_MEAN),
            Goal::at_most(named("p99 to rate, worst trace"), worst("rate"), TO_RATE),
            Goal::at_most(named("p99 to oracle, worst trace"), worst(ORACLE), TO_ORACLE),
        ]);
    }
    goals
}

/// The goals before a real broker, of the traces that were played.
pub fn of_live(grid: &Grid) -> Vec<Goal> {
    let mut goals = Vec::new();
    for trace in NAMED {
        let to = |other, get: fn(&Figures) -> f64| ratio(grid, LIVE, trace, [OWN, other], get);
        goals.extend(
            to("rate", |f| f.p99).map(|r| Goal::at_most(format!("{trace}: p99 to rate"), r, TO_RATE)),
        );
        let cpu = to("linger 5 ms", |f| f.cpu_us);
        goals.extend(
            cpu.map(|r| Goal::at_most(format!("{trace}: CPU per event to linger 5 ms"), r, CPU_TO_LINGER)),
        );
    }
    if let Some(idle) = grid.find(LIVE, "idle", OWN) {
        let mut added: Vec<f64> = idle.seeds.iter().map(|f| f.p50 - f.floor).collect();
        goals.push(Goal::at_most(
            "idle: added to a lone record's way, p50, ms",
            median(&mut added),
            IDLE_ADDS_MS,
        ));
    }
    let fixed = |get| ratio(grid, LIVE, BURSTY, ["static 256 KiB", OWN], get);
    goals.extend(fixed(|f| f.p99).map(|r| Goal::at_least("bursts, p99, static to own", r, BURSTY_P99)));
    goals.extend(fixed(|f| f.p999).map(|r| Goal::at_least("bursts, p99.9, static to own", r, BURSTY_P999)));
    goals
}

/// The median over seeds of one policy's figure to the other's; the seeds pair them up.
fn ratio(
    grid: &Grid,
    broker: &str,
    trace: &str,
    [above, below]: [&str; 2],
    get: fn(&Figures) -> f64,
) -> Option<f64> {
    let (above, below) = (grid.find(broker, trace, above)?, grid.find(broker, trace, below)?);
    let pairs = above.seeds.iter().zip(&below.seeds);
    Some(median(&mut pairs.map(|(a, b)| get(a) / get(b).max(1e-9)).collect::<Vec<_>>()))
}
