//! The coalescer: a stateful consumer of `events` that owns windows and watermarks, exactly once.
//!
//! `driver.rs` decides, `run.rs` performs. See ARCHITECTURE.md, "Follow one event".

mod config;
mod driver;
mod encode;
mod feed;
mod recovery;
mod run;
mod watch;

pub use config::{
    AggregationName, ClassConfig, Config, CutLog, DEFAULT_TOML, OptionsError, OverflowName, SERVICE, TimeName,
};
pub use driver::{Action, Driver, Event, Input, Options, Stop};
pub use run::{Control, RunError, run};
pub use watch::{Status, StatusCell};
