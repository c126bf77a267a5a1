//! An upload: PUT begins a recording, PATCH goes on with one.
//!
//! Owns: the headers of an upload, its body in blocks. Never: answers before what it counts is on disk; keeps more than
//! a block in memory; loses what came before a body broke off.
//! Two uploads of one recording at once harm nothing: each block says where it belongs, and only one fits there.
//! Headers: `upload-offset` and `upload-complete`, as the draft "Resumable Uploads for HTTP" has them.

use super::name::RecordingName;
use super::opened::Opened;
use super::store::{Store, finished, mismatch};
use crate::problem::{Kind, Problem};
use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use http_body_util::BodyExt;
use hyper::HeaderMap;
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE};
use std::sync::Arc;
use std::time::Duration;

/// Where an upload starts, bytes.
pub(crate) const UPLOAD_OFFSET: &str = "upload-offset";
/// Whether its end is the recording's end: `?1` or `?0`.
pub(super) const UPLOAD_COMPLETE: &str = "upload-complete";
/// What a recording is when nobody says.
const ANY_TYPE: &str = "application/octet-stream";
/// Longest content type that is kept, bytes.
const TYPE_BYTES_MAX: usize = 128;
/// A block is appended when it has so many bytes, or nothing more has come, bytes.
const BLOCK_BYTES: usize = 64 * 1024;

/// What became of an upload.
pub(super) struct Received {
    pub(super) opened: Arc<Opened>,
    /// The recording's length, bytes.
    pub(super) end: u64,
    /// That is all of it.
    pub(super) complete: bool,
}

/// Begins a recording with the body.
pub(super) async fn put(
    store: &Arc<Store>,
    name: &RecordingName,
    headers: &HeaderMap,
    body: &mut Incoming,
    now_ms: i64,
) -> Result<Received, Problem> {
    let complete = is_complete(headers)?;
    let content_type = content_type(headers)?;
    fits(store, 0, body)?;
    let _permit = store.transfer()?;
    let opened = store.find_or_begin(name, (content_type, now_ms)).await?;
    let len = opened.recording.len();
    if opened.recording.is_finished() {
        return Err(finished(len));
    }
    if len > 0 {
        let detail = format!("it was begun before and has {len} bytes");
        return Err(mismatch(len, detail));
    }
    if opened.about.content_type != content_type {
        let detail =
            format!("content-type is {content_type:?}; it was begun as {:?}", opened.about.content_type);
        return Err(Problem::new(Kind::BadUpload, detail));
    }
    receive(store, opened, (0, complete), body).await
}

/// Goes on with a recording.
pub(super) async fn patch(
    store: &Arc<Store>,
    name: &RecordingName,
    headers: &HeaderMap,
    body: &mut Incoming,
) -> Result<Received, Problem> {
    let complete = is_complete(headers)?;
    let offset = headers.get(UPLOAD_OFFSET).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let Some(offset) = offset else {
        return Err(Problem::new(Kind::BadUpload, "upload-offset is missing or is no number of bytes"));
    };
    plain(headers)?;
    let _permit = store.transfer()?;
    let opened = store.find(name).await?;
    let len = opened.recording.len();
    if opened.recording.is_finished() {
        return Err(finished(len));
    }
    if len != offset {
        let detail = format!("the recording has {len} bytes, upload-offset is {offset}");
        return Err(mismatch(len, detail));
    }
    fits(store, offset, body)?;
    receive(store, opened, (offset, complete), body).await
}

async fn receive(
    store: &Store,
    opened: Arc<Opened>,
    (mut end, complete): (u64, bool),
    body: &mut Incoming,
) -> Result<Received, Problem> {
    while let Some(block) = block(body, store.idle).await? {
        end = store.append(&opened, end, block).await?;
    }
    match complete {
        true => store.finish(&opened, end).await?,
        false => store.sync(&opened).await?,
    }
    Ok(Received { opened, end, complete })
}

/// What has come of the body, at least a byte; `None` = it is over.
async fn block(body: &mut Incoming, idle: Duration) -> Result<Option<Bytes>, Problem> {
    let mut block = BytesMut::new();
    while block.len() < BLOCK_BYTES {
        let frame = match block.is_empty() {
            true => tokio::time::timeout(idle, body.frame()).await.map_err(|_| silent(idle))?,
            // A reader may wait for what is here: it is appended before anything is waited for.
            false => match body.frame().now_or_never() {
                Some(frame) => frame,
                None => break,
            },
        };
        match frame {
            None => break,
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    block.extend_from_slice(&data);
                }
            }
            Some(Err(_)) if !block.is_empty() => break, // what came before it is kept; the next frame says it again
            Some(Err(error)) => return Err(broke_off(&error)),
        }
    }
    Ok((!block.is_empty()).then(|| block.freeze()))
}

fn broke_off(error: &hyper::Error) -> Problem {
    Problem::new(Kind::UnreadableBody, format!("the body broke off: {error}; what came before stays"))
}

fn silent(idle: Duration) -> Problem {
    let detail =
        format!("nothing came for {} s (recordings.idle-timeout); what came before stays", idle.as_secs());
    Problem::new(Kind::SlowBody, detail)
}

/// A length that the client announces is good for an early refusal and for nothing else.
fn fits(store: &Store, offset: u64, body: &Incoming) -> Result<(), Problem> {
    let announced = offset.saturating_add(body.size_hint().exact().unwrap_or(0));
    let limit = store.size_max();
    match announced > limit {
        true => {
            let detail = format!(
                "it would have {announced} bytes; a recording may have {limit} (recordings.size-max)"
            );
            Err(Problem::new(Kind::TooLarge, detail))
        }
        false => Ok(()),
    }
}

/// Without the header the body is all that is to come.
fn is_complete(headers: &HeaderMap) -> Result<bool, Problem> {
    match headers.get(UPLOAD_COMPLETE).map(|value| value.as_bytes().trim_ascii()) {
        None | Some(b"?1") => Ok(true),
        Some(b"?0") => Ok(false),
        Some(_) => Err(Problem::new(Kind::BadUpload, "upload-complete is neither ?1 nor ?0")),
    }
}

fn content_type(headers: &HeaderMap) -> Result<&str, Problem> {
    plain(headers)?;
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(ANY_TYPE) };
    match value.to_str().map(str::trim) {
        Ok(text) if !text.is_empty() && text.len() <= TYPE_BYTES_MAX => Ok(text),
        _ => {
            let detail = format!("content-type must be 1 to {TYPE_BYTES_MAX} visible characters");
            Err(Problem::new(Kind::UnsupportedMediaType, detail))
        }
    }
}

/// Ranges are of the bytes as they came, so nothing is unpacked here.
fn plain(headers: &HeaderMap) -> Result<(), Problem> {
    let encoding = headers.get(CONTENT_ENCODING).map_or(&b""[..], |value| value.as_bytes().trim_ascii());
    match encoding.is_empty() || encoding.eq_ignore_ascii_case(b"identity") {
        true => Ok(()),
        false => Err(Problem::new(
            Kind::UnsupportedMediaType,
            "a recording is kept as it comes: send it without content-encoding",
        )),
    }
}
