//! Spans of work on a topic, named and attributed as the semantic conventions for messaging say.
//!
//! Owns: `{operation} {topic}` as names, and their attributes. Never: a span per event: one per batch,
//! transaction or request.

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
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ended::Ended;
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
}
