//! `bench core`: how many events one CPU folds per second of its time: id lookup, admission, seqs, two sizes, marks,
//! rows built at the ticks (and dropped).

use super::cpu;
use super::fleet::{batch_of, device};
use super::report::{Goal, Machine, Measured, Report, median};
use evenkeel_window::{AHEAD, Core, Output, Partition, Settings, SettingsError, TickInput};
use serde_json::json;

/// ≥ 15 M events/s/core in batches of 50.
const TARGET_BATCHES_PER_SECOND: f64 = 15e6;
/// ≥ 3 M events/s/core in batches of 1.
const TARGET_SINGLES_PER_SECOND: f64 = 3e6;

/// How large the bench is.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Streams, visited in turn.
    pub streams: usize,
    /// Events fed per run.
    pub events: usize,
    /// Runs; the median counts.
    pub runs: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { streams: 100_000, events: 30_000_000, runs: 3 }
    }
}

/// Events of one stream per 5 s window: one each 100 ms.
const STEP_MS: i64 = 100;

/// Runs the bench.
pub fn run(options: &Options) -> Result<Report, SettingsError> {
    let mut rates = Vec::new();
    for batch in [50, 1] {
        let mut runs = Vec::new();
        for _ in 0..options.runs {
            runs.push(feed(options, batch)?);
        }
        rates.push(median(&mut runs));
    }
    let named = |name: &str, value| Measured { name: name.to_owned(), value, unit: "events/s" };
    Ok(Report {
        bench: "core",
        machine: Machine::here(),
        settings: json!({
            "streams": options.streams, "events": options.events, "runs": options.runs,
            "fields": 4, "sizes": ["5s", "1m"], "seq": true, "events per stream and second": 10,
        }),
        results: vec![named("batches of 50", rates[0]), named("batches of 1", rates[1])],
        goals: vec![
            Goal::at_least("events/s/core in batches of 50", rates[0], TARGET_BATCHES_PER_SECOND),
            Goal::at_least("events/s/core in batches of 1", rates[1], TARGET_SINGLES_PER_SECOND),
        ],
    })
}

/// Events per CPU-second of one run.
fn feed(options: &Options, batch_events: usize) -> Result<f64, SettingsError> {
    let place = Partition { number: 0, count: 1, writer: "bench".to_owned(), hash_seed: 1 };
    let mut core = Core::new(&Settings::default(), place)?;
    let ids: Vec<String> = (0..options.streams).map(device).collect();
    let mut batch = batch_of(batch_events);
    let mut rows = 0u64;
    let mut drop_rows = |output: Output<'_>| rows += u64::from(matches!(output, Output::Row(_)));
    let tick =
        TickInput { at_end: false, worker_quiet_ms: 0, rows_max: usize::MAX, free_bytes: 0, ending: false };
    let span_ms = STEP_MS * batch_events as i64;
    let rounds = options.events.div_ceil(options.streams * batch_events).max(1);
    let start_ms = 1_700_000_000_000;
    // One round first: streams and windows are there, as in steady state.
    let mut began = cpu::own_seconds();
    let (mut offset, mut fed, mut last_tick_ms) = (0, 0usize, start_ms);
    for round in 0..=rounds {
        if round == 1 {
            (began, fed) = (cpu::own_seconds(), 0);
        }
        for (n, id) in ids.iter().enumerate() {
            // Streams are spread over the round, as a fleet's batches are.
            let now_ms = start_ms + span_ms * round as i64 + span_ms * n as i64 / options.streams as i64;
            core.expect(ids[(n + AHEAD) % ids.len()].as_bytes());
            batch.stream_id.clear();
            batch.stream_id.push_str(id);
            batch.arrival_ms = now_ms;
            let first_seq = (round * batch_events) as u64;
            for at in 0..batch_events {
                batch.ts[at] = now_ms - span_ms + STEP_MS * at as i64;
                batch.seq[at] = first_seq + at as u64;
            }
            core.feed(offset, Some(id.as_bytes()), &batch, &mut drop_rows);
            offset += 1;
            fed += batch_events;
            if now_ms >= last_tick_ms + 1000 {
                last_tick_ms = now_ms;
                core.tick(&tick, &mut drop_rows);
            }
        }
    }
    let seconds = cpu::own_seconds() - began;
    debug_assert!(core.ledger().sizes.iter().all(|s| s.imbalance() == 0));
    std::hint::black_box(rows);
    Ok(fed as f64 / seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_bench_reports_both_goals() {
        let report = run(&Options { streams: 10, events: 5_000, runs: 1 }).unwrap();
        assert_eq!((report.results.len(), report.goals.len()), (2, 2));
        assert!(report.results.iter().all(|m| m.value > 0.0));
        assert!(report.table().contains("batches of 50"));
        assert!(serde_json::to_string(&report).unwrap().contains("\"target\":15000000.0"));
    }
}
