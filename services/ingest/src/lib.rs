//! The ingest edge: HTTP in, acknowledged after the log's acknowledgement.
//!
//! Owns: the path of events from a socket to the log, and what each client is told. Never: answers
//! "accepted" before the log has; holds more than its byte budget; judges an event beyond `malformed`
//! (admission is the coalescer's). Keeps: recovery.md "Ingest".
//!
//! Shape: `driver` decides (no clock, no IO), `run` is its loop, `accept`/`http`/`upload` are the edge of HTTP,
//! `delivery` is what every protocol shares, `ws` the WebSocket, `mqtt` the MQTT server, `bridge` the subscriber of
//! somebody else's broker, `appending` the thread that owns the log's client, `lanes` what waits in front of it.

mod accept;
mod appending;
mod auth;
mod body;
mod bridge;
mod clock;
mod collect;
pub mod config;
mod delivery;
mod doors;
pub mod driver;
mod flush;
mod http;
mod lanes;
mod link;
mod meters;
mod mqtt;
mod problem;
mod run;
mod settings;
mod split;
mod stall;
mod unpack;
mod upload;
mod verdict;
mod ws;

pub use auth::AuthError;
pub use bridge::BridgeError;
pub use config::{Config, ConfigMisfit, DEFAULT_TOML, SERVICE};
pub use flush::{Flush, FlushControl, PolicyName};
pub use http::{OPENAPI_YAML, PROBLEM_TYPE, ROUTES, Route};
pub use problem::{Kind, Problem};
pub use run::{Edges, Ingest, RunError, StartError};
pub use verdict::{Counts, Reason, Rejection};
