//! Spans of work on a topic, of a request and of the store, named and attributed as the semantic conventions say.
//!
//! Owns: their names (`{operation} {topic}`, `{method} {route}`, `receive {target}`, `{statement} {table}`) and
//! attributes. Never: a span per event: one per batch, transaction or request.

use std::fmt;
use tracing::Span;

/// What is done with a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Records are appended.
    Send,
    /// Records are fetched.
    Poll,
    /// Fetched records are worked on.
    Process,
    /// Outputs and offsets are committed.
    Commit,
}

impl Operation {
    /// `messaging.operation.name`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Poll => "poll",
            Self::Process => "process",
            Self::Commit => "commit",
        }
    }

    /// `messaging.operation.type` of the conventions.
    const fn class(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Poll => "receive",
            Self::Process => "process",
            Self::Commit => "settle",
        }
    }

    const fn kind(self) -> &'static str {
        match self {
            Self::Send => "producer",
            Self::Process => "consumer",
            Self::Poll | Self::Commit => "client",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A span over one operation on a topic. `system` is `kafka`, or `evenkeel` for the embedded log. Costs
/// nothing where the filter leaves `info` spans of this crate out.
pub fn topic_span(operation: Operation, system: &str, topic: &str) -> Span {
    tracing::info_span!(
        "topic",
        otel.name = %format_args!("{operation} {topic}"),
        otel.kind = operation.kind(),
        messaging.system = system,
        messaging.destination.name = topic,
        messaging.operation.name = operation.as_str(),
        messaging.operation.r#type = operation.class(),
        "error.type" = tracing::field::Empty,
    )
}

/// A span over one HTTP request, from its head to its answer. `route`: the pattern, not the path, which a client chooses.
pub fn request_span(method: &str, route: &str) -> Span {
    tracing::info_span!(
        "request",
        otel.name = %format_args!("{method} {route}"),
        otel.kind = "server",
        http.request.method = method,
        http.route = route,
        http.response.status_code = tracing::field::Empty,
    )
}

/// A span over one message that a client sends on an open connection and that is answered by itself: a batch of a
/// WebSocket, a PUBLISH of MQTT. `protocol`: as the conventions name it. `target`: the pattern of the path or topic, not
/// what a client chooses.
pub fn message_span(protocol: &str, target: &str) -> Span {
    tracing::info_span!(
        "message",
        otel.name = %format_args!("receive {target}"),
        otel.kind = "server",
        network.protocol.name = protocol,
        "error.type" = tracing::field::Empty,
    )
}

/// A [`message_span`] or [`topic_span`] that ends with a refusal of this kind.
pub fn refused(span: &Span, kind: &str) {
    span.record("error.type", kind);
}

/// The answer of a [`request_span`].
pub fn answered(span: &Span, status: u16) {
    // Unsigned numbers would leave as text.
    span.record("http.response.status_code", i64::from(status));
}

/// A span over the rows that one commit settles, within the span of that commit. `system`: `cassandra`, or `sqlite` for
/// the embedded store.
pub fn store_span(system: &str, parent: &Span) -> Span {
    tracing::info_span!(
        parent: parent,
        "store",
        otel.name = "INSERT windows",
        otel.kind = "client",
        db.system.name = system,
        db.operation.name = "INSERT",
        db.collection.name = "windows",
        db.operation.batch.size = tracing::field::Empty,
    )
}

/// How many rows a [`store_span`] was over.
pub fn stored(span: &Span, rows: u64) {
    span.record("db.operation.batch.size", i64::try_from(rows).unwrap_or(i64::MAX));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ended::Ended;
    use opentelemetry::Value;
    use opentelemetry::trace::{SpanKind, TracerProvider};
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tracing_subscriber::layer::SubscriberExt;

    #[test]
    fn spans_are_named_and_attributed_by_the_conventions() {
        let ended = Ended::default();
        let provider = SdkTracerProvider::builder().with_span_processor(ended.clone()).build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            for operation in [Operation::Send, Operation::Poll, Operation::Process, Operation::Commit] {
                topic_span(operation, "kafka", "evenkeel.events").in_scope(|| {});
            }
        });
        let spans = ended.spans();
        let names: Vec<_> = spans.iter().map(|span| span.name.to_string()).collect();
        let expected = ["send evenkeel.events", "poll evenkeel.events", "process evenkeel.events"];
        assert_eq!(names[..3], expected);
        assert_eq!(names[3], "commit evenkeel.events");
        assert_eq!(spans[0].span_kind, SpanKind::Producer);
        assert_eq!(spans[2].span_kind, SpanKind::Consumer);
        let attribute = |key: &str| {
            let found = spans[3].attributes.iter().find(|kv| kv.key.as_str() == key);
            found.map(|kv| kv.value.to_string())
        };
        assert_eq!(attribute("messaging.system").as_deref(), Some("kafka"));
        assert_eq!(attribute("messaging.destination.name").as_deref(), Some("evenkeel.events"));
        assert_eq!(attribute("messaging.operation.name").as_deref(), Some("commit"));
        assert_eq!(attribute("messaging.operation.type").as_deref(), Some("settle"));
    }

    #[test]
    fn a_messages_span_says_over_what_and_why_it_was_refused() {
        let ended = Ended::default();
        let provider = SdkTracerProvider::builder().with_span_processor(ended.clone()).build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            message_span("mqtt", "streams/{stream_id}/events").in_scope(|| {});
            refused(&message_span("websocket", "/v1/ws"), "busy");
            refused(&topic_span(Operation::Process, "mqtt", "fleet/{stream_id}"), "forbidden");
        });
        let seen: Vec<_> = ended
            .spans()
            .iter()
            .map(|span| {
                let attribute = |key: &str| {
                    let found = span.attributes.iter().find(|kv| kv.key.as_str() == key);
                    found.map(|kv| kv.value.to_string()).unwrap_or_default()
                };
                let names = (attribute("network.protocol.name"), attribute("error.type"));
                (span.name.to_string(), span.span_kind.clone(), names.0, names.1)
            })
            .collect();
        let want = |name: &str, kind, protocol: &str, error: &str| {
            (name.to_owned(), kind, protocol.to_owned(), error.to_owned())
        };
        assert_eq!(
            seen,
            [
                want("receive streams/{stream_id}/events", SpanKind::Server, "mqtt", ""),
                want("receive /v1/ws", SpanKind::Server, "websocket", "busy"),
                want("process fleet/{stream_id}", SpanKind::Consumer, "", "forbidden"),
            ]
        );
    }

    #[test]
    fn a_requests_span_and_the_stores_have_their_own_conventions() {
        let ended = Ended::default();
        let provider = SdkTracerProvider::builder().with_span_processor(ended.clone()).build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let request = request_span("POST", "/v1/events");
            answered(&request, 200);
            let store = store_span("cassandra", &request);
            stored(&store, 7);
        });
        let spans = ended.spans();
        assert_eq!(spans.len(), 2);
        let of = |name: &str| spans.iter().find(|span| span.name == name).unwrap();
        let (request, store) = (of("POST /v1/events"), of("INSERT windows"));
        assert_eq!((&request.span_kind, &store.span_kind), (&SpanKind::Server, &SpanKind::Client));
        assert_eq!(store.parent_span_id, request.span_context.span_id());
        let attribute = |span: &opentelemetry_sdk::trace::SpanData, key: &str| {
            span.attributes.iter().find(|kv| kv.key.as_str() == key).map(|kv| kv.value.clone())
        };
        assert_eq!(attribute(request, "http.response.status_code"), Some(Value::I64(200)));
        assert_eq!(attribute(store, "db.operation.batch.size"), Some(Value::I64(7)));
    }
}
