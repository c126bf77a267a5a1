//! The queue against a discrete-event reference of its own, and models against the rows they are bound to.
#![allow(clippy::unwrap_used, clippy::disallowed_types, clippy::disallowed_methods)]

mod bound;
mod core;
mod engine;
mod reference;
