//! Windowing: the heart. From a partition's events to rows, and from late events into stored rows.
//!
//! Pure: time and the log's records are arguments, rows and records leave through a callback. The order of
//! use of a [`Core`]: feed / tick / getters, see there.

mod accumulate;
mod admit;
mod ahead;
mod core;
pub mod cost;
mod late;
mod merge;
mod open;
mod output;
mod place;
mod prefetch;
mod quiet;
mod recover;
mod registry;
mod ring;
mod rows;
mod sabotage;
mod seqset;
mod settings;
mod shape;
mod slab;
mod stream;
mod tick;
mod wheel;
mod windows;

pub use crate::core::{Core, Counters, Partition};
pub use ahead::AHEAD;
pub use merge::{Merged, merge_late};
pub use output::{Out, Output, Refused};
pub use recover::{Imbalance, RecoverError, SentRow};
pub use sabotage::Sabotage;
#[cfg(feature = "sabotage")]
pub use sabotage::plant;
pub use seqset::{Held, SeqSet};
pub use settings::{Aggregation, Class, Overflow, Settings, SettingsError, TimeSource};
pub use tick::{TickInput, TickReport};
