//! The store of windows and scores on ScyllaDB or Cassandra, and the only crate that names the driver.
//!
//! Owns: schema and migrations (schemas/cql), statements, error classes, own retries, in-flight control.
//! Never: which row to write when (services/sink), a rule about windows (libs/window).
//! Keeps: the store's side of EK-LATE-1: a write carries `t_end_µs + revision` as its timestamp and names
//! every column, so the highest revision wins whatever order writes land in. No deletes, no lightweight
//! transactions, no counters, nothing that only one of the two servers knows.
//!
//! * [`CqlRows`]: the sink's [`evenkeel_seam::Rows`].
//! * [`CqlReader`]: reading back, page by page.
//! * [`migrate`], [`survey`]: the schema, and what the cluster is.

mod blocking;
mod class;
mod clock;
mod config;
mod connect;
mod inflight;
mod migrate;
mod query;
mod query_scores;
mod row;
pub mod schema;
mod score;
mod seqs;
mod span_text;
pub mod statements;
mod store;
mod survey;
mod table;
mod tls;
mod writer;

pub use class::ErrorClass;
pub use config::{AuthConfig, ConfigError, CqlConfig, CqlConsistency, TlsConfig};
pub use connect::{ConnectError, ServerKind};
pub use migrate::{MigrateReport, migrate};
pub use query::{CqlReader, QueryError, WindowQuery};
pub use row::RowError;
pub use schema::SchemaError;
pub use span_text::Millis;
pub use survey::{ClockReading, Node, Rights, StaleTable, Survey, survey};
pub use table::{WindowTable, group_of};
pub use tls::TlsError;
pub use writer::{About, CqlRows};
