//! One subscription: 16 bytes.

use crate::pace::Class;
use crate::topics::TopicId;

/// What a connection has of one topic.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subscription {
    /// The client's number.
    pub(crate) id: u32,
    pub(crate) topic: TopicId,
    /// The last version it was sent, if [`Subscription::HAS`].
    pub(crate) seen: u32,
    /// The tick on which that was, modulo 2¹⁶.
    pub(crate) last: u16,
    pub(crate) class: Class,
    flags: u8,
}

const _: () = assert!(size_of::<Subscription>() == 16, "documents promise 16 bytes");

impl Subscription {
    /// It was sent something, or said what it has.
    pub(crate) const HAS: u8 = 1;
    /// Nothing is sent until its rate is above 0.
    pub(crate) const PAUSED: u8 = 2;
    /// The next frame waits for no tick of its class.
    pub(crate) const SOON: u8 = 4;
    /// An answer to `subscribe` is due, with or without events.
    pub(crate) const ANSWER: u8 = 8;
    /// That answer says whether something is missing.
    pub(crate) const ASKED: u8 = 16;
    /// One of an event topic.
    pub(crate) const EVENTS: u8 = 32;

    pub(crate) fn new(id: u32, topic: TopicId, class: Class) -> Self {
        Self { id, topic, seen: 0, last: 0, class, flags: Self::SOON }
    }

    pub(crate) fn is(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    pub(crate) fn set(&mut self, flag: u8, on: bool) {
        if on {
            self.flags |= flag;
        } else {
            self.flags &= !flag;
        }
    }

    /// What it has; `None` = nothing.
    pub(crate) fn has(&self) -> Option<u32> {
        self.is(Self::HAS).then_some(self.seen)
    }
}
