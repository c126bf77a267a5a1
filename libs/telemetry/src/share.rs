//! One of several workers' share of a gauge: what a process shows is the sum over its workers, or the largest.
//!
//! Owns: the parts of one worker, which are gone with it. Never: another worker's value overwritten.

use crate::declared::GaugeDecl;
use crate::registry::{Combine, Gauge, Metrics};
use std::collections::BTreeMap;

/// The gauges of one worker.
#[derive(Debug)]
pub struct Share {
    metrics: Metrics,
    parts: BTreeMap<(&'static str, Vec<String>), Gauge>,
}

impl Share {
    /// Of a worker that has shown nothing yet.
    pub fn new(metrics: Metrics) -> Self {
        Self { metrics, parts: BTreeMap::new() }
    }

    /// Sets this worker's part of a count; the series shows the sum.
    pub fn count<const L: usize>(&mut self, decl: &GaugeDecl<L>, values: [&str; L], count: u64) {
        self.set(decl, values, Combine::Sum, count as f64);
    }

    /// Sets this worker's part; the series shows the largest.
    pub fn highest<const L: usize>(&mut self, decl: &GaugeDecl<L>, values: [&str; L], value: f64) {
        self.set(decl, values, Combine::Highest, value);
    }

    fn set<const L: usize>(&mut self, decl: &GaugeDecl<L>, values: [&str; L], combine: Combine, value: f64) {
        let key = (decl.name, values.iter().map(|value| (*value).to_owned()).collect());
        let metrics = &self.metrics;
        self.parts.entry(key).or_insert_with(|| metrics.gauge_part(decl, values, combine)).set(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::coalescer::{PARTITIONS, STREAMS_ACTIVE, WATERMARK_LAG};

    #[test]
    fn workers_add_up_and_are_gone_with_their_parts() {
        let metrics = Metrics::new().unwrap();
        let (mut one, mut two) = (Share::new(metrics.clone()), Share::new(metrics.clone()));
        let shows = |line: &str| metrics.render().unwrap().lines().any(|of| of == line);
        for (share, n) in [(&mut one, 3), (&mut two, 4)] {
            share.count(&STREAMS_ACTIVE, [], 100); // set again below: parts are replaced, not added to
            share.count(&STREAMS_ACTIVE, [], n);
            share.count(&PARTITIONS, ["live"], n);
            share.highest(&WATERMARK_LAG, [], n as f64);
        }
        assert!(shows("evenkeel_coalescer_streams_active 7"));
        assert!(shows("evenkeel_coalescer_partitions{state=\"live\"} 7"));
        assert!(shows("evenkeel_coalescer_watermark_lag_seconds 4"));
        drop(two);
        assert!(shows("evenkeel_coalescer_streams_active 3"));
        assert!(shows("evenkeel_coalescer_watermark_lag_seconds 3"));
        drop(one);
        assert!(shows("evenkeel_coalescer_streams_active 0"));
    }
}
