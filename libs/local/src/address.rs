//! Where a record lies: topic, partition and offset as one integer, the key of table `record`.
//! One stored key = this file: the layout, both directions, the round trip.
//!
//! Layout (format version 1), from the top: 0 · 3 bits topic · 14 bits partition · 46 bits offset. So the
//! records of a partition are neighbours in one B-tree, in offset order.

use evenkeel_model::Topic;
use std::ops::Range;

const OFFSET_BITS: u32 = 46;
const PARTITION_BITS: u32 = 14;

/// The place of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Address {
    pub topic: Topic,
    pub partition: u32,
    pub offset: u64,
}

impl Address {
    /// First offset that has no place any more.
    pub const OFFSET_END: u64 = 1 << OFFSET_BITS;

    /// The key of table `record`.
    pub fn id(self) -> i64 {
        let offset = self.offset.min(Self::OFFSET_END - 1);
        (i64::from(topic_code(self.topic)) << (OFFSET_BITS + PARTITION_BITS))
            | (i64::from(self.partition) << OFFSET_BITS)
            | offset as i64
    }

    /// The offset in a key.
    pub fn offset_of(id: i64) -> u64 {
        id as u64 & (Self::OFFSET_END - 1)
    }

    /// The keys of offsets `[from, to)` of a partition.
    pub fn range(topic: Topic, partition: u32, offsets: Range<u64>) -> Range<i64> {
        let at = |offset| Self { topic, partition, offset }.id();
        at(offsets.start)..at(offsets.end)
    }
}

/// The number of a topic on disk: fixed for ever, whatever the order in `Topic::ALL`.
pub(crate) const fn topic_code(topic: Topic) -> u8 {
    match topic {
        Topic::Events => 0,
        Topic::Windows => 1,
        Topic::Dlq => 2,
        Topic::Marks => 3,
        Topic::Scores => 6,
        Topic::Alerts => 7,
    }
}

/// The topic of a number on disk.
pub(crate) fn topic_of(code: i64) -> Option<Topic> {
    Topic::ALL.iter().copied().find(|t| i64::from(topic_code(*t)) == code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LocalOptions;

    #[test]
    fn keys_are_positive_and_sort_by_topic_partition_offset() {
        let mut last = -1;
        for topic in Topic::ALL.iter().copied() {
            for partition in [0, 1, LocalOptions::PARTITIONS_MAX - 1] {
                for offset in [0, 1, 77, Address::OFFSET_END - 1] {
                    let id = Address { topic, partition, offset }.id();
                    assert!(id > last);
                    assert_eq!(Address::offset_of(id), offset);
                    last = id;
                }
            }
            assert_eq!(topic_of(i64::from(topic_code(topic))), Some(topic));
        }
        assert_eq!(topic_of(9), None);
    }

    #[test]
    fn golden_key_of_version_1() {
        let id = Address { topic: Topic::Marks, partition: 5, offset: 9 }.id();
        assert_eq!(id, (3 << 60) | (5 << 46) | 9);
    }
}
