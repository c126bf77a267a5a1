//! Shapes of the wire.

use super::Head;
use serde::Serialize;
use std::collections::BTreeMap;

/// A frame.
#[derive(Debug, Serialize)]
pub(crate) struct Wire<'a, S> {
    pub(crate) epoch: &'a str,
    pub(crate) seq: u32,
    pub(crate) ts: i64,
    pub(crate) source: &'a str,
    pub(crate) watermark: Option<i64>,
    pub(crate) flags: Vec<&'static str>,
    pub(crate) state: S,
}

impl<'a, S> Wire<'a, S> {
    pub(crate) fn of(head: &'a Head, (epoch, seq): (&'a str, u32), state: S) -> Self {
        Self {
            epoch,
            seq,
            ts: head.ts_ms,
            source: &head.source,
            watermark: head.watermark,
            flags: flags_of(head),
            state,
        }
    }
}

/// The flags that are set.
fn flags_of(head: &Head) -> Vec<&'static str> {
    let flags = [
        (head.live && !head.stale, "live"),
        (head.stale, "stale"),
        (head.alerting, "alerting"),
        (head.recent && !head.stale, "recent"),
        (head.partial, "partial"),
    ];
    flags.iter().filter(|(set, _)| *set).map(|(_, name)| *name).collect()
}

/// Points of a field.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Series<'a> {
    pub(crate) t: &'a [i64],
    pub(crate) v: &'a [f64],
}

#[derive(Debug, Serialize)]
pub(crate) struct TelemetryState<'a> {
    pub(crate) from_ms: i64,
    pub(crate) to_ms: i64,
    pub(crate) series: BTreeMap<&'a str, Series<'a>>,
    pub(crate) open: Vec<OpenWindow<'a>>,
}

#[derive(Debug, Serialize)]
pub(crate) struct OpenWindow<'a> {
    pub(crate) size_ms: i64,
    pub(crate) t_start: i64,
    pub(crate) count: u64,
    pub(crate) stats: BTreeMap<&'a str, Stats>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Stats {
    pub(crate) count: u64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    pub(crate) mean: f64,
    pub(crate) last: f64,
}

#[derive(Debug, Serialize)]
pub(crate) struct WindowsState<'a> {
    pub(crate) size_ms: i64,
    pub(crate) rows: Vec<ClosedWindow<'a>>,
}

#[derive(Debug, Serialize)]
pub(crate) struct ClosedWindow<'a> {
    pub(crate) t_start: i64,
    pub(crate) closed_by: &'a str,
    pub(crate) revision: u32,
    pub(crate) count: u64,
    pub(crate) missing: u64,
    pub(crate) stats: BTreeMap<&'a str, Stats>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct StatusState {
    pub(crate) last_ts: Option<i64>,
    pub(crate) last_arrival_ms: Option<i64>,
    pub(crate) events_per_s: f64,
    pub(crate) missing: u64,
    pub(crate) alerts_raised: usize,
}

/// Totals over all devices.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct FleetSummary {
    pub(crate) streams_active: f64,
    pub(crate) events_per_s: f64,
    pub(crate) rows_per_s: f64,
    pub(crate) dropped: BTreeMap<String, f64>,
    pub(crate) lag_ms: f64,
    pub(crate) tick_jitter_ms: f64,
    pub(crate) memory_planned_bytes: f64,
    pub(crate) memory_accounted_bytes: f64,
    pub(crate) memory_resident_bytes: f64,
    pub(crate) alerts_raised: usize,
}
