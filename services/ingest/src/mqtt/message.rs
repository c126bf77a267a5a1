//! One published message on its way into the log, whether a device sent it here or a broker passed it on.
//!
//! Owns: what of a PUBLISH becomes a delivery, and which refusals the same message can outlive.

use super::topic::{TopicShape, format_of};
use crate::body::Encoding;
use crate::delivery::{Accepted, Delivery, Edge, Manner, Share, heard};
use crate::meters::Protocol;
use crate::problem::{Kind, Problem};
use bytes::Bytes;
use evenkeel_auth::Credential;
use evenkeel_model::check_stream_id;
use evenkeel_telemetry::TraceContext;
use mqtt_protocol_core::mqtt::ArcPayload;
use mqtt_protocol_core::mqtt::packet::{Property, Qos, v3_1_1, v5_0};
use tracing::Span;

/// A message.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) payload: Bytes,
    /// What version 5 says about the payload.
    pub(crate) content_type: Option<String>,
    /// From user properties of version 5.
    pub(crate) trace: Option<TraceContext>,
}

/// A PUBLISH.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) message: Message,
    /// The number to acknowledge; none at QoS 0.
    pub(crate) packet_id: Option<u16>,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
}

/// The payload without a copy: it shares the packet's buffer.
struct Payload(ArcPayload);

impl AsRef<[u8]> for Payload {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice()
    }
}

impl From<v3_1_1::Publish> for Published {
    fn from(packet: v3_1_1::Publish) -> Self {
        Self {
            message: Message {
                topic: packet.topic_name().to_owned(),
                payload: Bytes::from_owner(Payload(packet.payload().clone())),
                content_type: None,
                trace: None,
            },
            packet_id: packet.packet_id(),
            qos: packet.qos(),
            retain: packet.retain(),
        }
    }
}

impl From<v5_0::Publish> for Published {
    fn from(packet: v5_0::Publish) -> Self {
        let content_type = packet.props().iter().find_map(|property| match property {
            Property::ContentType(text) => Some(text.val().to_owned()),
            _ => None,
        });
        let lines = packet.props().iter().filter_map(|property| match property {
            Property::UserProperty(pair) => Some((pair.key(), pair.val().as_bytes())),
            _ => None,
        });
        Self {
            message: Message {
                topic: packet.topic_name().to_owned(),
                payload: Bytes::from_owner(Payload(packet.payload().clone())),
                content_type,
                trace: TraceContext::find(lines),
            },
            packet_id: packet.packet_id(),
            qos: packet.qos(),
            retain: packet.retain(),
        }
    }
}

/// Who brings messages, and where their streams stand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Carrier<'a> {
    pub(crate) protocol: Protocol,
    pub(crate) credential: &'a Credential,
    pub(crate) shape: &'a TopicShape,
}

/// Takes a message to the log. `share` is what it has taken of the budget while it was read, if anything.
pub(crate) async fn deliver(
    edge: &Edge,
    carrier: Carrier<'_>,
    share: Option<Share>,
    message: Message,
) -> Result<Accepted, Problem> {
    let span = edge.hearing(carrier.protocol, carrier.shape, message.trace.as_ref());
    let delivered = take(edge, carrier, share, message, span.clone()).await;
    heard(span, &delivered);
    delivered
}

/// The same, within the span of the message.
async fn take(
    edge: &Edge,
    carrier: Carrier<'_>,
    share: Option<Share>,
    message: Message,
    span: Option<Span>,
) -> Result<Accepted, Problem> {
    let Message { topic, payload, content_type, trace } = message;
    let stream_id = carrier.shape.stream_of(&topic)?;
    check_stream_id(stream_id)
        .map_err(|error| Problem::new(Kind::BadStreamId, format!("the stream id of the topic {error}")))?;
    let credential = carrier.credential;
    if !credential.allows(stream_id) {
        let detail = format!("credential {:?} does not cover the stream {stream_id:?}", credential.name);
        return Err(Problem::new(Kind::Forbidden, detail));
    }
    let format = format_of(content_type.as_deref(), &payload)?;
    let share = match share {
        Some(share) => share,
        None => Share::open(edge, credential, payload.len() as u64).await?,
    };
    let manner = Manner {
        protocol: carrier.protocol,
        format,
        encoding: Encoding::Plain,
        credential,
        stream_id: Some(stream_id),
    };
    let mut delivery = Delivery::begin(edge, share, manner);
    delivery.within(span);
    delivery.take(payload).await?;
    delivery.finish(trace).await
}

/// Whether the same message may pass later. What may not is acknowledged: sent again it would be refused again, and
/// hold up what is behind it for ever.
pub(crate) fn passes_later(kind: Kind) -> bool {
    match kind {
        Kind::Busy
        | Kind::TenantBusy
        | Kind::LogUnavailable
        | Kind::KeysUnavailable
        | Kind::Draining
        | Kind::RateLimited
        | Kind::BytesLimited
        | Kind::TenantLimited
        | Kind::SlowBody => true,
        Kind::UnreadableBody
        | Kind::BadStreamId
        | Kind::Unauthenticated
        | Kind::Forbidden
        | Kind::NotFound
        | Kind::MethodNotAllowed
        | Kind::UpgradeRequired
        | Kind::TooLarge
        | Kind::UnsupportedMediaType
        | Kind::EventsRefused
        | Kind::BadRecordingId
        | Kind::BadUpload
        | Kind::OffsetMismatch
        | Kind::RecordingFinished
        | Kind::RecordingUnfinished
        | Kind::RangeNotSatisfiable
        | Kind::SpoolFailed
        | Kind::SpoolFull => false,
    }
}
