//! Scores and alerts: what the scorer says of windows.

use crate::WindowSpan;

/// What a model said of a window as it was first sent, or of one event of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Score {
    /// The stream.
    pub stream_id: String,
    /// Size and id of the window.
    pub span: WindowSpan,
    /// The event, for a model of events; `None` = a score of the window.
    pub event: Option<ScoredEvent>,
    /// Name of the model, at most [`crate::limits::SCORE_NAME_BYTES_MAX`].
    pub model: String,
    /// Its version, the same limit.
    pub version: String,
    /// Of a model that runs along: it moves no threshold and raises no alert.
    pub shadow: bool,
    /// The score. Finite.
    pub score: f64,
    /// What it was compared with, as it stood before this score; `None` = not compared.
    pub threshold: Option<f64>,
    /// Whether the score reaches the threshold.
    pub prediction: bool,
    /// Largest arrival of the window's events, ms since the epoch.
    pub last_arrival: i64,
}

/// A score as a store keeps it: one per stream, window, model, version, role and place.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredScore {
    /// The score.
    pub score: Score,
    /// [`StoredScore::OF_WINDOW`], or for a score of an event the offset of its record in `scores`: events of one
    /// window have nothing else that surely tells them apart.
    pub place: i64,
}

impl StoredScore {
    /// The place of a score of a whole window.
    pub const OF_WINDOW: i64 = -1;

    /// A score that lies at this offset.
    pub fn at(offset: u64, score: Score) -> Self {
        let place = if score.event.is_some() { offset as i64 } else { Self::OF_WINDOW };
        Self { score, place }
    }
}

/// Which event of a window a score is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScoredEvent {
    /// Its event time, ms since the epoch.
    pub ts: i64,
    /// Its sequence number, if it has one.
    pub seq: Option<u64>,
}

/// A rule began or ceased to hold for a stream, or still holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// The stream.
    pub stream_id: String,
    /// Names the alert from its raise to its clear; see [`alert_id`].
    pub id: String,
    /// What happened.
    pub action: AlertAction,
    /// Why it ended; [`AlertCause::Value`] where it did not end.
    pub cause: AlertCause,
    /// Name of the rule, at most [`crate::limits::SCORE_NAME_BYTES_MAX`].
    pub rule: String,
    /// How bad.
    pub severity: AlertSeverity,
    /// What the rule looks at: a feature such as `weight.mean`, or `score`.
    pub field: String,
    /// What the window said that decided. Finite. For a hold and for a clear other than by value: that of the
    /// raise, as threshold and `t_start`.
    pub value: f64,
    /// What the value was compared with.
    pub threshold: f64,
    /// Length of the window, ms.
    pub size_ms: i64,
    /// First ms of the window that decided.
    pub t_start: i64,
    /// First ms of the window that raised it.
    pub since: i64,
}

/// The id of an alert: `rule/size_ms/since`, unique within its stream.
pub fn alert_id(rule: &str, size_ms: i64, since: i64) -> String {
    format!("{rule}/{size_ms}/{since}")
}

crate::reason::named! {
    /// What happened to an alert.
    AlertAction {
        /// It began.
        Raise = "raise",
        /// It ended.
        Clear = "clear",
        /// It still stands: said again from time to time, so that a bounded stretch of the topic names all
        /// that stand.
        Hold = "hold",
    }
}

crate::reason::named! {
    /// Why an alert ended.
    AlertCause {
        /// A window said so.
        Value = "value",
        /// No window of the stream came for as long as the scorer remembers.
        Silent = "silent",
        /// The rule left the configuration.
        Removed = "removed",
    }
}

crate::reason::named! {
    /// How bad an alert is.
    AlertSeverity {
        /// Worth knowing.
        Info = "info",
        /// Somebody should look.
        Warning = "warning",
        /// Somebody must act.
        Critical = "critical",
    }
}
