//! What the gateway needs of the world: the log's tail, and the store's newest rows. The wiring brings one of each
//! kind of log and store.

use evenkeel_model::{Interest, StoredRow};
use std::time::Duration;

/// What the tail of the log says.
#[derive(Debug, Clone, Copy)]
pub enum Arrived<'a> {
    /// A record of this gateway's partition of `frames`.
    Frame {
        /// Its value.
        value: &'a [u8],
    },
    /// A partition of `alerts` is read from this offset on.
    AlertsBegin {
        /// The partition.
        partition: u32,
        /// The offset.
        offset: u64,
    },
    /// A record of `alerts`.
    Alert {
        /// Its partition.
        partition: u32,
        /// Its offset.
        offset: u64,
        /// Its own time, ms since the epoch.
        timestamp_ms: i64,
        /// Its value.
        value: &'a [u8],
    },
}

/// The log cannot be read or written for now; the gateway goes on and asks again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SourceError(pub String);

/// The tail of the log. Owned by one thread.
pub trait Source: Send {
    /// Waits up to `wait` and hands over what has come.
    fn poll(&mut self, wait: Duration, each: &mut dyn FnMut(Arrived<'_>)) -> Result<(), SourceError>;

    /// Partitions of the topics that are partitioned by stream.
    fn partitions(&self) -> u32;
}

/// The way into the log.
pub trait Teller: Send {
    /// Writes what is watched, and never waits. What cannot be written is not kept: it is said again soon.
    fn tell(&mut self, interests: &[Interest]) -> Result<(), SourceError>;
}

/// Which rows of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The stream.
    pub stream_id: String,
    /// Length of the windows, ms.
    pub size_ms: i64,
    /// Most rows; the newest of all.
    pub rows_max: usize,
}

/// What the store is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Errand {
    /// The newest rows of a stream.
    Newest(Question),
    /// Its streams.
    Streams,
}

/// Streams of the store.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Listing {
    /// The newest row of each, of its shortest size: of those heard last, as far as the store can tell.
    pub newest: Vec<StoredRow>,
    /// How many streams were found, those left out included.
    pub total: usize,
    /// Sizes of windows, rising, ms.
    pub sizes_ms: Vec<i64>,
}

/// The store. One per thread that asks.
pub trait History: Send {
    /// The newest rows, oldest first.
    fn newest(&mut self, question: &Question) -> Result<Vec<StoredRow>, SourceError>;

    /// Its streams: at most `streams_max`, found by reading a bounded part of it.
    fn streams(&mut self, streams_max: usize) -> Result<Listing, SourceError>;
}
