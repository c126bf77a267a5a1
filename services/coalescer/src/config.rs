//! The coalescer's configuration: keys as in default.toml, units in the values.

use crate::driver::Options;
use crate::mapping::{MappingConfig, RecordsName, Routing};
use evenkeel_chassis::memory::MemoryBudget;
use evenkeel_chassis::units::{Ms, PositiveBytes, PositiveMs};
use evenkeel_plan::{Fleet, plan};
use evenkeel_window::{Aggregation, Class, Overflow, Settings, SettingsError, TimeSource, WatchSettings};
use serde::{Deserialize, Serialize};

/// The name of the section, and of the environment prefix.
pub const SERVICE: &str = "coalescer";

/// Defaults, a why per key.
pub const DEFAULT_TOML: &str = include_str!("default.toml");

/// Section `[coalescer]`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// Workers of this process; 0 = one per CPU.
    pub workers: u16,
    /// Tick interval.
    pub interval: PositiveMs,
    /// Window sizes of the default class.
    pub sizes: Vec<PositiveMs>,
    /// See `default.toml`, as for every key below.
    pub lateness: Ms,
    /// Silence that closes windows.
    pub idle_timeout: PositiveMs,
    /// Silence that evicts state.
    pub idle_evict: PositiveMs,
    /// Longest time a window is open.
    pub open_age_max: PositiveMs,
    /// Longest standstill of the live clock.
    pub outage_max: Ms,
    /// How far arrivals may lie behind the newest.
    pub clock_slack: Ms,
    /// How far ahead of arrival an event may be.
    pub max_future: Ms,
    /// How far behind arrival an event may be.
    pub max_age: PositiveMs,
    /// Open windows of one series.
    pub open_windows_max: u32,
    /// Rows of one tick.
    pub rows_per_tick_max: u32,
    /// Seq intervals of one window.
    pub seq_intervals_max: u32,
    /// Age of a row when a Mark covers it.
    pub mark_refresh: PositiveMs,
    /// Age of raw events.
    pub horizon: PositiveMs,
    /// Peak events/s of one stream.
    pub rate_max: u32,
    /// Folded or buffered.
    pub aggregation: AggregationName,
    /// What a full ring does.
    pub overflow: OverflowName,
    /// Raw events in rows.
    pub include_events: bool,
    /// Which clock places events.
    pub time: TimeName,
    /// State of this process.
    pub memory_budget: MemoryBudget,
    /// Outputs waiting for the next transaction.
    pub output_max: PositiveBytes,
    /// Streams the budget must hold; 0 = not checked.
    pub streams_expected: u64,
    /// Streams of a partition that gateways may look at.
    pub watched_streams_max: u32,
    /// Points and rows kept for them, per partition.
    pub history_max: PositiveBytes,
    /// When the log is shorter than recovery needs.
    pub cut_log: CutLog,
    /// What the records of the events topic are.
    pub records: RecordsName,
    /// Classes before the default one.
    pub class: Vec<ClassConfig>,
    /// Where things are in records of JSON.
    pub mapping: MappingConfig,
}

/// A `[[coalescer.class]]`: keys left out are the default class's.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ClassConfig {
    /// Pattern of stream ids; `*` stands for any text.
    pub r#match: String,
    /// Window sizes.
    pub sizes: Option<Vec<PositiveMs>>,
    /// Lateness.
    pub lateness: Option<Ms>,
    /// Silence that closes windows.
    pub idle_timeout: Option<PositiveMs>,
    /// Age of raw events.
    pub horizon: Option<PositiveMs>,
    /// Peak events/s.
    pub rate_max: Option<u32>,
    /// Folded or buffered.
    pub aggregation: Option<AggregationName>,
    /// What a full ring does.
    pub overflow: Option<OverflowName>,
    /// Raw events in rows.
    pub include_events: Option<bool>,
    /// Which clock places events.
    pub time: Option<TimeName>,
}

/// `aggregation`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AggregationName {
    /// On arrival.
    Folded,
    /// From the ring, at the close.
    Buffered,
}

/// `overflow`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OverflowName {
    /// The oldest leaves.
    EvictOldest,
    /// The new one is refused.
    RejectNew,
    /// Those older than the horizon leave.
    EvictOlderThanHorizon,
}

/// `time`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimeName {
    /// The device's clock.
    Event,
    /// The server's clock.
    Arrival,
}

/// `cut-log`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CutLog {
    /// Go on, count what is lost.
    GoOn,
    /// Refuse to start.
    Refuse,
}

/// Why a configuration cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// A value.
    #[error("coalescer.{0}")]
    Settings(#[from] SettingsError),
    /// `memory-budget` is a share, and of what is not known.
    #[error(
        "coalescer.memory-budget: neither a container limit nor the machine's memory could be read; give a size such as \"2GiB\""
    )]
    NoLimit,
    /// The fleet does not fit.
    #[error(
        "coalescer.streams-expected = {streams}: needs {needed} bytes steady, memory-budget gives {budget}; see `evenkeel plan`"
    )]
    TooSmall {
        /// Streams expected.
        streams: u64,
        /// Bytes needed.
        needed: u64,
        /// Bytes there are.
        budget: u64,
    },
}

impl Config {
    /// The windowing settings.
    pub fn settings(&self) -> Result<Settings, OptionsError> {
        let default = self.default_class();
        let classes = self.class.iter().map(|c| c.over(&default, self)).chain([default.clone()]).collect();
        let settings = Settings {
            classes,
            interval_ms: self.interval.ms() as i64,
            idle_evict_ms: self.idle_evict.ms() as i64,
            open_age_max_ms: self.open_age_max.ms() as i64,
            outage_max_ms: self.outage_max.ms() as i64,
            clock_slack_ms: self.clock_slack.ms() as i64,
            max_future_ms: self.max_future.ms() as i64,
            max_age_ms: self.max_age.ms() as i64,
            open_windows_max: self.open_windows_max as usize,
            seq_intervals_max: self.seq_intervals_max as usize,
            mark_refresh_ms: self.mark_refresh.ms() as i64,
            watch: WatchSettings {
                streams_max: self.watched_streams_max as usize,
                history_bytes_max: self.history_max.bytes() as usize,
            },
            trusts_partitions: self.records == RecordsName::Json && self.mapping.routing == Routing::Trusted,
        };
        settings.check()?;
        Ok(settings)
    }

    /// The options of one of `workers` workers. `memory_limit`: what the process may use, bytes.
    pub fn options(
        &self,
        writer: &str,
        workers: usize,
        memory_limit: Option<u64>,
        hash_seed: u64,
    ) -> Result<Options, OptionsError> {
        let settings = self.settings()?;
        let budget = self.memory_budget.bytes(memory_limit).ok_or(OptionsError::NoLimit)?;
        let fleet = Fleet { streams: self.streams_expected, ..Fleet::default() };
        let class = settings.classes.last().cloned().unwrap_or_default();
        let needed = plan(&fleet, &settings, &class).steady_bytes;
        if needed > budget {
            return Err(OptionsError::TooSmall { streams: self.streams_expected, needed, budget });
        }
        Ok(Options {
            settings,
            writer: writer.to_owned(),
            rows_per_tick_max: (self.rows_per_tick_max as usize).div_ceil(workers.max(1)),
            memory_budget_bytes: budget as usize / workers.max(1),
            output_bytes_max: self.output_max.bytes() as usize,
            refuse_cut_log: self.cut_log == CutLog::Refuse,
            hash_seed,
            records: self.mapping.records(self.records),
        })
    }

    fn default_class(&self) -> Class {
        Class {
            pattern: "*".to_owned(),
            sizes_ms: sizes_ms(&self.sizes),
            lateness_ms: self.lateness.ms() as i64,
            idle_timeout_ms: self.idle_timeout.ms() as i64,
            aggregation: self.aggregation.into(),
            overflow: self.overflow.into(),
            ring_events_max: ring(self.rate_max, self.horizon),
            horizon_ms: self.horizon.ms() as i64,
            include_events: self.include_events,
            time: self.time.into(),
        }
    }
}

impl ClassConfig {
    fn over(&self, default: &Class, config: &Config) -> Class {
        let horizon = self.horizon.unwrap_or(config.horizon);
        Class {
            pattern: self.r#match.clone(),
            sizes_ms: self.sizes.as_deref().map_or_else(|| default.sizes_ms.clone(), sizes_ms),
            lateness_ms: self.lateness.map_or(default.lateness_ms, |v| v.ms() as i64),
            idle_timeout_ms: self.idle_timeout.map_or(default.idle_timeout_ms, |v| v.ms() as i64),
            aggregation: self.aggregation.map_or(default.aggregation, Into::into),
            overflow: self.overflow.map_or(default.overflow, Into::into),
            ring_events_max: ring(self.rate_max.unwrap_or(config.rate_max), horizon),
            horizon_ms: horizon.ms() as i64,
            include_events: self.include_events.unwrap_or(default.include_events),
            time: self.time.map_or(default.time, Into::into),
        }
    }
}

/// `ceil(rate-max · horizon)` events.
fn ring(rate_max: u32, horizon: PositiveMs) -> usize {
    (u64::from(rate_max) * horizon.ms()).div_ceil(1000) as usize
}

fn sizes_ms(sizes: &[PositiveMs]) -> Vec<i64> {
    sizes.iter().map(|s| s.ms() as i64).collect()
}

impl From<AggregationName> for Aggregation {
    fn from(name: AggregationName) -> Self {
        match name {
            AggregationName::Folded => Self::Folded,
            AggregationName::Buffered => Self::Buffered,
        }
    }
}

impl From<OverflowName> for Overflow {
    fn from(name: OverflowName) -> Self {
        match name {
            OverflowName::EvictOldest => Self::EvictOldest,
            OverflowName::RejectNew => Self::RejectNew,
            OverflowName::EvictOlderThanHorizon => Self::EvictOlderThanHorizon,
        }
    }
}

impl From<TimeName> for TimeSource {
    fn from(name: TimeName) -> Self {
        match name {
            TimeName::Event => Self::Event,
            TimeName::Arrival => Self::Arrival,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_chassis::config::Sources;

    fn load(text: &str) -> Config {
        let mut sources = Sources::default();
        sources.text("test.toml", text).unwrap();
        sources.load::<Config>(SERVICE, DEFAULT_TOML).unwrap().config
    }

    #[test]
    fn defaults_are_the_contracts() {
        let settings = load("").settings().unwrap();
        assert_eq!(settings, Settings::default());
    }

    #[test]
    fn a_class_takes_what_it_leaves_out_from_the_default() {
        let config = load(
            "[coalescer]\nlateness = \"3s\"\n[[coalescer.class]]\nmatch = \"imu/*\"\nrate-max = 64\ntime = \"arrival\"\n",
        );
        let settings = config.settings().unwrap();
        let imu = &settings.classes[settings.class_of("imu/7")];
        assert_eq!((imu.lateness_ms, imu.ring_events_max, imu.time), (3000, 64 * 30, TimeSource::Arrival));
        assert_eq!(settings.classes[settings.class_of("bowl/7")].time, TimeSource::Event);
    }

    #[test]
    fn a_budget_is_shared_by_the_workers() {
        let options = load("").options("w", 2, Some(1000 << 20), 1).unwrap();
        assert_eq!(options.memory_budget_bytes, (1000 << 20) / 100 * 60 / 2);
        assert_eq!(load("").options("w", 2, None, 1), Err(OptionsError::NoLimit));
        let too_many = load("[coalescer]\nstreams-expected = 10000000\n").options("w", 1, Some(1 << 30), 1);
        assert!(matches!(too_many, Err(OptionsError::TooSmall { streams: 10_000_000, .. })), "{too_many:?}");
    }
}
