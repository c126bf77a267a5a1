//! The only seam to the outside: three traits, because there are three uses, and their closed enums.
//!
//! * [`Worker`]: coalescer and sink. A stateful consumer whose outputs, offsets and way back commit in one
//!   transaction.
//! * [`Appender`]: ingest. Appends records, learns when they are durable.
//! * [`Rows`]: sink. Reads and writes window rows in the store.
//!
//! The simulated log (tests/sim), the embedded log (libs/local) and Kafka (libs/kafka) implement the first
//! two, and run one contract suite (tests/scenarios); libs/local and libs/cql implement the third. The
//! number of seams is not to grow.

mod appender;
mod meta;
mod outputs;
mod rows;
mod scorer_meta;
mod worker;

pub use appender::{Ack, AppendError, Appender, Bell};
pub use meta::{CommitMeta, Ledger, MetaError, SizeLedger};
pub use outputs::{OutRecord, Outputs};
pub use rows::{RowAction, RowKey, RowResult, Rows};
pub use scorer_meta::ScorerMeta;
pub use worker::{
    Commit, Header, LogAction, LogInput, Position, RecordRef, TxnResult, Worker, WorkerError, behind,
};
