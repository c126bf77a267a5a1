//! What ingest counts, under the names of telemetry.
//!
//! Owns: the handles. Never: a stream id or a credential's name as a label.

use crate::driver::Usage;
use crate::lanes::MODES;
use crate::problem::Kind;
use crate::verdict::{Reason, Rejected};
use evenkeel_auth::Unknown;
use evenkeel_flush::Mode;
use evenkeel_telemetry::names::ingest;
use evenkeel_telemetry::{Counter, Gauge, Histogram, Metrics};
use hyper::StatusCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
const REASONS: [(Reason, &str); 5] = [
    (Reason::Malformed, "malformed"),
    (Reason::Forbidden, "forbidden"),
    (Reason::RateLimited, "rate_limited"),
    (Reason::BytesLimited, "bytes_limited"),
    (Reason::TenantLimited, "tenant_limited"),
];

/// What a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http,
    WebSocket,
    Mqtt,
    Bridge,
    /// A recording on its way into the log.
    Recording,
}

impl Protocol {
    const ALL: [Self; 5] = [Self::Http, Self::WebSocket, Self::Mqtt, Self::Bridge, Self::Recording];

    /// Whether its acknowledgement is for all of a message, so that rates take all of it or nothing.
    pub(crate) const fn is_whole(self) -> bool {
        matches!(self, Self::Mqtt | Self::Bridge)
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::WebSocket => "websocket",
            Self::Mqtt => "mqtt",
            Self::Bridge => "bridge",
            Self::Recording => "recording",
        }
    }
}

/// What is read again while the service runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reloaded {
    Keys,
    Credentials,
    Certificate,
    Configuration,
}

const RELOADED: [(Reloaded, &str); 4] = [
    (Reloaded::Keys, "keys"),
    (Reloaded::Credentials, "credentials"),
    (Reloaded::Certificate, "certificate"),
    (Reloaded::Configuration, "configuration"),
];

impl Reloaded {
    pub(crate) const fn name(self) -> &'static str {
        RELOADED[self as usize].1
    }
}

/// Why a connection was ended from this side while its client still held it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    HandshakeFailed,
    HandshakeSlow,
    /// No whole head within `head-timeout`; a kept connection that is idle ends so too.
    SlowHead,
    SlowBody,
    /// Answers were not read.
    WriteStalled,
    /// A WebSocket did not even answer pings.
    Silent,
    /// The credential expired or was withdrawn.
    Lapsed,
}

const CUTS: [&str; 7] = [
    "handshake_failed",
    "handshake_slow",
    "slow_head",
    "slow_body",
    "write_stalled",
    "silent",
    "credential_lapsed",
];

/// Handles of one protocol.
struct Spoken {
    accepted: Counter,
    rejected: [Counter; REASONS.len()],
    requests: [Counter; 5],
    ack_duration: Histogram,
    connections: Gauge,
}

/// Handles made once.
pub(crate) struct Meters {
    spoken: [Spoken; Protocol::ALL.len()],
    web_sockets: AtomicUsize,
    queue_depth: Gauge,
    queue_limit: Gauge,
    limited_devices: Gauge,
    limited_tenants: Gauge,
    accept_rate: Gauge,
    tenant_busy: Counter,
    clock_offset: Gauge,
    refused: [Counter; Unknown::LABELS.len()],
    cuts: [Counter; CUTS.len()],
    reloads: [[Counter; 2]; RELOADED.len()],
    metrics: Metrics,
}

/// Handles of the lanes.
pub(crate) struct FlushMeters {
    modes: [Gauge; MODES.len()],
    size: Histogram,
    interval: Histogram,
}

impl FlushMeters {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self {
            modes: MODES.map(|mode| metrics.gauge(&ingest::FLUSH_MODE, [mode.name()])),
            size: metrics.histogram(&ingest::FLUSH_SIZE, []),
            interval: metrics.histogram(&ingest::FLUSH_INTERVAL, []),
        }
    }

    /// A lane sent so much, so long after its last send.
    pub(crate) fn sealed(&self, bytes: u64, interval: Option<Duration>) {
        self.size.record(bytes as f64);
        if let Some(interval) = interval {
            self.interval.record_duration(interval);
        }
    }

    /// What every lane is doing now.
    pub(crate) fn modes(&self, lanes: impl Iterator<Item = Mode>) {
        let mut counts = [0; MODES.len()];
        for mode in lanes {
            if let Some(at) = MODES.iter().position(|m| *m == mode) {
                counts[at] += 1;
            }
        }
        for (gauge, count) in self.modes.iter().zip(counts) {
            gauge.set_count(count);
        }
    }
}

impl Spoken {
    fn new(metrics: &Metrics, protocol: &'static str) -> Self {
        Self {
            accepted: metrics.counter(&ingest::EVENTS, [protocol, "accepted"]),
            rejected: REASONS.map(|(_, name)| metrics.counter(&ingest::EVENTS, [protocol, name])),
            requests: CLASSES.map(|class| metrics.counter(&ingest::REQUESTS, [protocol, class])),
            ack_duration: metrics.histogram(&ingest::ACK_DURATION, [protocol]),
            connections: metrics.gauge(&ingest::CONNECTIONS, [protocol]),
        }
    }
}

impl Meters {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self {
            spoken: Protocol::ALL.map(|protocol| Spoken::new(metrics, protocol.name())),
            web_sockets: AtomicUsize::new(0),
            queue_depth: metrics.gauge(&ingest::QUEUE_DEPTH, []),
            queue_limit: metrics.gauge(&ingest::QUEUE_LIMIT, []),
            limited_devices: metrics.gauge(&ingest::LIMITED_DEVICES, []),
            accept_rate: metrics.gauge(&ingest::ACCEPT_RATE, []),
            limited_tenants: metrics.gauge(&ingest::LIMITED_TENANTS, []),
            tenant_busy: metrics.counter(&ingest::TENANT_BUSY, []),
            clock_offset: metrics.gauge(&ingest::CLOCK_OFFSET, []),
            refused: Unknown::LABELS.map(|reason| metrics.counter(&ingest::CREDENTIALS_REFUSED, [reason])),
            cuts: CUTS.map(|reason| metrics.counter(&ingest::CONNECTIONS_CUT, [reason])),
            reloads: RELOADED.map(|(_, what)| {
                ["failed", "good"].map(|outcome| metrics.counter(&ingest::RELOADS, [what, outcome]))
            }),
            metrics: metrics.clone(),
        }
    }

    /// Events became durable.
    pub(crate) fn acknowledged(&self, protocol: Protocol, events: u64, after: Duration) {
        let spoken = &self.spoken[protocol as usize];
        spoken.accepted.add(events);
        spoken.ack_duration.record_duration(after);
    }

    /// Events were refused.
    pub(crate) fn rejected(&self, protocol: Protocol, rejected: &Rejected) {
        for ((reason, _), counter) in REASONS.iter().zip(&self.spoken[protocol as usize].rejected) {
            counter.add(rejected.count(*reason));
        }
    }

    /// A request has its answer.
    pub(crate) fn answered(&self, protocol: Protocol, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).clamp(1, CLASSES.len()) - 1;
        self.spoken[protocol as usize].requests[class].add(1);
    }

    /// A client had no good credential.
    pub(crate) fn refused(&self, unknown: &Unknown) {
        self.refused[unknown.label()].add(1);
    }

    /// A file or URL was read again and had changed, or could not be taken.
    pub(crate) fn reloaded(&self, what: Reloaded, good: bool) {
        self.reloads[what as usize][usize::from(good)].add(1);
    }

    /// So many connections may be accepted per second now.
    pub(crate) fn accept_rate(&self, per_s: f64) {
        self.accept_rate.set(per_s);
    }

    /// A tenant had too much in flight.
    pub(crate) fn tenant_busy(&self) {
        self.tenant_busy.add(1);
    }

    /// A connection was ended from this side.
    pub(crate) fn cut(&self, cut: Cut) {
        self.cuts[cut as usize].add(1);
    }

    /// A message of a protocol that has no answers to count it by is refused for good.
    pub(crate) fn message_refused(&self, protocol: Protocol, kind: Kind) {
        // Looked up, not kept: it is rare, and most of the combinations never happen.
        self.metrics.counter(&ingest::MESSAGES_REFUSED, [protocol.name(), kind.slug()]).add(1);
    }

    /// Own clock minus the log's, ms.
    pub(crate) fn clock_offset(&self, offset_ms: i64) {
        self.clock_offset.set(offset_ms as f64 / 1000.0);
    }

    /// A WebSocket begins.
    pub(crate) fn web_socket_opened(&self) {
        let open = self.web_sockets.fetch_add(1, Ordering::Relaxed) + 1;
        self.connections(Protocol::WebSocket, open);
    }

    /// A WebSocket has ended.
    pub(crate) fn web_socket_closed(&self) {
        let open = self.web_sockets.fetch_sub(1, Ordering::Relaxed) - 1;
        self.connections(Protocol::WebSocket, open);
    }

    /// So many connections are open.
    pub(crate) fn connections(&self, protocol: Protocol, open: usize) {
        self.spoken[protocol as usize].connections.set_count(open as u64);
    }

    /// What the driver holds.
    pub(crate) fn usage(&self, usage: &Usage) {
        self.queue_depth.set_count(usage.used_bytes);
        self.queue_limit.set_count(usage.limit_bytes);
        self.limited_devices.set_count(usage.limited_devices as u64);
        self.limited_tenants.set_count(usage.limited_tenants as u64);
    }
}
