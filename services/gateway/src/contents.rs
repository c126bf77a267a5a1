//! The state topics' contents, by their place in the fan-out, and how they are written.
//!
//! Owns: which topic holds what. Never: decides what is published.

use crate::content::{Content, Head, Wire};
use crate::protocol::write::encode;
use evenkeel_fanout::{Ask, Encode, Format, TopicId};

/// State topics, by their place in the fan-out.
#[derive(Default)]
pub(crate) struct Contents(Vec<Option<Slot>>);

/// One of them.
pub(crate) struct Slot {
    pub(crate) content: Content,
    /// When something came last, ms since the epoch.
    pub(crate) heard_ms: i64,
}

impl Contents {
    /// The topic's, if it holds a state.
    pub(crate) fn get_mut(&mut self, topic: TopicId) -> Option<&mut Slot> {
        self.0.get_mut(topic.index())?.as_mut()
    }

    /// Puts a new topic's content in its place.
    pub(crate) fn put(&mut self, topic: TopicId, slot: Slot) {
        if self.0.len() <= topic.index() {
            self.0.resize_with(topic.index() + 1, || None);
        }
        self.0[topic.index()] = Some(slot);
    }

    /// Takes out what a topic held.
    pub(crate) fn take(&mut self, topic: TopicId) -> Option<Slot> {
        self.0.get_mut(topic.index()).and_then(Option::take)
    }
}

impl Encode for Contents {
    fn encode(&mut self, ask: &Ask<'_>, format: Format, out: &mut Vec<u8>) {
        match ask {
            Ask::State { topic, epoch, version, since } => {
                let Some(slot) = self.get_mut(*topic) else { return };
                let at = (*epoch, *version);
                match &slot.content {
                    Content::Telemetry(content) => content.encode(at, *since, format, out),
                    Content::Windows(content) => content.encode(at, format, out),
                    Content::Status(content) => content.encode(at, format, out),
                    Content::Fleet(Some((ts_ms, summary))) => {
                        encode(format, &Wire::of(&own(*ts_ms), at, summary), out);
                    }
                    Content::Devices(Some((ts_ms, devices))) => {
                        encode(format, &Wire::of(&own(*ts_ms), at, devices), out);
                    }
                    Content::Fleet(None) | Content::Devices(None) => {}
                }
            }
            Ask::Events { log, since, recovered } => {
                crate::events::write(log, *since, *recovered, format, out)
            }
        }
    }
}

/// The head of what the log says; what the gateway makes itself has none.
pub(crate) fn head_of(content: &mut Content) -> Option<&mut Head> {
    match content {
        Content::Telemetry(content) => Some(&mut content.head),
        Content::Windows(content) => Some(&mut content.head),
        Content::Status(content) => Some(&mut content.head),
        Content::Fleet(_) | Content::Devices(_) => None,
    }
}

/// The head of what the gateway makes itself.
fn own(ts_ms: i64) -> Head {
    Head { ts_ms, source: "gateway".into(), live: true, ..Head::default() }
}
