//! The threads against the queue in virtual time. Times differ by what the machine's timers do, so within bounds.

use evenkeel_scorer::{Pace, Policy, PoolError, Report, Scored, score_through_queue};
use evenkeel_scoring::{Arrivals, Binding, Fate, Frame, Model, Timed, quantile, simulate};

fn timed(service_us: u64) -> Timed {
    Timed { service_us, score: 0.7, fails_at: None }
}

fn pace(rows: usize, workers: usize, policy: Policy) -> Pace {
    Pace { rows, jitter_ms: 10.0, seed: 5, queue_max: 6, policy, workers }
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

fn near(what: &str, got: f64, want: f64) {
    assert!((got - want).abs() <= 0.25 * want, "{what}: {got} ms, the reference has {want} ms");
}

#[test]
fn drop_rate_and_latencies_are_those_of_the_reference() {
    // One worker does a third of the rows, three do nearly all of them: so workers do work side by side.
    for (workers, policy) in [(1, Policy::DropNew), (3, Policy::DropNew), (2, Policy::DropOldest)] {
        let pace = pace(150, workers, policy);
        let (report, _) = report(timed(33_000), pace);
        let arrivals = Arrivals::new(pace.jitter_ms, pace.seed).times_us(pace.rows);
        let fates = simulate(&arrivals, &|_| 33_000, pace.queue_max, policy, workers);
        let mut latencies: Vec<f64> = fates
            .iter()
            .zip(&arrivals)
            .filter_map(|(fate, at)| match fate {
                Fate::Done { ended_us, .. } => Some((ended_us - at) as f64 / 1000.0),
                Fate::Dropped => None,
            })
            .collect();
        latencies.sort_by(f64::total_cmp);
        let drop_rate = 1.0 - latencies.len() as f64 / pace.rows as f64;
        assert!((report.drop_rate - drop_rate).abs() <= 0.03, "{workers}: {} {drop_rate}", report.drop_rate);
        near("p50", report.queue_latency_ms_p50, quantile(&latencies, 0.5));
        near("p95", report.queue_latency_ms_p95, quantile(&latencies, 0.95));
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
        let pace = Pace { jitter_ms: 0.1, ..pace(10_000, 2, policy) };
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
