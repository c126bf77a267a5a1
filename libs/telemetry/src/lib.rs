//! What a process says about itself: events declared once -> log line and metric; OTLP, `/metrics`, traces.
//!
//! Owns: the names of all metrics ([`names`]), the handles that move them, the log's form and its rate limit,
//! trace context in headers. Never: a stream id as a label, a log line per bad input, a secret in a line, a
//! wait without a bound. Exemplars are not collected by the OpenTelemetry SDK in use (0.33).
//!
//! Order of use: [`Telemetry::start`] in the main, its [`Emitter`] cloned into every component; handles made
//! once from [`Metrics`] and kept; [`event!`] for what is worth a line; [`Telemetry::shutdown`] last.

mod batches;
pub mod declared;
#[cfg(test)]
mod ended;
mod event;
mod init;
mod latest;
mod limiter;
pub mod names;
mod registry;
mod share;
mod spans;
mod tail;
mod trace;

pub use batches::BatchSpans;
pub use event::Emitter;
pub use init::{InitError, LogFormat, LogTo, Otlp, Settings, Telemetry};
pub use latest::Latest;
pub use limiter::{KEYS_MAX, LogLimiter, Verdict};
pub use registry::{Counter, Gauge, Histogram, Metrics, MetricsError, SERIES_MAX};
pub use share::Share;
pub use spans::{Operation, answered, message_span, refused, request_span, store_span, stored, topic_span};
pub use tail::{LINE_BYTES_MAX, LogTail};
pub use trace::{TRACEPARENT, TRACESTATE, TraceContext};

/// For the expansion of [`event!`].
#[doc(hidden)]
pub use tracing;
