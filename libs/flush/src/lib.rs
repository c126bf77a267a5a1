//! Adaptive flush: when what waits for one partition leader becomes a send, and how much of it.
//!
//! Owns: the [`Policy`] (one closed enum), the [`Lane`] (the state machine of one partition leader), the
//! [`Admission`] (one byte budget over all lanes), and [`simulate`], which compares
//! policies on seeded traces.
//! Never: payloads, sockets, a clock (time is an argument, µs since any fixed moment, never going back), randomness.
//!
//! A lane counts items and answers how many of the oldest leave now. Its caller keeps the records and their
//! acknowledgements in a queue of the same order. Overload shrinks admission, never the batches.

mod admission;
mod lane;
mod learn;
mod policy;
mod rate;
mod rules;
pub mod simulate;

pub use admission::{Admission, ITEM_BYTES_MIN};
pub use lane::{Decision, Depth, Lane, Refusal, Seal, SendId};
pub use policy::{Caps, Linger, Policy, PolicyError, Rate, RateMerged, SelfClocked, Static};
pub use rules::Mode;
