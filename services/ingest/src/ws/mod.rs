//! Events over a WebSocket: batches up, answers down by the batch's id, credits.
//!
//! Owns: the handshake, and the shape of messages (schemas/ws/asyncapi.yaml says the same). Never: a batch
//! whose answer is not sent; more batches of a connection than its credits; a page of another site that
//! writes through a browser on a server without credentials.
//!
//! `mod` shakes hands, `session` is the connection's loop, `message` reads and writes messages, `valve` holds
//! back bytes that the budget has not taken.

mod message;
mod session;
mod valve;

use crate::delivery::Edge;
use crate::problem::{Kind, Problem};
use crate::upload::authorize;
use bytes::Bytes;
use evenkeel_auth::Credential;
use evenkeel_auth::Peer;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, HOST, HeaderValue, ORIGIN, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::upgrade::OnUpgrade;
use hyper::{HeaderMap, Request, Response, StatusCode};
use std::sync::Arc;
use std::time::Duration;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

pub(crate) use session::open;

/// Where it is opened.
pub(crate) const PATH: &str = "/v1/ws";
/// The subprotocol. A client may leave it out.
pub(crate) const SUBPROTOCOL: &str = "evenkeel.ingest.v1";
/// How a browser, which cannot set headers, passes its token: as a second subprotocol.
const TOKEN_PREFIX: &str = "bearer.";

/// Settings of a WebSocket.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WebSocketLimits {
    pub(crate) credits: usize,
    pub(crate) message_bytes_max: usize,
    pub(crate) ping_every: Duration,
}

/// A connection that becomes a WebSocket once its answer 101 is written.
pub(crate) struct Upgrade {
    on: OnUpgrade,
    credential: Arc<Credential>,
}

/// Answers a request for a WebSocket.
pub(crate) fn upgrade(
    edge: &Edge,
    request: &mut Request<Incoming>,
    peer: Option<&Peer>,
) -> Result<(Response<Full<Bytes>>, Upgrade), Problem> {
    let headers = request.headers();
    let key = shake(headers)?;
    let (named, token) = subprotocols(headers);
    let credential = match token {
        Some(token) => edge.authenticate(Some(format!("Bearer {token}").as_bytes()), peer)?,
        None => authorize(edge, headers, peer, None)?,
    };
    if credential.is_anonymous() && !same_origin(headers) {
        let detail = "without credentials only pages of this server may open a WebSocket";
        return Err(Problem::new(Kind::Forbidden, detail));
    }
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes()))
        .map_err(|_| Problem::new(Kind::UpgradeRequired, "sec-websocket-key is not readable"))?;
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let answer = response.headers_mut();
    answer.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    answer.insert(UPGRADE, HeaderValue::from_static("websocket"));
    answer.insert(SEC_WEBSOCKET_ACCEPT, accept);
    if named {
        answer.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    }
    Ok((response, Upgrade { on: hyper::upgrade::on(request), credential }))
}

/// The key of a complete handshake.
fn shake(headers: &HeaderMap) -> Result<String, Problem> {
    let has = |name, word: &str| {
        let lines = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        lines.flat_map(|line| line.split(',')).any(|part| part.trim().eq_ignore_ascii_case(word))
    };
    let missing = |what: &str| Err(Problem::new(Kind::UpgradeRequired, format!("{what} is missing")));
    if !has(CONNECTION, "upgrade") || !has(UPGRADE, "websocket") {
        return missing("`connection: upgrade` with `upgrade: websocket`");
    }
    if !has(SEC_WEBSOCKET_VERSION, "13") {
        return missing("`sec-websocket-version: 13`");
    }
    match headers.get(SEC_WEBSOCKET_KEY).and_then(|key| key.to_str().ok()) {
        Some(key) if !key.is_empty() => Ok(key.to_owned()),
        _ => missing("`sec-websocket-key`"),
    }
}

/// Whether our subprotocol is offered, and the token of a browser.
fn subprotocols(headers: &HeaderMap) -> (bool, Option<String>) {
    let lines = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    let (mut named, mut token) = (false, None);
    for part in lines.flat_map(|line| line.split(',')).map(str::trim) {
        named |= part == SUBPROTOCOL;
        token = token.or_else(|| part.strip_prefix(TOKEN_PREFIX).map(str::to_owned));
    }
    (named, token)
}

/// No browser sends it, or a page of the server it came from.
pub(crate) fn same_origin(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(origin) = headers.get(ORIGIN) else { return true };
    let host = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
    host.is_some() && host == text(HOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_handshake_needs_all_its_parts() {
        let whole = [
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        assert_eq!(shake(&headers(&whole)).unwrap(), "dGhlIHNhbXBsZSBub25jZQ==");
        for missing in 0..whole.len() {
            let lines: Vec<_> =
                whole.iter().enumerate().filter(|(n, _)| *n != missing).map(|(_, l)| *l).collect();
            assert_eq!(shake(&headers(&lines)).unwrap_err().kind, Kind::UpgradeRequired);
        }
    }

    #[test]
    fn a_browser_may_pass_its_token_as_a_subprotocol() {
        let offered = headers(&[("sec-websocket-protocol", "evenkeel.ingest.v1, bearer.abc")]);
        assert_eq!(subprotocols(&offered), (true, Some("abc".to_owned())));
        assert_eq!(subprotocols(&headers(&[])), (false, None));
    }

    #[test]
    fn another_sites_page_is_told_apart() {
        assert!(same_origin(&headers(&[("host", "127.0.0.1:8080")])));
        assert!(same_origin(&headers(&[("host", "127.0.0.1:8080"), ("origin", "http://127.0.0.1:8080")])));
        assert!(!same_origin(&headers(&[("host", "127.0.0.1:8080"), ("origin", "https://evil.example")])));
        assert!(!same_origin(&headers(&[("host", "127.0.0.1:8080"), ("origin", "null")])));
    }
}
