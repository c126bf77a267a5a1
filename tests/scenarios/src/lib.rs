//! Scenarios and their judge, shared by every world: the simulated log, the embedded one, and real brokers.
//!
//! Owns: [`Step`] (everything that can happen), histories made from a seed or told by name, the reference
//! model, the rules a finished run is judged by; the contract suite of the logs ([`contract`]). Never: the
//! product's core (libs/window), which it judges; a clock; a source of randomness other than the seed.

pub mod catalogue;
pub mod contract;
pub mod device;
mod evidence;
pub mod exact;
mod fleet;
pub mod history;
mod judge;
mod ledger;
mod published;
mod reference;
mod retime;
mod rng;
mod sample;
mod settings;
mod step;
mod violation;

pub use evidence::{Evidence, Finding};
pub use fleet::{Fleet, Rows, lone_row};
pub use judge::{Diverted, Verdict, judge, name};
pub use ledger::{CommitSeen, LedgerWatch};
pub use published::{Body, Contents, Published, check_origin, check_published};
pub use reference::{Event, ExactStats, LogRecord, Reference, Tally, exact_stats};
pub use rng::Rng;
pub use sample::{Sample, batch_of};
pub use settings::{Class, Settings};
pub use step::{Devices, START_MS, Scenario, Service, Step, Timeline, Unknown};
pub use violation::{Rule, Violation};
