//! The threads against a discrete-event reference: their clock is virtual, so rows and times are the same.

use evenkeel_scorer::{Clock, Pace, Policy, PoolError, Report, Scored, score_through_queue};
use evenkeel_scoring::{Arrivals, Binding, Fate, Frame, Line, Model, Timed, quantile};
use std::collections::BTreeMap;

fn timed(service_us: u64) -> Timed {
    Timed { service_us, score: 0.7, fails_at: None }
}

fn pace(rows: usize, workers: usize, policy: Policy) -> Pace {
    Pace { rows, jitter_ms: 10.0, seed: 5, queue_max: 6, policy, workers, clock: Clock::Virtual }
}

/// Runs and reports, as the asynchronous mode does.
fn report(model: Timed, pace: Pace) -> (Report, Vec<Scored>) {
    let mut scored = Vec::new();
    let take = |s: Scored| -> Result<(), ()> {
        scored.push(s);
        Ok(())
    };
    let counts =
        score_through_queue(&Model::Timed(model), &Binding::default(), &Frame::default(), pace, take)
            .unwrap();
    let errors = scored.iter().filter(|s| s.score.is_err()).count() as u64;
    let latencies = scored.iter().filter(|s| s.score.is_ok()).map(|s| s.latency_ms).collect();
    let report =
        Report::new(counts.dropped, errors, latencies, (pace.workers, pace.queue_max, pace.jitter_ms));
    assert_eq!(report.produced, counts.produced);
    (report, scored)
}

/// What the threads did with each row: not there if dropped, else µs from arrival to completion.
fn latencies_us(scored: &[Scored]) -> BTreeMap<usize, u64> {
    scored.iter().map(|s| (s.row, (s.latency_ms * 1000.0).round() as u64)).collect()
}

#[test]
fn the_same_rows_are_dropped_as_in_the_reference_and_each_takes_as_long() {
    // One worker does a third of the rows, three do nearly all of them: so workers do work side by side.
    let policies = [(1, Policy::DropNew), (3, Policy::DropNew), (2, Policy::DropOldest), (2, Policy::Block)];
    for ((workers, policy), seed) in
        policies.into_iter().flat_map(|case| (0..25).map(move |seed| (case, seed)))
    {
        let pace = Pace { seed, ..pace(150, workers, policy) };
        let (report, scored) = report(timed(33_000), pace);
        let arrivals = Arrivals::new(pace.jitter_ms, pace.seed).times_us(pace.rows);
        // A row arrives once the producer is there again: where it waited for room, that is later.
        let (mut line, mut free) = (Line::new(pace.queue_max, policy, workers), 0);
        let arrived: Vec<u64> = arrivals
            .iter()
            .map(|&due| {
                let at = due.max(free);
                free = line.arrive(at, &|_| 33_000);
                at
            })
            .collect();
        let fates = line.finish(&|_| 33_000);
        let reference: BTreeMap<usize, u64> = fates
            .iter()
            .enumerate()
            .filter_map(|(row, fate)| match fate {
                Fate::Done { ended_us, .. } => Some((row, ended_us - arrived[row])),
                Fate::Dropped => None,
            })
            .collect();
        assert_eq!(latencies_us(&scored), reference, "{workers} workers, {policy:?}, seed {seed}");
        let mut ordered: Vec<f64> = reference.values().map(|&us| us as f64 / 1000.0).collect();
        ordered.sort_by(f64::total_cmp);
        assert_eq!(report.dropped as usize, pace.rows - ordered.len());
        assert_eq!(report.queue_latency_ms_p95, quantile(&ordered, 0.95));
    }
}

#[test]
fn a_source_that_waits_loses_nothing() {
    let (report, scored) = report(timed(3_000), Pace { jitter_ms: 0.1, ..pace(60, 1, Policy::Block) });
    assert_eq!((report.produced, report.consumed, report.dropped), (60, 60, 0));
    assert!(scored.iter().map(|s| s.row).eq(0..60), "one worker keeps the order");
}

#[test]
fn a_row_that_fails_is_counted_and_the_run_ends() {
    let model = Timed { fails_at: Some(4), ..timed(100) };
    let (report, scored) =
        report(model, Pace { queue_max: 100, jitter_ms: 0.1, ..pace(20, 2, Policy::DropNew) });
    assert_eq!((report.produced, report.consumed, report.dropped, report.errors), (20, 19, 0, 1));
    let failed: Vec<String> =
        scored.iter().filter_map(|s| Some(s.score.as_ref().err()?.to_string())).collect();
    assert_eq!(failed, ["row 5: as the test wants it"]);
}

#[test]
fn outcomes_that_nobody_takes_end_the_run() {
    for policy in [Policy::DropNew, Policy::Block] {
        let pace = Pace { jitter_ms: 0.1, clock: Clock::Wall, ..pace(10_000, 2, policy) };
        let refuse = |_: Scored| Err("the disk is full");
        let ended = score_through_queue(
            &Model::Timed(timed(100)),
            &Binding::default(),
            &Frame::default(),
            pace,
            refuse,
        );
        assert!(matches!(ended, Err(PoolError::Taking("the disk is full"))), "{ended:?}");
    }
}
