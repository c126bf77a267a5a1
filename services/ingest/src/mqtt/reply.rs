//! What clients are told, in the words of each version.
//!
//! Owns: which reason code stands for which refusal. Version 3.1.1 has hardly any words: there a refused message is
//! acknowledged like any other, and everything else ends with the connection.

use crate::delivery::Accepted;
use crate::problem::{Kind, Problem};
use mqtt_protocol_core::mqtt::connection::Version;
use mqtt_protocol_core::mqtt::packet::{Packet, Property, ReasonString, v3_1_1, v5_0};
use mqtt_protocol_core::mqtt::result_code::{
    DisconnectReasonCode, MqttError, PubackReasonCode, SubackReasonCode, SubackReturnCode, UnsubackReasonCode,
};

/// Longest reason string, bytes: clients limit the size of a packet.
const REASON_BYTES_MAX: usize = 200;

/// How a client wants to be spoken to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manners {
    pub(super) version: Version,
    /// It takes reason strings on every packet, not only on those that end something.
    pub(super) explain: bool,
}

/// A reason in words, cut to its length.
pub(super) fn reason(text: &str) -> Option<Property> {
    let mut text = text.to_owned();
    if text.len() > REASON_BYTES_MAX {
        let cut = (0..=REASON_BYTES_MAX).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        text.truncate(cut);
    }
    // What a string may not hold (control characters) is a client's own text at most: then no words.
    ReasonString::new(text).ok().map(Property::from)
}

/// The acknowledgement of a message that needs no second attempt.
pub(super) fn puback(
    manners: Manners,
    packet_id: u16,
    outcome: &Result<Accepted, Problem>,
) -> Result<Packet, MqttError> {
    if manners.version != Version::V5_0 {
        return Ok(v3_1_1::Puback::builder().packet_id(packet_id).build()?.into());
    }
    let (code, words) = match outcome {
        Ok(accepted) => {
            let counts = accepted.answered.counts;
            let refused = counts.rejected_total;
            let words = match accepted.answered.rejected.first() {
                Some(first) => format!(
                    "{} accepted, {refused} refused; first, event {}: {}",
                    counts.accepted, first.index, first.message
                ),
                None => format!("{} accepted, {refused} refused", counts.accepted),
            };
            (PubackReasonCode::Success, (refused > 0).then_some(words))
        }
        Err(problem) => {
            let first = problem.verdicts.as_ref().and_then(|(_, rejected)| rejected.first());
            let words = match first {
                Some(first) => format!("{}; first, event {}: {}", problem.detail, first.index, first.message),
                None => problem.detail.clone(),
            };
            (code_of(problem.kind), Some(words))
        }
    };
    let packet = v5_0::Puback::builder().packet_id(packet_id).reason_code(code);
    let words = words.filter(|_| manners.explain).and_then(|words| reason(&words));
    Ok(match words {
        Some(words) => packet.props(vec![words]).build()?.into(),
        None => packet.build()?.into(),
    })
}

/// The code of a refusal that waiting does not cure.
fn code_of(kind: Kind) -> PubackReasonCode {
    match kind {
        Kind::UnreadableBody | Kind::EventsRefused | Kind::UnsupportedMediaType => {
            PubackReasonCode::PayloadFormatInvalid
        }
        Kind::Forbidden | Kind::Unauthenticated => PubackReasonCode::NotAuthorized,
        Kind::NotFound | Kind::BadStreamId => PubackReasonCode::TopicNameInvalid,
        Kind::TooLarge => PubackReasonCode::QuotaExceeded,
        Kind::MethodNotAllowed
        | Kind::UpgradeRequired
        | Kind::SlowBody
        | Kind::RateLimited
        | Kind::BytesLimited
        | Kind::TenantLimited
        | Kind::Busy
        | Kind::TenantBusy
        | Kind::LogUnavailable
        | Kind::KeysUnavailable
        | Kind::Draining
        | Kind::BadRecordingId
        | Kind::BadUpload
        | Kind::OffsetMismatch
        | Kind::RecordingFinished
        | Kind::RecordingUnfinished
        | Kind::RangeNotSatisfiable
        | Kind::SpoolFailed
        | Kind::SpoolFull => PubackReasonCode::ImplementationSpecificError,
    }
}

/// The code of an end that a message brought which may pass later.
pub(super) fn end_of(kind: Kind) -> DisconnectReasonCode {
    match kind {
        Kind::Draining => DisconnectReasonCode::ServerShuttingDown,
        Kind::RateLimited | Kind::BytesLimited | Kind::TenantLimited => {
            DisconnectReasonCode::MessageRateTooHigh
        }
        Kind::Busy | Kind::TenantBusy | Kind::TooLarge => DisconnectReasonCode::QuotaExceeded,
        _ => DisconnectReasonCode::ServerBusy,
    }
}

/// The server's goodbye; version 3.1.1 has none.
pub(super) fn disconnect(
    version: Version,
    code: DisconnectReasonCode,
    words: &str,
) -> Result<Option<Packet>, MqttError> {
    if version != Version::V5_0 {
        return Ok(None);
    }
    let packet = v5_0::Disconnect::builder().reason_code(code);
    let packet = match reason(words) {
        Some(words) => packet.props(vec![words]),
        None => packet,
    };
    Ok(Some(packet.build()?.into()))
}

/// Nothing is handed out here.
pub(super) fn no_subscription(manners: Manners, packet: &Packet) -> Result<Option<Packet>, MqttError> {
    const WORDS: &str = "this server takes messages and hands none out";
    Ok(Some(match packet {
        Packet::V3_1_1Subscribe(asked) => {
            let codes = vec![SubackReturnCode::Failure; asked.entries().len()];
            v3_1_1::Suback::builder().packet_id(asked.packet_id()).return_codes(codes).build()?.into()
        }
        Packet::V5_0Subscribe(asked) => {
            let codes = vec![SubackReasonCode::NotAuthorized; asked.entries().len()];
            let packet = v5_0::Suback::builder().packet_id(asked.packet_id()).reason_codes(codes);
            match reason(WORDS).filter(|_| manners.explain) {
                Some(words) => packet.props(vec![words]).build()?.into(),
                None => packet.build()?.into(),
            }
        }
        Packet::V3_1_1Unsubscribe(asked) => {
            v3_1_1::Unsuback::builder().packet_id(asked.packet_id()).build()?.into()
        }
        Packet::V5_0Unsubscribe(asked) => {
            let codes = vec![UnsubackReasonCode::NoSubscriptionExisted; asked.entries().len()];
            v5_0::Unsuback::builder().packet_id(asked.packet_id()).reason_codes(codes).build()?.into()
        }
        _ => return Ok(None),
    }))
}
