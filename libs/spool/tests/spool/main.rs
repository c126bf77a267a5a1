//! The buffer, its views, its cache and its recordings, against plain byte vectors and with faults.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cache;
mod cases;
mod faults;
mod model;
mod readers;
mod recordings;
mod rig;
mod spilling;
mod views;
