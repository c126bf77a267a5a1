//! One delivery of events, from its first byte to its verdict, whatever protocol it came by.
//!
//! Owns: a delivery's share of the byte budget, the arrival stamp, the records, the verdict. Never: answers
//! "accepted" before the log has acknowledged every accepted event of the delivery; knows a socket.
//! A new protocol is a file that turns its frames into [`Share::open`], [`Delivery::take`] and [`Delivery::finish`], and the outcome into its own acknowledgement; CONTRIBUTING.md shows how.

use crate::body::{BodyLimits, Encoding, Format, Intake, Rows};
use crate::collect::Group;
use crate::driver::{DeviceAsk, Limit};
use crate::link::{Link, Ticket};
use crate::meters::{Meters, Protocol};
use crate::problem::{Kind, Problem};
use crate::recordings::Recordings;
use crate::verdict::{Answered, Counts, Reason, Rejected};
use crate::ws::WebSocketLimits;
use bytes::Bytes;
use evenkeel_auth::{Auth, Credential};
use evenkeel_auth::{Peer, Tls};
use evenkeel_codec::encode_batch;
use evenkeel_model::{Topic, partition_of};
use evenkeel_seam::{Header, Outputs};
use evenkeel_telemetry::{Operation, TraceContext, message_span, refused, request_span, topic_span};
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tracing::Span;

/// The content type of a batch.
pub(crate) const BATCH_TYPE: &str = "application/vnd.evenkeel.batch+avro";

/// The content type of an Avro container file.
pub(crate) const CONTAINER_TYPE: &str = "application/avro";

/// What every delivery costs at least: its task, its connection's buffers, its answer; bytes.
const DELIVERY_BYTES: u64 = 16 * 1024;
/// Longest sleep towards an expiry: the arrival clock may be set meanwhile.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// Growth is asked for in steps, so that a body costs few questions, bytes.
const GROW_BYTES: u64 = 64 * 1024;

/// What deliveries share.
pub(crate) struct Edge {
    pub(crate) auth: Auth,
    pub(crate) tls: Option<Tls>,
    pub(crate) limits: BodyLimits,
    pub(crate) link: Link,
    /// The arrival clock, ms since the epoch.
    pub(crate) now_ms: Arc<dyn Fn() -> i64 + Send + Sync>,
    pub(crate) partitions: u32,
    /// The whole budget, bytes: a delivery that needs more can never be taken.
    pub(crate) in_flight_bytes_max: AtomicU64,
    /// What one tenant may have in flight, bytes.
    pub(crate) tenant_bytes_max: u64,
    /// Whether devices are limited.
    pub(crate) rated: AtomicBool,
    pub(crate) meters: Meters,
    pub(crate) web_socket: WebSocketLimits,
    /// How often the budget or the log has refused: a sign not to let more clients in for now.
    pub(crate) refused: AtomicU64,
    /// What the log is called in traces; `None` = spans go nowhere.
    pub(crate) traced: Option<&'static str>,
    /// The files of devices; `None` = there are none.
    pub(crate) recordings: Option<Recordings>,
}

impl Edge {
    /// Who sends this `authorization` header, over a connection of this peer.
    pub(crate) fn authenticate(
        &self,
        header: Option<&[u8]>,
        peer: Option<&Peer>,
    ) -> Result<Arc<Credential>, Problem> {
        self.auth.authenticate(header, peer, (self.now_ms)()).map_err(|unknown| {
            self.meters.refused(&unknown);
            Problem::of_unknown(&unknown, self.link.draw())
        })
    }

    /// Ends when a credential of a connection that lasts is worth nothing any more. `changes` are those of
    /// [`Auth::changes`]. Cancel-safe.
    pub(crate) async fn lapse(
        &self,
        credential: &Credential,
        changes: &mut watch::Receiver<u64>,
    ) -> &'static str {
        loop {
            let now_ms = (self.now_ms)();
            if let Err(why) = self.auth.check(credential, now_ms) {
                return why;
            }
            let left_ms = credential.expires_at_ms.map(|at_ms| u64::try_from(at_ms - now_ms).unwrap_or(0));
            let left = left_ms.map(|left_ms| Duration::from_millis(left_ms).min(LOOK_AGAIN));
            tokio::select! {
                _ = changes.changed() => {}
                () = tokio::time::sleep(left.unwrap_or_default()), if left.is_some() => {}
            }
        }
    }

    /// The span over one HTTP request, in the client's trace if it named one.
    pub(crate) fn receiving(&self, route: &str, client: Option<&TraceContext>) -> Option<Span> {
        self.traced?;
        let span = request_span("POST", route);
        client.inspect(|client| client.set_parent_of(&span));
        Some(span)
    }

    /// The span over one message that is answered by itself, in the client's trace if it named one. What a broker hands
    /// on is consumed, not served. `target` is written only where somebody records.
    pub(crate) fn hearing(
        &self,
        protocol: Protocol,
        target: &dyn Display,
        client: Option<&TraceContext>,
    ) -> Option<Span> {
        self.traced?;
        let span = match protocol {
            Protocol::Bridge => topic_span(Operation::Process, Protocol::Mqtt.name(), &target.to_string()),
            spoken => message_span(spoken.name(), &target.to_string()),
        };
        client.inspect(|client| client.set_parent_of(&span));
        Some(span)
    }

    /// The span over the append of one delivery, in the client's trace if it named one.
    fn sending(&self, client: Option<&TraceContext>) -> Option<Span> {
        let span = topic_span(Operation::Send, self.traced?, Topic::Events.as_str());
        client.inspect(|client| client.set_parent_of(&span));
        Some(span)
    }
}

/// What became of a delivery.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) answered: Answered,
    /// When to come back with events over the rate, ms; 0 if there are none.
    pub(crate) retry_after_ms: u64,
}

/// Ends the span of a message: what was refused says so.
pub(crate) fn heard(span: Option<Span>, outcome: &Result<Accepted, Problem>) {
    if let (Some(span), Err(problem)) = (&span, outcome) {
        refused(span, problem.kind.slug());
    }
}

/// A share of the byte budget, held from the first byte on.
#[derive(Debug)]
pub(crate) struct Share {
    ticket: Ticket,
    held: u64,
    bytes_max: u64,
}

impl Share {
    /// Takes a share for `bytes` that are announced or read already.
    pub(crate) async fn open(edge: &Edge, credential: &Credential, bytes: u64) -> Result<Self, Problem> {
        let held = DELIVERY_BYTES + bytes;
        let tenant = Arc::clone(&credential.name);
        // What is more than the whole of a limit can never be taken; waiting would not help.
        let budget_bytes = edge.in_flight_bytes_max.load(Ordering::Relaxed);
        let bytes_max = budget_bytes.min(edge.tenant_bytes_max);
        if held > bytes_max {
            return Err(never_fits(bytes_max));
        }
        Ok(Self { ticket: edge.link.open(tenant, held).await?, held, bytes_max })
    }

    /// Grows the share where what is needed for `bytes` is over it.
    pub(crate) async fn reach(&mut self, bytes: u64) -> Result<(), Problem> {
        let needed = DELIVERY_BYTES + bytes;
        if needed <= self.held {
            return Ok(());
        }
        let bytes = needed.next_multiple_of(GROW_BYTES).min(self.bytes_max);
        if needed > bytes {
            return Err(never_fits(self.bytes_max));
        }
        self.ticket.grow(bytes).await?;
        self.held = bytes;
        Ok(())
    }

    /// Waits for a refusal while its owner does something else. Cancel-safe.
    pub(crate) async fn refusal(&mut self) -> Problem {
        self.ticket.refusal().await
    }
}

/// How a delivery is written, and whose it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner<'a> {
    pub(crate) protocol: Protocol,
    pub(crate) format: Format,
    pub(crate) encoding: Encoding,
    pub(crate) credential: &'a Credential,
    /// The stream of its path or topic, if that names one.
    pub(crate) stream_id: Option<&'a str>,
}

/// A delivery on its way in.
pub(crate) struct Delivery<'a> {
    edge: &'a Edge,
    share: Share,
    intake: Intake<'a>,
    protocol: Protocol,
    /// The span of the request that it came by.
    request: Option<Span>,
}

impl<'a> Delivery<'a> {
    /// Begins one on a share of the budget.
    pub(crate) fn begin(edge: &'a Edge, share: Share, manner: Manner<'a>) -> Self {
        Self::begin_rows(edge, share, manner, None)
    }

    /// Begins one with rows of a recording.
    pub(crate) fn begin_rows(
        edge: &'a Edge,
        share: Share,
        manner: Manner<'a>,
        rows: impl Into<Option<Rows<'a>>>,
    ) -> Self {
        let Manner { protocol, format, encoding, credential, stream_id } = manner;
        let intake = Intake::new(format, encoding, edge.limits, credential, stream_id, rows.into());
        Self { edge, share, intake, protocol, request: None }
    }

    /// Makes it a part of a request's span.
    pub(crate) fn within(&mut self, request: Option<Span>) {
        self.request = request;
    }

    /// Takes the next piece of the body.
    pub(crate) async fn take(&mut self, mut piece: Bytes) -> Result<(), Problem> {
        self.intake.received(piece.len())?;
        let mut again = false;
        while again || !piece.is_empty() {
            again = self.intake.step(&mut piece)?;
            self.share.reach(self.intake.cost_bytes()).await?;
        }
        Ok(())
    }

    /// Waits for a refusal while the body is awaited. Cancel-safe.
    pub(crate) async fn refusal(&mut self) -> Problem {
        self.share.refusal().await
    }

    /// The body is complete: judges, appends, waits for the log.
    pub(crate) async fn finish(self, client: Option<TraceContext>) -> Result<Accepted, Problem> {
        let Self { edge, mut share, intake, protocol, request } = self;
        let (mut groups, mut rejected, cost_bytes) = intake.finish()?;
        share.reach(cost_bytes).await?;
        let mut ticket = share.ticket;
        // A recording has a pace of its own: charged to its device, it would take the room of what the device sends now.
        let rated = edge.rated.load(Ordering::Relaxed) && protocol != Protocol::Recording;
        let retry_after_ms = match rated {
            true => limit_devices(&mut ticket, &mut groups, &mut rejected, protocol.is_whole()).await?,
            false => 0,
        };
        let accepted: u64 = groups.iter().map(|group| group.indices.len() as u64).sum();
        let counts = Counts { accepted, rejected_total: rejected.total() };
        edge.meters.rejected(protocol, &rejected);
        if accepted == 0 && rejected.total() > 0 {
            return Err(none_accepted(counts, rejected, retry_after_ms));
        }
        if accepted > 0 {
            // A request that nobody records has a context too: that of a trace which stays unrecorded.
            let parent = request.as_ref().and_then(TraceContext::of);
            let sending = edge.sending(parent.as_ref().or(client.as_ref()));
            // What nobody records is not worth a header per record; what the client said is passed on.
            let ours = sending.as_ref().and_then(TraceContext::of).filter(TraceContext::is_recorded);
            let context = ours.or(client);
            let records = encode(groups, (edge.now_ms)(), edge.partitions, context.as_ref());
            let submitted = Instant::now();
            ticket.submit(records, u32::try_from(accepted).unwrap_or(u32::MAX)).await?;
            drop(sending); // the span ends with the log's acknowledgement
            edge.meters.acknowledged(protocol, accepted, submitted.elapsed());
        }
        Ok(Accepted { answered: Answered { counts, rejected: rejected.into_list() }, retry_after_ms })
    }
}

/// No 503: a client that came again would be refused again.
fn never_fits(bytes_max: u64) -> Problem {
    let detail =
        format!("its events take more than the {bytes_max} bytes of in-flight-max (or the tenant's)");
    Problem::new(Kind::TooLarge, detail)
}

/// Refuses the events over their devices' rates: of each batch the first so many stay; if it is to pass `whole`, all or
/// none.
async fn limit_devices(
    ticket: &mut Ticket,
    groups: &mut Vec<Group>,
    rejected: &mut Rejected,
    whole: bool,
) -> Result<u64, Problem> {
    let ask = |group: &Group| DeviceAsk {
        whole,
        stream_id: group.batch.stream_id.clone(),
        events: group.indices.len() as u32,
        bytes: group.encoded_bytes() as u64,
    };
    let (admitted, retry_after_ms) = ticket.allow(groups.iter().map(ask).collect()).await?;
    for (group, admitted) in groups.iter_mut().zip(&admitted) {
        let stream_id = group.batch.stream_id.clone();
        let (reason, what) = match admitted.refused_by {
            None => continue,
            Some(Limit::DeviceEvents) => (Reason::RateLimited, "is over its events per second"),
            Some(Limit::DeviceBytes) => (Reason::BytesLimited, "is over its bytes per second"),
            Some(Limit::TenantEvents) => {
                (Reason::TenantLimited, "is refused: its tenant is over its events per second")
            }
        };
        for index in group.truncate(admitted.events as usize) {
            rejected.push(index, reason, || format!("stream {stream_id:?} {what}"));
        }
    }
    groups.retain(|group| !group.indices.is_empty());
    Ok(retry_after_ms)
}

fn none_accepted(counts: Counts, rejected: Rejected, retry_after_ms: u64) -> Problem {
    // One that may pass later decides: a client that sends all of them again loses none.
    let later = [Reason::RateLimited, Reason::BytesLimited, Reason::TenantLimited];
    let later = later.into_iter().find(|&reason| rejected.count(reason) > 0);
    let (kind, detail) = match later.or(rejected.only_reason()) {
        Some(Reason::RateLimited) => {
            (Kind::RateLimited, "no event passes now: those that could are over the rate of their device")
        }
        Some(Reason::BytesLimited) => (
            Kind::BytesLimited,
            "no event passes now: those that could are over the bytes per second of their device",
        ),
        Some(Reason::TenantLimited) => {
            (Kind::TenantLimited, "no event passes now: those that could are over the rate of the tenant")
        }
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
    // No content type: a value names its schema in its first ten bytes, and a record without headers takes the log
    // client's batch call.
    let traced = context.into_iter().flat_map(TraceContext::headers);
    let record_headers: Vec<Header<'_>> = traced.map(|(name, value)| Header { name, value }).collect();
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
