//! Routes: the socket, server-sent events, diagnostics, the pages.
//!
//! Owns: which path answers what, and whether a page may connect. Never: a path outside the pages it was given.

use crate::server::Server;
use crate::session::{Phase, Upgrade};
use crate::sse;
use bytes::Bytes;
use evenkeel_auth::{Credential, Peer, Permission};
use evenkeel_fanout::Format;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{
    ALLOW, AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, ETAG, HOST, HeaderName, HeaderValue,
    IF_NONE_MATCH, ORIGIN, RETRY_AFTER, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use serde::Serialize;
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// Any body of an answer.
pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// A file that is served as it is.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    /// Its path, from `/` on.
    pub path: &'static str,
    /// Its bytes.
    pub bytes: &'static [u8],
    /// Names the content: another one for other bytes.
    pub tag: &'static str,
}

const PROTOCOLS: [(&str, Format); 2] =
    [("evenkeel.v1.json", Format::Json), ("evenkeel.v1.cbor", Format::Cbor)];
/// What a page may load and whom it may talk to: this server.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
/// Most topics that `/debug/topics` lists.
const LISTED_MAX: usize = 10_000;

/// Answers one request. With the answer 101 comes what follows it.
pub(crate) fn answer(
    shared: &Arc<Server>,
    request: &mut Request<Incoming>,
    peer: Option<Arc<Peer>>,
    phases: watch::Receiver<Phase>,
) -> (Response<Body>, Option<Upgrade>) {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "allowed: GET, HEAD\n");
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return (refused, None);
    }
    let path = request.uri().path().to_owned();
    match path.as_str() {
        "/v1/live" => match upgrade(shared, request, peer) {
            Ok((response, upgrade)) => (response, Some(upgrade)),
            Err(missing) => {
                let mut refused = text(StatusCode::UPGRADE_REQUIRED, &format!("{missing} is missing\n"));
                refused.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
                (refused, None)
            }
        },
        "/v1/live/events" if !same_origin(request.headers(), &shared.origins) => {
            (text(StatusCode::FORBIDDEN, "pages of this origin may not connect; see gateway.origins\n"), None)
        }
        "/v1/live/events" => match who(shared, request, peer.as_deref()) {
            Ok(credential) => (sse::answer(shared, request, credential, phases), None),
            Err(refused) => (*refused, None),
        },
        "/debug/topics" if same_origin(request.headers(), &shared.origins) => {
            match who(shared, request, peer.as_deref()) {
                Ok(credential) if credential.may(Permission::Fleet) => (debug(shared), None),
                Ok(_) => {
                    let why = "the credential has not the permission `fleet`\n";
                    (text(StatusCode::FORBIDDEN, why), None)
                }
                Err(refused) => (*refused, None),
            }
        }
        path => (page(shared, path, request.headers()), None),
    }
}

/// Who asks; or the answer to somebody unknown.
fn who(
    shared: &Server,
    request: &Request<Incoming>,
    peer: Option<&Peer>,
) -> Result<Arc<Credential>, Box<Response<Body>>> {
    let header = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes);
    shared.authenticate(header, peer).map_err(|unknown| {
        let status = match unknown.is_ours() {
            true => StatusCode::SERVICE_UNAVAILABLE,
            false => StatusCode::UNAUTHORIZED,
        };
        let mut refused = text(status, &format!("{unknown}\n"));
        let (name, value) = match unknown.is_ours() {
            true => (RETRY_AFTER, "2"),
            false => (WWW_AUTHENTICATE, "Bearer"),
        };
        refused.headers_mut().insert(name, HeaderValue::from_static(value));
        Box::new(refused)
    })
}

fn upgrade(
    shared: &Server,
    request: &mut Request<Incoming>,
    peer: Option<Arc<Peer>>,
) -> Result<(Response<Body>, Upgrade), &'static str> {
    let headers = request.headers();
    let key = shake(headers)?;
    let format =
        PROTOCOLS.iter().find(|(name, _)| words(headers, SEC_WEBSOCKET_PROTOCOL).any(|word| word == *name));
    let same_origin = same_origin(headers, &shared.origins);
    let authorization = headers.get(AUTHORIZATION).map(|value| value.as_bytes().into());
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes())).map_err(|_| "a readable key")?;
    let mut response = Response::new(Full::new(Bytes::new()).boxed_unsync());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let answer = response.headers_mut();
    answer.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    answer.insert(UPGRADE, HeaderValue::from_static("websocket"));
    answer.insert(SEC_WEBSOCKET_ACCEPT, accept);
    if let Some((name, _)) = format {
        answer.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(name));
    }
    let format = format.map(|(_, format)| *format);
    Ok((response, Upgrade { on: hyper::upgrade::on(request), format, same_origin, authorization, peer }))
}

fn words(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

/// The key of a complete handshake; else what is missing.
fn shake(headers: &HeaderMap) -> Result<String, &'static str> {
    let has = |name, word: &str| words(headers, name).any(|part| part.eq_ignore_ascii_case(word));
    if !has(CONNECTION, "upgrade") || !has(UPGRADE, "websocket") {
        return Err("`connection: upgrade` with `upgrade: websocket`");
    }
    if !has(SEC_WEBSOCKET_VERSION, "13") {
        return Err("`sec-websocket-version: 13`");
    }
    let key = headers.get(SEC_WEBSOCKET_KEY).and_then(|key| key.to_str().ok());
    key.filter(|key| !key.is_empty()).map(str::to_owned).ok_or("`sec-websocket-key`")
}

/// No browser sends it, or a page of this server or of an allowed one.
fn same_origin(headers: &HeaderMap, allowed: &[String]) -> bool {
    let Some(origin) = headers.get(ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let own = origin.split_once("://").is_some_and(|(_, of)| Some(of) == host);
    own || allowed.iter().any(|one| one == origin)
}

#[derive(Serialize)]
struct Diagnosis {
    connections: usize,
    refs: usize,
    watched_streams: usize,
    cached_bytes: usize,
    topics: Vec<Diagnosed>,
    /// Topics that were left out.
    more: usize,
}

#[derive(Serialize)]
struct Diagnosed {
    name: String,
    refs: u32,
    version: u32,
    age_ms: Option<u64>,
}

/// What stands: topics, references, the age of their last frame.
fn debug(shared: &Server) -> Response<Body> {
    let now_ms = shared.elapsed_ms();
    let hall = shared.hall();
    let views = hall.fanout.views();
    let more = views.len().saturating_sub(LISTED_MAX);
    let topics = views.into_iter().take(LISTED_MAX).map(|view| Diagnosed {
        name: view.name.to_string(),
        refs: view.refs,
        version: view.version,
        age_ms: view.published_ms.map(|at_ms| now_ms.saturating_sub(at_ms)),
    });
    let diagnosis = Diagnosis {
        connections: hall.fanout.len(),
        refs: hall.fanout.refs(),
        watched_streams: hall.watched(),
        cached_bytes: hall.fanout.cached_bytes(),
        topics: topics.collect(),
        more,
    };
    drop(hall);
    let body = serde_json::to_vec(&diagnosis).unwrap_or_default();
    respond(StatusCode::OK, "application/json", body.into())
}

/// A file of the pages; `/` is `/index.html`.
fn page(shared: &Server, path: &str, headers: &HeaderMap) -> Response<Body> {
    let path = if path == "/" { "/index.html" } else { path };
    let Some(page) = shared.pages.iter().find(|page| page.path == path) else {
        return match path {
            "/index.html" => text(
                StatusCode::OK,
                "The gateway of Evenkeel. This build has no pages; connect to /v1/live (schemas/ws/gateway.md).\n",
            ),
            _ => text(StatusCode::NOT_FOUND, "not here\n"),
        };
    };
    let tag = format!("\"{}\"", page.tag);
    let known = headers.get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let mut response = match known {
        true => respond(StatusCode::NOT_MODIFIED, type_of(path), Bytes::new()),
        false => respond(StatusCode::OK, type_of(path), Bytes::from_static(page.bytes)),
    };
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(ETAG, tag);
    }
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    let name = HeaderName::from_static("content-security-policy");
    response.headers_mut().insert(name, HeaderValue::from_static(POLICY));
    response
}

fn type_of(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, ending)| ending) {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "txt" => "text/plain; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "json" | "map" => "application/json",
        "woff2" => "font/woff2",
        "webmanifest" => "application/manifest+json",
        _ => "application/octet-stream",
    }
}

pub(crate) fn text(status: StatusCode, text: &str) -> Response<Body> {
    respond(status, "text/plain; charset=utf-8", Bytes::copy_from_slice(text.as_bytes()))
}

fn respond(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Full::new(body).boxed_unsync());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_what_their_names_say() {
        for (path, want) in [
            ("/index.html", "text/html; charset=utf-8"),
            ("/licences.txt", "text/plain; charset=utf-8"),
            ("/app.js", "text/javascript; charset=utf-8"),
            ("/what", "application/octet-stream"),
        ] {
            assert_eq!(type_of(path), want, "{path}");
        }
    }

    #[test]
    fn another_sites_page_is_told_apart() {
        let headers = |origin: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_static("127.0.0.1:8090"));
            origin.map(|origin| headers.insert(ORIGIN, HeaderValue::from_static(origin)));
            headers
        };
        let allowed = ["https://ops.example".to_owned()];
        for (origin, want) in [
            (None, true),
            (Some("http://127.0.0.1:8090"), true),
            (Some("https://ops.example"), true),
            (Some("https://ops.example.evil"), false),
            (Some("https://evil.example"), false),
            (Some("null"), false),
        ] {
            assert_eq!(same_origin(&headers(origin), &allowed), want, "{origin:?}");
        }
    }
}
