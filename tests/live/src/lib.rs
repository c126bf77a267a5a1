//! The real binary over real parts
