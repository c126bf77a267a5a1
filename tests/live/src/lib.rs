//! The real binary over real parts.

pub mod parts;
pub mod player;
