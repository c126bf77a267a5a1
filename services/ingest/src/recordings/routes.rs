//! The paths of recordings: who may, which method does what, how it is answered.
//!
//! Owns: the rows of recordings in the table of routes. Never: an answer that its row does not name.

use super::name::{Facet, RecordingName, RecordingPath};
use super::receive::{self, Received};
use super::{Recordings, send};
use crate::delivery::{Edge, Share};
use crate::http::{Reply, Route, respond, whole};
use crate::problem::{Kind, Problem};
use crate::upload::authorize;
use crate::ws::same_origin;
use bytes::Bytes;
use evenkeel_auth::{Credential, Peer};
use evenkeel_codec::percent_decode;
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};

/// Problems of every request about a recording.
const READ_PROBLEMS: &[Kind] = &[
    Kind::BadStreamId,
    Kind::BadRecordingId,
    Kind::Unauthenticated,
    Kind::Forbidden,
    Kind::NotFound,
    Kind::MethodNotAllowed,
    Kind::Busy,
    Kind::KeysUnavailable,
    Kind::SpoolFailed,
];

const UPLOAD_PROBLEMS: &[Kind] = &[
    Kind::BadStreamId,
    Kind::BadRecordingId,
    Kind::BadUpload,
    Kind::UnreadableBody,
    Kind::Unauthenticated,
    Kind::Forbidden,
    Kind::NotFound,
    Kind::MethodNotAllowed,
    Kind::SlowBody,
    Kind::OffsetMismatch,
    Kind::RecordingFinished,
    Kind::TooLarge,
    Kind::UnsupportedMediaType,
    Kind::TenantBusy,
    Kind::Busy,
    Kind::Draining,
    Kind::KeysUnavailable,
    Kind::SpoolFailed,
    Kind::SpoolFull,
];

const PATH: &str = "/v1/streams/{stream_id}/recordings/{recording_id}";

/// Begins a recording.
pub(crate) const PUT: Route = Route {
    path: PATH,
    method: "PUT",
    takes: &["*/*"],
    gives: "",
    statuses: &[201],
    problems: UPLOAD_PROBLEMS,
};
/// Goes on with one.
pub(crate) const PATCH: Route = Route { method: "PATCH", statuses: &[204], ..PUT };
/// Tells how much there is.
pub(crate) const HEAD: Route =
    Route { method: "HEAD", takes: &[], statuses: &[200], problems: READ_PROBLEMS, ..PUT };
/// Reads it.
pub(crate) const GET: Route = Route {
    method: "GET",
    gives: "*/*",
    statuses: &[200, 206],
    problems: &[
        Kind::BadStreamId,
        Kind::BadRecordingId,
        Kind::Unauthenticated,
        Kind::Forbidden,
        Kind::NotFound,
        Kind::MethodNotAllowed,
        Kind::RecordingUnfinished,
        Kind::RangeNotSatisfiable,
        Kind::Busy,
        Kind::KeysUnavailable,
        Kind::SpoolFailed,
    ],
    ..HEAD
};
/// Removes it.
pub(crate) const DELETE: Route = Route { method: "DELETE", statuses: &[204], ..HEAD };
/// Sends it into the log.
pub(crate) const INGEST: Route = Route {
    path: "/v1/streams/{stream_id}/recordings/{recording_id}/ingest",
    method: "POST",
    takes: &[],
    gives: "application/json",
    statuses: &[202],
    problems: &[
        Kind::BadStreamId,
        Kind::BadRecordingId,
        Kind::Unauthenticated,
        Kind::Forbidden,
        Kind::NotFound,
        Kind::MethodNotAllowed,
        Kind::RecordingUnfinished,
        Kind::UnsupportedMediaType,
        Kind::TenantBusy,
        Kind::Busy,
        Kind::Draining,
        Kind::KeysUnavailable,
        Kind::SpoolFailed,
    ],
};
/// Tells how far that is.
pub(crate) const STATUS: Route = Route {
    path: "/v1/streams/{stream_id}/recordings/{recording_id}/status",
    method: "GET",
    takes: &[],
    gives: "application/json",
    statuses: &[200],
    problems: READ_PROBLEMS,
};

/// The row of a request, or one of its path where the method is another.
fn route_of(facet: Facet, method: &Method) -> (&'static Route, bool) {
    let rows: &[&'static Route] = match facet {
        Facet::Content => &[&PUT, &PATCH, &HEAD, &GET, &DELETE],
        Facet::Ingest => &[&INGEST],
        Facet::Status => &[&STATUS],
    };
    let found = rows.iter().find(|route| route.method == method.as_str());
    (found.unwrap_or(&rows[0]), found.is_some())
}

/// Answers a request about a recording; with the refusal comes the row that it must be in.
pub(crate) async fn answer(
    edge: &Edge,
    head: &Parts,
    body: &mut Incoming,
    peer: Option<&Peer>,
    path: RecordingPath<'_>,
) -> Result<Reply, (Problem, Option<&'static Route>)> {
    let (route, known) = route_of(path.facet, &head.method);
    let answered = async {
        let Some(recordings) = &edge.recordings else {
            return Err(Problem::new(
                Kind::NotFound,
                "this server keeps no recordings (recordings.dir is not set)",
            ));
        };
        if !known {
            return Err(Problem::new(Kind::MethodNotAllowed, format!("{} has other methods", route.path)));
        }
        let decoded = |text, kind, what: &str| {
            let broken =
                || Problem::new(kind, format!("the {what} id of the path is not percent-encoded UTF-8"));
            percent_decode(text).ok_or_else(broken)
        };
        let stream_id = decoded(path.stream, Kind::BadStreamId, "stream")?;
        let recording_id = decoded(path.recording, Kind::BadRecordingId, "recording")?;
        let credential = authorize(edge, &head.headers, peer, Some(&stream_id))?;
        let name = RecordingName::new(stream_id, recording_id)?;
        dispatch(edge, recordings, route, (head, body), (&name, &credential)).await
    };
    answered.await.map_err(|problem| (problem, Some(route)))
}

async fn dispatch(
    edge: &Edge,
    Recordings { store, ingests }: &Recordings,
    route: &Route,
    (head, body): (&Parts, &mut Incoming),
    (name, credential): (&RecordingName, &Credential),
) -> Result<Reply, Problem> {
    // What brings bytes or events asks as every delivery does: a server that drains or is full says so.
    if matches!(route.method, "PUT" | "PATCH" | "POST") {
        drop(Share::open(edge, credential, 0).await?);
    }
    match (route.method, route.path) {
        ("PUT", _) => {
            let uploading = receive::put(store, name, &head.headers, body, (edge.now_ms)());
            Ok(stored(StatusCode::CREATED, &while_it_lasts(edge, credential, uploading).await?))
        }
        ("PATCH", _) => {
            let uploading = receive::patch(store, name, &head.headers, body);
            Ok(stored(StatusCode::NO_CONTENT, &while_it_lasts(edge, credential, uploading).await?))
        }
        ("HEAD", _) => {
            let opened = store.find(name).await?;
            Ok(send::head(&opened.about, opened.recording.len(), opened.recording.is_finished()))
        }
        ("DELETE", _) => {
            store.remove(name).await?;
            Ok(empty(StatusCode::NO_CONTENT))
        }
        (_, PATH) => {
            let (about, buffer) = {
                let opened = store.find(name).await?;
                (opened.about.clone(), opened.recording.buffer())
            };
            send::get(store, &about, buffer, &head.headers).await
        }
        (method, _) => {
            let progress = match method {
                // A page of another site may send this without asking; what it brings bytes with, it may not.
                "POST" if credential.is_anonymous() && !same_origin(&head.headers) => {
                    let detail = "without credentials only pages of this server may begin an ingest";
                    return Err(Problem::new(Kind::Forbidden, detail));
                }
                "POST" => ingests.begin(store, name, credential).await?,
                _ => ingests.progress(store, name).await?,
            };
            let status = StatusCode::from_u16(route.statuses[0]).unwrap_or_default();
            Ok(respond(status, route.gives, serde_json::to_vec(&progress).unwrap_or_default().into()))
        }
    }
}

/// An upload may last longer than its credential; then it ends, and what has come stays.
async fn while_it_lasts(
    edge: &Edge,
    credential: &Credential,
    uploading: impl Future<Output = Result<Received, Problem>>,
) -> Result<Received, Problem> {
    let mut changes = edge.auth.changes();
    tokio::select! {
        received = uploading => received,
        why = edge.lapse(credential, &mut changes) => Err(Problem::new(Kind::Unauthenticated, why)),
    }
}

/// What an upload is told: how much there is now.
fn stored(status: StatusCode, received: &Received) -> Reply {
    let mut response = empty(status);
    send::describe(&received.opened.about, response.headers_mut());
    send::extent(received.end, received.complete, response.headers_mut());
    response
}

fn empty(status: StatusCode) -> Reply {
    let mut response = Response::new(whole(Bytes::new()));
    *response.status_mut() = status;
    response
}
