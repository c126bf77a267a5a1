//! Who is sent which frame, and when: topics, subscriptions, paint ticks.
//!
//! Owns: the topics somebody looks at and how many do ([`Fanout`]), what each connection has seen, the paint ticks and
//! their share of bytes, the ladder of slower rates, control messages and their bound, the logs of event topics
//! ([`EventLog`]), how a drain is spread ([`drain_hint`]), how many new topics a second brings ([`Bucket`]).
//! Never: a queue of data. A subscription is 16 bytes: which topic, and the last version it was sent. What is newer
//! is asked of the caller ([`Encode`]) when the connection can take it, once for all connections that need the same.
//! Never: a clock, a socket, the text of a message (schemas/ws/gateway.md is the gateway's business).
//!
//! A **version** counts what was published under a topic, from 1; a client sees it as `seq`. A connection is painted
//! on its tick if it can take something and has something to take; one whose socket is full misses ticks and costs
//! nothing, because nothing is kept for it.

mod bucket;
mod cache;
mod connection;
mod drain;
mod events;
mod fanout;
mod ladder;
mod pace;
mod paint;
mod settings;
mod subscription;
mod topics;

pub use bucket::Bucket;
pub use connection::{Close, Control, EndReason, Ended, Format, Position};
pub use drain::drain_hint;
pub use events::{Event, EventLog};
pub use fanout::{ConnectionId, Fanout};
pub use ladder::Notice;
pub use paint::{Ask, Encode, Fragment, Painted};
pub use settings::{Figures, Settings, Subscribe, Subscribed, TickReport};
pub use topics::{Change, Kind, TopicId, TopicView};
