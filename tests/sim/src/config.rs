//! A scenario's settings as the services take them.

use evenkeel_scenarios::Settings;
use evenkeel_window::WatchSettings;
use evenkeel_window::{Class, TimeSource};

/// The core's settings.
pub fn core_settings(settings: &Settings) -> evenkeel_window::Settings {
    let class = |class: &evenkeel_scenarios::Class| Class {
        pattern: format!("{}*", class.prefix),
        sizes_ms: class.sizes_ms.clone(),
        lateness_ms: class.lateness_ms,
        idle_timeout_ms: class.idle_timeout_ms,
        time: if class.by_arrival { TimeSource::Arrival } else { TimeSource::Event },
        ..Class::default()
    };
    evenkeel_window::Settings {
        classes: settings.classes.iter().map(class).collect(),
        interval_ms: settings.interval_ms,
        idle_evict_ms: settings.idle_evict_ms,
        open_age_max_ms: settings.open_age_max_ms,
        outage_max_ms: settings.outage_max_ms,
        clock_slack_ms: settings.clock_slack_ms,
        max_future_ms: settings.max_future_ms,
        max_age_ms: settings.max_age_ms,
        open_windows_max: settings.classes.last().map_or(1, |class| class.open_windows_max),
        seq_intervals_max: settings.seq_intervals_max,
        mark_refresh_ms: settings.mark_refresh_ms,
        trusts_partitions: false,
        watch: WatchSettings::default(),
    }
}
