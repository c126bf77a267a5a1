//! The gateway: live frames to browsers, over WebSocket and server-sent events (schemas/ws/gateway.md).
//!
//! Owns: what clients are told, and what the coalescers are asked for. Never: a queue of data for a client; a frame for
//! a topic that nobody looks at; a topic that a credential does not cover.
//!
//! Shape: `hall` is everything it holds, without a clock or a socket; `session` and `sse` are a connection's loop,
//! `rights` what a credential opens, `feed` the threads that read the log and ask the store, `run` the clock and the tasks. `protocol` is the text of
//! messages, `content` what topics hold. The log and the store come by [`Source`] and [`History`].

mod accept;
mod alerts;
pub mod config;
mod content;
mod contents;
mod events;
mod feed;
mod hall;
mod http;
mod interest;
mod meters;
mod protocol;
mod reload;
mod rights;
mod run;
mod server;
mod session;
mod source;
mod sse;
mod standing;
mod summary;

pub use config::{Config, ConfigMisfit, DEFAULT_TOML, SERVICE};
pub use http::Page;
pub use run::{Edges, Gateway, RunError, StartError};
pub use server::{Clock, system_clock};
pub use source::{Arrived, History, Listing, Question, Source, SourceError, Teller};
pub use summary::MetricsText;
