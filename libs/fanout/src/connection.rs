//! One connection: its subscriptions, its control messages, its place on the ladder and its share of bytes.

use crate::ladder::{Ladder, Notice};
use crate::subscription::Subscription;
use std::collections::VecDeque;

/// How a connection's messages are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    /// Text.
    Json,
    /// Binary.
    Cbor,
}

/// What a client has of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The run it belongs to.
    pub epoch: String,
    /// `seq` of a state topic, `offset` of an event topic.
    pub at: i64,
}

/// Why the server ended a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// The credential does not cover it.
    Forbidden,
    /// There is no such topic.
    UnknownTopic,
    /// Too many subscriptions of one connection.
    Limit,
    /// Too many topics, or too many new ones at once.
    Overloaded,
}

/// A subscription that the server ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The client's number.
    pub id: u64,
    /// Why.
    pub reason: EndReason,
    /// For a person.
    pub message: String,
    /// When asking again may help, ms.
    pub retry_after_ms: Option<u64>,
}

/// A message other than `next`: each is sent, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Control {
    /// The connection is open; the credential is good for so long, ms.
    Ack {
        /// ms.
        expires_in_ms: Option<u64>,
    },
    /// Subscriptions ended.
    Complete(Vec<Ended>),
    /// The connection is on another step of the ladder.
    Rate(Notice),
    /// About the credential.
    Refresh {
        /// How long it is good, ms.
        expires_in_ms: u64,
        /// A new one is wanted; else this is the new one's.
        wanted: bool,
    },
    /// The server leaves.
    Drain {
        /// How long to stay, ms.
        retry_after_ms: u64,
    },
    /// Is anybody there?
    Ping,
    /// Yes.
    Pong,
}

/// Why a connection must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Close {
    /// Its control messages do not leave: too slow.
    #[error("{0} messages other than `next` wait for it")]
    TooSlow(usize),
    /// A number that is in use for another topic.
    #[error("subscription {0} is of another topic")]
    IdInUse(u32),
    /// It is not known, or was closed.
    #[error("the connection is gone")]
    Gone,
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) format: Format,
    pub(crate) subscriptions: Vec<Subscription>,
    pub(crate) controls: VecDeque<Control>,
    pub(crate) ladder: Ladder,
    /// What it was given last has not left yet.
    pub(crate) writing: bool,
    /// Told to collect, and has not.
    pub(crate) woken: bool,
    /// The tick it is on.
    pub(crate) tick: u32,
    /// The tick it was painted on last.
    pub(crate) painted: u32,
    /// Bytes it may still be sent.
    pub(crate) credit: i64,
    pub(crate) credited: u32,
    /// Where painting goes on.
    pub(crate) cursor: u32,
    pub(crate) phase: u32,
    pub(crate) generation: u32,
}

impl Connection {
    /// Whether a tick finds something for it, and what it may be.
    pub(crate) fn step_is_due(&self) -> bool {
        self.tick.wrapping_sub(self.painted) >= self.ladder.period()
    }

    /// Adds to the credit what `per_tick` has earned since; at most `burst`.
    pub(crate) fn earn(&mut self, per_tick: i64, burst: i64) {
        let ticks = i64::from(self.tick.wrapping_sub(self.credited));
        self.credited = self.tick;
        self.credit = self.credit.saturating_add(per_tick.saturating_mul(ticks)).min(burst);
    }
}
