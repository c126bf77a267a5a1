//! Events through a real subscriber: one line per period, a metric each time, nothing unbounded.

#![allow(clippy::unwrap_used)] // the helpers of tests are tests

use evenkeel_telemetry::names::{coalescer, ingest, process};
use evenkeel_telemetry::{Emitter, LogTail, Metrics, event};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;

event! {
    /// A batch was refused.
    struct BatchRefused<'a> WARN "ingest.batch.refused" "a batch was refused" {
        values { protocol: &'a str, events: u64 }
        shown { error: &'a dyn std::fmt::Display }
        limit(protocol, 60_000);
        counts(ingest::EVENTS, [protocol, "malformed"], events);
        sets(ingest::QUEUE_DEPTH, [], events as f64);
        records(coalescer::TICK_JITTER, [], 0.5);
    }
}

event! {
    /// A service came up.
    struct Started INFO "service.started" "started" {
        values { workers: u64 }
        limit("", 0);
    }
}

fn lines_of(run: impl FnOnce(&Emitter)) -> (Vec<String>, Metrics) {
    let tail = LogTail::new(1000);
    let layer = tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(tail.clone());
    let emitter = Emitter::new(Metrics::new().unwrap());
    tracing::subscriber::with_default(
        tracing_subscriber::registry().with(layer).with(LevelFilter::INFO),
        || run(&emitter),
    );
    (tail.lines(), emitter.metrics().clone())
}

#[test]
fn a_flood_is_one_line_per_key_and_every_event_in_the_metric() {
    let (lines, metrics) = lines_of(|emitter| {
        for _ in 0..1000 {
            BatchRefused { protocol: "http", events: 3, error: &"truncated" }.emit(emitter);
            BatchRefused { protocol: "ws", events: 1, error: &"truncated" }.emit(emitter);
        }
    });
    assert_eq!(lines.len(), 2, "{lines:#?}");
    for part in
        [r#""level":"WARN""#, r#""event":"ingest.batch.refused""#, r#""events":3"#, r#""error":"truncated""#]
    {
        assert!(lines[0].contains(part), "missing {part} in {}", lines[0]);
    }
    assert_eq!(metrics.counter(&ingest::EVENTS, ["http", "malformed"]).get(), 3000);
    assert_eq!(metrics.counter(&ingest::EVENTS, ["ws", "malformed"]).get(), 1000);
    assert_eq!(metrics.counter(&process::LOG_SUPPRESSED, [BatchRefused::NAME]).get(), 1998);
    assert_eq!(metrics.gauge(&ingest::QUEUE_DEPTH, []).get(), 1.0);
    let text = metrics.render().unwrap();
    assert!(text.contains("evenkeel_coalescer_tick_jitter_seconds_count 2000"), "{text}");
}

#[test]
fn an_unlimited_event_is_written_each_time() {
    let (lines, _) = lines_of(|emitter| {
        for workers in 0..3 {
            Started { workers }.emit(emitter);
        }
    });
    assert_eq!(lines.len(), 3);
}
