//! The simulated world: a log and a store in virtual time, and the real drivers over them.
//!
//! Real: the drivers of the services with everything below them (codec, window core, merge). Swapped: the
//! log ([`log`]), the store ([`store`]), time, and the processes, which here die, freeze and come back
//! whenever a scenario says so. Never: a thread, a real clock, randomness besides the seed.

pub mod log;
pub mod store;
pub mod trace;
