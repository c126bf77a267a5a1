//! The scorer of windows: rows of `windows` become scores and alerts, exactly once.
//!
//! `driver.rs` decides, `run.rs` performs; what a row means is libs/scoring's core. See docs/scoring.md.

mod batch;
mod config;
mod driver;
mod encode;
mod event;
mod feed;
mod models;
mod recovery;
mod run;
mod watch;

pub use config::{LiveConfig, LiveError, Per, RuleConfig, SeverityName, ThresholdConfig, ThresholdName};
pub use driver::{Action, Driver, Input, Options};
pub use event::{Event, Stop};
pub use models::{Loaded, ModelError, ModelFiles, Models, Role, Source};
pub use run::{Control, LiveRunError, run};
pub use watch::{Status, StatusCell};
