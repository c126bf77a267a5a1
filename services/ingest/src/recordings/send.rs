//! Reading a recording: all of it, one range, or several; also while it still arrives.
//!
//! Owns: which bytes an answer holds and what its head says. Never: waits for bytes that were not asked for; reads
//! ahead of its connection.
//!
//! While a recording arrives its size is not known (`bytes a-b/*`). RFC 9110 lets a server send less than a range, and
//! RFC 8673 says what that means for content that grows:
//! * `a-b`: sent as it comes, up to b or the end. A very large b follows the recording to its end.
//! * `a-`: what is here, at least a byte. `0-` is answered with all of it (200) as it comes: what players ask first.
//! * `-n` waits for the end, several ranges for the last byte of each.

use super::about::About;
use super::range::{Ask, Wanted, wanted};
use super::store::Store;
use crate::http::{Reply, ReplyBody, whole};
use crate::problem::{Extent, Kind, Problem};
use bytes::Bytes;
use evenkeel_spool::{ReadError, SpoolBuffer};
use futures::stream;
use http_body_util::{BodyExt, Either, StreamBody};
use hyper::body::Frame;
use hyper::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
    HeaderName, HeaderValue, IF_RANGE, RANGE, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{HeaderMap, Response, StatusCode};
use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

/// Most bytes handed to a connection at once.
const PIECE_BYTES: usize = 64 * 1024;

/// What follows in an answer.
enum Piece {
    /// Text of a multipart body.
    Text(Bytes),
    /// `[start, end)` of the content.
    Content(Range<u64>),
}

/// What is to be sent.
struct Plan {
    status: StatusCode,
    pieces: VecDeque<Piece>,
    /// The length of it all, bytes; `None` = the end is where the recording ends.
    length: Option<u64>,
    range: Option<String>,
    content_type: String,
}

/// Answers GET.
pub(super) async fn get(
    store: &Arc<Store>,
    about: &About,
    buffer: SpoolBuffer,
    headers: &HeaderMap,
) -> Result<Reply, Problem> {
    let permit = store.transfer()?;
    let same = headers.get(IF_RANGE).is_none_or(|known| known.as_bytes() == about.etag.as_bytes());
    let wanted = if same { wanted(headers.get(RANGE).map(HeaderValue::as_bytes)) } else { Wanted::Whole };
    let plan = match wanted {
        Wanted::Whole => all(about, &buffer),
        Wanted::Parts(asks) => match asks.as_slice() {
            [Ask::From(0)] if buffer.len().is_none() => all(about, &buffer),
            [ask] => one(about, &buffer, *ask).await?,
            asks => several(about, &buffer, asks, store.draw()).await?,
        },
        Wanted::TooMany => {
            return Err(out_of_range(buffer.filled(), "there are more ranges than are served at once"));
        }
    };
    let mut response = Response::new(ReplyBody::Left(Default::default()));
    *response.status_mut() = plan.status;
    let set = |name: HeaderName, value: String| HeaderValue::try_from(value).ok().map(|value| (name, value));
    let lines = [
        set(CONTENT_TYPE, plan.content_type),
        plan.length.and_then(|length| set(CONTENT_LENGTH, length.to_string())),
        plan.range.and_then(|range| set(CONTENT_RANGE, range)),
    ];
    response.headers_mut().extend(lines.into_iter().flatten());
    describe(about, response.headers_mut());
    let sending = Sending { buffer, pieces: plan.pieces, store: Arc::clone(store), _permit: permit };
    *response.body_mut() =
        Either::Right(StreamBody::new(stream::try_unfold(sending, Sending::next)).boxed_unsync());
    Ok(response)
}

/// Headers of every answer with a recording. It may hold what a client likes, so a browser must not take it for a page
/// of ours: no script of it runs, and of all it may load there are media of this origin. Without `allow-same-origin` the
/// player that a browser opens a recording with would be refused the very bytes it shows.
pub(super) fn describe(about: &About, headers: &mut HeaderMap) {
    if let Ok(etag) = HeaderValue::from_str(&about.etag) {
        headers.insert(ETAG, etag);
    }
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("sandbox allow-same-origin; default-src 'none'; media-src 'self'"),
    );
}

fn all(about: &About, buffer: &SpoolBuffer) -> Plan {
    let length = buffer.len();
    Plan {
        status: StatusCode::OK,
        pieces: [Piece::Content(0..length.unwrap_or(u64::MAX))].into(),
        length,
        range: None,
        content_type: about.content_type.clone(),
    }
}

async fn one(about: &About, buffer: &SpoolBuffer, ask: Ask) -> Result<Plan, Problem> {
    let first = match ask {
        Ask::Between(first, _) | Ask::From(first) => first,
        Ask::Last(_) => u64::MAX, // only the end tells where they begin
    };
    wait_for(buffer, first).await?;
    let size = buffer.len();
    let follows = match ask {
        Ask::Between(first, last) if size.is_none() && last >= buffer.filled() => {
            Some(first..last.saturating_add(1))
        }
        _ => None,
    };
    let (part, length) = match follows {
        Some(part) => (part, None),
        None => {
            let part = part_of(buffer, ask)?;
            (part.clone(), Some(part.end - part.start))
        }
    };
    Ok(Plan {
        status: StatusCode::PARTIAL_CONTENT,
        range: Some(content_range(&part, size)),
        pieces: [Piece::Content(part)].into(),
        length,
        content_type: about.content_type.clone(),
    })
}

async fn several(about: &About, buffer: &SpoolBuffer, asks: &[Ask], drawn: u64) -> Result<Plan, Problem> {
    for ask in asks {
        let last = match *ask {
            Ask::Between(_, last) => last,
            Ask::From(first) => first,
            Ask::Last(_) => u64::MAX,
        };
        wait_for(buffer, last).await?;
    }
    let size = buffer.len();
    let parts: Vec<Range<u64>> = asks.iter().filter_map(|ask| ask.of(buffer.filled())).collect();
    if parts.is_empty() {
        return Err(out_of_range(buffer.filled(), "the recording ends before all of them"));
    }
    let boundary = format!("evenkeel-{drawn:016x}"); // drawn for this answer: no content can know it
    let (mut pieces, mut length) = (VecDeque::new(), 0);
    for part in parts {
        let (kind, range) = (&about.content_type, content_range(&part, size));
        let head = format!("\r\n--{boundary}\r\ncontent-type: {kind}\r\ncontent-range: {range}\r\n\r\n");
        length += head.len() as u64 + (part.end - part.start);
        pieces.extend([Piece::Text(head.into()), Piece::Content(part)]);
    }
    let end = format!("\r\n--{boundary}--\r\n");
    length += end.len() as u64;
    pieces.push_back(Piece::Text(end.into()));
    Ok(Plan {
        status: StatusCode::PARTIAL_CONTENT,
        pieces,
        length: Some(length),
        range: None,
        content_type: format!("multipart/byteranges; boundary={boundary}"),
    })
}

/// Waits until the byte is here, or the recording has ended before it.
async fn wait_for(buffer: &SpoolBuffer, at: u64) -> Result<(), Problem> {
    buffer.read_some(at, 1).await.map(drop).map_err(|error| match error {
        ReadError::Disk { .. } => Problem::new(Kind::SpoolFailed, "the recording cannot be read"),
        ReadError::Abandoned { at, .. } | ReadError::Source { at, .. } | ReadError::Full { at, .. } => {
            let detail = format!("it has {at} bytes, and nobody sends more");
            Problem { extent: Some(Extent::Offset(at)), ..Problem::new(Kind::RecordingUnfinished, detail) }
        }
    })
}

/// What of a range is here.
fn part_of(buffer: &SpoolBuffer, ask: Ask) -> Result<Range<u64>, Problem> {
    let size = buffer.filled();
    ask.of(size).ok_or_else(|| out_of_range(size, "the recording ends before it"))
}

fn out_of_range(size: u64, why: &str) -> Problem {
    let detail = format!("{why}; it has {size} bytes");
    Problem { extent: Some(Extent::Size(size)), ..Problem::new(Kind::RangeNotSatisfiable, detail) }
}

fn content_range(part: &Range<u64>, size: Option<u64>) -> String {
    let size = size.map_or("*".to_owned(), |size| size.to_string());
    format!("bytes {}-{}/{size}", part.start, part.end - 1)
}

/// An answer on its way.
struct Sending {
    buffer: SpoolBuffer,
    pieces: VecDeque<Piece>,
    store: Arc<Store>,
    /// Its place among the transfers.
    _permit: OwnedSemaphorePermit,
}

impl Sending {
    async fn next(mut self) -> io::Result<Option<(Frame<Bytes>, Self)>> {
        loop {
            let bytes = match self.pieces.pop_front() {
                None => return Ok(None),
                Some(Piece::Text(text)) => text,
                Some(Piece::Content(part)) => {
                    let room = usize::try_from(part.end - part.start).unwrap_or(usize::MAX);
                    let bytes = self.buffer.read_some(part.start, room.min(PIECE_BYTES)).await?;
                    if bytes.is_empty() {
                        continue; // the recording has ended; where a length was told it had been there
                    }
                    let rest = part.start + bytes.len() as u64..part.end;
                    if !rest.is_empty() {
                        self.pieces.push_front(Piece::Content(rest));
                    }
                    self.store.meters.read(bytes.len() as u64);
                    bytes
                }
            };
            return Ok(Some((Frame::data(bytes), self)));
        }
    }
}

/// Answers HEAD: where an upload goes on, and how much there is.
pub(super) fn head(about: &About, len: u64, complete: bool) -> Reply {
    let mut response = Response::new(whole(Bytes::new()));
    let headers = response.headers_mut();
    describe(about, headers);
    if let Ok(kind) = HeaderValue::from_str(&about.content_type) {
        headers.insert(CONTENT_TYPE, kind);
    }
    extent(len, complete, headers);
    if complete {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(len));
    }
    response
}

/// How much there is, for who uploads.
pub(super) fn extent(len: u64, complete: bool, headers: &mut HeaderMap) {
    headers.insert(super::receive::UPLOAD_OFFSET, HeaderValue::from(len));
    let complete = HeaderValue::from_static(if complete { "?1" } else { "?0" });
    headers.insert(super::receive::UPLOAD_COMPLETE, complete);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
}
