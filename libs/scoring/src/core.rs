//! One partition of `windows`: what its rows and their scores mean, in their order.
//!
//! Owns: the past of its series, the thresholds, the alerts that stand, and the way back to all three. Never: a
//! model (scores come in from outside), a log, a clock of its own.
//!
//! Everything but [`Core::hold`] is a function of the rows and the scores, so a crash changes nothing: rows since
//! `windows_from` bring back the past, scores since `scores_from` the thresholds, alerts since `alerts_from` what
//! stands ([`WayBack`]). Rows and scores of one series must come in order, and a series with a score outstanding is
//! not forgotten before it has come ([`Core::make_room`]).

use crate::ages::Ages;
use crate::feature::Feature;
use crate::past::{Past, SeriesKey, Slot, Standing};
use crate::rule::{AlertRule, Finding};
use crate::said::SaidAlerts;
use crate::threshold::{Rule, RuleError, Thresholds};
use evenkeel_model::{
    Alert, AlertAction, AlertCause, AlertSeverity, Score, ScoredEvent, WindowRow, WindowSpan, alert_id,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a core works with.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// How long rows and scores are remembered, by arrivals, ms.
    pub memory_ms: i64,
    /// How often a standing alert is said again, by arrivals, ms.
    pub refresh_ms: i64,
    /// Most series of a partition.
    pub series_max: usize,
    /// Window sizes that are looked at, ms; empty = all.
    pub sizes_ms: Vec<i64>,
    /// The rules.
    pub rules: Vec<AlertRule>,
    /// The features that models take, in this order.
    pub features: Vec<Feature>,
    /// The threshold of scores.
    pub threshold: Rule,
    /// How far below its threshold a score ends an alert.
    pub hysteresis: f64,
    /// The alert of scores; `None` = none is raised.
    pub score_alert: Option<ScoreAlert>,
}

/// The alert that a score raises.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScoreAlert {
    /// The name of its rule, distinct from the other rules'.
    pub rule: String,
    /// How bad it is.
    pub severity: AlertSeverity,
}

/// Where what a core remembers lies in the topics.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WayBack {
    /// First row of `windows`, and the clock before it.
    pub windows: (u64, i64),
    /// First score of `scores`, and the clock of scores before it.
    pub scores: (u64, i64),
    /// First record of `alerts`.
    pub alerts_from: u64,
    /// The threshold that every score moves, if there is one.
    pub moving: Option<f64>,
}

/// What a core says.
#[derive(Debug)]
pub enum Output<'a> {
    /// For `scores`.
    Score(&'a Score),
    /// For `alerts`.
    Alert(&'a Alert),
}

/// A score that came.
#[derive(Debug, Clone, Copy)]
pub struct Came<'a> {
    /// The series.
    pub key: &'a SeriesKey,
    /// The window.
    pub span: WindowSpan,
    /// The event, for a model of events.
    pub event: Option<ScoredEvent>,
    /// Largest arrival of the window's events, ms.
    pub last_arrival: i64,
    /// Name and version of the model.
    pub model: (&'a str, &'a str),
    /// The score. Finite.
    pub score: f64,
}

/// The core of one partition.
#[derive(Debug, Clone, PartialEq)]
pub struct Core {
    settings: Arc<Settings>,
    /// Where each rule finds its feature.
    rule_slots: Vec<Option<Slot>>,
    feature_slots: Vec<Option<Slot>>,
    past: Past,
    ages: Ages,
    score_ages: Ages,
    thresholds: Thresholds,
    said: SaidAlerts,
    /// The clock of scores before the first score that no transaction has taken along.
    uncommitted_scores: Option<i64>,
    scores_to: u64,
    alerts_to: u64,
    /// While recovering: alerts that stood, before their series is seen.
    restored: BTreeMap<SeriesKey, Vec<Standing>>,
    /// While recovering: alerts that stood of rules that are gone.
    orphans: Vec<Alert>,
}

impl Core {
    /// Nothing seen yet.
    pub fn new(settings: &Arc<Settings>) -> Result<Self, RuleError> {
        let rules = settings.rules.iter().map(|rule| (&rule.feature, rule.rows_back()));
        let wanted = rules.chain(settings.features.iter().map(|feature| (feature, 0)));
        let past = Past::new(wanted, settings.series_max);
        Ok(Self {
            rule_slots: settings.rules.iter().map(|rule| past.slot(&rule.feature)).collect(),
            feature_slots: settings.features.iter().map(|feature| past.slot(feature)).collect(),
            past,
            ages: Ages::new(settings.memory_ms),
            score_ages: Ages::new(settings.memory_ms),
            thresholds: Thresholds::new(settings.threshold, settings.hysteresis, settings.series_max)?,
            said: SaidAlerts::default(),
            uncommitted_scores: None,
            scores_to: 0,
            alerts_to: 0,
            restored: BTreeMap::new(),
            orphans: Vec::new(),
            settings: Arc::clone(settings),
        })
    }

    /// As it was when this way back was committed, once the topics are read again; `scores_to` and `alerts_to` =
    /// where the committed records end.
    pub fn recover(
        settings: &Arc<Settings>,
        back: &WayBack,
        (scores_to, alerts_to): (u64, u64),
    ) -> Result<Self, RuleError> {
        let mut core = Self::new(settings)?;
        core.ages = Ages::at(settings.memory_ms, back.windows.0, back.windows.1);
        core.score_ages = Ages::at(settings.memory_ms, back.scores.0, back.scores.1);
        core.committed(scores_to, alerts_to);
        if let Some(moving) = back.moving {
            core.thresholds.move_to(moving);
        }
        Ok(core)
    }

    /// Whether rows of this size are looked at.
    pub fn looks_at(&self, size_ms: i64) -> bool {
        self.settings.sizes_ms.is_empty() || self.settings.sizes_ms.contains(&size_ms)
    }

    /// Forgets what a row of `key` with this last arrival leaves no room or no time for. `false` = a series that
    /// must go has scores outstanding: they must come first.
    pub fn make_room(&mut self, key: &SeriesKey, arrival: i64, out: &mut dyn FnMut(Output<'_>)) -> bool {
        let horizon = self.ages.horizon_at(arrival);
        while let Some(leaving) = self.past.leaves(key, horizon).cloned() {
            if self.past.get_mut(&leaving).is_some_and(|series| series.waiting > 0) {
                return false;
            }
            let Some(series) = self.past.remove(&leaving) else { return true };
            for standing in &series.standing {
                self.ends(&leaving, standing, AlertCause::Silent, out);
            }
        }
        true
    }

    /// A row that is looked at, when there is room for it. Judges the rules.
    pub fn feed(&mut self, offset: u64, key: &SeriesKey, row: &WindowRow, out: &mut dyn FnMut(Output<'_>)) {
        self.ages.see_at(offset, row.last_arrival);
        let (clock, horizon) = (self.ages.clock(), self.ages.horizon());
        self.past.push(key, row, clock);
        let settings = Arc::clone(&self.settings);
        for (at, rule) in settings.rules.iter().enumerate() {
            let Some(slot) = self.rule_slots[at].filter(|_| rule.covers(&key.0, key.1)) else { continue };
            let Some(series) = self.past.get_mut(key) else { continue };
            let standing = series.standing(at).cloned();
            match rule.judge(series, slot, horizon, standing.is_some()) {
                None => {}
                Some(Finding::Raise(value)) => {
                    let t_start = row.span.t_start();
                    self.raise(
                        key,
                        Raised { rule: at, value, threshold: rule.threshold, t_start, since: t_start },
                        out,
                    );
                }
                Some(Finding::Clear(value)) => {
                    self.clear(key, at, (value, rule.threshold, row.span.t_start()), out);
                }
            }
        }
    }

    /// The features of the newest row of a series, in the order of the settings; NaN where one is not there.
    pub fn values(&mut self, key: &SeriesKey) -> Box<[f64]> {
        let horizon = self.ages.horizon();
        let series = self.past.get_mut(key);
        let value = |slot: &Option<Slot>| match (&series, slot) {
            (Some(series), Some(slot)) => series.value(*slot, 0, horizon),
            _ => f64::NAN,
        };
        self.feature_slots.iter().map(value).collect()
    }

    /// Scores of the series are outstanding.
    pub fn wait(&mut self, key: &SeriesKey, scores: u32) {
        if let Some(series) = self.past.get_mut(key) {
            series.waiting += scores;
        }
    }

    /// One of them will not come: it was dropped, or the row cannot be scored.
    pub fn gave_up(&mut self, key: &SeriesKey) {
        if let Some(series) = self.past.get_mut(key) {
            series.waiting = series.waiting.saturating_sub(1);
        }
    }

    /// One of them came.
    pub fn scored(&mut self, came: &Came<'_>, out: &mut dyn FnMut(Output<'_>)) {
        self.gave_up(came.key);
        self.uncommitted_scores.get_or_insert(self.score_ages.clock());
        self.score_ages.see(came.last_arrival);
        let (clock, horizon) = (self.score_ages.clock(), self.score_ages.horizon());
        let verdict = self.thresholds.judge(came.key, came.score, clock, horizon);
        out(Output::Score(&came.record(Some((verdict.threshold, verdict.passes)))));
        if self.settings.score_alert.is_none() {
            return;
        }
        let rule = self.settings.rules.len();
        let stands = self.past.get_mut(came.key).map(|series| series.standing(rule).is_some());
        let (value, threshold, t_start) = (came.score, verdict.threshold, came.span.t_start());
        match stands {
            Some(false) if verdict.passes => {
                let since = came.event.map_or(t_start, |event| event.ts);
                self.raise(came.key, Raised { rule, value, threshold, t_start, since }, out);
            }
            Some(true) if verdict.clears => self.clear(came.key, rule, (value, threshold, t_start), out),
            _ => {}
        }
    }

    /// Says standing alerts again that were last spoken of a while ago. For the transaction that follows.
    pub fn hold(&mut self, out: &mut dyn FnMut(Output<'_>)) {
        let horizon = self.ages.clock().saturating_sub(self.settings.refresh_ms.max(1));
        let clock = self.ages.clock();
        while let Some((key, rule)) = self.said.take_due(horizon) {
            let Some(series) = self.past.get_mut(&key) else { continue };
            let Some(standing) = series.standing.iter_mut().find(|s| s.rule == rule) else { continue };
            standing.said = self.said.say(&key, rule, clock, None);
            let standing = standing.clone();
            out(Output::Alert(&self.alert(&key, &standing, AlertAction::Hold, AlertCause::Value)));
        }
    }

    /// A transaction takes along all that was said.
    pub fn begin_commit(&mut self) {
        self.said.commit(self.alerts_to);
        if let Some(clock) = self.uncommitted_scores.take() {
            self.score_ages.place(self.scores_to, clock);
        }
    }

    /// It is through: its records end here.
    pub fn committed(&mut self, scores_to: u64, alerts_to: u64) {
        (self.scores_to, self.alerts_to) = (scores_to, alerts_to);
    }

    /// Where the records of the last transaction end: in `scores`, in `alerts`.
    pub fn ends_at(&self) -> (u64, u64) {
        (self.scores_to, self.alerts_to)
    }

    /// The way back to here; `next` = the offset of the next row.
    pub fn way_back(&self, next: u64) -> WayBack {
        WayBack {
            windows: self.ages.from(next),
            scores: self.score_ages.from(self.scores_to),
            alerts_from: self.said.from(self.alerts_to),
            moving: self.thresholds.moving(),
        }
    }

    /// Whether there are scores to be read again.
    pub fn remembers_scores(&self) -> bool {
        self.thresholds.remembers()
    }

    /// The clock: the largest arrival of a row, ms.
    pub fn clock(&self) -> i64 {
        self.ages.clock()
    }

    /// Series that are remembered, and alerts that stand.
    pub fn sizes(&self) -> (usize, usize) {
        (self.past.len(), self.said.len())
    }

    fn raise(&mut self, key: &SeriesKey, raised: Raised, out: &mut dyn FnMut(Output<'_>)) {
        let Raised { rule, value, threshold, t_start, since } = raised;
        let said = self.said.say(key, rule, self.ages.clock(), None);
        let standing = Standing { rule, since, t_start, value, threshold, said };
        out(Output::Alert(&self.alert(key, &standing, AlertAction::Raise, AlertCause::Value)));
        if let Some(series) = self.past.get_mut(key) {
            series.standing.push(standing);
        }
    }

    /// Ends a standing alert by what a window says: (value, threshold, start of the window).
    fn clear(
        &mut self,
        key: &SeriesKey,
        rule: usize,
        (value, threshold, t_start): (f64, f64, i64),
        out: &mut dyn FnMut(Output<'_>),
    ) {
        let Some(series) = self.past.get_mut(key) else { return };
        let Some(at) = series.standing.iter().position(|s| s.rule == rule) else { return };
        let standing = series.standing.remove(at);
        self.said.drop(standing.said);
        let ended = Standing { value, threshold, t_start, ..standing };
        out(Output::Alert(&self.alert(key, &ended, AlertAction::Clear, AlertCause::Value)));
    }

    /// Ends an alert whose series is forgotten.
    fn ends(
        &mut self,
        key: &SeriesKey,
        standing: &Standing,
        cause: AlertCause,
        out: &mut dyn FnMut(Output<'_>),
    ) {
        self.said.drop(standing.said);
        out(Output::Alert(&self.alert(key, standing, AlertAction::Clear, cause)));
    }

    fn alert(&self, key: &SeriesKey, standing: &Standing, action: AlertAction, cause: AlertCause) -> Alert {
        let score = || self.settings.score_alert.as_ref();
        let (rule, severity, field) = match self.settings.rules.get(standing.rule) {
            Some(rule) => (rule.name.clone(), rule.severity, rule.feature.to_string()),
            None => (
                score().map_or_else(String::new, |alert| alert.rule.clone()),
                score().map_or(AlertSeverity::Info, |alert| alert.severity),
                "score".to_owned(),
            ),
        };
        Alert {
            stream_id: key.0.to_string(),
            id: alert_id(&rule, key.1, standing.since),
            action,
            cause,
            rule,
            severity,
            field,
            value: standing.value,
            threshold: standing.threshold,
            size_ms: key.1,
            t_start: standing.t_start,
            since: standing.since,
        }
    }
}

/// What raises an alert.
struct Raised {
    rule: usize,
    value: f64,
    threshold: f64,
    t_start: i64,
    since: i64,
}

impl Came<'_> {
    /// The record; `judged` = threshold and prediction, `None` for a model that runs along.
    pub fn record(&self, judged: Option<(f64, bool)>) -> Score {
        Score {
            stream_id: self.key.0.to_string(),
            span: self.span,
            event: self.event,
            model: self.model.0.to_owned(),
            version: self.model.1.to_owned(),
            shadow: judged.is_none(),
            score: self.score,
            threshold: judged.map(|(threshold, _)| threshold),
            prediction: judged.is_some_and(|(_, passes)| passes),
            last_arrival: self.last_arrival,
        }
    }
}

/// Reading the topics again, in this order: `alerts`, `scores`, `windows`. Nothing is said before
/// [`Core::finish`].
impl Core {
    /// A record of `alerts`.
    pub fn replay_alert(&mut self, offset: u64, alert: &Alert) {
        let key: SeriesKey = (alert.stream_id.as_str().into(), alert.size_ms);
        let Some(rule) = self.rule_of(alert) else {
            self.orphans.retain(|orphan| orphan.stream_id != alert.stream_id || orphan.id != alert.id);
            if alert.action != AlertAction::Clear {
                self.orphans.push(alert.clone());
            }
            return;
        };
        let restored = self.restored.entry(key.clone()).or_default();
        if let Some(at) = restored.iter().position(|s| s.rule == rule) {
            self.said.drop(restored.remove(at).said);
        }
        if alert.action != AlertAction::Clear {
            let (since, value, threshold) = (alert.since, alert.value, alert.threshold);
            // When it was said is not known: from now on it counts as just said.
            let said = self.said.say(&key, rule, Ages::BEGINNING, Some(offset));
            restored.push(Standing { rule, since, t_start: alert.t_start, value, threshold, said });
            restored.sort_unstable_by_key(|s| s.said);
        }
        if restored.is_empty() {
            self.restored.remove(&key);
        }
    }

    /// A record of `scores`.
    pub fn replay_score(&mut self, offset: u64, score: &Score) {
        if score.shadow {
            return;
        }
        self.score_ages.see_at(offset, score.last_arrival);
        let key: SeriesKey = (score.stream_id.as_str().into(), score.span.size_ms);
        let (clock, horizon) = (self.score_ages.clock(), self.score_ages.horizon());
        self.thresholds.learn(&key, score.score, clock, horizon);
    }

    /// A row of `windows` that is looked at.
    pub fn replay_row(&mut self, offset: u64, row: &WindowRow) {
        let key: SeriesKey = (row.stream_id.as_str().into(), row.span.size_ms);
        let horizon = self.ages.horizon_at(row.last_arrival);
        while let Some(leaving) = self.past.leaves(&key, horizon).cloned() {
            let Some(series) = self.past.remove(&leaving) else { break };
            // Only where the configuration has changed: what a series took along when it was forgotten was cleared.
            if !series.standing.is_empty() {
                self.restored.insert(leaving, series.standing);
            }
        }
        self.ages.see_at(offset, row.last_arrival);
        let series = self.past.push(&key, row, self.ages.clock());
        if let Some(standing) = self.restored.remove(&key) {
            series.standing = standing;
        }
    }

    /// Everything is read. What stood and has no series or no rule any more is cleared.
    pub fn finish(&mut self, out: &mut dyn FnMut(Output<'_>)) {
        for (key, standing) in std::mem::take(&mut self.restored) {
            standing.iter().for_each(|standing| self.ends(&key, standing, AlertCause::Silent, out));
        }
        for orphan in std::mem::take(&mut self.orphans) {
            let (action, cause) = (AlertAction::Clear, AlertCause::Removed);
            out(Output::Alert(&Alert { action, cause, ..orphan }));
        }
        self.said.all_said(self.ages.clock());
    }

    /// The place of an alert's rule; `None` if it is gone, or no longer covers the series.
    fn rule_of(&self, alert: &Alert) -> Option<usize> {
        let rules = &self.settings.rules;
        let covers = |rule: &AlertRule| rule.covers(&alert.stream_id, alert.size_ms);
        let looked_at = self.looks_at(alert.size_ms);
        let at = rules.iter().position(|rule| rule.name == alert.rule && covers(rule));
        let score = self.settings.score_alert.as_ref().filter(|score| score.rule == alert.rule);
        at.or(score.map(|_| rules.len())).filter(|_| looked_at)
    }
}
