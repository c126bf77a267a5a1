//! What the gateway counts, under the names of telemetry.

use crate::hall::Hall;
use evenkeel_auth::{Reread, Unknown};
use evenkeel_fanout::{Figures, Fragment, TickReport};
use evenkeel_telemetry::names::gateway as names;
use evenkeel_telemetry::{Counter, Gauge, Histogram, Metrics};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

const STEPS: [&str; 4] = ["0", "1", "2", "3"];
/// Close codes that are told apart.
const CODES: [(u16, &str); 10] = [
    (4000, "drained"),
    (4001, "credential_lapsed"),
    (4002, "silent"),
    (4003, "no_init"),
    (4408, "too_slow"),
    (4499, "server_error"),
    (4500, "protocol"),
    (4501, "credential_refused"),
    (4503, "origin"),
    (4505, "subprotocol"),
];

/// What is read again, as labels, in the order of [`Reread`].
const REREAD: [(Reread, &str); 3] =
    [(Reread::Credentials, "credentials"), (Reread::Keys, "keys"), (Reread::Certificate, "certificate")];

/// The label of what is read again.
pub(crate) fn name_of(what: Reread) -> &'static str {
    REREAD[what as usize].1
}

/// Handles made once.
pub(crate) struct Meters {
    connections: [Gauge; 4],
    topics: Gauge,
    topics_limit: Gauge,
    refs: Gauge,
    watched: Gauge,
    cached: Gauge,
    frames: Counter,
    frame_bytes: Counter,
    encoded: Counter,
    conflated: Counter,
    missed: Counter,
    frames_in: Counter,
    frames_ignored: Counter,
    refused: Counter,
    questions_dropped: Counter,
    closes: [Counter; CODES.len()],
    unknown: Counter,
    credentials_refused: [Counter; Unknown::LABELS.len()],
    handshakes_failed: [Counter; 2],
    reloads: [[Counter; 2]; REREAD.len()],
    frame_age: Histogram,
    lateness: Histogram,
    merged: Counter,
    source_errors: Counter,
    last: Mutex<(Figures, crate::hall::Sums)>,
}

impl Meters {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self {
            connections: STEPS.map(|step| metrics.gauge(&names::CONNECTIONS, [step])),
            topics: metrics.gauge(&names::TOPICS, []),
            topics_limit: metrics.gauge(&names::TOPICS_LIMIT, []),
            refs: metrics.gauge(&names::REFS, []),
            watched: metrics.gauge(&names::WATCHED, []),
            cached: metrics.gauge(&names::CACHED, []),
            frames: metrics.counter(&names::FRAMES, []),
            frame_bytes: metrics.counter(&names::FRAME_BYTES, []),
            encoded: metrics.counter(&names::ENCODED, []),
            conflated: metrics.counter(&names::CONFLATED, []),
            missed: metrics.counter(&names::MISSED, []),
            frames_in: metrics.counter(&names::FRAMES_IN, []),
            frames_ignored: metrics.counter(&names::FRAMES_IGNORED, []),
            refused: metrics.counter(&names::SUBSCRIBES_REFUSED, []),
            questions_dropped: metrics.counter(&names::QUESTIONS_DROPPED, []),
            closes: CODES.map(|(_, reason)| metrics.counter(&names::CLOSES, [reason])),
            unknown: metrics.counter(&names::UNKNOWN_MESSAGES, []),
            credentials_refused: Unknown::LABELS
                .map(|reason| metrics.counter(&names::CREDENTIALS_REFUSED, [reason])),
            handshakes_failed: ["failed", "slow"]
                .map(|reason| metrics.counter(&names::HANDSHAKES_FAILED, [reason])),
            reloads: REREAD.map(|(_, what)| {
                ["failed", "good"].map(|outcome| metrics.counter(&names::RELOADS, [what, outcome]))
            }),
            frame_age: metrics.histogram(&names::FRAME_AGE, []),
            lateness: metrics.histogram(&names::TICK_LATENESS, []),
            merged: metrics.counter(&names::TICKS_MERGED, []),
            source_errors: metrics.counter(&names::SOURCE_ERRORS, []),
            last: Mutex::default(),
        }
    }

    pub(crate) fn painted(&self, fragments: &[Fragment]) {
        for fragment in fragments {
            self.frame_age.record_duration(Duration::from_millis(fragment.age_ms));
        }
    }

    pub(crate) fn closed(&self, code: u16) {
        if let Some(at) = CODES.iter().position(|(of, _)| *of == code) {
            self.closes[at].add(1);
        }
    }

    /// A client had no good credential.
    pub(crate) fn credential_refused(&self, unknown: &Unknown) {
        self.credentials_refused[unknown.label()].add(1);
    }

    pub(crate) fn handshake_failed(&self, slow: bool) {
        self.handshakes_failed[usize::from(slow)].add(1);
    }

    /// A file or URL was read again and had changed, or could not be taken.
    pub(crate) fn reloaded(&self, what: Reread, good: bool) {
        self.reloads[what as usize][usize::from(good)].add(1);
    }

    pub(crate) fn unknown_message(&self) {
        self.unknown.add(1);
    }

    pub(crate) fn source_failed(&self) {
        self.source_errors.add(1);
    }

    pub(crate) fn ticked(&self, report: &TickReport) {
        self.lateness.record_duration(Duration::from_millis(report.late_ms));
        self.merged.add(report.merged);
    }

    /// Once a second: what stands, and what has happened since.
    pub(crate) fn look(&self, hall: &Hall, topics_max: usize) {
        for (gauge, count) in self.connections.iter().zip(hall.fanout.steps()) {
            gauge.set_count(count as u64);
        }
        self.topics.set_count(hall.fanout.topics() as u64);
        self.topics_limit.set_count(topics_max as u64);
        self.refs.set_count(hall.fanout.refs() as u64);
        self.watched.set_count(hall.watched() as u64);
        self.cached.set_count(hall.fanout.cached_bytes() as u64);
        let (now, sums) = (hall.fanout.figures(), hall.sums);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (before, sums_before) = std::mem::replace(&mut *last, (now, sums));
        self.frames.add(now.fragments - before.fragments);
        self.frame_bytes.add(now.fragment_bytes - before.fragment_bytes);
        self.encoded.add(now.encoded - before.encoded);
        self.conflated.add(now.conflated - before.conflated);
        self.missed.add(now.missed - before.missed);
        self.frames_in.add(sums.frames_in - sums_before.frames_in);
        self.frames_ignored.add(sums.frames_ignored - sums_before.frames_ignored);
        self.refused.add(sums.subscribes_refused - sums_before.subscribes_refused);
        self.questions_dropped.add(sums.questions_dropped - sums_before.questions_dropped);
    }
}
