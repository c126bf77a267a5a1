//! What a worker was told, owned.

use evenkeel_model::Topic;
use evenkeel_seam::{LogInput, Position, RecordRef, TxnResult};

/// One record as a worker saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its partition.
    pub partition: u32,
    /// Its topic.
    pub topic: Topic,
    /// Its offset.
    pub offset: u64,
    /// Its timestamp, ms since the epoch.
    pub timestamp_ms: i64,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
    /// Its headers.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl Seen {
    fn of(partition: u32, topic: Topic, record: &RecordRef<'_>) -> Self {
        Self {
            partition,
            topic,
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: record.headers.iter().map(|h| (h.name.to_owned(), h.value.to_vec())).collect(),
        }
    }

    /// The value as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.value.as_deref().unwrap_or_default()).into_owned()
    }
}

/// One thing a worker was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// As in the seam.
    Assigned {
        /// The partition.
        partition: u32,
        /// How many the topic has.
        partitions: u32,
        /// The committed place.
        committed: Option<Position>,
    },
    /// One record of a delivery.
    Record(Seen),
    /// A delivery with `at_end`; after its records.
    End {
        /// The partition.
        partition: u32,
        /// The topic.
        topic: Topic,
        /// The offset after the last record.
        next: u64,
    },
    /// As in the seam.
    ReadDone {
        /// The partition.
        partition: u32,
        /// The topic.
        topic: Topic,
        /// First offset the log holds.
        log_start: u64,
        /// Position reached.
        next: u64,
    },
    /// The outcome of a transaction.
    Done(TxnResult),
    /// As in the seam.
    Revoking {
        /// The partitions.
        partitions: Vec<u32>,
        /// Already somebody else's.
        lost: bool,
    },
    /// What became of a `Send`: how many of its records are not known to be in the log.
    Sent(usize),
}

/// Appends an input to what was told.
pub(super) fn note(told: &mut Vec<Told>, input: LogInput<'_>) {
    match input {
        LogInput::Assigned { partition, partitions, committed } => {
            told.push(Told::Assigned { partition, partitions, committed });
        }
        LogInput::Records { partition, topic, records, next, at_end } => {
            told.extend(records.iter().map(|record| Told::Record(Seen::of(partition, topic, record))));
            if at_end {
                told.push(Told::End { partition, topic, next });
            }
        }
        LogInput::ReadDone { partition, topic, log_start, next } => {
            told.push(Told::ReadDone { partition, topic, log_start, next });
        }
        LogInput::TxnDone { result, .. } => told.push(Told::Done(result)),
        LogInput::Revoking { partitions, lost } => told.push(Told::Revoking { partitions, lost }),
        LogInput::Sent { dropped, .. } => told.push(Told::Sent(dropped)),
    }
}
