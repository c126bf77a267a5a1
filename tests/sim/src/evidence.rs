//! The evidence of a simulated run: the topics of the simulated log, read as any consumer could.

use crate::log::SimLog;
use crate::process::COALESCERS;
use evenkeel_model::Topic;
use evenkeel_scenarios::{Evidence, Published};
use evenkeel_seam::RecordRef;

/// Reads all topics.
pub fn evidence_of(log: &SimLog) -> Evidence {
    let mut evidence = Evidence::default();
    let partitions = log.cluster().partitions();
    for partition in 0..partitions {
        each(log, Topic::Events, partition, false, |record| evidence.event(partition, record));
        each(log, Topic::Windows, partition, true, |record| evidence.window(partition, record));
        each(log, Topic::Dlq, partition, true, |record| evidence.refusal(record));
    }
    read_commits(log, &mut evidence);
    evidence
}

fn each(log: &SimLog, topic: Topic, partition: u32, committed: bool, mut see: impl FnMut(&RecordRef<'_>)) {
    let fetched = log.cluster().log(topic, partition).read(0, usize::MAX, committed);
    for (offset, record) in &fetched.records {
        see(&RecordRef {
            offset: *offset,
            timestamp_ms: record.timestamp_ms,
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: &record.header_refs(),
            original: None,
        });
    }
}

fn read_commits(log: &SimLog, evidence: &mut Evidence) {
    let committed = log.cluster().committed().to_vec();
    for transaction in committed.into_iter().filter(|transaction| transaction.group == COALESCERS) {
        for position in transaction.positions {
            let here = |(topic, partition, _, _): &&(Topic, u32, u64, _)| {
                *topic == Topic::Windows && *partition == position.partition
            };
            let published: Vec<Published> = (transaction.records.iter().filter(here))
                .filter_map(|(_, partition, offset, record)| {
                    evidence.decode_published(
                        *partition,
                        *offset,
                        record.value.as_deref().unwrap_or_default(),
                    )
                })
                .collect();
            let meta = position.meta.unwrap_or_default();
            evidence.commit(position.partition, position.offset, meta, published);
        }
    }
}
