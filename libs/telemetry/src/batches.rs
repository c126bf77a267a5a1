//! Spans of a consumer that works in batches: one per commit, linked to the traces of the records it consumed.
//!
//! Owns: which origins a batch names (a bounded sample of the recorded ones), and that a batch is part of the
//! first one's trace, so that it is recorded where its origin is. Never: a span per record; anything at all while
//! tracing is off, or for records whose trace nobody recorded.

use crate::trace::{TRACEPARENT, TRACESTATE, TraceContext};
use crate::{Operation, topic_span};
use opentelemetry::trace::Status;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The spans of one worker. Order: [`BatchSpans::record`] for each record, [`BatchSpans::commit`] when the batch
/// is handed over, [`BatchSpans::done`] with its outcome; records of the next batch may come before that.
#[derive(Debug)]
pub struct BatchSpans {
    on: bool,
    system: &'static str,
    topic: &'static str,
    open: Option<Batch>,
    committing: Option<Span>,
}

#[derive(Debug)]
struct Batch {
    span: Span,
    origins: Vec<Vec<u8>>,
}

impl BatchSpans {
    /// Most origins that a batch is linked to; of more the first are taken.
    pub const ORIGINS_MAX: usize = 16;

    /// A worker on `topic`; `system` as in [`topic_span`]. Without `on` nothing is ever looked at.
    pub const fn new(on: bool, system: &'static str, topic: &'static str) -> Self {
        Self { on, system, topic, open: None, committing: None }
    }

    /// Whether headers are looked at.
    pub const fn is_on(&self) -> bool {
        self.on
    }

    /// A record was consumed.
    pub fn record<'h>(&mut self, headers: impl IntoIterator<Item = (&'h str, &'h [u8])>) {
        if !self.on || self.open.as_ref().is_some_and(|b| b.origins.len() >= Self::ORIGINS_MAX) {
            return;
        }
        let (mut parent, mut state) = (None, None);
        for (name, value) in headers {
            match name {
                TRACEPARENT => parent = Some(value),
                TRACESTATE => state = Some(value),
                _ => {}
            }
        }
        let Some(parent) = parent.filter(|parent| is_recorded(parent)) else { return };
        // A request's records share one context.
        if self.open.as_ref().is_some_and(|b| b.origins.iter().any(|known| known == parent)) {
            return;
        }
        let Some(origin) = TraceContext::parse(parent, state) else { return };
        let batch = self.open.get_or_insert_with(|| {
            let span = topic_span(Operation::Process, self.system, self.topic);
            origin.set_parent_of(&span);
            Batch { span, origins: Vec::new() }
        });
        origin.link_to(&batch.span);
        batch.origins.push(parent.to_vec());
    }

    /// The span of the batch that is being consumed; `None` if none of its records came with a recorded trace.
    pub fn open(&self) -> Option<&Span> {
        self.open.as_ref().map(|batch| &batch.span)
    }

    /// The batch is handed over. Its context, to be sent along with what it made; `None` if none of its records
    /// came with a recorded trace.
    pub fn commit(&mut self) -> Option<TraceContext> {
        let batch = self.open.take()?;
        let context = TraceContext::of(&batch.span);
        self.committing = Some(batch.span);
        context
    }

    /// What was handed over is durable, or not.
    pub fn done(&mut self, committed: bool) {
        if let Some(span) = self.committing.take()
            && !committed
        {
            span.set_status(Status::error("aborted"));
        }
    }
}

/// Whether the flags of a `traceparent` say that the trace is recorded.
fn is_recorded(traceparent: &[u8]) -> bool {
    let flags = traceparent.get(53..55).and_then(|hex| std::str::from_utf8(hex).ok());
    flags.and_then(|hex| u8::from_str_radix(hex, 16).ok()).is_some_and(|flags| flags & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ended::Ended;
    use opentelemetry::trace::TracerProvider;
    use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, SpanData};
    use tracing_subscriber::layer::SubscriberExt;

    fn traceparent(n: usize, flags: &str) -> String {
        format!("00-{:032x}-{:016x}-{flags}", n + 1, n + 1)
    }

    /// What is exported of `run`, where no trace of our own is ever recorded.
    fn exported(run: impl FnOnce()) -> Vec<SpanData> {
        let ended = Ended::default();
        let sampler = Sampler::ParentBased(Box::new(Sampler::AlwaysOff));
        let provider =
            SdkTracerProvider::builder().with_span_processor(ended.clone()).with_sampler(sampler).build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), run);
        ended.spans()
    }

    #[test]
    fn a_batch_is_in_the_first_trace_and_linked_to_a_bounded_sample_of_all() {
        let mut sent = None;
        let spans = exported(|| {
            let mut spans = BatchSpans::new(true, "kafka", "events");
            for n in [0, 0, 1, 2, 1] {
                let parent = traceparent(n, "01");
                spans.record([("x", &b"y"[..]), (TRACEPARENT, parent.as_bytes())]);
            }
            sent = spans.commit();
            for n in 0..100 {
                spans.record([(TRACEPARENT, traceparent(n, "01").as_bytes())]);
            }
            spans.done(true);
            assert!(spans.commit().is_some());
            spans.done(false);
        });
        let [first, second] = &spans[..] else { panic!("{spans:?}") };
        assert_eq!(first.name, "process events");
        assert_eq!(first.span_context.trace_id().to_string(), format!("{:032x}", 1));
        let links: Vec<String> =
            first.links.links.iter().map(|l| l.span_context.trace_id().to_string()).collect();
        assert_eq!(links, [1, 2, 3].map(|n| format!("{n:032x}")));
        assert_eq!(second.links.links.len(), BatchSpans::ORIGINS_MAX);
        assert!(matches!(second.status, Status::Error { .. }));
        let sent = sent.unwrap();
        let (_, value) = sent.headers().next().unwrap();
        let value = std::str::from_utf8(value).unwrap();
        assert!(value.contains(&first.span_context.span_id().to_string()), "{value}");
    }

    #[test]
    fn what_is_not_recorded_or_not_well_formed_makes_no_span() {
        let spans = exported(|| {
            let mut spans = BatchSpans::new(true, "kafka", "events");
            for parent in [traceparent(0, "00"), "01".repeat(40), String::new()] {
                spans.record([(TRACEPARENT, parent.as_bytes())]);
            }
            spans.record([]);
            assert!(spans.commit().is_none());
            let mut off = BatchSpans::new(false, "kafka", "events");
            off.record([(TRACEPARENT, traceparent(0, "01").as_bytes())]);
            assert!(off.commit().is_none());
        });
        assert!(spans.is_empty(), "{spans:?}");
    }
}
