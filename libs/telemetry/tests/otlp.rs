//! Traces and metrics over gRPC to a collector of the test's own, and the end of a process whose collector
//! does not answer.

#![allow(clippy::unwrap_used)] // the helpers of tests are tests

use bytes::Bytes;
use evenkeel_telemetry::names::ingest;
use evenkeel_telemetry::{InitError, LogFormat, LogTail, LogTo, Otlp, Settings, Telemetry};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;

const DEADLINE: Duration = Duration::from_secs(60);

/// One export: the method's path and the request's bytes.
type Export = (String, Vec<u8>);

async fn collect(
    request: Request<Incoming>,
    to: Sender<Export>,
) -> Response<impl hyper::body::Body<Data = Bytes, Error = Infallible> + Send + 'static> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.map(|body| body.to_bytes().to_vec()).unwrap_or_default();
    // Nobody may be listening any more at the end of the test.
    let _ = to.send((path, body));
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", hyper::header::HeaderValue::from_static("0"));
    // An empty answer: not compressed, length 0.
    let frames =
        [Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[0; 5]))), Ok(Frame::trailers(trailers))];
    let mut response = Response::new(StreamBody::new(futures::stream::iter(frames)));
    response
        .headers_mut()
        .insert("content-type", hyper::header::HeaderValue::from_static("application/grpc"));
    response
}

async fn collector() -> (String, Receiver<Export>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (to, exports) = channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let to = to.clone();
            let service = hyper::service::service_fn(move |request| {
                let to = to.clone();
                async move { Ok::<_, Infallible>(collect(request, to).await) }
            });
            tokio::spawn(
                hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    (format!("http://{address}"), exports)
}

fn settings(endpoint: &str, tail: &LogTail) -> Settings {
    let otlp = Otlp {
        endpoint: endpoint.to_owned(),
        metrics_interval: Duration::from_secs(3600),
        timeout: Duration::from_secs(30),
        sample_ratio: 1.0,
    };
    Settings {
        service: "evenkeel-test".to_owned(),
        version: "1.2.3".to_owned(),
        commit: String::new(),
        instance: "pod-7".to_owned(),
        filter: "debug".to_owned(),
        format: LogFormat::Json,
        to: LogTo::Tail(tail.clone()),
        otlp: Some(otlp),
    }
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_and_metrics_arrive_and_a_second_start_is_refused() {
    let (endpoint, exports) = collector().await;
    let tail = LogTail::new(10_000);
    let settings = settings(&endpoint, &tail);
    let telemetry = Telemetry::start(&settings).unwrap();
    assert!(matches!(Telemetry::start(&settings), Err(InitError::AlreadySet)));

    telemetry.metrics().counter(&ingest::EVENTS, ["http", "accepted"]).add(5);
    tracing::info_span!("process events").in_scope(|| tracing::info!("one line"));
    let text = telemetry.metrics().render().unwrap();
    let build = r#"evenkeel_build_info{commit="unknown",service="evenkeel-test",version="1.2.3"} 1"#;
    assert!(text.contains(build), "{text}");
    assert!(tail.lines().iter().any(|line| line.contains("one line") && line.starts_with('{')));

    let flushed = tokio::task::spawn_blocking(|| telemetry.shutdown(DEADLINE)).await.unwrap();
    assert!(flushed);
    let (mut spans, mut metrics) = (false, false);
    let deadline = Instant::now() + DEADLINE;
    while !(spans && metrics) {
        let left = deadline.saturating_duration_since(Instant::now());
        let (path, body) = exports.recv_timeout(left).expect("both exports before the deadline");
        assert!(holds(&body, "evenkeel-test") && holds(&body, "pod-7"), "{path}");
        spans |= path.ends_with("TraceService/Export") && holds(&body, "process events");
        metrics |= path.ends_with("MetricsService/Export") && holds(&body, "evenkeel.ingest.events");
    }
}
