//! The embedded log and window store of one machine, on SQLite: the same seam, recovery and contract suite
//! as Kafka and a CQL database get.
//!
//! Owns: `log.db` (topics, offsets with metadata, transactions, retention, loads of files) and `store.db`
//! (window rows). Never: decodes an event, decides about a window, serves two processes at once.
//!
//! ```text
//! appenders ─┐                    ┌─► log.db ──► workers, recovery reads   (a reading connection each)
//! commits   ─┼─► queue ─► writer ─┤
//! loads     ─┘  (bounded, one)    └─► Hub: ends, groups, outcomes ──► everybody who waits
//! ```
//! One writer thread per file runs what waits as one SQL transaction (group commit), so outputs, offsets and
//! metadata are visible and durable together or not at all. Keeps the log's half of EK-WIN-1 and EK-SUM-1:
//! what a commit carries is never seen in part.

mod address;
mod appender;
mod beside;
mod clock;
mod database;
mod group;
mod headers;
mod hub;
mod loads;
mod local;
mod log_file;
mod log_txn;
mod options;
mod query;
mod query_scores;
mod queue;
mod reader;
mod retention;
mod rows;
mod store_file;
mod store_writer;
mod tail;
mod worker;
mod writer;

pub use appender::LocalAppender;
pub use database::FileError;
pub use loads::{LoadError, LoadProgress, Loader, Loads, StreamState};
pub use local::{Local, LogError, OpenError};
pub use options::{Durability, LocalOptions, Retention, TopicRetention};
pub use query::{RowPages, RowQuery, StoreReader};
pub use query_scores::ScorePages;
pub use rows::LocalRows;
pub use tail::{LocalTail, TailRecords};
pub use worker::LocalWorker;
