//! Which metric is shown as what.

/// What is counted and shown per second.
pub struct RateOf {
    /// In the view.
    pub name: &'static str,
    /// The counter.
    pub metric: &'static str,
    /// Only this value of this label.
    pub only: Option<(&'static str, &'static str)>,
    /// The label whose values say the same thing again.
    pub each: Option<&'static str>,
}

const fn rate(name: &'static str, metric: &'static str) -> RateOf {
    RateOf { name, metric, only: None, each: None }
}

/// From the device to the screen.
pub const RATES: [RateOf; 9] = [
    rate("requests answered", "evenkeel_ingest_requests_total"),
    RateOf { only: Some(("outcome", "accepted")), ..rate("events accepted", "evenkeel_ingest_events_total") },
    RateOf {
        only: Some(("outcome", "counted")),
        each: Some("size"),
        ..rate("events counted", "evenkeel_coalescer_events_total")
    },
    rate("windows closed", "evenkeel_coalescer_windows_closed_total"),
    rate("late records", "evenkeel_coalescer_late_records_total"),
    RateOf { only: Some(("outcome", "written")), ..rate("rows written", "evenkeel_sink_rows_total") },
    rate("late events merged", "evenkeel_sink_late_merged_total"),
    rate("frames to screens", "evenkeel_gateway_frames_total"),
    rate("frames conflated", "evenkeel_gateway_frames_conflated_total"),
];

/// How a level is made of the services' series.
#[derive(Debug, Clone, Copy)]
pub enum Level {
    /// The sum.
    Sum,
    /// The largest.
    Largest,
    /// The upper bound of the bucket that holds the 99th percentile of what was observed between two readings.
    P99,
}

/// What a level counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    Count,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
}

/// (in the view, the metric, how, unit).
pub const LEVELS: [(&str, &str, Level, Unit); 9] = [
    ("coalescer lag, records", "evenkeel_coalescer_consumer_lag", Level::Sum, Unit::Count),
    ("sink lag, records", "evenkeel_sink_consumer_lag", Level::Sum, Unit::Count),
    (
        "watermark lag, slowest stream",
        "evenkeel_coalescer_watermark_lag_seconds",
        Level::Largest,
        Unit::Seconds,
    ),
    ("acknowledged within, p99", "evenkeel_ingest_ack_duration_seconds", Level::P99, Unit::Seconds),
    ("row durable after its window, p99", "evenkeel_sink_row_age_seconds", Level::P99, Unit::Seconds),
    ("windows open", "evenkeel_coalescer_windows_open", Level::Sum, Unit::Count),
    ("open connections", "evenkeel_ingest_connections", Level::Sum, Unit::Count),
    ("screens", "evenkeel_gateway_connections", Level::Sum, Unit::Count),
    ("ledger imbalance (must be 0)", "evenkeel_coalescer_ledger_imbalance", Level::Sum, Unit::Count),
];

/// (in the view, what is used, its limit, unit); per service, because limits do not add up.
pub const BOUNDS: [(&str, &str, &str, Unit); 9] = [
    ("memory", "process_memory_usage_bytes", "evenkeel_process_memory_limit_bytes", Unit::Bytes),
    ("state", "evenkeel_coalescer_memory_used_bytes", "evenkeel_coalescer_memory_budget_bytes", Unit::Bytes),
    ("in flight", "evenkeel_ingest_queue_depth_bytes", "evenkeel_ingest_queue_limit_bytes", Unit::Bytes),
    ("watched", "evenkeel_coalescer_watched", "evenkeel_coalescer_watched_limit", Unit::Count),
    ("store requests", "evenkeel_sink_inflight", "evenkeel_sink_limit", Unit::Count),
    ("live topics", "evenkeel_gateway_topics_active", "evenkeel_gateway_topics_limit", Unit::Count),
    ("recordings", "evenkeel_ingest_recordings", "evenkeel_ingest_recordings_limit", Unit::Count),
    (
        "rec. disk",
        "evenkeel_ingest_recordings_disk_bytes",
        "evenkeel_ingest_recordings_disk_limit_bytes",
        Unit::Bytes,
    ),
    (
        "rec. memory",
        "evenkeel_ingest_recordings_memory_bytes",
        "evenkeel_ingest_recordings_memory_limit_bytes",
        Unit::Bytes,
    ),
];

/// What did not get through.
pub struct DropOf {
    /// Where, in the view.
    pub place: &'static str,
    /// The counter.
    pub metric: &'static str,
    /// The label with the reason.
    pub label: &'static str,
    /// Its values that are none.
    pub fine: &'static [&'static str],
    /// The label whose values say the same thing again.
    pub each: Option<&'static str>,
}

const fn reasons(place: &'static str, metric: &'static str) -> DropOf {
    DropOf { place, metric, label: "reason", fine: &[], each: None }
}

const fn outcomes(place: &'static str, metric: &'static str, fine: &'static [&'static str]) -> DropOf {
    DropOf { place, metric, label: "outcome", fine, each: None }
}

/// From the device to the screen.
pub const DROPS: [DropOf; 10] = [
    outcomes("ingest", "evenkeel_ingest_events_total", &["accepted"]),
    reasons("ingest messages", "evenkeel_ingest_messages_refused_total"),
    reasons("ingest credentials", "evenkeel_ingest_credentials_refused_total"),
    reasons("ingest connections", "evenkeel_ingest_connections_cut_total"),
    reasons("recordings", "evenkeel_ingest_recordings_refused_total"),
    DropOf {
        each: Some("size"),
        ..outcomes("coalescer", "evenkeel_coalescer_events_total", &["counted", "late"])
    },
    outcomes("frames", "evenkeel_coalescer_frames_total", &["made"]),
    reasons("late merge", "evenkeel_sink_late_skipped_total"),
    outcomes("sink rows", "evenkeel_sink_rows_total", &["written"]),
    reasons("screens", "evenkeel_gateway_closes_total"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_that_is_shown_is_declared() {
        let documented = include_str!("../../../../docs/metrics.md");
        let rates = RATES.iter().map(|rate| rate.metric);
        let levels = LEVELS.iter().map(|(_, metric, ..)| *metric);
        let bounds = BOUNDS.iter().flat_map(|(_, used, limit, _)| [*used, *limit]);
        let drops = DROPS.iter().map(|drop| drop.metric);
        for metric in rates.chain(levels).chain(bounds).chain(drops) {
            assert!(documented.contains(&format!("| `{metric}` |")), "{metric}");
        }
    }
}
