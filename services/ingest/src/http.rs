//! Routes and answers: which path takes which method, and how each outcome looks on the wire.
//!
//! Owns: the table of routes with every problem each may answer. schemas/http/openapi.yaml says the same;
//! tests/openapi.rs compares the two in both directions, and `answer` checks the table in tests.

use crate::delivery::{Accepted, BATCH_TYPE, CONTAINER_TYPE, Edge};
use crate::meters::{Cut, Protocol};
use crate::problem::{Extent, Kind, Problem};
use crate::recordings::{self, RecordingPath};
use crate::upload::{discard, upload};
use crate::ws::{self, Upgrade};
use bytes::Bytes;
use evenkeel_auth::Peer;
use evenkeel_codec::percent_decode;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::header::{
    ALLOW, CONNECTION, CONTENT_RANGE, CONTENT_TYPE, EXPECT, HeaderName, HeaderValue, RETRY_AFTER,
    SEC_WEBSOCKET_VERSION, UPGRADE, WWW_AUTHENTICATE,
};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use std::io;

/// The body of an answer: known whole, or read from a recording as it is sent.
pub(crate) type ReplyBody = Either<Full<Bytes>, UnsyncBoxBody<Bytes, io::Error>>;
/// An answer.
pub(crate) type Reply = Response<ReplyBody>;

/// The API's description, as served.
pub const OPENAPI_YAML: &str = include_str!("../../../schemas/http/openapi.yaml");

/// Content type of every refusal.
pub const PROBLEM_TYPE: &str = "application/problem+json";
const OPENAPI_TYPE: &str = "application/yaml";

/// One route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// The path with its parameter in braces, as in the description.
    pub path: &'static str,
    /// The method.
    pub method: &'static str,
    /// Content types it takes.
    pub takes: &'static [&'static str],
    /// Content type of its answers that are no problems; empty where they have no body.
    pub gives: &'static str,
    /// The statuses of those.
    pub statuses: &'static [u16],
    /// Every problem it may answer.
    pub problems: &'static [Kind],
}

const EVENT_TYPES: &[&str] = &["application/json", "application/x-ndjson", BATCH_TYPE, CONTAINER_TYPE];

const UPLOAD_PROBLEMS: &[Kind] = &[
    Kind::UnreadableBody,
    Kind::BadStreamId,
    Kind::Unauthenticated,
    Kind::Forbidden,
    Kind::MethodNotAllowed,
    Kind::SlowBody,
    Kind::TooLarge,
    Kind::UnsupportedMediaType,
    Kind::EventsRefused,
    Kind::RateLimited,
    Kind::Busy,
    Kind::LogUnavailable,
    Kind::Draining,
    Kind::KeysUnavailable,
    Kind::BytesLimited,
    Kind::TenantLimited,
    Kind::TenantBusy,
];

/// Events of the stream of the path.
const STREAM_EVENTS: Route = Route {
    path: "/v1/streams/{stream_id}/events",
    method: "POST",
    takes: EVENT_TYPES,
    gives: "application/json",
    statuses: &[200],
    problems: UPLOAD_PROBLEMS,
};
/// Events that name their streams.
const EVENTS: Route = Route { path: "/v1/events", ..STREAM_EVENTS };
/// Events over a WebSocket.
const WEB_SOCKET: Route = Route {
    path: ws::PATH,
    method: "GET",
    takes: &[],
    gives: "",
    statuses: &[101],
    problems: &[
        Kind::Unauthenticated,
        Kind::Forbidden,
        Kind::MethodNotAllowed,
        Kind::UpgradeRequired,
        Kind::KeysUnavailable,
    ],
};
/// The description of this API.
const OPENAPI: Route = Route {
    path: "/v1/openapi.yaml",
    method: "GET",
    takes: &[],
    gives: OPENAPI_TYPE,
    statuses: &[200],
    problems: &[Kind::MethodNotAllowed],
};

/// Every route. Any other path answers [`Kind::NotFound`].
pub const ROUTES: &[Route] = &[
    STREAM_EVENTS,
    EVENTS,
    WEB_SOCKET,
    recordings::PUT,
    recordings::PATCH,
    recordings::HEAD,
    recordings::GET,
    recordings::DELETE,
    recordings::INGEST,
    recordings::STATUS,
    OPENAPI,
];

/// Answers one request. Never fails: every outcome is an answer. With the answer 101 comes what follows it.
pub(crate) async fn answer(
    edge: &Edge,
    mut request: Request<Incoming>,
    peer: Option<&Peer>,
) -> (Reply, Option<Upgrade>) {
    let (response, upgrade) = match request.uri().path() == WEB_SOCKET.path && request.method() == Method::GET
    {
        true => match ws::upgrade(edge, &mut request, peer) {
            Ok((response, upgrade)) => (response.map(Either::Left), Some(upgrade)),
            Err(problem) => (refusal(&problem, Some(&WEB_SOCKET)), None),
        },
        false => (route(edge, request, peer).await, None),
    };
    edge.meters.answered(Protocol::Http, response.status());
    (response, upgrade)
}

async fn route(edge: &Edge, request: Request<Incoming>, peer: Option<&Peer>) -> Reply {
    let (head, mut body) = request.into_parts();
    let answered = match RecordingPath::find(head.uri.path()) {
        // In a box: other requests need no room for it.
        Some(path) => Box::pin(recordings::answer(edge, &head, &mut body, peer, path)).await,
        None => events(edge, &head, &mut body, peer).await,
    };
    match answered {
        Ok(response) => response,
        Err((problem, route)) => {
            // A client that waits for `100 Continue` has sent nothing, and reading would ask it to.
            if !head.headers.contains_key(EXPECT) {
                discard(&mut body).await;
            }
            if problem.kind == Kind::SlowBody {
                edge.meters.cut(Cut::SlowBody);
            }
            debug_assert!(
                route.is_none_or(|route| route.problems.contains(&problem.kind)),
                "{:?} is not declared",
                problem.kind
            );
            refusal(&problem, route)
        }
    }
}

/// Every path but those of recordings.
async fn events(
    edge: &Edge,
    head: &Parts,
    body: &mut Incoming,
    peer: Option<&Peer>,
) -> Result<Reply, (Problem, Option<&'static Route>)> {
    let (route, stream_id) = find(head.uri.path()).map_err(|problem| (problem, None))?;
    if head.method != route.method {
        let detail = format!("{} takes {}", route.path, route.method);
        return Err((Problem::new(Kind::MethodNotAllowed, detail), Some(route)));
    }
    if head.method == Method::GET {
        return Ok(respond(StatusCode::OK, route.gives, Bytes::from_static(OPENAPI_YAML.as_bytes())));
    }
    match upload(edge, &head.headers, peer, body, stream_id.as_deref()).await {
        Ok(accepted) => Ok(accept(route, &accepted)),
        Err(problem) => Err((problem, Some(route))),
    }
}

/// The route of a path and the stream id in it. A stream id may hold slashes, encoded or not.
fn find(path: &str) -> Result<(&'static Route, Option<String>), Problem> {
    if path == EVENTS.path {
        return Ok((&EVENTS, None));
    }
    if path == WEB_SOCKET.path {
        return Ok((&WEB_SOCKET, None));
    }
    if path == OPENAPI.path {
        return Ok((&OPENAPI, None));
    }
    let stream = path.strip_prefix("/v1/streams/").and_then(|rest| rest.strip_suffix("/events"));
    match stream {
        Some(stream) => match percent_decode(stream) {
            Some(stream_id) => Ok((&STREAM_EVENTS, Some(stream_id))),
            None => {
                Err(Problem::new(Kind::BadStreamId, "the stream id of the path is not percent-encoded UTF-8"))
            }
        },
        None => Err(Problem::new(Kind::NotFound, format!("{path} does not exist"))),
    }
}

fn accept(route: &Route, accepted: &Accepted) -> Reply {
    let body = serde_json::to_vec(&accepted.answered).unwrap_or_default();
    let mut response = respond(StatusCode::OK, route.gives, body.into());
    if accepted.retry_after_ms > 0 {
        set_retry_after(&mut response, accepted.retry_after_ms);
    }
    response
}

fn refusal(problem: &Problem, route: Option<&Route>) -> Reply {
    let mut response = respond(problem.kind.status(), PROBLEM_TYPE, problem.to_json().into());
    if let Some(retry_after_ms) = problem.retry_after_ms {
        set_retry_after(&mut response, retry_after_ms);
    }
    let headers = response.headers_mut();
    match problem.kind {
        Kind::Unauthenticated => {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        Kind::UpgradeRequired => {
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        Kind::MethodNotAllowed => {
            let same_path = ROUTES.iter().filter(|row| route.is_some_and(|route| route.path == row.path));
            let allow: Vec<&str> = same_path.map(|row| row.method).collect();
            headers.extend(HeaderValue::try_from(allow.join(", ")).ok().map(|allow| (ALLOW, allow)));
        }
        // A slow or oversized body is still on its way: the connection cannot be used again.
        Kind::Draining | Kind::SlowBody | Kind::TooLarge => {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        _ => {}
    }
    match problem.extent {
        None => {}
        Some(Extent::Offset(offset)) => {
            headers.insert(HeaderName::from_static(recordings::UPLOAD_OFFSET), HeaderValue::from(offset));
        }
        Some(Extent::Size(size)) => {
            let range = HeaderValue::try_from(format!("bytes */{size}")).ok();
            headers.extend(range.map(|range| (CONTENT_RANGE, range)));
        }
    }
    response
}

/// `retry-after` counts whole seconds; rounded up, so nobody comes too early.
fn set_retry_after(response: &mut Reply, retry_after_ms: u64) {
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(retry_after_ms.div_ceil(1000)));
}

/// A body that is there.
pub(crate) fn whole(body: Bytes) -> ReplyBody {
    Either::Left(Full::new(body))
}

/// An answer with such a body.
pub(crate) fn respond(status: StatusCode, content_type: &'static str, body: Bytes) -> Reply {
    let mut response = Response::new(whole(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_ids_with_slashes_encoded_or_not_are_found() {
        for (path, want) in [
            ("/v1/streams/bowl/events", "bowl"),
            ("/v1/streams/imu/S06/ankle/events", "imu/S06/ankle"),
            ("/v1/streams/imu%2FS06/events", "imu/S06"),
            ("/v1/streams/gr%C3%B6%c3%9Fe/events", "größe"),
            ("/v1/streams//events", ""),
        ] {
            let (route, stream_id) = find(path).unwrap();
            assert_eq!((route.path, stream_id.as_deref()), (STREAM_EVENTS.path, Some(want)), "{path}");
        }
        assert_eq!(find("/v1/events").unwrap().0, &EVENTS);
        assert_eq!(find("/v1/streams/a%2/events").unwrap_err().kind, Kind::BadStreamId);
        assert_eq!(find("/v1/streams/a%+1/events").unwrap_err().kind, Kind::BadStreamId);
        assert_eq!(find("/v1/streams/a%ff/events").unwrap_err().kind, Kind::BadStreamId);
        assert_eq!(find("/").unwrap_err().kind, Kind::NotFound);
    }
}
