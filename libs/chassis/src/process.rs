//! What is configured once per process: section `[process]`.
//!
//! Owns: `process.toml`, the settings of log, admin HTTP, OTLP and drain. Never: a setting of one service.

use crate::admin::AdminConfig;
use crate::config::{ConfigError, Loaded, Sources};
use crate::units::PositiveMs;
use evenkeel_telemetry::{LogFormat, LogTo, Otlp, Settings};
use serde::{Deserialize, Serialize};

/// Name of the section, and of the "service" in `EVENKEEL_PROCESS__…` and `--set process.…`.
pub const SECTION: &str = "process";

/// The embedded defaults.
pub const DEFAULT_TOML: &str = include_str!("process.toml");

/// Section `[process]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ProcessConfig {
    /// Time from the first signal to the drain's deadline.
    pub drain_grace: PositiveMs,
    /// The log.
    pub log: LogConfig,
    /// Admin HTTP.
    pub admin: AdminConfig,
    /// OTLP.
    pub telemetry: TelemetryConfig,
}

/// Section `[process.log]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LogConfig {
    /// Filter directives.
    pub filter: String,
    /// Form of the lines.
    pub format: Format,
}

/// Form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Human on a terminal, JSON otherwise.
    Auto,
    /// For a reader.
    Human,
    /// One object per line.
    Json,
}

/// Section `[process.telemetry]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TelemetryConfig {
    /// OTLP collector; empty = off.
    pub otlp_endpoint: String,
    /// Time between two exports of metrics.
    pub metrics_interval: PositiveMs,
    /// Time one export may take.
    pub export_timeout: PositiveMs,
    /// Share of new traces recorded.
    pub sample_ratio: f64,
    /// `service.instance.id`; empty = left out.
    pub instance: String,
    /// Time the last export may take.
    pub flush_timeout: PositiveMs,
}

impl ProcessConfig {
    /// Reads section `[process]`.
    pub fn load(sources: &Sources) -> Result<Loaded<Self>, ConfigError> {
        let loaded: Loaded<Self> = sources.load(SECTION, DEFAULT_TOML)?;
        let telemetry = &loaded.config.telemetry;
        if !(0.0..=1.0).contains(&telemetry.sample_ratio) {
            let message = format!("{} is not between 0 and 1", telemetry.sample_ratio);
            return Err(loaded.refuse("telemetry.sample-ratio", message));
        }
        if telemetry.otlp_endpoint.contains('@') {
            let message = "must not hold credentials: the endpoint is written to logs";
            return Err(loaded.refuse("telemetry.otlp-endpoint", message));
        }
        Ok(loaded)
    }

    /// The settings telemetry starts with.
    pub fn telemetry_settings(&self, service: &str, version: &str, commit: &str, to: LogTo) -> Settings {
        let telemetry = &self.telemetry;
        let otlp = (!telemetry.otlp_endpoint.is_empty()).then(|| Otlp {
            endpoint: telemetry.otlp_endpoint.clone(),
            metrics_interval: telemetry.metrics_interval.duration(),
            timeout: telemetry.export_timeout.duration(),
            sample_ratio: telemetry.sample_ratio,
        });
        Settings {
            service: service.to_owned(),
            version: version.to_owned(),
            commit: commit.to_owned(),
            instance: telemetry.instance.clone(),
            filter: self.log.filter.clone(),
            format: match self.log.format {
                Format::Auto => LogFormat::Auto,
                Format::Human => LogFormat::Human,
                Format::Json => LogFormat::Json,
            },
            to,
            otlp,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_reads_listens_on_loopback_and_round_trips() {
        let loaded = ProcessConfig::load(&Sources::default()).unwrap();
        assert!(loaded.config.admin.listen.ip().is_loopback());
        let mut again = Sources::default();
        again.text("printed", &loaded.render()).unwrap();
        assert_eq!(ProcessConfig::load(&again).unwrap().config, loaded.config);
        assert!(loaded.config.telemetry_settings("s", "1", "", LogTo::Stderr).otlp.is_none());
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_place() {
        let refused = |set: &str| {
            let mut sources = Sources::default();
            sources.set(set).unwrap();
            ProcessConfig::load(&sources).unwrap_err().to_string()
        };
        assert_eq!(
            refused("process.telemetry.sample-ratio=1.5"),
            "--set: process.telemetry.sample-ratio: 1.5 is not between 0 and 1"
        );
        let credentials = refused("process.telemetry.otlp-endpoint=http://u:hunter2@h:1");
        assert!(credentials.ends_with("must not hold credentials: the endpoint is written to logs"));
        assert!(!credentials.contains("hunter2"));
        let format = refused("process.log.format=xml");
        assert!(
            format.contains("unknown variant `xml`, expected one of `auto`, `human`, `json`"),
            "{format}"
        );
        assert!(refused("process.admin.connections-max=0").contains("process.admin.connections-max: "));
        assert!(refused("process.admin.listen=nowhere").contains("process.admin.listen: "));
    }
}
