//! The simulated world: a log and a store in virtual time, and the real drivers over them.
//!
//! Real: the drivers of the services with everything below them (codec, window core, merge). Swapped: the
//! log ([`log`]), the store ([`store`]), time, and the processes, which here die, freeze and come back
//! whenever a scenario says so. Never: a thread, a real clock, randomness besides the seed.

mod bounded;
mod checks;
mod config;
mod evidence;
mod gateway;
pub mod log;
mod process;
mod run;
mod shrink;
pub mod store;
mod sweep;
pub mod trace;
mod world;

pub use checks::Seen;
pub use run::{Report, run};
pub use shrink::shrink;
pub use sweep::{Totals, examine, scenario_of};
