//! Server-sent events: the same fragments, read only.
//!
//! Owns: the text of the stream, and positions in its event ids. Never: a queue: the next message is made when the last
//! one was taken.

use crate::http::{Body, text};
use crate::protocol::Wish;
use crate::server::Server;
use crate::session::Phase;
use bytes::Bytes;
use evenkeel_auth::Credential;
use evenkeel_fanout::{ConnectionId, Control, EndReason, Format, Fragment, Position};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Request, Response, StatusCode};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// Longest query, bytes.
const QUERY_BYTES_MAX: usize = 8192;

struct Stream {
    shared: Arc<Server>,
    id: ConnectionId,
    notify: Arc<Notify>,
    topics: Vec<String>,
    /// Positions by topic, for the event's id.
    positions: BTreeMap<usize, (String, i64)>,
    phases: watch::Receiver<Phase>,
    /// Whose it is: it ends with the credential.
    credential: Arc<Credential>,
    changes: watch::Receiver<u64>,
    began: bool,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.shared.disconnect(self.id);
    }
}

/// Opens a stream of the topics in the query.
pub(crate) fn answer(
    shared: &Arc<Server>,
    request: &Request<Incoming>,
    credential: Arc<Credential>,
    phases: watch::Receiver<Phase>,
) -> Response<Body> {
    let query = request.uri().query().unwrap_or_default();
    let topics: Vec<String> = query
        .split('&')
        .take(if query.len() > QUERY_BYTES_MAX { 0 } else { usize::MAX })
        .filter_map(|pair| pair.strip_prefix("topic="))
        .filter_map(unescape)
        .collect();
    if topics.is_empty() || topics.len() > shared.terms.batch_max {
        let wanted = format!("name 1 to {} topics: ?topic=…&topic=…\n", shared.terms.batch_max);
        return text(StatusCode::BAD_REQUEST, &wanted);
    }
    let last = request.headers().get("last-event-id").and_then(|id| id.to_str().ok()).unwrap_or_default();
    let positions = read_positions(last, topics.len());
    let (id, notify) = shared.connect(Format::Json);
    let stream = Stream {
        shared: Arc::clone(shared),
        id,
        notify,
        topics,
        positions,
        phases,
        credential,
        changes: shared.auth.changes(),
        began: false,
    };
    let wishes = stream.topics.iter().enumerate().map(|(n, topic)| Wish {
        id: n as u32 + 1,
        topic: topic.clone(),
        max_hz: None,
        position: stream.positions.get(&n).map(|(epoch, at)| Position { epoch: epoch.clone(), at: *at }),
    });
    let wishes: Vec<Wish> = wishes.collect();
    let subscribed = shared.hall().subscribe(id, wishes, &stream.credential, shared.now());
    shared.stirred.notify_one();
    match subscribed {
        Ok(ended) if ended.is_empty() => {}
        Ok(ended) => {
            let forbidden = ended.iter().any(|ended| ended.reason == EndReason::Forbidden);
            let why: Vec<String> = ended.into_iter().map(|ended| ended.message).collect();
            let status = if forbidden { StatusCode::FORBIDDEN } else { StatusCode::BAD_REQUEST };
            return text(status, &format!("{}\n", why.join("\n")));
        }
        Err(close) => return text(StatusCode::INTERNAL_SERVER_ERROR, &format!("{close}\n")),
    }
    let messages = futures::stream::unfold(stream, |mut stream| async move {
        let message = stream.next().await?;
        Some((Ok::<_, Infallible>(Frame::data(message)), stream))
    });
    let mut response = Response::new(StreamBody::new(messages).boxed_unsync());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl Stream {
    /// The next message: asked for when the last one was taken.
    async fn next(&mut self) -> Option<Bytes> {
        if !std::mem::replace(&mut self.began, true) {
            return Some(Bytes::from_static(b"retry: 2000\n\n"));
        }
        self.written();
        let silent = Instant::now() + self.shared.timing.ping;
        loop {
            // A stream cannot be given a new credential: the client comes again with one.
            self.shared.auth.check(&self.credential, self.shared.wall_ms()).ok()?;
            let ends = self.credential.expires_at_ms.map(|at_ms| self.shared.at_wall(at_ms));
            tokio::select! {
                () = self.notify.notified() => {}
                Ok(()) = self.changes.changed() => continue,
                () = tokio::time::sleep_until(ends.unwrap_or(silent)), if ends.is_some_and(|at| at < silent) => continue,
                // A comment, so that proxies do not forget the connection and a gone client is noticed.
                () = tokio::time::sleep_until(silent) => return Some(Bytes::from_static(b": alive\n\n")),
                _ = self.phases.wait_for(|phase| *phase >= Phase::Draining) => return None,
            }
            let painted = self.shared.hall().collect(self.id, self.shared.elapsed_ms()).ok()?;
            if !painted.fragments.is_empty() {
                self.shared.meters.painted(&painted.fragments);
                return Some(self.message(&painted.fragments));
            }
            let only_notices = painted.controls.iter().all(|control| matches!(control, Control::Rate(_)));
            debug_assert!(only_notices, "nobody sends this connection anything else");
            if !painted.controls.is_empty() {
                self.written();
            }
        }
    }

    /// The last message was taken.
    fn written(&self) {
        let more = self.shared.hall().fanout.written(self.id);
        if more {
            self.notify.notify_one();
        }
    }

    fn message(&mut self, fragments: &[Fragment]) -> Bytes {
        let mut out = Vec::with_capacity(fragments.iter().map(|f| f.bytes.len() + 96).sum::<usize>() + 96);
        out.extend_from_slice(b"event: next\ndata: [");
        for (n, fragment) in fragments.iter().enumerate() {
            let at = fragment.id as usize - 1;
            if n > 0 {
                out.push(b',');
            }
            let topic = serde_json::to_string(&self.topics[at]).unwrap_or_default();
            let part = crate::protocol::write::part(fragment.kind);
            out.extend_from_slice(format!("{{\"topic\":{topic},\"{part}\":").as_bytes());
            out.extend_from_slice(&fragment.bytes);
            out.push(b'}');
            self.stands(at, &fragment.bytes);
        }
        out.extend_from_slice(b"]\nid: ");
        out.extend_from_slice(write_positions(&self.positions).as_bytes());
        out.extend_from_slice(b"\n\n");
        out.into()
    }

    /// Remembers where a topic stands after a fragment.
    fn stands(&mut self, at: usize, bytes: &[u8]) {
        #[derive(serde::Deserialize)]
        struct Standing {
            epoch: String,
            seq: Option<i64>,
            after: Option<i64>,
            #[serde(default)]
            events: Vec<Offset>,
        }
        #[derive(serde::Deserialize)]
        struct Offset {
            offset: i64,
        }
        if let Ok(standing) = serde_json::from_slice::<Standing>(bytes) {
            let offset = standing.events.last().map(|event| event.offset).or(standing.after);
            if let Some(position) = standing.seq.or(offset) {
                self.positions.insert(at, (standing.epoch, position));
            }
        }
    }
}

/// `0=epoch~7,1=…`: the topics by their place in the query.
fn write_positions(positions: &BTreeMap<usize, (String, i64)>) -> String {
    let parts: Vec<String> = positions.iter().map(|(n, (epoch, at))| format!("{n}={epoch}~{at}")).collect();
    parts.join(",")
}

/// What cannot be read is as if it had not been sent.
fn read_positions(text: &str, topics: usize) -> BTreeMap<usize, (String, i64)> {
    let one = |part: &str| {
        let (n, position) = part.split_once('=')?;
        let (epoch, at) = position.rsplit_once('~')?;
        let n: usize = n.parse().ok().filter(|n| *n < topics)?;
        Some((n, (epoch.to_owned(), at.parse().ok()?)))
    };
    text.split(',').filter_map(one).collect()
}

/// A query's value: `+` is a space, `%2F` a slash. The topic's own escapes were escaped once more.
fn unescape(value: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
                bytes.push(u8::from_str_radix(digits, 16).ok()?);
                rest = &rest[2..];
            }
            _ => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_come_back_as_they_were() {
        let positions = BTreeMap::from([(0, ("g.1".to_owned(), 7)), (3, ("alerts-2".to_owned(), -1))]);
        assert_eq!(read_positions(&write_positions(&positions), 4), positions);
        assert_eq!(read_positions("0=a,x=b~1,9=c~1,1=d~2", 2), BTreeMap::from([(1, ("d".to_owned(), 2))]));
        assert_eq!(unescape("device%2Fbowl%252F7%2Fstatus").as_deref(), Some("device/bowl%2F7/status"));
        assert_eq!(unescape("%zz"), None);
    }
}
