//! The scorer's configuration: keys as in default.toml, and what a test run caps.

use crate::live::LiveConfig;
use crate::overrides::Overrides;
use crate::runtime::{RuntimeChoice, RuntimeName};
use evenkeel_chassis::units::Bytes;
use evenkeel_scoring::{Policy, Wanted};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The name of the section, and of the environment prefix.
pub const SERVICE: &str = "scorer";

/// Defaults, a why per key.
pub const DEFAULT_TOML: &str = include_str!("default.toml");

/// Most workers: each is a thread.
const WORKERS_MAX: usize = 1024;
/// Most rows that may wait.
const QUEUE_MAX: usize = 1 << 20;

/// Which ways to score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// All rows at once.
    Batch,
    /// Row by row.
    Stream,
    /// Through a bounded queue and workers.
    AsyncStream,
    /// All three. Source C calls it so.
    Both,
}

/// Section `[scorer]`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// Which ways to score.
    pub mode: Mode,
    /// The ONNX model.
    pub model: PathBuf,
    /// Who runs it.
    pub runtime: RuntimeName,
    /// The shared library of onnxruntime.
    pub ort_library: PathBuf,
    /// The rows.
    pub input: PathBuf,
    /// Where the files go.
    pub out: PathBuf,
    /// Rows that the stream modes replay.
    pub rows: usize,
    /// Where prediction 1 begins.
    pub threshold: f64,
    /// Mean gap between arrivals, ms.
    pub jitter_ms: f64,
    /// Rows that may wait.
    pub queue_max: usize,
    /// Threads that score.
    pub workers: usize,
    /// What a full queue does.
    pub drop_policy: Policy,
    /// The seed of the arrivals.
    pub seed: u64,
    /// The columns of a model with one input.
    pub features: Vec<String>,
    /// The class whose probability is the score.
    pub positive_class: String,
    /// The largest input.
    pub input_max: Bytes,
    /// The scorer of windows.
    pub live: LiveConfig,
}

/// A configuration that makes sense.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan(Config);

/// A value that makes no sense.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{name} is {value}; {want}")]
pub struct PlanError {
    name: String,
    value: String,
    want: &'static str,
}

fn wrong(name: &str, value: impl ToString, want: &'static str) -> PlanError {
    PlanError { name: name.to_owned(), value: value.to_string(), want }
}

impl Config {
    /// With what a file or the command line says instead.
    #[must_use]
    pub fn with(mut self, over: Overrides) -> Self {
        over.apply(&mut self);
        self
    }

    /// Checks the values.
    pub fn plan(self) -> Result<Plan, PlanError> {
        if self.model.as_os_str().is_empty() {
            return Err(wrong("model", "not given", "name the ONNX file: --model FILE"));
        }
        if self.input.as_os_str().is_empty() {
            return Err(wrong("input", "not given", "name the CSV or Parquet file: --input FILE"));
        }
        if !(1..=WORKERS_MAX).contains(&self.workers) {
            return Err(wrong("workers", self.workers, "it must be from 1 to 1024: somebody must score"));
        }
        if !(1..=QUEUE_MAX).contains(&self.queue_max) {
            return Err(wrong("queue-max", self.queue_max, "it must be from 1 to 1048576"));
        }
        if self.rows == 0 {
            return Err(wrong("rows", self.rows, "it must be at least 1"));
        }
        if !self.jitter_ms.is_finite() || self.jitter_ms < 0.0 {
            return Err(wrong(
                "jitter-ms",
                self.jitter_ms,
                "it must be 0 or more: time does not run backwards",
            ));
        }
        if !self.threshold.is_finite() {
            return Err(wrong("threshold", self.threshold, "it must be a number"));
        }
        Ok(Plan(self))
    }
}

impl Mode {
    /// Whether this mode includes another.
    pub fn includes(self, mode: Self) -> bool {
        self == mode || self == Self::Both
    }
}

impl Plan {
    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.0
    }

    /// Who runs the model.
    pub fn runtime(&self) -> RuntimeChoice {
        RuntimeChoice { name: self.0.runtime, ort_library: self.0.ort_library.clone() }
    }

    /// What the user says about the model.
    pub fn wanted(&self) -> Wanted {
        Wanted { features: self.0.features.clone(), positive_class: self.0.positive_class.clone() }
    }
}

/// The caps of a test run, from the environment. Source C.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TestMode {
    jitter_ms: f64,
    queue_max: usize,
    workers: usize,
    rows: usize,
}

impl TestMode {
    /// `TEST_MODE` = 1 turns it on; TEST_QUEUE_MAX, TEST_STREAM_WORKERS and TEST_STREAM_ROWS set its caps.
    /// `variable` reads the environment.
    pub fn of(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, PlanError> {
        let on = variable("TEST_MODE").unwrap_or_default();
        match on.trim().to_ascii_lowercase().as_str() {
            "" | "0" | "false" | "no" => return Ok(None),
            "1" | "true" | "yes" => {}
            _ => return Err(wrong("TEST_MODE", on, "it must be 1 or 0")),
        }
        let cap = |name: &str, default: usize| match variable(name) {
            None => Ok(default),
            Some(text) => match text.trim().parse() {
                Ok(n) if n >= 1 => Ok(n),
                _ => Err(wrong(name, text, "it must be a whole number of at least 1")),
            },
        };
        Ok(Some(Self {
            jitter_ms: 1.0,
            queue_max: cap("TEST_QUEUE_MAX", 8)?,
            workers: cap("TEST_STREAM_WORKERS", 1)?,
            rows: cap("TEST_STREAM_ROWS", 16)?,
        }))
    }

    /// The smaller of each value and its cap.
    pub fn cap(self, config: &mut Config) {
        config.jitter_ms = config.jitter_ms.min(self.jitter_ms);
        config.queue_max = config.queue_max.min(self.queue_max);
        config.workers = config.workers.min(self.workers);
        config.rows = config.rows.min(self.rows);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_chassis::config::Sources;

    fn config() -> Config {
        let config = Sources::default().load::<Config>(SERVICE, DEFAULT_TOML).unwrap().config;
        Config { model: "m.onnx".into(), input: "r.csv".into(), ..config }
    }

    #[test]
    fn the_defaults_are_those_of_the_source() {
        let config = config();
        assert_eq!((config.mode, config.rows, config.threshold), (Mode::Both, 64, 0.5));
        assert_eq!((config.jitter_ms, config.queue_max, config.workers), (5.0, 32, 2));
        assert_eq!((config.drop_policy, config.out.to_str()), (Policy::DropNew, Some("artifacts")));
        assert!(config.plan().is_ok());
    }

    #[test]
    fn values_that_make_no_sense_say_what_would() {
        let refused = |change: fn(&mut Config)| {
            let mut config = config();
            change(&mut config);
            config.plan().unwrap_err().to_string()
        };
        assert!(refused(|c| c.workers = 0).starts_with("workers is 0; it must be from 1 to 1024"));
        assert!(refused(|c| c.jitter_ms = -1.0).starts_with("jitter-ms is -1; it must be 0 or more"));
        assert!(refused(|c| c.jitter_ms = f64::NAN).starts_with("jitter-ms is NaN"));
        assert!(refused(|c| c.queue_max = 0).starts_with("queue-max is 0"));
        assert!(refused(|c| c.rows = 0).starts_with("rows is 0"));
        assert!(refused(|c| c.threshold = f64::INFINITY).starts_with("threshold is inf"));
        assert!(refused(|c| c.model = PathBuf::new()).starts_with("model is not given"));
        assert!(refused(|c| c.input = PathBuf::new()).starts_with("input is not given"));
    }

    #[test]
    fn a_test_run_takes_the_smaller_of_both() {
        let env = |set: &'static [(&str, &str)]| {
            move |name: &str| set.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned())
        };
        assert_eq!(TestMode::of(env(&[])), Ok(None));
        assert_eq!(TestMode::of(env(&[("TEST_MODE", "0"), ("TEST_QUEUE_MAX", "x")])), Ok(None));
        let capped = |set| {
            let mut config = config();
            TestMode::of(env(set)).unwrap().unwrap().cap(&mut config);
            (config.jitter_ms, config.queue_max, config.workers, config.rows)
        };
        assert_eq!(capped(&[("TEST_MODE", "1")]), (1.0, 8, 1, 16));
        let set = &[
            ("TEST_MODE", "1"),
            ("TEST_QUEUE_MAX", "99"),
            ("TEST_STREAM_WORKERS", "2"),
            ("TEST_STREAM_ROWS", "20"),
        ];
        assert_eq!(capped(set), (1.0, 32, 2, 20));
        let error =
            TestMode::of(env(&[("TEST_MODE", "1"), ("TEST_STREAM_ROWS", "0")])).unwrap_err().to_string();
        assert_eq!(error, "TEST_STREAM_ROWS is 0; it must be a whole number of at least 1");
        assert!(TestMode::of(env(&[("TEST_MODE", "maybe")])).is_err());
    }
}
