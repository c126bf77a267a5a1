//! The sink: rows and late records of `windows` become rows of the store, and records of `scores` scores of it.
//!
//! `driver.rs` decides, `run.rs` performs. See ARCHITECTURE.md, "Follow one event".

mod config;
mod dlq;
mod driver;
mod lane;
mod run;
mod spans;
mod watch;

pub use config::{Config, DEFAULT_TOML, SCORES, SERVICE};
pub use driver::{Action, Driver, Event, Input, Options};
pub use run::{Control, RunError, run};
pub use watch::{Status, StatusCell};
