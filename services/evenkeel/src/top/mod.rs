//! `evenkeel top`: what all services do at this moment, made of two readings of their `/metrics`.
//!
//! Owns: which metric is shown as what. Never: a number of its own; a wait for a service that does not answer (it is
//! shown as away).

mod plain;
mod scrape;
mod screen;
mod tables;
mod view;

pub use plain::table;
pub use scrape::Scrape;
pub use screen::draw;
pub use view::{Reading, View};
