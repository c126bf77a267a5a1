//! One file per command: its arguments, and what it does.

pub mod bench;
pub mod demo;
pub mod doctor;
pub mod fetch;
pub mod helm_values;
pub mod plan;
pub mod profile;
pub mod query;
pub mod run;
pub mod score;
pub mod serve;
pub mod service;
pub mod setup;
pub mod top;
