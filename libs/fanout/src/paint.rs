//! What a connection is sent on a tick.
//!
//! Owns: which of its topics have something for it, the bytes they share, the connection's credit. Never: a topic that
//! starves: painting goes on where the credit ran out.

use crate::cache::Need;
use crate::connection::{Connection, Control, Format};
use crate::events::EventLog;
use crate::pace::is_due;
use crate::settings::Figures;
use crate::subscription::Subscription;
use crate::topics::{Kind, TopicId, Topics};
use std::sync::Arc;

/// What a fragment is to hold.
#[derive(Debug)]
pub enum Ask<'a> {
    /// A state topic's newest frame, for a receiver that has everything up to `since`; `None` = everything.
    State {
        /// The topic.
        topic: TopicId,
        /// Its epoch.
        epoch: &'a str,
        /// The version: the frame's `seq`.
        version: u32,
        /// What the receiver has.
        since: Option<u32>,
    },
    /// Events behind the first `since` ones.
    Events {
        /// The log.
        log: &'a EventLog,
        /// What the receiver has.
        since: Option<u32>,
        /// Whether nothing is missing since its position, if it gave one.
        recovered: Option<bool>,
    },
}

/// Makes the bytes of fragments.
pub trait Encode {
    /// Appends the frame or events, without the subscription's number. Nothing appended = there is none yet.
    fn encode(&mut self, ask: &Ask<'_>, format: Format, out: &mut Vec<u8>);
}

/// One topic's part of a message.
#[derive(Debug, Clone)]
pub struct Fragment {
    /// The client's number.
    pub id: u32,
    /// Whether it is a frame or events.
    pub kind: Kind,
    /// The frame or events, shared.
    pub bytes: Arc<[u8]>,
    /// How long ago it was published, ms.
    pub age_ms: u64,
}

/// What a connection is to write now.
#[derive(Debug, Default)]
pub struct Painted {
    /// First these.
    pub controls: Vec<Control>,
    /// Then one `next` with these, if any.
    pub fragments: Vec<Fragment>,
}

/// Whether there is something newer than what it has, or an answer due.
pub(crate) fn is_dirty(subscription: &Subscription, topics: &Topics) -> bool {
    if subscription.is(Subscription::PAUSED) {
        return false;
    }
    if subscription.is(Subscription::ANSWER) {
        return true;
    }
    topics.get(subscription.topic).is_some_and(|topic| match subscription.has() {
        Some(seen) => topic.version != seen,
        None => topic.published_ms.is_some(),
    })
}

pub(crate) fn is_time(subscription: &Subscription, tick: u32) -> bool {
    subscription.is(Subscription::SOON)
        || subscription.is(Subscription::EVENTS)
        || is_due(tick, subscription.last, subscription.class.period())
}

/// Paints one connection.
pub(crate) struct Brush<'a> {
    pub(crate) topics: &'a mut Topics,
    pub(crate) figures: &'a mut Figures,
    pub(crate) encode: &'a mut dyn Encode,
    pub(crate) now_ms: u64,
}

impl Brush<'_> {
    /// As many of its dirty topics as it has credit for, going on where the last paint stopped: whatever the sizes of
    /// their frames, each topic has its turn.
    pub(crate) fn paint(
        &mut self,
        connection: &mut Connection,
        scratch: &mut Vec<u8>,
        fragments: &mut Vec<Fragment>,
    ) {
        let count = connection.subscriptions.len();
        let start = connection.cursor as usize;
        connection.cursor = 0;
        for n in 0..count {
            let at = (start + n) % count;
            let subscription = &mut connection.subscriptions[at];
            if !is_dirty(subscription, self.topics) || !is_time(subscription, connection.tick) {
                continue;
            }
            if connection.credit <= 0 {
                connection.cursor = at as u32;
                return;
            }
            let Some(fragment) = self.fragment(subscription, connection.format, scratch) else { continue };
            subscription.last = connection.tick as u16;
            connection.credit -= fragment.bytes.len() as i64;
            self.figures.fragments += 1;
            self.figures.fragment_bytes += fragment.bytes.len() as u64;
            fragments.push(fragment);
        }
    }

    fn fragment(
        &mut self,
        subscription: &mut Subscription,
        format: Format,
        scratch: &mut Vec<u8>,
    ) -> Option<Fragment> {
        let topic = self.topics.get_mut(subscription.topic)?;
        let events = topic.log.is_some();
        // What was sent before the epoch began anew is nothing to build upon.
        let since = subscription.has().filter(|seen| events || topic.follows(*seen));
        // Judged now: since the position was given, events may have left the log.
        let whole = since.filter(|seen| topic.log.as_ref().is_none_or(|log| log.holds(*seen)));
        let recovered = subscription.is(Subscription::ASKED).then_some(whole.is_some());
        let need = Need { format, since: if recovered.is_some() { whole } else { since }, recovered };
        let bytes = match topic.cache.get(&need) {
            Some(bytes) => Arc::clone(bytes),
            None => {
                scratch.clear();
                let ask = match &topic.log {
                    Some(log) => Ask::Events { log, since: need.since, recovered },
                    None => Ask::State {
                        topic: subscription.topic,
                        epoch: &topic.epoch,
                        version: topic.version,
                        since,
                    },
                };
                self.encode.encode(&ask, format, scratch);
                if scratch.is_empty() {
                    return None;
                }
                self.figures.encoded += 1;
                let bytes: Arc<[u8]> = scratch.as_slice().into();
                topic.cache.put(need, Arc::clone(&bytes));
                bytes
            }
        };
        if let Some(seen) = since.filter(|_| !events) {
            self.figures.conflated += u64::from(topic.version.wrapping_sub(seen).saturating_sub(1));
        }
        subscription.seen = topic.version;
        subscription.set(Subscription::HAS, true);
        for done in [Subscription::SOON, Subscription::ANSWER, Subscription::ASKED] {
            subscription.set(done, false);
        }
        let age_ms = topic.published_ms.map_or(0, |at_ms| self.now_ms.saturating_sub(at_ms));
        Some(Fragment {
            id: subscription.id,
            kind: if events { Kind::Event } else { Kind::State },
            bytes,
            age_ms,
        })
    }
}
