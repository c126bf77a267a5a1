//! Ingest's way to the log.

use crate::Outputs;
use std::sync::Arc;
use std::time::Duration;

/// Rung, from any thread, when something may have come. It must neither block nor call whoever rings it.
pub type Bell = Arc<dyn Fn() + Send + Sync>;

/// Why an append was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The queue in front of the log is full: try again later. Nothing was taken.
    #[error("the queue in front of the log is full")]
    Full,
    /// The log refused or lost it: some of the records may be in the log, none is acknowledged.
    #[error("the log did not acknowledge: {0}")]
    Failed(String),
    /// The log refused or lost some of the records; the others are acknowledged.
    #[error("the log did not acknowledge {} of the records: {why}", records.len())]
    Partly {
        /// Which, by their place in the append, rising.
        records: Vec<u32>,
        /// Why the first of them.
        why: String,
    },
}

/// The outcome of one ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// The ticket given to `append`.
    pub ticket: u64,
    /// `Ok` = every record of the ticket is durable, and every worker that starts below it reads it.
    pub result: Result<(), AppendError>,
}

/// Appends records and learns when they are durable. Implemented by each log.
pub trait Appender: Send {
    /// Takes all records of `records` under one ticket, or none of them. Never waits.
    fn append(&mut self, records: &Outputs, ticket: u64) -> Result<(), AppendError>;

    /// From now on `bell` is rung whenever outcomes, or the answer to [`Appender::ask_time`], may be there. Rings may
    /// fall together, and may be for nothing.
    fn wake_by(&mut self, bell: Bell);

    /// Waits up to `wait` for outcomes and appends them to `out`; without a wait, those that are there. Each ticket that
    /// was taken has exactly one, in no promised order; one refused ticket takes no other with it.
    fn acks(&mut self, wait: Duration, out: &mut Vec<Ack>);

    /// How many partitions the events topic has.
    fn partitions(&self) -> u32;

    /// How many servers lead partitions of the events topic, as far as is known: what waits for one of them leaves
    /// together. 1 where there is only one.
    fn lanes(&self) -> usize {
        1
    }

    /// Which of them leads this partition, below [`Appender::lanes`]. A wrong answer costs time, never a record.
    fn lane_of(&self, _partition: u32) -> usize {
        0
    }

    /// Asks the log what time it is by its own clock; [`Appender::time`] has the answer later. Nothing happens
    /// where the log's clock is this machine's.
    fn ask_time(&mut self) {}

    /// The answer to the last question, once: the log's clock, ms since the epoch, or why it is not known.
    fn time(&mut self) -> Option<Result<i64, String>> {
        None
    }
}
