//! One HTTP request with events: its head, its body piece by piece.
//!
//! Owns: the order of the checks on a head (credential, type, size). Never: keeps a body; its pieces go to
//! the [`Delivery`] as they come.

use crate::body::{Encoding, Format, essence};
use crate::delivery::{Accepted, BATCH_TYPE, CONTAINER_TYPE, Delivery, Edge, Manner, Share};
use crate::meters::Protocol;
use crate::problem::{Kind, Problem};
use evenkeel_auth::Credential;
use evenkeel_auth::Peer;
use evenkeel_model::check_stream_id;
use evenkeel_telemetry::{TraceContext, answered};
use http_body_util::BodyExt;
use hyper::HeaderMap;
use hyper::body::{Body, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE};
use std::sync::Arc;
use std::time::Duration;
use tracing::Span;

/// Takes one upload. `path_stream` is the stream of the path, if the path names one.
pub(crate) async fn upload(
    edge: &Edge,
    headers: &HeaderMap,
    peer: Option<&Peer>,
    body: &mut Incoming,
    path_stream: Option<&str>,
) -> Result<Accepted, Problem> {
    let lines = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    let client = TraceContext::find(lines);
    let route = path_stream.map_or("/v1/events", |_| "/v1/streams/{stream_id}/events");
    let request = edge.receiving(route, client.as_ref());
    let uploaded = take(edge, headers, peer, body, path_stream, (client, request.clone())).await;
    if let Some(request) = request {
        answered(&request, uploaded.as_ref().map_or_else(|problem| problem.kind.status().as_u16(), |_| 200));
    }
    uploaded
}

/// The same, within the span of the request and in the client's trace.
async fn take(
    edge: &Edge,
    headers: &HeaderMap,
    peer: Option<&Peer>,
    body: &mut Incoming,
    path_stream: Option<&str>,
    (client, request): (Option<TraceContext>, Option<Span>),
) -> Result<Accepted, Problem> {
    let credential = authorize(edge, headers, peer, path_stream)?;
    let (format, encoding) = (format_of(headers)?, encoding_of(headers)?);
    let announced = announced_bytes(body, edge.limits.body_bytes_max)?;
    let manner = Manner {
        protocol: Protocol::Http,
        format,
        encoding,
        credential: &credential,
        stream_id: path_stream,
    };
    let mut delivery = Delivery::begin(edge, Share::open(edge, &credential, announced).await?, manner);
    delivery.within(request);
    loop {
        let frame = tokio::select! {
            frame = body.frame() => frame,
            problem = delivery.refusal() => return Err(problem),
        };
        let Some(frame) = frame else { break };
        let frame = frame
            .map_err(|error| Problem::new(Kind::UnreadableBody, format!("the body broke off: {error}")))?;
        let Ok(piece) = frame.into_data() else { continue }; // trailers say nothing to us
        delivery.take(piece).await?;
    }
    delivery.finish(client).await
}

/// Reads and drops what a refused client still sends, so that it can read the answer: a connection closed
/// under unread data is reset, and the answer lost. Bounded in bytes and time.
pub(crate) async fn discard(body: &mut Incoming) {
    const DISCARD_BYTES_MAX: usize = 1024 * 1024;
    let reading = async {
        let mut bytes = 0;
        while bytes < DISCARD_BYTES_MAX {
            match body.frame().await {
                Some(Ok(frame)) => bytes += frame.data_ref().map_or(0, |data| data.len()),
                Some(Err(_)) | None => break,
            }
        }
    };
    let _ = tokio::time::timeout(Duration::from_millis(500), reading).await;
}

/// Who sends this head, and whether they may write the stream of its path.
pub(crate) fn authorize(
    edge: &Edge,
    headers: &HeaderMap,
    peer: Option<&Peer>,
    path_stream: Option<&str>,
) -> Result<Arc<Credential>, Problem> {
    let header = headers.get(AUTHORIZATION).map(|value| value.as_bytes());
    let credential = edge.authenticate(header, peer)?;
    if let Some(stream_id) = path_stream {
        check_stream_id(stream_id)
            .map_err(|error| Problem::new(Kind::BadStreamId, format!("the stream id of the path {error}")))?;
        if !credential.allows(stream_id) {
            let detail = format!("credential {:?} does not cover the stream {stream_id:?}", credential.name);
            return Err(Problem::new(Kind::Forbidden, detail));
        }
    }
    Ok(credential)
}

fn format_of(headers: &HeaderMap) -> Result<Format, Problem> {
    let header = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    match essence(header).as_str() {
        "application/json" => Ok(Format::Json),
        "application/x-ndjson" => Ok(Format::Ndjson),
        BATCH_TYPE => Ok(Format::Batch),
        CONTAINER_TYPE => Ok(Format::Container),
        _ => Err(Problem::new(Kind::UnsupportedMediaType, format!("content-type {header:?} is not known"))),
    }
}

fn encoding_of(headers: &HeaderMap) -> Result<Encoding, Problem> {
    let Some(header) = headers.get(CONTENT_ENCODING) else { return Ok(Encoding::Plain) };
    match header.to_str().unwrap_or("?").trim().to_ascii_lowercase().as_str() {
        "gzip" | "x-gzip" => Ok(Encoding::Gzip),
        "zstd" => Ok(Encoding::Zstd),
        "identity" | "" => Ok(Encoding::Plain),
        other => {
            Err(Problem::new(Kind::UnsupportedMediaType, format!("content-encoding {other:?} is not known")))
        }
    }
}

/// What `content-length` promises (0 without one); too much is refused before a byte is read.
fn announced_bytes(body: &Incoming, body_bytes_max: u64) -> Result<u64, Problem> {
    let announced = body.size_hint().exact().unwrap_or(0);
    match announced > body_bytes_max {
        true => {
            let detail = format!("content-length is {announced}, the limit is {body_bytes_max} bytes");
            Err(Problem::new(Kind::TooLarge, detail))
        }
        false => Ok(announced),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types_are_compared_without_parameters_and_case() {
        let mut headers = HeaderMap::new();
        assert!(format_of(&headers).is_err());
        headers.insert(CONTENT_TYPE, "Application/JSON; charset=utf-8".parse().unwrap());
        assert_eq!(format_of(&headers).unwrap(), Format::Json);
        headers.insert(CONTENT_TYPE, "text/plain".parse().unwrap());
        assert!(format_of(&headers).is_err());
        headers.insert(CONTENT_ENCODING, "br".parse().unwrap());
        assert!(encoding_of(&headers).is_err());
        headers.insert(CONTENT_ENCODING, "ZSTD".parse().unwrap());
        assert_eq!(encoding_of(&headers).unwrap(), Encoding::Zstd);
    }
}
