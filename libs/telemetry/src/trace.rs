//! Trace context across records and requests: W3C `traceparent` and `tracestate`, from and to header bytes.
//!
//! Owns: the two header names and their parsing. Never: a header taken on trust: what does not parse is as
//! if it were not there, and a long one is not read.

use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{SpanContext, TraceContextExt};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Header name.
pub const TRACEPARENT: &str = "traceparent";
/// Header name.
pub const TRACESTATE: &str = "tracestate";
/// Longest header value read, bytes (the W3C's own minimum for `tracestate`).
const VALUE_BYTES_MAX: usize = 512;

/// Where a piece of work belongs in a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    span: SpanContext,
    traceparent: String,
    tracestate: String,
}

impl TraceContext {
    /// The context of a span, to be sent along. `None` where tracing is off or the span is not recorded.
    pub fn of(span: &Span) -> Option<Self> {
        let context = span.context();
        let span = context.span().span_context().clone();
        if !span.is_valid() {
            return None;
        }
        let mut out = Pair::default();
        TraceContextPropagator::new().inject_context(&context, &mut out);
        Some(Self { span, traceparent: out.traceparent, tracestate: out.tracestate })
    }

    /// Reads the context from header values. `None` if there is none, or it is not well formed.
    pub fn parse(traceparent: &[u8], tracestate: Option<&[u8]>) -> Option<Self> {
        let text = |bytes: &[u8]| -> Option<String> {
            (bytes.len() <= VALUE_BYTES_MAX).then(|| std::str::from_utf8(bytes).ok().map(str::to_owned))?
        };
        if !well_formed(traceparent) {
            return None;
        }
        let tracestate = tracestate.and_then(text).unwrap_or_default();
        let pair = Pair { traceparent: text(traceparent)?, tracestate };
        let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &pair);
        let span = context.span().span_context().clone();
        span.is_valid().then_some(Self { span, traceparent: pair.traceparent, tracestate: pair.tracestate })
    }

    /// Finds the two headers among pairs of name and bytes (names in any case) and reads them.
    pub fn find<'h>(headers: impl IntoIterator<Item = (&'h str, &'h [u8])>) -> Option<Self> {
        let (mut parent, mut state) = (None, None);
        for (name, value) in headers {
            if name.eq_ignore_ascii_case(TRACEPARENT) {
                parent = Some(value);
            } else if name.eq_ignore_ascii_case(TRACESTATE) {
                state = Some(value);
            }
        }
        Self::parse(parent?, state)
    }

    /// The headers to send: `traceparent`, and `tracestate` if it holds anything.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        let state = (!self.tracestate.is_empty()).then_some((TRACESTATE, self.tracestate.as_bytes()));
        std::iter::once((TRACEPARENT, self.traceparent.as_bytes())).chain(state)
    }

    /// Whether somebody records the trace.
    pub fn is_recorded(&self) -> bool {
        self.span.is_sampled()
    }

    /// Makes `span` a child of this context. Before the span is entered.
    pub fn set_parent_of(&self, span: &Span) {
        let parent = Context::new().with_remote_span_context(self.span.clone());
        if let Err(error) = span.set_parent(parent) {
            tracing::debug!(%error, "a span keeps its own trace");
        }
    }

    /// Links `span` to this context: one of several it came from.
    pub fn link_to(&self, span: &Span) {
        span.add_link(self.span.clone());
    }
}

/// `vv-<32 hex>-<16 hex>-ff`, lower case; later versions may add to it. The library is more lenient.
fn well_formed(traceparent: &[u8]) -> bool {
    let dash = |at: usize| matches!(at, 2 | 35 | 52);
    let fits = |(at, byte): (usize, &u8)| match byte {
        b'-' => dash(at),
        b'0'..=b'9' | b'a'..=b'f' => !dash(at),
        _ => false,
    };
    let first = traceparent.get(..55);
    let rest = traceparent.get(55..).unwrap_or_default();
    let ends = rest.is_empty() || (rest[0] == b'-' && !traceparent.starts_with(b"00"));
    ends && first.is_some_and(|first| first.iter().enumerate().all(fits))
}

#[derive(Default)]
struct Pair {
    traceparent: String,
    tracestate: String,
}

impl Extractor for Pair {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            TRACEPARENT => Some(&self.traceparent),
            TRACESTATE => Some(&self.tracestate),
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT, TRACESTATE]
    }
}

impl Injector for Pair {
    fn set(&mut self, key: &str, value: String) {
        match key {
            TRACEPARENT => self.traceparent = value,
            TRACESTATE => self.tracestate = value,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry::trace::TracerProvider;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tracing_subscriber::layer::SubscriberExt;

    const PARENT: &[u8] = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn header_pairs_round_trip() {
        let headers =
            [("Traceparent", PARENT), ("x", b"y".as_slice()), ("tracestate", b"a=1,b=2".as_slice())];
        let context = TraceContext::find(headers).unwrap();
        let out: Vec<_> = context.headers().collect();
        assert_eq!(out, [(TRACEPARENT, PARENT), (TRACESTATE, b"a=1,b=2".as_slice())]);
        assert_eq!(TraceContext::find(out).unwrap(), context);
        assert_eq!(TraceContext::parse(PARENT, None).unwrap().headers().count(), 1);
    }

    #[test]
    fn what_is_not_a_traceparent_is_not_there() {
        let long = vec![b'0'; 600];
        for bad in [b"".as_slice(), b"00-xyz", &PARENT[..54], b"\xff\xfe", &long] {
            assert!(TraceContext::parse(bad, None).is_none(), "{bad:?}");
        }
        let zero = b"00-00000000000000000000000000000000-b7ad6b7169203331-01";
        assert!(TraceContext::parse(zero, None).is_none());
        assert!(TraceContext::find([("tracestate", b"a=1".as_slice())]).is_none());
        assert!(TraceContext::of(&Span::none()).is_none());
    }

    #[test]
    fn a_child_span_keeps_the_trace_and_names_itself() {
        let provider = SdkTracerProvider::builder().build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let span = tracing::info_span!("work");
            TraceContext::parse(PARENT, None).unwrap().set_parent_of(&span);
            let sent = TraceContext::of(&span).unwrap();
            let (_, value) = sent.headers().next().unwrap();
            assert_eq!(&value[..36], &PARENT[..36]);
            assert_ne!(&value[36..52], &PARENT[36..52]);
        });
    }
}
