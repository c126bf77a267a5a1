//! Scoring: a model bound to columns, the bounded queue in front of it, thresholds, and what a run came to.
//!
//! Owns: who runs a model ([`Engine`]), which column feeds which input ([`Bound`]), the names of window features ([`Feature`]), the queue and
//! its drop policies ([`Queue`]), the same queue before servers in virtual time ([`simulate`]), seeded arrivals
//! ([`Arrivals`]), the figures ([`Report`]); and of windows from the log: thresholds ([`Thresholds`]), alerts by rule
//! ([`AlertRule`]), both with the way back to them after a crash ([`Core`]), drift from a training profile ([`Drift`]).
//! Never: a file, a clock, a thread; time and seeds are arguments.

mod ages;
mod arrivals;
mod bind;
mod core;
mod drift;
mod engine;
mod feature;
mod frame;
mod model;
mod past;
mod queue;
mod report;
mod rolling;
mod rule;
mod said;
mod servers;
mod threshold;

pub use crate::core::{Came, Core, Output, ScoreAlert, Settings, WayBack};
pub use arrivals::Arrivals;
pub use bind::{BindError, Binding, Bound, Wanted};
pub use drift::{Drift, FeatureProfile, Profile, ProfileError};
pub use engine::{Engine, EngineError, Runtime};
pub use feature::{Feature, FeatureError};
pub use frame::{Frame, FrameColumn, is_missing};
pub use model::{Memory, Model, ScoreError, Timed};
pub use past::SeriesKey;
pub use queue::{Offer, Policy, Queue, QueueCounts};
pub use report::{Report, quantile};
pub use rule::{AlertRule, AlertRuleError, Finding, Side};
pub use servers::{Fate, Line, simulate};
pub use threshold::{Rule, RuleError, Thresholds, Verdict};
