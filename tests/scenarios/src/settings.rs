//! The settings of one scenario: what the services are configured with and the reference model judges by.

use crate::rng::Rng;

/// Settings of one scenario. Times in ms.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Partitions of every topic.
    pub partitions: u32,
    /// Classes, the first whose prefix fits a stream is its class; the last has an empty prefix.
    pub classes: Vec<Class>,
    /// The metronome's interval.
    pub interval_ms: i64,
    /// An event further ahead of its arrival is `future`.
    pub max_future_ms: i64,
    /// An event further behind its arrival is `too_old`.
    pub max_age_ms: i64,
    /// A record further behind the log clock counts as arrived at log clock − slack.
    pub clock_slack_ms: i64,
    /// Silence after which a stream without state is evicted.
    pub idle_evict_ms: i64,
    /// Age after which an open window closes.
    pub open_age_max_ms: i64,
    /// No traffic at all for longer than idle-timeout and up to this is an outage, not silence.
    pub outage_max_ms: i64,
    /// Age of a row after which a Mark covers it.
    pub mark_refresh_ms: i64,
    /// Most rows of one tick.
    pub rows_per_tick_max: usize,
    /// Most intervals of a window's seq set.
    pub seq_intervals_max: usize,
    /// Bytes of state of one worker before the longest-silent streams are evicted.
    pub memory_budget_bytes: usize,
    /// Whether windows may close by facts: silence, age, eviction. Without them rows are a function of
    /// the log alone.
    pub facts: bool,
}

/// Settings of the streams whose id starts with a prefix.
#[derive(Debug, Clone, PartialEq)]
pub struct Class {
    /// The prefix; empty = every stream.
    pub prefix: String,
    /// Window sizes, rising, ms.
    pub sizes_ms: Vec<i64>,
    /// How far the watermark trails the largest event time, ms.
    pub lateness_ms: i64,
    /// Silence after which a stream's windows close, ms.
    pub idle_timeout_ms: i64,
    /// Most open windows of one (stream, size).
    pub open_windows_max: usize,
    /// Devices without a clock: the event time is the arrival.
    pub by_arrival: bool,
}

impl Settings {
    /// The class of a stream.
    pub fn class_of(&self, stream_id: &str) -> &Class {
        let found = self.classes.iter().find(|class| stream_id.starts_with(&class.prefix));
        found.unwrap_or(&self.classes[self.classes.len() - 1])
    }

    /// Every window size of any class, rising.
    pub fn sizes_ms(&self) -> Vec<i64> {
        let mut sizes: Vec<i64> = self.classes.iter().flat_map(|class| class.sizes_ms.clone()).collect();
        sizes.sort_unstable();
        sizes.dedup();
        sizes
    }

    /// Small bounds and short times, so that a minute of traffic meets every rule. The values are those of
    /// the design's executable model, a second there = a second here.
    pub fn small(rng: &mut Rng) -> Self {
        let sizes: [&[i64]; 4] = [&[5_000], &[5_000, 15_000], &[5_000, 12_000], &[4_000, 6_000]];
        let class = Class {
            prefix: String::new(),
            sizes_ms: rng.pick(&sizes).to_vec(),
            lateness_ms: rng.pick(&[0, 3_000, 3_000, 6_000]),
            idle_timeout_ms: 8_000,
            open_windows_max: rng.pick(&[2, 3, 6]),
            by_arrival: false,
        };
        Self {
            partitions: rng.pick(&[1, 1, 2, 3]),
            classes: vec![class],
            interval_ms: 1_000,
            max_future_ms: 10_000,
            max_age_ms: 60_000,
            clock_slack_ms: 4_000,
            idle_evict_ms: rng.pick(&[9_000, 20_000]),
            open_age_max_ms: 25_000,
            outage_max_ms: 12_000,
            mark_refresh_ms: 5_000,
            rows_per_tick_max: rng.pick(&[1, 2, 2, 3, 99]),
            seq_intervals_max: rng.pick(&[2, 3, 8]),
            memory_budget_bytes: rng.pick(&[1 << 30, 1 << 30, 6_000, 3_000]),
            facts: true,
        }
    }

    /// The same, but windows close by functions of the log only.
    pub fn without_facts(mut self) -> Self {
        self.facts = false;
        self.memory_budget_bytes = 1 << 30;
        self.open_age_max_ms = 1_000_000_000;
        self.idle_evict_ms = 1_000_000_000;
        for class in &mut self.classes {
            class.idle_timeout_ms = 1_000_000_000;
        }
        self
    }

    /// The product's defaults.
    pub fn product() -> Self {
        let class = Class {
            prefix: String::new(),
            sizes_ms: vec![5_000, 60_000],
            lateness_ms: 2_000,
            idle_timeout_ms: 30_000,
            open_windows_max: 64,
            by_arrival: false,
        };
        Self {
            partitions: 4,
            classes: vec![class],
            interval_ms: 1_000,
            max_future_ms: 300_000,
            max_age_ms: 7 * 86_400_000,
            clock_slack_ms: 60_000,
            idle_evict_ms: 120_000,
            open_age_max_ms: 600_000,
            outage_max_ms: 600_000,
            mark_refresh_ms: 30_000,
            rows_per_tick_max: 100_000,
            seq_intervals_max: 256,
            memory_budget_bytes: 1 << 30,
            facts: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_class_that_fits_is_the_class() {
        let mut settings = Settings::product();
        let imu = Class { prefix: "imu/".into(), sizes_ms: vec![5_000], ..settings.classes[0].clone() };
        settings.classes.insert(0, imu);
        assert_eq!(settings.class_of("imu/7").sizes_ms, vec![5_000]);
        assert_eq!(settings.class_of("bowl/7").sizes_ms, vec![5_000, 60_000]);
        assert_eq!(settings.sizes_ms(), vec![5_000, 60_000]);
    }
}
