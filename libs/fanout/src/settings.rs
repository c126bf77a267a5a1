//! Bounds and times, and what is counted.

use crate::connection::Position;
use crate::topics::{Kind, TopicId};

/// Bounds and times.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Between two paints of a connection, ms; at least [`Settings::PHASES`].
    pub tick_ms: u64,
    /// Most topics.
    pub topics_max: usize,
    /// How long a topic stays that nobody looks at, ms.
    pub linger_ms: u64,
    /// Most subscriptions of a connection.
    pub subscriptions_max: usize,
    /// Most control messages that wait for a connection.
    pub controls_max: usize,
    /// Bytes of frames that a connection may be sent per tick, on average.
    pub bytes_per_tick: u64,
    /// And at once after a pause.
    pub bytes_burst: u64,
}

impl Settings {
    /// The groups that connections are painted in, one after the other within a tick: not all at the same moment.
    pub const PHASES: u64 = 10;

    pub(crate) fn ticks_per_s(&self) -> f64 {
        1000.0 / self.tick_ms as f64
    }
}

/// A subscription as asked.
#[derive(Debug)]
pub struct Subscribe<'a> {
    /// The client's number.
    pub id: u32,
    /// The topic's name: one name, one content.
    pub name: &'a str,
    /// What it is.
    pub kind: Kind,
    /// Most frames per second; 0 = none until there is another rate.
    pub max_hz: f64,
    /// What the client has.
    pub position: Option<Position>,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subscribed {
    /// It stands.
    Yes(TopicId),
    /// The connection has too many.
    Limit,
    /// There are too many topics.
    Overloaded,
}

/// Sums since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Fragments handed to connections.
    pub fragments: u64,
    /// Bytes of them.
    pub fragment_bytes: u64,
    /// Fragments that were encoded; the others were shared.
    pub encoded: u64,
    /// Versions of state topics that a subscription was never sent, because a newer one replaced them.
    pub conflated: u64,
    /// Ticks on which a connection could not take what there was.
    pub missed: u64,
}

/// What a tick came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TickReport {
    /// How late the latest of the groups was, ms.
    pub late_ms: u64,
    /// Groups that were painted once though they were due more often.
    pub merged: u64,
}
