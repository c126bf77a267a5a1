//! An OTLP collector of the test's own: takes traces over gRPC and keeps their spans.

use bytes::Bytes;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::HeaderValue;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use prost::Message as _;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;

/// A span as it arrived.
#[derive(Debug, Clone)]
pub struct Spanned {
    pub service: String,
    pub name: String,
    pub trace: String,
    pub id: String,
    pub parent: String,
    /// Trace and span of each link.
    pub links: Vec<(String, String)>,
    /// `messaging.system`.
    pub system: String,
    /// `db.system.name`.
    pub store: String,
    /// `db.operation.batch.size`; 0 without one.
    pub rows: i64,
    /// `http.response.status_code`; 0 without one.
    pub status: i64,
    /// `network.protocol.name`.
    pub protocol: String,
    /// `error.type`.
    pub error: String,
}

/// Keeps every span it was sent.
pub struct Collector {
    pub endpoint: String,
    spans: Arc<Mutex<Vec<Spanned>>>,
    _runtime: tokio::runtime::Runtime,
}

impl Collector {
    pub fn start() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let spans = Arc::new(Mutex::new(Vec::new()));
        let kept = spans.clone();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let kept = kept.clone();
                let service = hyper::service::service_fn(move |request| {
                    let kept = kept.clone();
                    async move { Ok::<_, Infallible>(take(request, kept).await) }
                });
                tokio::spawn(
                    hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Self { endpoint, spans, _runtime: runtime }
    }

    /// Every span so far.
    pub fn spans(&self) -> Vec<Spanned> {
        self.spans.lock().unwrap().clone()
    }
}

async fn take(
    request: Request<Incoming>,
    kept: Arc<Mutex<Vec<Spanned>>>,
) -> Response<impl hyper::body::Body<Data = Bytes, Error = Infallible> + Send + 'static> {
    let traces = request.uri().path().ends_with("TraceService/Export");
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    // Five bytes in front: not compressed, and the length.
    if traces && let Ok(export) = ExportTraceServiceRequest::decode(body.get(5..).unwrap_or_default()) {
        kept.lock().unwrap().extend(spans_of(export));
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let frames =
        [Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[0; 5]))), Ok(Frame::trailers(trailers))];
    let mut response = Response::new(StreamBody::new(futures::stream::iter(frames)));
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    response
}

/// The spans of one export.
pub fn spans_of(export: ExportTraceServiceRequest) -> Vec<Spanned> {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut spans = Vec::new();
    for of_process in export.resource_spans {
        let service = text(of_process.resource.iter().flat_map(|r| &r.attributes), "service.name");
        for span in of_process.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            spans.push(Spanned {
                service: service.clone(),
                system: text(span.attributes.iter(), "messaging.system"),
                store: text(span.attributes.iter(), "db.system.name"),
                rows: number(&span.attributes, "db.operation.batch.size"),
                status: number(&span.attributes, "http.response.status_code"),
                protocol: text(span.attributes.iter(), "network.protocol.name"),
                error: text(span.attributes.iter(), "error.type"),
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                links: span.links.iter().map(|l| (hex(&l.trace_id), hex(&l.span_id))).collect(),
                name: span.name,
            });
        }
    }
    spans
}

fn text<'a>(attributes: impl Iterator<Item = &'a KeyValue>, key: &str) -> String {
    let found = attributes.filter(|kv| kv.key == key).find_map(|kv| kv.value.as_ref()?.value.as_ref());
    match found {
        Some(Value::StringValue(text)) => text.clone(),
        _ => String::new(),
    }
}

fn number(attributes: &[KeyValue], key: &str) -> i64 {
    let found = attributes.iter().find(|kv| kv.key == key).and_then(|kv| kv.value.as_ref()?.value.as_ref());
    match found {
        Some(Value::IntValue(number)) => *number,
        _ => 0,
    }
}
