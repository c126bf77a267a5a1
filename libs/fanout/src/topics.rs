//! The topics somebody looks at.
//!
//! Owns: names, references, versions, the encoded forms of the newest version. Never: an entry for a topic that
//! nobody looks at, beyond its linger. Bound: `topics_max`; a name past it is refused as overloaded.

use crate::cache::Cache;
use crate::events::EventLog;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// A topic's place: small, given out again when the topic has closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(pub(crate) u32);

impl TopicId {
    /// As an index of a list beside the fan-out.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a topic is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One newest value; what lay between is skipped.
    State,
    /// A log; each event is sent, or the gap is.
    Event,
}

/// Somebody began to look at a topic, or nobody has for the time of the linger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Make frames of it.
    Opened {
        /// Its place.
        topic: TopicId,
        /// Its name.
        name: Arc<str>,
    },
    /// No more; the place is free once this was taken.
    Closed {
        /// Its place.
        topic: TopicId,
        /// Its name.
        name: Arc<str>,
    },
}

/// A topic as diagnostics show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicView {
    /// Its name.
    pub name: Arc<str>,
    /// Subscriptions.
    pub refs: u32,
    /// Versions so far.
    pub version: u32,
    /// When the newest was published, ms of the caller's clock; `None` = nothing yet.
    pub published_ms: Option<u64>,
}

#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) name: Arc<str>,
    pub(crate) refs: u32,
    /// What was published so far, counted; wraps after 13 years of ten a second.
    pub(crate) version: u32,
    /// Versions up to here belong to another epoch.
    pub(crate) floor: u32,
    pub(crate) epoch: Arc<str>,
    pub(crate) published_ms: Option<u64>,
    /// The events of an event topic.
    pub(crate) log: Option<EventLog>,
    pub(crate) cache: Cache,
    /// Nobody looks since then, ms.
    idle_since_ms: u64,
}

impl Topic {
    /// Whether a version is one of this epoch that can be built upon.
    pub(crate) fn follows(&self, seen: u32) -> bool {
        // Distances from the floor, because versions wrap.
        let (of_seen, of_now) = (seen.wrapping_sub(self.floor), self.version.wrapping_sub(self.floor));
        of_seen > 0 && of_seen <= of_now
    }
}

#[derive(Debug)]
pub(crate) struct Topics {
    topics_max: usize,
    linger_ms: u64,
    names: BTreeMap<Arc<str>, TopicId>,
    slots: Vec<Option<Topic>>,
    free: Vec<TopicId>,
    /// Topics that may have nobody left, by when they lost their last subscription; rising.
    idle: VecDeque<(u64, TopicId)>,
    changes: Vec<Change>,
}

impl Topics {
    pub(crate) fn new(topics_max: usize, linger_ms: u64) -> Self {
        Self {
            topics_max,
            linger_ms,
            names: BTreeMap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            idle: VecDeque::new(),
            changes: Vec::new(),
        }
    }

    pub(crate) fn find(&self, name: &str) -> Option<TopicId> {
        self.names.get(name).copied()
    }

    pub(crate) fn get(&self, id: TopicId) -> Option<&Topic> {
        self.slots.get(id.index())?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, id: TopicId) -> Option<&mut Topic> {
        self.slots.get_mut(id.index())?.as_mut()
    }

    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Topic> {
        self.names.values().filter_map(|id| self.get(*id))
    }

    /// Makes a topic; `None` = there is no room. `log` for one of events.
    pub(crate) fn open(&mut self, name: &str, epoch: Arc<str>, log: Option<EventLog>) -> Option<TopicId> {
        if self.names.len() >= self.topics_max {
            return None;
        }
        let name: Arc<str> = name.into();
        let version = log.as_ref().map_or(0, EventLog::count);
        let topic = Topic {
            name: Arc::clone(&name),
            refs: 0,
            version,
            floor: 0,
            epoch,
            published_ms: None,
            log,
            cache: Cache::default(),
            idle_since_ms: 0,
        };
        let id = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            TopicId(self.slots.len() as u32 - 1)
        });
        self.slots[id.index()] = Some(topic);
        self.names.insert(Arc::clone(&name), id);
        self.changes.push(Change::Opened { topic: id, name });
        Some(id)
    }

    pub(crate) fn acquire(&mut self, id: TopicId) {
        if let Some(topic) = self.get_mut(id) {
            topic.refs += 1;
        }
    }

    pub(crate) fn release(&mut self, id: TopicId, now_ms: u64) {
        let Some(topic) = self.get_mut(id) else { return };
        topic.refs = topic.refs.saturating_sub(1);
        if topic.refs == 0 {
            topic.idle_since_ms = now_ms;
            self.idle.push_back((now_ms, id));
        }
    }

    /// Closes what nobody has looked at for the time of the linger.
    pub(crate) fn sweep(&mut self, now_ms: u64) {
        while let Some(&(since_ms, id)) = self.idle.front()
            && now_ms.saturating_sub(since_ms) >= self.linger_ms
        {
            self.idle.pop_front();
            // It may have been looked at again meanwhile, or be another topic in the same place.
            let idle = |topic: &Topic| topic.refs == 0 && topic.idle_since_ms == since_ms;
            let Some(slot) = self.slots.get_mut(id.index()) else { continue };
            if let Some(topic) = slot.take_if(|topic| idle(topic)) {
                self.names.remove(&topic.name);
                self.changes.push(Change::Closed { topic: id, name: topic.name });
            }
        }
    }

    /// What has changed since the last call. The places of closed topics are given out again from here on.
    pub(crate) fn changes(&mut self) -> Vec<Change> {
        for change in &self.changes {
            if let Change::Closed { topic, .. } = change {
                self.free.push(*topic);
            }
        }
        std::mem::take(&mut self.changes)
    }

    pub(crate) fn cached_bytes(&self) -> usize {
        self.slots.iter().flatten().map(|topic| topic.cache.bytes()).sum()
    }
}
