//! Settings of the windowing core, checked once so that the core cannot be given nonsense.

use evenkeel_model::fits;
use evenkeel_model::limits::{BATCH_EVENTS_MAX, FIELDS_MAX};

/// How rows come about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Aggregation {
    /// Events fold into their open windows on arrival.
    #[default]
    Folded,
    /// Events wait in a ring; the row is computed from it when the window closes.
    Buffered,
}

/// What a full ring of buffered mode does with one more event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overflow {
    /// The oldest event of the window leaves.
    #[default]
    EvictOldest,
    /// The new event is refused.
    RejectNew,
    /// Events that arrived longer than the horizon ago leave; if there are none, the new one is refused.
    EvictOlderThanHorizon,
}

/// Which clock places an event in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimeSource {
    /// The device's.
    #[default]
    Event,
    /// The server's: for devices without a clock to trust.
    Arrival,
}

/// Settings of the streams whose id fits `pattern`. The first class that fits counts.
#[derive(Debug, Clone, PartialEq)]
pub struct Class {
    /// `*` stands for any text; everything else is literal.
    pub pattern: String,
    /// Window sizes, ms, rising.
    pub sizes_ms: Vec<i64>,
    /// How far behind the largest event time a window stays open, ms.
    pub lateness_ms: i64,
    /// Silence after which windows close, ms.
    pub idle_timeout_ms: i64,
    /// Folded or buffered.
    pub aggregation: Aggregation,
    /// What a full ring does.
    pub overflow: Overflow,
    /// Ring capacity per window, events: `ceil(rate-max · horizon)`.
    pub ring_events_max: usize,
    /// Age beyond which ring events may go, ms.
    pub horizon_ms: i64,
    /// Whether rows carry the raw events.
    pub include_events: bool,
    /// Which clock places events.
    pub time: TimeSource,
}

/// Settings of one partition's core.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Classes in order; the last one fits everything.
    pub classes: Vec<Class>,
    /// Tick interval, ms.
    pub interval_ms: i64,
    /// Silence after which a stream's state is evicted, ms.
    pub idle_evict_ms: i64,
    /// Longest time a window stays open, ms.
    pub open_age_max_ms: i64,
    /// Longest standstill of the live clock, ms.
    pub outage_max_ms: i64,
    /// How far behind the log clock an arrival may count, ms.
    pub clock_slack_ms: i64,
    /// How far ahead of arrival an event time may be, ms.
    pub max_future_ms: i64,
    /// How far behind arrival an event time may be, ms.
    pub max_age_ms: i64,
    /// Most open windows of one series.
    pub open_windows_max: usize,
    /// Most seq intervals of one window.
    pub seq_intervals_max: usize,
    /// Age of a row after which a Mark covers it, ms.
    pub mark_refresh_ms: i64,
    /// Whether a stream is wherever its records are, whatever their keys: for topics of other systems, whose producers
    /// must keep a stream in one partition for ever.
    pub trusts_partitions: bool,
}

/// What is wrong with settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} = {value}: {why}")]
pub struct SettingsError {
    /// The key, as in the configuration.
    pub key: &'static str,
    /// Its value.
    pub value: String,
    /// What is allowed.
    pub why: &'static str,
}

/// Most distinct window sizes of one process: each costs a line in the commit metadata.
pub const SIZES_MAX: usize = 8;
/// Largest window size, ms: longer ones are rollups.
pub const SIZE_MAX_MS: i64 = 300_000;
/// Longest duration of any setting, ms: 100 years. Sums with times of the contract stay far from overflow.
pub const DURATION_MAX_MS: i64 = 36_525 * 86_400_000;

impl Default for Class {
    fn default() -> Self {
        Self {
            pattern: "*".to_owned(),
            sizes_ms: vec![5_000, 60_000],
            lateness_ms: 2_000,
            idle_timeout_ms: 30_000,
            aggregation: Aggregation::default(),
            overflow: Overflow::default(),
            ring_events_max: 1_200,
            horizon_ms: 30_000,
            include_events: false,
            time: TimeSource::default(),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        const DAY_MS: i64 = 86_400_000;
        Self {
            classes: vec![Class::default()],
            interval_ms: 1_000,
            idle_evict_ms: 120_000,
            open_age_max_ms: 600_000,
            outage_max_ms: 600_000,
            clock_slack_ms: 60_000,
            max_future_ms: 300_000,
            max_age_ms: 7 * DAY_MS,
            open_windows_max: 64,
            seq_intervals_max: 256,
            mark_refresh_ms: 30_000,
            trusts_partitions: false,
        }
    }
}

impl Settings {
    /// Checks every value and that the last class fits every stream.
    pub fn check(&self) -> Result<(), SettingsError> {
        duration("interval", self.interval_ms, 1)?;
        duration("idle-evict", self.idle_evict_ms, 1)?;
        duration("open-age-max", self.open_age_max_ms, 1)?;
        duration("outage-max", self.outage_max_ms, 0)?;
        duration("clock-slack", self.clock_slack_ms, 0)?;
        duration("max-future", self.max_future_ms, 0)?;
        duration("max-age", self.max_age_ms, 1)?;
        duration("mark-refresh", self.mark_refresh_ms, 1)?;
        at_least("open-windows-max", self.open_windows_max, 1, "must be at least 1")?;
        at_least("seq-intervals-max", self.seq_intervals_max, 2, "must be at least 2")?;
        if self.classes.is_empty() || self.classes.len() > 64 {
            let value = self.classes.len().to_string();
            return Err(SettingsError { key: "class", value, why: "1 to 64 classes" });
        }
        if self.classes.last().is_some_and(|c| c.pattern != "*") {
            let value = self.classes[self.classes.len() - 1].pattern.clone();
            return Err(SettingsError { key: "class.match", value, why: "the last class must match *" });
        }
        self.classes.iter().try_for_each(Class::check)?;
        match self.sizes_ms().len() <= SIZES_MAX {
            true => Ok(()),
            false => {
                let value = format!("{:?}", self.sizes_ms());
                Err(SettingsError { key: "sizes", value, why: "at most 8 distinct sizes over all classes" })
            }
        }
    }

    /// Every size of every class, rising, ms.
    pub fn sizes_ms(&self) -> Vec<i64> {
        let mut sizes: Vec<i64> = self.classes.iter().flat_map(|c| c.sizes_ms.iter().copied()).collect();
        sizes.sort_unstable();
        sizes.dedup();
        sizes
    }

    /// Position of the first class whose pattern fits.
    pub fn class_of(&self, stream_id: &str) -> usize {
        self.classes.iter().position(|c| fits(&c.pattern, stream_id)).unwrap_or(self.classes.len() - 1)
    }
}

impl Class {
    fn check(&self) -> Result<(), SettingsError> {
        let refuse = |key, value: String, why| Err(SettingsError { key, value, why });
        let sizes = format!("{:?}", self.sizes_ms);
        if self.sizes_ms.is_empty() || !self.sizes_ms.windows(2).all(|w| w[0] < w[1]) {
            return refuse("sizes", sizes, "at least one size, rising, without repetition");
        }
        if self.sizes_ms.iter().any(|s| !(1..=SIZE_MAX_MS).contains(s)) {
            return refuse("sizes", sizes, "each from 1 ms to size-max = 5m; longer windows are rollups");
        }
        duration("lateness", self.lateness_ms, 0)?;
        duration("idle-timeout", self.idle_timeout_ms, 1)?;
        duration("horizon", self.horizon_ms, 1)?;
        if self.include_events && self.ring_events_max > BATCH_EVENTS_MAX {
            let why = "rate-max · horizon must be at most 65,536 events where rows include them";
            return refuse("rate-max", self.ring_events_max.to_string(), why);
        }
        let ring = self.include_events || self.aggregation == Aggregation::Buffered;
        if ring && !(1..=1_000_000).contains(&self.ring_events_max) {
            let why = "rate-max · horizon must be 1 to 1,000,000 events";
            return refuse("rate-max", self.ring_events_max.to_string(), why);
        }
        Ok(())
    }

    /// The capacity of a window's field table.
    pub const fn fields_max(&self) -> usize {
        FIELDS_MAX
    }

    /// Whether windows of the class keep raw events.
    pub fn keeps_events(&self) -> bool {
        self.include_events || self.aggregation == Aggregation::Buffered
    }
}

fn duration(key: &'static str, value_ms: i64, least_ms: i64) -> Result<(), SettingsError> {
    let why = match least_ms {
        0 => "must be 0 ms to 100 years",
        _ => "must be 1 ms to 100 years",
    };
    match (least_ms..=DURATION_MAX_MS).contains(&value_ms) {
        true => Ok(()),
        false => Err(SettingsError { key, value: value_ms.to_string(), why }),
    }
}

fn at_least(key: &'static str, value: usize, least: usize, why: &'static str) -> Result<(), SettingsError> {
    match value >= least {
        true => Ok(()),
        false => Err(SettingsError { key, value: value.to_string(), why }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_is_refused_with_key_and_limit() {
        assert_eq!(Settings::default().check(), Ok(()));
        let broken = |change: fn(&mut Settings)| {
            let mut settings = Settings::default();
            change(&mut settings);
            settings.check().unwrap_err().key
        };
        assert_eq!(broken(|s| s.interval_ms = 0), "interval");
        assert_eq!(broken(|s| s.classes[0].sizes_ms = vec![]), "sizes");
        assert_eq!(broken(|s| s.classes[0].sizes_ms = vec![5, 5]), "sizes");
        assert_eq!(broken(|s| s.classes[0].sizes_ms = vec![300_001]), "sizes");
        assert_eq!(broken(|s| s.classes[0].sizes_ms = (1..=9).collect()), "sizes");
        assert_eq!(broken(|s| s.classes[0].pattern = "imu/*".into()), "class.match");
        assert_eq!(broken(|s| s.seq_intervals_max = 1), "seq-intervals-max");
        assert_eq!(broken(|s| s.classes[0].lateness_ms = -1), "lateness");
    }
}
