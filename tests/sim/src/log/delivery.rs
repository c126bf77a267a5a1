//! What a worker hands to its driver, owned: the log must not be locked while the driver looks at it.

use super::partition::Record;
use evenkeel_model::Topic;
use evenkeel_seam::{LogInput, Outputs, Position, RecordRef, TxnResult};
use std::sync::Arc;

/// One input for the driver.
pub(super) enum Delivery {
    Assigned { partition: u32, partitions: u32, committed: Option<Position> },
    Records { partition: u32, topic: Topic, records: Vec<(u64, Arc<Record>)>, next: u64, at_end: bool },
    ReadDone { partition: u32, topic: Topic, log_start: u64, next: u64 },
    TxnDone { result: TxnResult, outputs: Outputs },
    Revoking { partitions: Vec<u32>, lost: bool },
    Sent { outputs: Outputs, dropped: usize },
}

/// Hands one over.
pub(super) fn hand_over(delivery: Delivery, each: &mut dyn FnMut(LogInput<'_>)) {
    match delivery {
        Delivery::Assigned { partition, partitions, committed } => {
            each(LogInput::Assigned { partition, partitions, committed });
        }
        Delivery::ReadDone { partition, topic, log_start, next } => {
            each(LogInput::ReadDone { partition, topic, log_start, next });
        }
        Delivery::TxnDone { result, outputs } => each(LogInput::TxnDone { result, outputs }),
        Delivery::Revoking { partitions, lost } => each(LogInput::Revoking { partitions, lost }),
        Delivery::Sent { outputs, dropped } => each(LogInput::Sent { outputs, dropped }),
        Delivery::Records { partition, topic, records, next, at_end } => {
            let headers: Vec<_> = records.iter().map(|(_, record)| record.header_refs()).collect();
            let refs: Vec<RecordRef<'_>> = (records.iter().zip(&headers))
                .map(|((offset, record), headers)| RecordRef {
                    offset: *offset,
                    timestamp_ms: record.timestamp_ms,
                    key: record.key.as_deref(),
                    value: record.value.as_deref(),
                    headers,
                    original: None,
                })
                .collect();
            each(LogInput::Records { partition, topic, records: &refs, next, at_end });
        }
    }
}
