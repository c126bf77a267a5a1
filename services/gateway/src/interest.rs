//! What this gateway asks the coalescers for.
//!
//! Owns: which streams are watched, and when that is said again. Never: a clock. Bound: one entry per stream of an open
//! topic, so the fan-out's bound of topics is its own.

use evenkeel_model::frame::limits::WANTS_MAX;
use evenkeel_model::{FrameKind, Interest, Want};
use std::collections::{BTreeMap, VecDeque};

/// How it is said.
#[derive(Debug, Clone)]
pub(crate) struct Manner {
    /// The instance's name.
    pub(crate) gateway: String,
    /// The partition of `frames` that it reads.
    pub(crate) partition: u32,
    /// How long one record counts, ms; it is said again after a third of it.
    pub(crate) expiry_ms: i64,
}

#[derive(Debug, Default)]
struct Watched {
    /// Rate by kind and size.
    wants: BTreeMap<(FrameKind, i64), f64>,
    said_ms: i64,
}

/// The watched streams.
#[derive(Debug)]
pub(crate) struct Watching {
    manner: Manner,
    streams: BTreeMap<String, Watched>,
    /// Streams by when they are to be said again; an entry counts if the stream was not said since.
    due: VecDeque<(i64, String)>,
    to_say: Vec<Interest>,
}

impl Watching {
    pub(crate) fn new(manner: Manner) -> Self {
        Self { manner, streams: BTreeMap::new(), due: VecDeque::new(), to_say: Vec::new() }
    }

    /// Somebody looks at this of a stream.
    pub(crate) fn add(&mut self, stream_id: &str, kind: FrameKind, size_ms: i64, hz: f64, now_ms: i64) {
        let watched = self.streams.entry(stream_id.to_owned()).or_default();
        watched.wants.insert((kind, size_ms), hz);
        self.say(stream_id, now_ms);
    }

    /// Nobody does any more.
    pub(crate) fn remove(&mut self, stream_id: &str, kind: FrameKind, size_ms: i64, now_ms: i64) {
        let Some(watched) = self.streams.get_mut(stream_id) else { return };
        watched.wants.remove(&(kind, size_ms));
        self.say(stream_id, now_ms);
        if self.streams.get(stream_id).is_some_and(|watched| watched.wants.is_empty()) {
            self.streams.remove(stream_id);
        }
    }

    /// What is to be written now: what changed, and what is about to expire.
    pub(crate) fn due(&mut self, now_ms: i64) -> Vec<Interest> {
        while let Some((at_ms, _)) = self.due.front()
            && *at_ms <= now_ms
            && let Some((at_ms, stream_id)) = self.due.pop_front()
        {
            let every_ms = self.manner.expiry_ms / 3;
            if self.streams.get(&stream_id).is_some_and(|watched| watched.said_ms + every_ms <= at_ms) {
                self.say(&stream_id, now_ms);
            }
        }
        std::mem::take(&mut self.to_say)
    }

    fn say(&mut self, stream_id: &str, now_ms: i64) {
        let Some(watched) = self.streams.get_mut(stream_id) else { return };
        watched.said_ms = now_ms;
        let want = |(&(kind, size_ms), &hz): (&(FrameKind, i64), &f64)| Want { kind, size_ms, hz };
        self.to_say.retain(|said| said.stream_id != stream_id);
        self.to_say.push(Interest {
            stream_id: stream_id.to_owned(),
            gateway: self.manner.gateway.clone(),
            partition: self.manner.partition,
            wants: watched.wants.iter().map(want).take(WANTS_MAX).collect(),
            expires_at_ms: now_ms + self.manner.expiry_ms,
        });
        if !watched.wants.is_empty() {
            self.due.push_back((now_ms + self.manner.expiry_ms / 3, stream_id.to_owned()));
        }
    }

    /// Watched streams.
    pub(crate) fn len(&self) -> usize {
        self.streams.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(watching: &mut Watching, now_ms: i64) -> Vec<(String, usize, i64)> {
        let one = |said: Interest| (said.stream_id, said.wants.len(), said.expires_at_ms);
        watching.due(now_ms).into_iter().map(one).collect()
    }

    #[test]
    fn what_is_watched_is_said_at_once_and_again_before_it_expires() {
        let manner = Manner { gateway: "g".into(), partition: 0, expiry_ms: 9000 };
        let mut watching = Watching::new(manner);
        watching.add("a", FrameKind::Telemetry, 0, 10.0, 0);
        watching.add("a", FrameKind::Windows, 5000, 1.0, 0);
        assert_eq!(said(&mut watching, 0), [("a".to_owned(), 2, 9000)]);
        assert!(said(&mut watching, 2999).is_empty());
        let mut last = 0;
        for now_ms in (0..60_000).step_by(500) {
            for (_, _, expires_ms) in said(&mut watching, now_ms) {
                assert!(last == 0 || now_ms < last, "it expired before it was said again");
                last = expires_ms;
            }
        }
        assert!(last > 60_000);
        watching.remove("a", FrameKind::Telemetry, 0, 60_000);
        assert_eq!(said(&mut watching, 60_000), [("a".to_owned(), 1, 69_000)]);
        watching.remove("a", FrameKind::Windows, 5000, 60_001);
        assert_eq!(said(&mut watching, 60_001), [("a".to_owned(), 0, 69_001)]);
        assert!(said(&mut watching, 200_000).is_empty());
        assert_eq!((watching.len(), watching.due.len()), (0, 0));
    }
}
