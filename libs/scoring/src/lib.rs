//! Scoring: a model bound to columns, the bounded queue in front of it, thresholds, and what a run came to.
//!
//! Owns: which column feeds which input ([`Bound`]), the names of window features ([`Feature`]), the queue and
//! its drop policies ([`Queue`]), the same queue before servers in virtual time ([`simulate`]), seeded arrivals
//! ([`Arrivals`]), thresholds that a replay rebuilds ([`Thresholds`]), the figures ([`Report`]).
//! Never: a file, a clock, a thread; time and seeds are arguments.

mod arrivals;
mod bind;
mod feature;
mod frame;
mod model;
mod queue;
mod report;
mod rolling;
mod servers;
mod threshold;

pub use arrivals::Arrivals;
pub use bind::{BindError, Binding, Bound, Wanted};
pub use feature::{Feature, FeatureError, History};
pub use frame::{Frame, FrameColumn, is_missing};
pub use model::{Memory, Model, ScoreError, Timed};
pub use queue::{Offer, Policy, Queue, QueueCounts};
pub use report::{Report, quantile};
pub use servers::{Fate, Line, simulate};
pub use threshold::{Change, Rule, RuleError, Thresholds, Verdict};
