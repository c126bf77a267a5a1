//! What an asynchronous run came to, under the names of source C.

use serde::Serialize;

/// The content of streaming_metrics.json, its members in this order. `produced = consumed + dropped + errors`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Rows offered to the queue.
    pub produced: u64,
    /// Rows scored.
    pub consumed: u64,
    /// Rows that found the queue full.
    pub dropped: u64,
    /// Dropped ÷ produced; 0 when nothing was produced.
    pub drop_rate: f64,
    /// Median of the time from ingest to completion, ms; 0 when nothing was consumed.
    pub queue_latency_ms_p50: f64,
    /// The 95th percentile of the same.
    pub queue_latency_ms_p95: f64,
    /// Workers.
    pub workers: usize,
    /// Most rows that could wait; rows in work do not count.
    pub queue_max: usize,
    /// Mean gap between arrivals, ms.
    pub jitter_ms: f64,
    /// Rows that could not be scored.
    pub errors: u64,
}

impl Report {
    /// From the counts and the latency of each row consumed, ms.
    pub fn new(
        dropped: u64,
        errors: u64,
        mut latencies_ms: Vec<f64>,
        (workers, queue_max, jitter_ms): (usize, usize, f64),
    ) -> Self {
        latencies_ms.sort_by(f64::total_cmp);
        let consumed = latencies_ms.len() as u64;
        let produced = consumed + dropped + errors;
        Self {
            produced,
            consumed,
            dropped,
            drop_rate: if produced == 0 { 0.0 } else { dropped as f64 / produced as f64 },
            queue_latency_ms_p50: quantile(&latencies_ms, 0.5),
            queue_latency_ms_p95: quantile(&latencies_ms, 0.95),
            workers,
            queue_max,
            jitter_ms,
            errors,
        }
    }
}

/// A quantile of sorted values, between two of them linear (type 7 of Hyndman and Fan 1996, numpy's default);
/// 0 where there is none.
pub fn quantile(sorted: &[f64], q: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let at = q.clamp(0.0, 1.0) * last as f64;
    let below = at.floor() as usize;
    let (low, high) = (sorted[below.min(last)], sorted[(below + 1).min(last)]);
    low + (high - low) * (at - below as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_linear_between_values() {
        assert_eq!(quantile(&[1.0, 2.0, 3.0, 4.0], 0.5), 2.5);
        assert!((quantile(&[1.0, 2.0, 3.0, 4.0], 0.95) - 3.85).abs() < 1e-12);
        assert_eq!(quantile(&[7.0], 0.95), 7.0);
        assert_eq!(quantile(&[], 0.5), 0.0);
        assert_eq!(quantile(&[1.0, 2.0], 7.0), 2.0);
    }

    #[test]
    fn counts_add_up_and_nothing_consumed_is_zero() {
        let report = Report::new(3, 2, vec![4.0, 1.0, 2.0, 3.0, 5.0], (2, 32, 5.0));
        assert_eq!((report.produced, report.consumed, report.drop_rate), (10, 5, 0.3));
        assert_eq!((report.queue_latency_ms_p50, report.queue_latency_ms_p95), (3.0, 4.8));
        let none = Report::new(0, 0, Vec::new(), (1, 8, 1.0));
        assert_eq!((none.drop_rate, none.queue_latency_ms_p50, none.queue_latency_ms_p95), (0.0, 0.0, 0.0));
        let json = serde_json::to_string(&none).unwrap();
        assert!(json.starts_with(
            r#"{"produced":0,"consumed":0,"dropped":0,"drop_rate":0.0,"queue_latency_ms_p50":0.0,"#
        ));
    }
}
