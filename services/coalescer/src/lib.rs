//! The coalescer: a stateful consumer of `events` that owns windows and watermarks, exactly once.
//!
//! `driver.rs` decides, `run.rs` performs. See ARCHITECTURE.md, "Follow one event".

mod driver;
mod encode;
mod recovery;

pub use driver::{Action, Driver, Event, Input, Options, Stop};
