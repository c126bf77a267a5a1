//! Keys of `[recordings]` and the checks between them.

use super::{ConfigMisfit, check};
use evenkeel_chassis::units::{Bytes, Ms, PositiveBytes, PositiveMs};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Keys of `[recordings]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RecordingsConfig {
    /// Where they lie; empty = there are none.
    pub dir: PathBuf,
    /// Disk of all of them.
    pub disk_max: PositiveBytes,
    /// What stays free on the file system.
    pub disk_reserve: Bytes,
    /// The largest one.
    pub size_max: PositiveBytes,
    /// How many there may be.
    pub count_max: usize,
    /// How long one stays after its beginning; 0 = until it is removed.
    pub retention: Ms,
    /// How many are open at once.
    pub open_max: usize,
    /// Uploads and downloads at once.
    pub transfers_max: usize,
    /// How long an unfinished one waits for its next bytes.
    pub idle_timeout: PositiveMs,
    /// Events per second that an ingest sends.
    pub ingest_rate: u32,
    /// Ingests at once.
    pub ingests_max: usize,
}

/// What one upload or download holds in memory at most, bytes: a block on its way to or from the file, and what the
/// connection has read.
pub(crate) const TRANSFER_BYTES: u64 = 128 * 1024;

impl RecordingsConfig {
    /// Whether there are any.
    pub fn is_on(&self) -> bool {
        !self.dir.as_os_str().is_empty()
    }

    /// What transfers may hold in memory, bytes; taken off the budget when they are on.
    pub(crate) fn memory_bytes_max(&self) -> u64 {
        if self.is_on() { self.transfers_max as u64 * TRANSFER_BYTES } else { 0 }
    }

    pub(super) fn check(&self, in_flight_bytes: u64) -> Result<(), ConfigMisfit> {
        check(
            "recordings.transfers-max",
            self.transfers_max,
            self.transfers_max > 0 && self.memory_bytes_max() <= in_flight_bytes / 4,
            "must be at least 1, and with 128KiB for each at most a quarter of in-flight-max",
        )?;
        let counts = "must be at least 1 and not absurdly large";
        for (key, got, max) in [
            ("recordings.count-max", self.count_max, 100_000_000),
            ("recordings.open-max", self.open_max, 100_000),
            ("recordings.ingests-max", self.ingests_max, 1_000),
            ("recordings.ingest-rate", self.ingest_rate as usize, 1_000_000_000),
        ] {
            check(key, got, (1..=max).contains(&got), counts)?;
        }
        Ok(())
    }
}
