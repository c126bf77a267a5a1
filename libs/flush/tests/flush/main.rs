//! The crate from outside: each clause of each policy, the laws of a lane, what the simulation must show.

mod clauses;
mod laws;
mod simulated;
