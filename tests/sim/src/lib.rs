//! The simulated log and the drivers over it
