//! Ingest over real sockets, with a log that does what a test says.

mod client;
mod drain;
mod fake;
mod faults;
mod garbage;
mod limits;
mod openapi;
mod server;
mod verdicts;
