//! The simulated log: topics, transactions, groups, and the seam over them.

mod appender;
mod cluster;
mod delivery;
mod group;
mod partition;
mod txn;
mod worker;

pub use appender::SimAppender;
pub use cluster::{Cluster, Faults, SimLog};
pub use group::{Group, MemberId, Notice};
pub use partition::{Fetched, PartitionLog, Record, TxnId};
pub use txn::{Committed, Outcome};
pub use worker::{SimWorker, WorkerOptions};
