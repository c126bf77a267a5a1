//! The sink: rows and late records of `windows` become rows of the store.
//!
//! `driver.rs` decides, `run.rs` performs. See ARCHITECTURE.md, "Follow one event".

mod dlq;
mod driver;
mod lane;

pub use driver::{Action, Driver, Event, Input, Options};
