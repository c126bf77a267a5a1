//! Admission limits at the edge: one byte budget, rates per device and tenant, jittered retry hints.
//!
//! Owns: the arithmetic of "may this enter now, and if not, when". Never: a clock, randomness (both are
//! arguments), a socket. Every table here has a bound and says what happens at it.

mod budget;
mod rate;
mod retry;
mod tenants;

pub use budget::{ByteBudget, Hold, OverBudget};
pub use rate::{Rate, Rates};
pub use retry::RetryHint;
pub use tenants::{TenantBytes, TenantFull, TenantHold};
