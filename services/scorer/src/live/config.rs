//! The configuration of the scorer of windows: keys as in default.toml, checked as a whole.

use crate::live::driver::Options;
use crate::live::models::{ModelFiles, Source};
use crate::runtime::{RuntimeChoice, RuntimeName};
use evenkeel_chassis::units::{Ms, PositiveBytes, PositiveMs};
use evenkeel_model::AlertSeverity;
use evenkeel_scoring::{
    AlertRule, AlertRuleError, Core, Feature, FeatureError, Policy, Rule, RuleError, ScoreAlert, Settings,
    Side, Wanted,
};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;

/// Most scores that a threshold remembers.
const WINDOW_MAX: usize = 65_536;
/// Most rules.
const RULES_MAX: usize = 1_000;
/// Most rows that may wait, or be scored at once.
const ROWS_MAX: usize = 1 << 20;

/// Table `[scorer.live]`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LiveConfig {
    /// Workers of this process; 0 = one per CPU.
    pub workers: u16,
    /// Time between commits.
    pub interval: PositiveMs,
    /// See `default.toml`, as for every key below.
    pub memory: PositiveMs,
    /// How often a standing alert is said again.
    pub alert_refresh: PositiveMs,
    /// Series of a partition.
    pub series_max: usize,
    /// Window sizes that are looked at.
    pub sizes: Vec<PositiveMs>,
    /// What a model scores.
    pub per: Per,
    /// The model.
    pub model: PathBuf,
    /// What scores call it.
    pub model_name: String,
    /// What scores call its version.
    pub model_version: String,
    /// A model that runs along.
    pub shadow: PathBuf,
    /// Who runs the models.
    pub runtime: RuntimeName,
    /// The shared library of onnxruntime.
    pub ort_library: PathBuf,
    /// How often the files are looked at.
    pub reload: Ms,
    /// What the model was trained on.
    pub profile: PathBuf,
    /// Rows per measurement of drift.
    pub drift_rows: u64,
    /// The columns of a model with one input.
    pub features: Vec<String>,
    /// The class whose probability is the score.
    pub positive_class: String,
    /// The name of the alert of scores.
    pub alert: String,
    /// How bad it is.
    pub severity: SeverityName,
    /// Rows that may wait.
    pub queue_max: usize,
    /// What a full queue does.
    pub drop_policy: Policy,
    /// Rows scored at once.
    pub batch_max: usize,
    /// How long a row waits for others.
    pub batch_wait: Ms,
    /// Outputs that may wait.
    pub output_max: PositiveBytes,
    /// Alerts without a model.
    pub rule: Vec<RuleConfig>,
    /// Where the bar for scores is.
    pub threshold: ThresholdConfig,
}

/// `per`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Per {
    /// A row.
    Window,
    /// Each raw event of a row.
    Event,
}

/// `severity`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SeverityName {
    /// Worth knowing.
    Info,
    /// Somebody should look.
    #[default]
    Warning,
    /// Somebody must act.
    Critical,
}

/// A `[[scorer.live.rule]]`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RuleConfig {
    /// Its name.
    pub name: String,
    /// Which streams.
    #[serde(default = "everything")]
    pub r#match: String,
    /// Which window size.
    #[serde(default)]
    pub size: Option<PositiveMs>,
    /// The feature it looks at.
    pub field: String,
    /// Raises above this.
    #[serde(default)]
    pub above: Option<f64>,
    /// Raises below this.
    #[serde(default)]
    pub below: Option<f64>,
    /// How far back a value must be to clear.
    #[serde(default)]
    pub hysteresis: f64,
    /// Windows in a row that raise it.
    #[serde(default = "one")]
    pub windows: usize,
    /// Windows in a row that clear it.
    #[serde(default = "one")]
    pub clear_windows: usize,
    /// How bad it is.
    #[serde(default)]
    pub severity: SeverityName,
}

/// Table `[scorer.live.threshold]`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ThresholdConfig {
    /// Which rule.
    pub rule: ThresholdName,
    /// The threshold, or where it begins.
    pub value: f64,
    /// How far below it an alert ends.
    pub hysteresis: f64,
    /// Which quantile.
    pub quantile: f64,
    /// Of how many scores.
    pub window: usize,
    /// Scores before the quantile counts.
    pub scores_min: usize,
    /// The share that should pass.
    pub rate: f64,
    /// How fast a target rate moves.
    pub step: f64,
}

/// `threshold.rule`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ThresholdName {
    /// Always the same.
    Fixed,
    /// Of the streams of a partition.
    FleetQuantile,
    /// Of the stream's own.
    StreamQuantile,
    /// Moves until a share passes.
    TargetRate,
}

/// Why a configuration cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum LiveError {
    /// A value.
    #[error("scorer.live.{key} is {value}; {want}")]
    Value {
        /// The key.
        key: &'static str,
        /// The value.
        value: String,
        /// What it may be.
        want: &'static str,
    },
    /// A rule.
    #[error("scorer.live: {0}")]
    Rule(#[from] AlertRuleError),
    /// A rule's field.
    #[error("scorer.live: rule {rule:?}: field: {source}")]
    Field {
        /// The rule.
        rule: String,
        /// Why.
        source: FeatureError,
    },
    /// A feature of a model.
    #[error("scorer.live: the model takes {0}")]
    Feature(#[from] FeatureError),
    /// The threshold.
    #[error("scorer.live.threshold: {0}")]
    Threshold(#[from] RuleError),
}

fn everything() -> String {
    "*".to_owned()
}

fn one() -> usize {
    1
}

fn wrong<T>(key: &'static str, value: impl ToString, want: &'static str) -> Result<T, LiveError> {
    Err(LiveError::Value { key, value: value.to_string(), want })
}

impl LiveConfig {
    /// Whether there is anything to do.
    pub fn is_on(&self) -> bool {
        self.has_model() || !self.rule.is_empty()
    }

    /// Whether there is a model.
    pub fn has_model(&self) -> bool {
        !self.model.as_os_str().is_empty()
    }

    /// Where the models are and what they are called.
    pub fn model_files(&self) -> ModelFiles {
        let given = |path: &PathBuf| Some(path.clone()).filter(|path| !path.as_os_str().is_empty());
        let wanted = Wanted { features: self.features.clone(), positive_class: self.positive_class.clone() };
        let runtime = RuntimeChoice { name: self.runtime, ort_library: self.ort_library.clone() };
        let source = |path, name: &str, version: &str| Source {
            path,
            name: name.to_owned(),
            version: version.to_owned(),
            wanted: wanted.clone(),
            runtime: runtime.clone(),
        };
        ModelFiles {
            primary: given(&self.model).map(|path| source(path, &self.model_name, &self.model_version)),
            shadow: given(&self.shadow).map(|path| source(path, "", "")),
            profile: given(&self.profile),
        }
    }

    /// What a worker works with. `columns`: what the models take.
    pub fn options(&self, writer: &str, columns: Vec<String>) -> Result<Options, LiveError> {
        if !self.is_on() {
            return wrong("model", "not given", "name a model, or write a [[scorer.live.rule]]");
        }
        if !self.has_model() && !self.shadow.as_os_str().is_empty() {
            return wrong("shadow", self.shadow.display(), "it runs along with a model: give that too");
        }
        for (key, rows) in [("queue-max", self.queue_max), ("batch-max", self.batch_max)] {
            if !(1..=ROWS_MAX).contains(&rows) {
                return wrong(key, rows, "it must be from 1 to 1048576");
            }
        }
        if self.series_max == 0 {
            return wrong("series-max", 0, "it must be at least 1");
        }
        if self.drift_rows == 0 {
            return wrong("drift-rows", 0, "it must be at least 1");
        }
        for (key, name) in
            [("alert", &self.alert), ("model-name", &self.model_name), ("model-version", &self.model_version)]
        {
            if name.len() > evenkeel_model::limits::SCORE_NAME_BYTES_MAX {
                return wrong(key, name, "it must have at most 128 bytes");
            }
        }
        let settings = Arc::new(self.settings(&columns)?);
        Core::new(&settings)?; // a threshold that makes no sense is refused here
        Ok(Options {
            settings,
            columns,
            of_events: self.per == Per::Event,
            writer: writer.to_owned(),
            queue_max: self.queue_max,
            policy: self.drop_policy,
            batch_max: self.batch_max,
            batch_wait_ms: self.batch_wait.ms() as i64,
            output_bytes_max: self.output_max.bytes() as usize,
            drift_rows: self.drift_rows,
        })
    }

    fn settings(&self, columns: &[String]) -> Result<Settings, LiveError> {
        let rules = self.rule.iter().map(RuleConfig::rule).collect::<Result<Vec<_>, _>>()?;
        if rules.len() > RULES_MAX {
            return wrong("rule", rules.len(), "there may be at most 1000 rules");
        }
        let names = || rules.iter().map(|rule| &rule.name).chain([&self.alert]);
        if let Some(twice) = names().find(|name| names().filter(|other| other == name).count() > 1) {
            return wrong("rule", twice, "a rule's name must be its own: alerts are told apart by it");
        }
        let features = match self.per {
            Per::Window => columns.iter().map(|name| name.parse::<Feature>()).collect::<Result<_, _>>()?,
            Per::Event => Vec::new(),
        };
        let score_alert = Some(&self.alert).filter(|name| !name.is_empty() && self.has_model());
        Ok(Settings {
            memory_ms: self.memory.ms() as i64,
            refresh_ms: self.alert_refresh.ms() as i64,
            series_max: self.series_max,
            sizes_ms: self.sizes.iter().map(|size| size.ms() as i64).collect(),
            rules,
            features,
            threshold: self.threshold.rule()?,
            hysteresis: self.threshold.hysteresis,
            score_alert: score_alert
                .map(|name| ScoreAlert { rule: name.clone(), severity: self.severity.into() }),
        })
    }
}

impl RuleConfig {
    fn rule(&self) -> Result<AlertRule, LiveError> {
        let (side, threshold) = match (self.above, self.below) {
            (Some(threshold), None) => (Side::Above, threshold),
            (None, Some(threshold)) => (Side::Below, threshold),
            _ => {
                return wrong("rule", &self.name, "it needs above or below, and not both");
            }
        };
        let feature = self.field.parse();
        let feature = feature.map_err(|source| LiveError::Field { rule: self.name.clone(), source })?;
        let rule = AlertRule {
            name: self.name.clone(),
            pattern: self.r#match.clone(),
            size_ms: self.size.map(|size| size.ms() as i64),
            feature,
            side,
            threshold,
            hysteresis: self.hysteresis,
            windows: self.windows,
            clear_windows: self.clear_windows,
            severity: self.severity.into(),
        };
        rule.check()?;
        Ok(rule)
    }
}

impl ThresholdConfig {
    fn rule(&self) -> Result<Rule, LiveError> {
        let Self { value, quantile, window, scores_min, rate, step, .. } = *self;
        if !(1..=WINDOW_MAX).contains(&window) {
            return wrong("threshold.window", window, "it must be from 1 to 65536");
        }
        if !value.is_finite() || !self.hysteresis.is_finite() {
            return wrong("threshold.value", value, "it and hysteresis must be numbers");
        }
        Ok(match self.rule {
            ThresholdName::Fixed => Rule::Fixed { threshold: value },
            ThresholdName::FleetQuantile => {
                Rule::FleetQuantile { quantile, window, start: value, scores_min }
            }
            ThresholdName::StreamQuantile => {
                Rule::StreamQuantile { quantile, window, start: value, scores_min }
            }
            ThresholdName::TargetRate => Rule::TargetRate { rate, step, start: value },
        })
    }
}

impl From<SeverityName> for AlertSeverity {
    fn from(name: SeverityName) -> Self {
        match name {
            SeverityName::Info => Self::Info,
            SeverityName::Warning => Self::Warning,
            SeverityName::Critical => Self::Critical,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, DEFAULT_TOML, SERVICE};
    use evenkeel_chassis::config::Sources;

    fn live(text: &str) -> LiveConfig {
        let mut sources = Sources::default();
        sources.text("test.toml", text).unwrap();
        sources.load::<Config>(SERVICE, DEFAULT_TOML).unwrap().config.live
    }

    const HOT: &str = "[[scorer.live.rule]]\nname = \"hot\"\nfield = \"t.max\"\nabove = 90\n";

    #[test]
    fn without_a_model_and_a_rule_there_is_nothing_to_do() {
        assert!(!live("").is_on());
        let error = live("").options("w", vec![]).unwrap_err().to_string();
        assert!(error.contains("name a model, or write a [[scorer.live.rule]]"), "{error}");
    }

    #[test]
    fn rules_and_no_model_are_a_whole_configuration() {
        let config = live(HOT);
        assert!(config.is_on() && config.model_files().primary.is_none());
        let settings = config.options("w", vec![]).unwrap().settings;
        let rule = &settings.rules[0];
        assert_eq!((rule.pattern.as_str(), rule.size_ms, rule.windows), ("*", None, 1));
        assert_eq!((rule.severity, settings.score_alert.clone()), (AlertSeverity::Warning, None));
        assert_eq!((settings.memory_ms, settings.refresh_ms), (3_600_000, 600_000));
    }

    #[test]
    fn nonsense_says_what_would_be() {
        let refused = |text: &str| live(text).options("w", vec![]).unwrap_err().to_string();
        let both = format!("{HOT}below = 3\n");
        assert!(refused(&both).contains("it needs above or below, and not both"));
        assert!(refused(&HOT.replace("t.max", "t")).contains("rule \"hot\": field: \"t\" is no feature"));
        assert!(refused(&format!("{HOT}windows = 65\n")).contains("windows is 65"));
        assert!(refused(&format!("{HOT}{HOT}")).contains("hot; a rule's name must be its own"));
        assert!(refused(&HOT.replace("hot", "score")).contains("must be its own"));
        let window = format!("{HOT}[scorer.live.threshold]\nwindow = 0\n");
        assert!(refused(&window).contains("threshold.window is 0"));
        let rate = format!("{HOT}[scorer.live.threshold]\nrule = \"target-rate\"\nrate = 2.0\n");
        assert!(refused(&rate).contains("rate is 2"));
        assert!(refused("[scorer.live]\nshadow = \"b.onnx\"\n").contains("name a model"));
        let columns = live("[scorer.live]\nmodel = \"m.onnx\"\n").options("w", vec!["weight".into()]);
        assert!(columns.unwrap_err().to_string().contains("the model takes \"weight\" is no feature"));
    }
}
