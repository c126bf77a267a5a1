//! The sink's configuration: keys as in default.toml.

use crate::driver::Options;
use evenkeel_chassis::units::PositiveMs;
use serde::{Deserialize, Serialize};

/// The name of the section, and of the environment prefix.
pub const SERVICE: &str = "sink";

/// The name of the workers for scores: a consumer group of their own, because members of one group must ask for one topic.
pub const SCORES: &str = "sink-scores";

/// Defaults, a why per key.
pub const DEFAULT_TOML: &str = include_str!("default.toml");

/// Section `[sink]`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// Workers of this process; 0 = one per CPU.
    pub workers: u16,
    /// Workers of this process for scores; 0 = scores are not stored.
    pub score_workers: u16,
    /// Time between commits.
    pub interval: PositiveMs,
    /// Records in work per worker.
    pub in_flight_max: u32,
    /// Wait before a row is tried again.
    pub retry: PositiveMs,
    /// Seq intervals of one row.
    pub seq_intervals_max: u32,
}

impl Config {
    /// The options of a worker. At least one record is in work, at least two intervals are kept.
    pub fn options(&self) -> Options {
        Options {
            in_flight_max: self.in_flight_max.max(1) as usize,
            seq_intervals_max: self.seq_intervals_max.max(2) as usize,
            retry_ms: self.retry.ms() as i64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_chassis::config::Sources;

    #[test]
    fn defaults_load() {
        let config = Sources::default().load::<Config>(SERVICE, DEFAULT_TOML).unwrap().config;
        assert_eq!(config.options(), Options { in_flight_max: 4096, seq_intervals_max: 256, retry_ms: 250 });
    }
}
