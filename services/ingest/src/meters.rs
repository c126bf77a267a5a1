//! What ingest counts, under the names of telemetry.
//!
//! Owns: the handles. Never: a stream id or a credential's name as a label.

use crate::driver::Usage;
use crate::verdict::{Reason, Rejected};
use evenkeel_telemetry::names::ingest;
use evenkeel_telemetry::{Counter, Gauge, Histogram, Metrics};
use hyper::StatusCode;
use std::time::Duration;

const PROTOCOL: &str = "http";
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
const REASONS: [(Reason, &str); 3] = [
    (Reason::Malformed, "malformed"),
    (Reason::Forbidden, "forbidden"),
    (Reason::RateLimited, "rate_limited"),
];

/// Handles made once.
pub(crate) struct Meters {
    accepted: Counter,
    rejected: [Counter; 3],
    requests: [Counter; 5],
    ack_duration: Histogram,
    connections: Gauge,
    queue_depth: Gauge,
    queue_limit: Gauge,
    limited_devices: Gauge,
    clock_offset: Gauge,
}

impl Meters {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self {
            accepted: metrics.counter(&ingest::EVENTS, [PROTOCOL, "accepted"]),
            rejected: REASONS.map(|(_, name)| metrics.counter(&ingest::EVENTS, [PROTOCOL, name])),
            requests: CLASSES.map(|class| metrics.counter(&ingest::REQUESTS, [PROTOCOL, class])),
            ack_duration: metrics.histogram(&ingest::ACK_DURATION, [PROTOCOL]),
            connections: metrics.gauge(&ingest::CONNECTIONS, [PROTOCOL]),
            queue_depth: metrics.gauge(&ingest::QUEUE_DEPTH, []),
            queue_limit: metrics.gauge(&ingest::QUEUE_LIMIT, []),
            limited_devices: metrics.gauge(&ingest::LIMITED_DEVICES, []),
            clock_offset: metrics.gauge(&ingest::CLOCK_OFFSET, []),
        }
    }

    /// Events became durable.
    pub(crate) fn acknowledged(&self, events: u64, after: Duration) {
        self.accepted.add(events);
        self.ack_duration.record_duration(after);
    }

    /// Events were refused.
    pub(crate) fn rejected(&self, rejected: &Rejected) {
        for ((reason, _), counter) in REASONS.iter().zip(&self.rejected) {
            counter.add(rejected.count(*reason));
        }
    }

    /// A request has its answer.
    pub(crate) fn answered(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).clamp(1, CLASSES.len()) - 1;
        self.requests[class].add(1);
    }

    /// Own clock minus the log's, ms.
    pub(crate) fn clock_offset(&self, offset_ms: i64) {
        self.clock_offset.set(offset_ms as f64 / 1000.0);
    }

    /// So many connections are open.
    pub(crate) fn connections(&self, open: usize) {
        self.connections.set_count(open as u64);
    }

    /// What the driver holds.
    pub(crate) fn usage(&self, usage: &Usage) {
        self.queue_depth.set_count(usage.used_bytes);
        self.queue_limit.set_count(usage.limit_bytes);
        self.limited_devices.set_count(usage.limited_devices as u64);
    }
}
