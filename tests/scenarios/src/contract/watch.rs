//! What must hold in every case at any time: the order of use as the seam draws it, from the driver's side.
//! Owns: where each partition of one worker stands. Never: waits.

use evenkeel_model::Topic;
use evenkeel_seam::{LogAction, LogInput, TxnResult};
use std::collections::BTreeMap;

/// One worker's partitions, as its driver knows them.
#[derive(Debug, Default)]
pub(super) struct Watch {
    topic: Option<Topic>,
    places: BTreeMap<u32, Place>,
    committing: bool,
    sending: bool,
}

/// A partition that was assigned.
#[derive(Debug, Default)]
struct Place {
    /// Next offset, once started.
    flows_from: Option<u64>,
    paused: bool,
    leaving: bool,
    reads: BTreeMap<Topic, Read>,
    /// Followed topics: the next offset.
    follows: BTreeMap<Topic, u64>,
}

#[derive(Debug)]
struct Read {
    next: u64,
    to: u64,
}

impl Watch {
    pub fn new(topic: Topic) -> Self {
        Self { topic: Some(topic), ..Self::default() }
    }

    /// The driver acts.
    pub fn act(&mut self, action: &LogAction) {
        match action {
            LogAction::Read { partition, topic, from, to, .. } => {
                self.place(*partition).reads.insert(*topic, Read { next: *from, to: *to });
            }
            LogAction::Start { partition, from } => {
                let place = self.place(*partition);
                (place.flows_from, place.paused) = (Some(from.unwrap_or(0)), false);
            }
            LogAction::Pause { partition } => self.place(*partition).paused = true,
            LogAction::Resume { partition } => self.place(*partition).paused = false,
            LogAction::Commit(_) => self.committing = true,
            LogAction::Follow { partition, topic, .. } => {
                self.place(*partition).follows.insert(*topic, 0);
            }
            LogAction::Send(_) => self.sending = true,
            LogAction::Release { partition } => {
                self.places.remove(partition);
            }
        }
    }

    /// The log speaks.
    pub fn check(&mut self, input: &LogInput<'_>) {
        match input {
            LogInput::Assigned { partition, partitions, .. } => {
                assert!(partition < partitions, "partition {partition} of {partitions}");
                let held = self.places.insert(*partition, Place::default());
                assert!(held.is_none(), "partition {partition} was assigned while it was held: {held:?}");
            }
            LogInput::Records { partition, topic, records, next, .. } => {
                assert!(!records.is_empty() || matches!(input, LogInput::Records { at_end: true, .. }));
                let rising = records.windows(2).all(|pair| pair[0].offset < pair[1].offset);
                assert!(rising, "offsets of one delivery do not rise");
                let first = records.first().map_or(*next, |record| record.offset);
                let last = records.last().map_or(0, |record| record.offset + 1);
                assert!(*next >= last, "next is {next}, the last record ends at {last}");
                self.records(*partition, *topic, (first, last, *next));
            }
            LogInput::ReadDone { partition, topic, next, .. } => {
                let read = self.place(*partition).reads.remove(topic);
                let Some(read) = read else { panic!("{topic}[{partition}]: the end of no read") };
                assert!(*next <= read.to, "{topic}[{partition}]: reached {next}, asked was {}", read.to);
            }
            LogInput::TxnDone { result, outputs } => {
                assert!(std::mem::take(&mut self.committing), "the outcome of no commit");
                assert!(outputs.is_empty(), "the buffers of a commit come back emptied");
                if matches!(result, TxnResult::Aborted { .. }) {
                    self.places.retain(|_, place| place.leaving);
                }
            }
            LogInput::Revoking { partitions, lost } => {
                for partition in partitions {
                    // It may have been on its way to us, or back to us after an abort.
                    let place = self.places.entry(*partition).or_default();
                    assert!(!place.leaving || *lost, "partition {partition} is revoked twice");
                    place.leaving = true;
                    place.reads.clear();
                    place.follows.clear();
                }
            }
            LogInput::Sent { outputs, .. } => {
                assert!(std::mem::take(&mut self.sending), "the outcome of no send");
                assert!(outputs.is_empty(), "the buffers of a send come back emptied");
            }
        }
    }

    fn records(&mut self, partition: u32, topic: Topic, (first, last, next): (u64, u64, u64)) {
        let consumed = self.topic;
        let Some(place) = self.places.get_mut(&partition) else {
            panic!("records of {topic}[{partition}], which is not held");
        };
        assert!(!place.leaving, "records of {topic}[{partition}], which leaves");
        if let Some(from) = place.follows.get_mut(&topic) {
            assert!(
                first >= *from && next >= *from,
                "{topic}[{partition}]: {first} (next {next}) after {from}"
            );
            *from = next;
            return;
        }
        let from = match (place.reads.get_mut(&topic), &mut place.flows_from) {
            (Some(read), _) => {
                assert!(last <= read.to, "{topic}[{partition}]: a record above the asked {}", read.to);
                &mut read.next
            }
            (None, Some(from)) if Some(topic) == consumed => {
                assert!(!place.paused, "records of {topic}[{partition}], which is paused");
                from
            }
            (None, _) => panic!("records of {topic}[{partition}], which nobody asked for"),
        };
        assert!(first >= *from && next >= *from, "{topic}[{partition}]: {first} (next {next}) after {from}");
        *from = next;
    }

    fn place(&mut self, partition: u32) -> &mut Place {
        match self.places.get_mut(&partition) {
            Some(place) => place,
            None => panic!("partition {partition} is not held"),
        }
    }
}
