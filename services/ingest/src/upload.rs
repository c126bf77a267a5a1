//! One request with events, from its head to its verdict.
//!
//! Owns: the order of the checks (credential, type, size, content), the arrival stamp, the records.
//! Never: answers "accepted" before the log has acknowledged every accepted event of the request.

use crate::auth::{Auth, Credential};
use crate::body::{BodyLimits, Format, Intake};
use crate::collect::Group;
use crate::driver::DeviceAsk;
use crate::link::{Link, Ticket};
use crate::meters::Meters;
use crate::problem::{Kind, Problem};
use crate::verdict::{Answered, Counts, Reason, Rejected};
use evenkeel_codec::encode_batch;
use evenkeel_model::{Topic, check_stream_id, partition_of};
use evenkeel_seam::{Header, Outputs};
use evenkeel_telemetry::{Operation, TraceContext, topic_span};
use http_body_util::BodyExt;
use hyper::HeaderMap;
use hyper::body::{Body, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::Span;

/// The content type of a batch, also the `content-type` header of every record.
pub(crate) const BATCH_TYPE: &str = "application/vnd.evenkeel.batch+avro";

/// What every request costs at least: its task, its connection's buffers, its answer; bytes.
const REQUEST_BYTES: u64 = 16 * 1024;
/// Growth is asked for in steps, so that a body costs few questions, bytes.
const GROW_BYTES: u64 = 64 * 1024;

/// What requests share.
pub(crate) struct Edge {
    pub(crate) auth: Auth,
    pub(crate) limits: BodyLimits,
    pub(crate) link: Link,
    /// The arrival clock, ms since the epoch.
    pub(crate) now_ms: Arc<dyn Fn() -> i64 + Send + Sync>,
    pub(crate) partitions: u32,
    /// The whole budget, bytes: a request that needs more can never be taken.
    pub(crate) in_flight_bytes_max: u64,
    /// Whether devices are limited.
    pub(crate) rated: bool,
    pub(crate) meters: Meters,
    /// What the log is called in traces; `None` = spans go nowhere.
    pub(crate) traced: Option<&'static str>,
}

impl Edge {
    /// The span over the append of one request, in the client's trace if it named one.
    fn sending(&self, client: Option<&TraceContext>) -> Option<Span> {
        let span = topic_span(Operation::Send, self.traced?, Topic::Events.as_str());
        client.inspect(|client| client.set_parent_of(&span));
        Some(span)
    }
}

/// What became of an upload.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) answered: Answered,
    /// When to come back with events over the rate, ms; 0 if there are none.
    pub(crate) retry_after_ms: u64,
}

/// Takes one upload. `path_stream` is the stream of the path, if the path names one.
pub(crate) async fn upload(
    edge: &Edge,
    headers: &HeaderMap,
    body: &mut Incoming,
    path_stream: Option<&str>,
) -> Result<Accepted, Problem> {
    let credential = authorize(&edge.auth, headers, path_stream)?;
    let format = format_of(headers)?;
    let gzip = is_gzip(headers)?;
    let announced = announced_bytes(body, edge.limits.body_bytes_max)?;
    let mut ticket = edge.link.open(REQUEST_BYTES + announced).await?;
    let intake = Intake::new(format, gzip, edge.limits, credential, path_stream);
    let mut share = Share { held: REQUEST_BYTES + announced, bytes_max: edge.in_flight_bytes_max };
    let (mut groups, mut rejected) = receive(&mut ticket, body, intake, &mut share).await?;
    let retry_after_ms = match edge.rated {
        true => limit_devices(&mut ticket, &mut groups, &mut rejected).await?,
        false => 0,
    };
    let accepted: u64 = groups.iter().map(|group| group.indices.len() as u64).sum();
    let counts = Counts { accepted, rejected_total: rejected.total() };
    edge.meters.rejected(&rejected);
    if accepted == 0 && rejected.total() > 0 {
        return Err(none_accepted(counts, rejected, retry_after_ms));
    }
    if accepted > 0 {
        let client =
            TraceContext::find(headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())));
        let sending = edge.sending(client.as_ref());
        // What nobody records is not worth a header per record; what the client said is passed on as it is.
        let ours = sending.as_ref().and_then(TraceContext::of).filter(TraceContext::is_recorded);
        let context = ours.or(client);
        let records = encode(groups, (edge.now_ms)(), edge.partitions, context.as_ref());
        let submitted = Instant::now();
        ticket.submit(records).await?;
        drop(sending); // the span ends with the log's acknowledgement
        edge.meters.acknowledged(accepted, submitted.elapsed());
    }
    Ok(Accepted { answered: Answered { counts, rejected: rejected.into_list() }, retry_after_ms })
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

fn authorize<'a>(
    auth: &'a Auth,
    headers: &HeaderMap,
    path_stream: Option<&str>,
) -> Result<&'a Credential, Problem> {
    let header = headers.get(AUTHORIZATION).map(|value| value.as_bytes());
    let credential = auth.authenticate(header).map_err(|why| Problem::new(Kind::Unauthenticated, why))?;
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
    let essence = header.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/json" => Ok(Format::Json),
        "application/x-ndjson" => Ok(Format::Ndjson),
        BATCH_TYPE => Ok(Format::Batch),
        _ => Err(Problem::new(Kind::UnsupportedMediaType, format!("content-type {header:?} is not known"))),
    }
}

fn is_gzip(headers: &HeaderMap) -> Result<bool, Problem> {
    let Some(header) = headers.get(CONTENT_ENCODING) else { return Ok(false) };
    match header.to_str().unwrap_or("?").trim().to_ascii_lowercase().as_str() {
        "gzip" | "x-gzip" => Ok(true),
        "identity" | "" => Ok(false),
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

async fn receive(
    ticket: &mut Ticket,
    body: &mut Incoming,
    mut intake: Intake<'_>,
    share: &mut Share,
) -> Result<(Vec<Group>, Rejected), Problem> {
    loop {
        let frame = tokio::select! {
            frame = body.frame() => frame,
            problem = ticket.refusal() => return Err(problem),
        };
        let Some(frame) = frame else { break };
        let frame = frame
            .map_err(|error| Problem::new(Kind::UnreadableBody, format!("the body broke off: {error}")))?;
        let Ok(mut piece) = frame.into_data() else { continue }; // trailers say nothing to us
        intake.received(piece.len())?;
        while !piece.is_empty() {
            intake.step(&mut piece)?;
            share.reach(ticket, REQUEST_BYTES + intake.cost_bytes()).await?;
        }
    }
    let (groups, rejected, cost_bytes) = intake.finish()?;
    share.reach(ticket, REQUEST_BYTES + cost_bytes).await?;
    Ok((groups, rejected))
}

/// A request's share of the byte budget.
struct Share {
    held: u64,
    bytes_max: u64,
}

impl Share {
    /// Grows the share where `needed` is over it.
    async fn reach(&mut self, ticket: &mut Ticket, needed: u64) -> Result<(), Problem> {
        if needed <= self.held {
            return Ok(());
        }
        let bytes = needed.next_multiple_of(GROW_BYTES).min(self.bytes_max);
        if needed > bytes {
            // Waiting would not help, so this is no 503.
            let detail = format!("its events take more than the {} bytes of in-flight-max", self.bytes_max);
            return Err(Problem::new(Kind::TooLarge, detail));
        }
        ticket.grow(bytes).await?;
        self.held = bytes;
        Ok(())
    }
}

/// Refuses the events over their devices' rates: of each batch the first so many stay.
async fn limit_devices(
    ticket: &mut Ticket,
    groups: &mut Vec<Group>,
    rejected: &mut Rejected,
) -> Result<u64, Problem> {
    let ask = |group: &Group| DeviceAsk {
        stream_id: group.batch.stream_id.clone(),
        events: group.indices.len() as u32,
    };
    let (admitted, retry_after_ms) = ticket.allow(groups.iter().map(ask).collect()).await?;
    for (group, &events) in groups.iter_mut().zip(&admitted) {
        let stream_id = group.batch.stream_id.clone();
        for index in group.truncate(events as usize) {
            rejected.push(index, Reason::RateLimited, || format!("stream {stream_id:?} is over its rate"));
        }
    }
    groups.retain(|group| !group.indices.is_empty());
    Ok(retry_after_ms)
}

fn none_accepted(counts: Counts, rejected: Rejected, retry_after_ms: u64) -> Problem {
    let (kind, detail) = match rejected.only_reason() {
        Some(Reason::RateLimited) => (Kind::RateLimited, "every event is over the rate of its device"),
        Some(Reason::Forbidden) => (Kind::Forbidden, "the credential covers none of the events' streams"),
        Some(Reason::Malformed) | None => (Kind::EventsRefused, "no event was accepted"),
    };
    Problem {
        retry_after_ms: (retry_after_ms > 0).then_some(retry_after_ms),
        verdicts: Some((counts, rejected.into_list())),
        ..Problem::new(kind, detail)
    }
}

/// One record per batch, stamped with the time of acceptance.
fn encode(groups: Vec<Group>, arrival_ms: i64, partitions: u32, context: Option<&TraceContext>) -> Outputs {
    let mut record_headers = vec![Header { name: "content-type", value: BATCH_TYPE.as_bytes() }];
    if let Some(context) = context {
        record_headers.extend(context.headers().map(|(name, value)| Header { name, value }));
    }
    let mut records = Outputs::new();
    for mut group in groups {
        group.batch.arrival_ms = arrival_ms;
        let stream_id = group.batch.stream_id.as_str();
        let partition = partition_of(stream_id, partitions);
        records.push(Topic::Events, partition, Some(stream_id.as_bytes()), &record_headers, |buf| {
            encode_batch(&group.batch, buf);
        });
    }
    records
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
        assert!(is_gzip(&headers).is_err());
    }
}
