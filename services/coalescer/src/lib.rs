//! The coalescer: a stateful consumer of `events` that owns windows and watermarks, exactly once.
//!
//! `driver.rs` decides, `run.rs` performs. See ARCHITECTURE.md, "Follow one event".

mod config;
mod driver;
mod encode;
mod event;
mod feed;
mod live;
mod mapping;
mod recovery;
mod run;
mod skews;
mod spans;
mod timings;
mod watch;

pub use config::{
    AggregationName, ClassConfig, Config, CutLog, DEFAULT_TOML, OptionsError, OverflowName, SERVICE, TimeName,
};
pub use driver::{Action, Driver, Input, Options};
pub use event::{Event, Stop};
pub use feed::Records;
pub use mapping::{MappingConfig, RecordsName, Routing, UnitName};
pub use run::{Control, RunError, run};
pub use watch::{Status, StatusCell};
