//! What every service does the same: configuration, admin HTTP, signals, drain.
//!
//! Owns: the layers of a configuration and its units, the admin endpoints, exit codes, the process's memory,
//! the metronome's arithmetic. Never: anything only one service needs; a rule about events or windows.

pub mod admin;
pub mod backoff;
pub mod config;
pub mod drain;
pub mod exit;
pub mod health;
pub mod memory;
pub mod metronome;
pub mod process;
pub mod secret;
pub mod signals;
pub mod units;
