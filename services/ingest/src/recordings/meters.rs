//! What is counted of recordings, under the names of telemetry.
//!
//! Owns: the handles. Never: a recording's name as a label.

use super::quota::Quota;
use crate::config::recordings::TRANSFER_BYTES;
use evenkeel_telemetry::names::ingest;
use evenkeel_telemetry::{Counter, Gauge, Metrics};

/// A limit that a request met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    Disk,
    Count,
    Open,
    Transfers,
    Ingests,
}

const LIMITS: [&str; 5] = ["disk", "count", "open", "transfers", "ingests"];

/// Handles made once.
pub(crate) struct SpoolMeters {
    count: [Gauge; 2],
    disk: [Gauge; 2],
    open: [Gauge; 2],
    memory: [Gauge; 2],
    bytes: [Counter; 2],
    refused: [Counter; LIMITS.len()],
    ingests: Gauge,
    expired: Counter,
}

impl SpoolMeters {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let gauge = |name| metrics.gauge(name, []);
        Self {
            count: [&ingest::RECORDINGS, &ingest::RECORDINGS_LIMIT].map(gauge),
            disk: [&ingest::RECORDINGS_DISK, &ingest::RECORDINGS_DISK_LIMIT].map(gauge),
            open: [&ingest::RECORDINGS_OPEN, &ingest::RECORDINGS_OPEN_LIMIT].map(gauge),
            memory: [&ingest::RECORDINGS_MEMORY, &ingest::RECORDINGS_MEMORY_LIMIT].map(gauge),
            bytes: ["in", "out"].map(|way| metrics.counter(&ingest::RECORDINGS_BYTES, [way])),
            refused: LIMITS.map(|limit| metrics.counter(&ingest::RECORDINGS_REFUSED, [limit])),
            ingests: gauge(&ingest::RECORDINGS_INGESTS),
            expired: metrics.counter(&ingest::RECORDINGS_EXPIRED, []),
        }
    }

    /// What there may be.
    pub(crate) fn limits(&self, disk: &Quota, count: &Quota, open_max: usize, memory_bytes_max: u64) {
        self.disk[1].set_count(disk.limit());
        self.count[1].set_count(count.limit());
        self.open[1].set_count(open_max as u64);
        self.memory[1].set_count(memory_bytes_max);
    }

    /// What there is.
    pub(crate) fn usage(&self, disk: &Quota, count: &Quota, open: usize, transfers: usize) {
        self.disk[0].set_count(disk.used());
        self.count[0].set_count(count.used());
        self.open[0].set_count(open as u64);
        self.memory[0].set_count(transfers as u64 * TRANSFER_BYTES);
    }

    /// Bytes were appended.
    pub(crate) fn stored(&self, bytes: u64) {
        self.bytes[0].add(bytes);
    }

    /// Bytes were handed to a connection.
    pub(crate) fn read(&self, bytes: u64) {
        self.bytes[1].add(bytes);
    }

    /// A request met a limit.
    pub(crate) fn refused(&self, limit: Limit) {
        self.refused[limit as usize].add(1);
    }

    /// A recording was removed because its time was over.
    pub(crate) fn expired(&self) {
        self.expired.add(1);
    }

    /// So many recordings are on their way into the log.
    pub(crate) fn ingests(&self, running: usize) {
        self.ingests.set_count(running as u64);
    }
}
