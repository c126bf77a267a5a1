//! The ingest edge: HTTP in, acknowledged after the log's acknowledgement.
//!
//! Owns: the path of events from a socket to the log, and what each client is told. Never: answers
//! "accepted" before the log has; holds more than its byte budget; judges an event beyond `malformed`
//! (admission is the coalescer's). Keeps: recovery.md "Ingest".
//!
//! Shape: `driver` decides (no clock, no IO), `run` is its loop, `accept`/`http`/`upload` are the edge of HTTP,
//! `delivery` is what every protocol shares, `ws` the WebSocket, `mqtt` the MQTT server, `bridge` the subscriber of
//! somebody else's broker, `recordings` the files of devices, `appending` the thread that owns the log's client, `lanes` what waits in front of it. Who
//! may write is decided by libs/auth.

mod accept;
pub mod appending;
mod background;
mod body;
mod bridge;
mod clock;
mod collect;
pub mod config;
mod container;
mod delivery;
mod doors;
pub mod driver;
mod flush;
mod http;
mod lanes;
mod link;
mod live;
mod meters;
mod mqtt;
mod problem;
mod ramp;
mod recordings;
mod reload;
mod run;
mod settings;
mod split;
mod stall;
mod unpack;
mod upload;
mod verdict;
mod ws;

pub use bridge::BridgeError;
pub use config::{Config, ConfigMisfit, DEFAULT_TOML, SERVICE};
pub use evenkeel_auth::{AuthError, JwtError, TlsError};
pub use flush::{Flush, FlushControl, PolicyName, Wish};
pub use http::{OPENAPI_YAML, PROBLEM_TYPE, ROUTES, Route};
pub use live::Reread;
pub use problem::{Extent, Kind, Problem};
pub use recordings::RecordingsError;
pub use run::{Edges, Ingest, RunError, StartError};
pub use verdict::{Counts, Reason, Rejection};
