//! The log of an event topic: the newest events, and from which offset on none is missing.
//!
//! Owns: the ring. Never: a gap that a reader cannot see. Bound: [`EventLog::new`]'s; the oldest makes room, and who
//! has not had it learns that something is missing.

use std::collections::VecDeque;
use std::sync::Arc;

/// One event, encoded in each format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its place in the log; rises, with gaps.
    pub offset: i64,
    /// When it happened, ms since the epoch.
    pub ts: i64,
    /// Its `data`, by [`crate::Format`].
    pub data: [Arc<[u8]>; 2],
}

/// The newest events of one topic.
#[derive(Debug, Clone)]
pub struct EventLog {
    epoch: Arc<str>,
    events: VecDeque<Event>,
    events_max: usize,
    /// The offset after which nothing is missing here; −1 = from the first event of all.
    floor: i64,
    /// The offset up to which it is known that nothing else came.
    known: i64,
    /// How many events there have been: the topic's version.
    count: u32,
}

impl EventLog {
    /// A log that knows nothing of offsets up to `floor`.
    pub fn new(epoch: Arc<str>, floor: i64, events_max: usize) -> Self {
        let events_max = events_max.max(1);
        Self { epoch, events: VecDeque::new(), events_max, floor, known: floor, count: 0 }
    }

    /// Adds an event; one at or below the last offset is a repetition and changes nothing.
    pub fn push(&mut self, event: Event) -> bool {
        if event.offset <= self.known {
            return false;
        }
        if self.events.len() == self.events_max
            && let Some(gone) = self.events.pop_front()
        {
            self.floor = gone.offset;
        }
        self.known = event.offset;
        self.count = self.count.wrapping_add(1);
        self.events.push_back(event);
        true
    }

    /// Nothing of this topic lies at or below `offset` but what is here.
    pub fn known_to(&mut self, offset: i64) {
        self.known = self.known.max(offset);
    }

    /// The name of the run of offsets.
    pub fn epoch(&self) -> &Arc<str> {
        &self.epoch
    }

    /// How many events there have been since it was made.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Events held.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Whether every event behind the first `since` ones is here.
    pub fn holds(&self, since: u32) -> bool {
        self.count.wrapping_sub(since) as usize <= self.events.len()
    }

    /// The events behind the first `since` ones (all that are held, if those were more), and the offset that they
    /// follow.
    pub fn after(&self, since: Option<u32>) -> (i64, impl Iterator<Item = &Event>) {
        let held = self.events.len();
        let unseen = since.map_or(held, |since| self.count.wrapping_sub(since) as usize);
        let skip = held.saturating_sub(unseen);
        let after = match (skip.checked_sub(1).and_then(|last| self.events.get(last)), held) {
            (Some(before), _) if skip < held => before.offset,
            // Nothing new: what is known is where the reader stands.
            _ if skip == held => self.known,
            _ => self.floor,
        };
        (after, self.events.iter().skip(skip))
    }

    /// How many events lie at or before a client's position; `None` = what follows it is not all here.
    pub(crate) fn find(&self, epoch: &str, offset: i64) -> Option<u32> {
        // A position beyond what is known is of a log that was cut.
        if epoch != &*self.epoch || offset < self.floor || offset > self.known {
            return None;
        }
        let unseen = self.events.iter().rev().take_while(|event| event.offset > offset).count();
        Some(self.count.wrapping_sub(unseen as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(offset: i64) -> Event {
        Event { offset, ts: offset, data: [Arc::from([]), Arc::from([])] }
    }

    fn given(log: &EventLog, since: Option<u32>) -> (i64, Vec<i64>) {
        let (after, events) = log.after(since);
        (after, events.map(|event| event.offset).collect())
    }

    #[test]
    fn a_position_is_recovered_while_everything_behind_it_is_here() {
        let mut log = EventLog::new("k".into(), 9, 3);
        assert_eq!(given(&log, None), (9, vec![]));
        for offset in [12, 15, 20] {
            assert!(log.push(event(offset)));
        }
        assert!(!log.push(event(20)) && !log.push(event(3)), "repetitions");
        assert_eq!(given(&log, None), (9, vec![12, 15, 20]));
        assert_eq!(log.find("k", 9), Some(0));
        assert_eq!(log.find("k", 13), Some(1));
        assert_eq!(given(&log, Some(1)), (12, vec![15, 20]));
        assert_eq!(log.find("k", 8), None);
        assert_eq!(log.find("m", 15), None);
        assert_eq!(log.find("k", 21), None);
        log.known_to(30);
        assert_eq!(log.find("k", 21), Some(3));
        assert_eq!(given(&log, Some(3)), (30, vec![]));
        // The oldest makes room: who had nothing of it sees the gap.
        log.push(event(31));
        assert_eq!(given(&log, Some(0)), (12, vec![15, 20, 31]));
        assert_eq!(log.find("k", 9), None);
        assert_eq!(log.find("k", 12), Some(1));
    }
}
