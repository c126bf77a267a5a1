//! The real parts a live test needs, each found as: given address, Docker, local process.

pub mod cassandra;
pub mod kafka;
