//! What a client is told when its request is refused: problem+json (RFC 9457) with a stable type.
//!
//! Owns: the closed list of refusals, their status and help. Never: a detail of the server's inside beyond
//! the limit that was broken. schemas/http/openapi.yaml lists the same slugs; a test compares them.

use crate::verdict::{Counts, Rejection};
use evenkeel_auth::Unknown;
use hyper::StatusCode;
use serde::Serialize;

/// Prefix of every `type`.
const TYPE_PREFIX: &str = "urn:evenkeel:problem:";

/// A kind of refusal. The slug is part of the API and never changes its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The body's framing is broken: gzip, JSON array, Avro.
    UnreadableBody,
    /// The stream id of the path breaks the contract.
    BadStreamId,
    /// No credential, or one nobody knows.
    Unauthenticated,
    /// The credential may not write this stream.
    Forbidden,
    /// No such path.
    NotFound,
    /// The path has other methods.
    MethodNotAllowed,
    /// The path speaks WebSocket only.
    UpgradeRequired,
    /// The body did not arrive in time.
    SlowBody,
    /// The body, what it inflates to, or the number of its events is over a limit.
    TooLarge,
    /// An unknown content type or encoding.
    UnsupportedMediaType,
    /// Every event was refused.
    EventsRefused,
    /// Every event was over the device's rate.
    RateLimited,
    /// The byte budget is used up.
    Busy,
    /// The log did not acknowledge.
    LogUnavailable,
    /// The service is shutting down.
    Draining,
    /// The keys that signed tokens are verified with are not at hand.
    KeysUnavailable,
    /// Every event was over the device's bytes per second.
    BytesLimited,
    /// Every event was over the tenant's rate.
    TenantLimited,
    /// The tenant has too much in flight.
    TenantBusy,
    /// The recording's id breaks the contract.
    BadRecordingId,
    /// A header of an upload is missing or cannot be read.
    BadUpload,
    /// The upload does not go on where the recording ends.
    OffsetMismatch,
    /// The recording is finished.
    RecordingFinished,
    /// The recording is not finished, and nobody sends the rest.
    RecordingUnfinished,
    /// Nothing of the ranges is in the recording.
    RangeNotSatisfiable,
    /// The recording cannot be read or written.
    SpoolFailed,
    /// There is no room for more recordings.
    SpoolFull,
}

impl Kind {
    /// Every kind.
    pub const ALL: &'static [Self] = &[
        Self::UnreadableBody,
        Self::BadStreamId,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::UpgradeRequired,
        Self::SlowBody,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::EventsRefused,
        Self::RateLimited,
        Self::Busy,
        Self::LogUnavailable,
        Self::Draining,
        Self::KeysUnavailable,
        Self::BytesLimited,
        Self::TenantLimited,
        Self::TenantBusy,
        Self::BadRecordingId,
        Self::BadUpload,
        Self::OffsetMismatch,
        Self::RecordingFinished,
        Self::RecordingUnfinished,
        Self::RangeNotSatisfiable,
        Self::SpoolFailed,
        Self::SpoolFull,
    ];

    /// The last part of the `type`.
    pub const fn slug(self) -> &'static str {
        self.names().0
    }

    /// A short title, the same for every occurrence.
    pub const fn title(self) -> &'static str {
        self.names().1
    }

    /// What the client can do about it.
    pub const fn help(self) -> &'static str {
        match self {
            Self::UnreadableBody => {
                "Nothing was stored. Check that the body is complete and matches content-type and content-encoding."
            }
            Self::BadStreamId => {
                "Use 1 to 256 bytes of UTF-8 without control characters, percent-encoded in the path."
            }
            Self::Unauthenticated => {
                "Send `authorization: Bearer <token>` with a token of the server's tokens file, or one that its issuer has signed; a client certificate does as well where the server asks for one."
            }
            Self::Forbidden => {
                "Write a stream that matches the credential's patterns, or ask for a pattern that covers this one."
            }
            Self::NotFound => {
                "Send events to /v1/streams/{stream_id}/events or /v1/events; /v1/openapi.yaml describes every path."
            }
            Self::MethodNotAllowed => "Use a method of the allow header.",
            Self::UpgradeRequired => {
                "Open a WebSocket (version 13) with the subprotocol evenkeel.ingest.v1, or send POST to /v1/events."
            }
            Self::SlowBody => "Nothing was stored. Send smaller requests over slow links.",
            Self::TooLarge => "Nothing was stored. Split the events over several requests.",
            Self::UnsupportedMediaType => {
                "Send application/json, application/x-ndjson or application/vnd.evenkeel.batch+avro, plain, gzip or zstd."
            }
            Self::EventsRefused => {
                "Nothing was stored. `rejected` says why, event by event; only what was over a rate may pass later."
            }
            Self::RateLimited | Self::BytesLimited | Self::TenantLimited | Self::TenantBusy | Self::Busy => {
                "Nothing was stored. Wait for retry-after, then send again."
            }
            Self::LogUnavailable => {
                "The events may or may not be stored. Wait for retry-after, then send again with the same seq: \
                 it removes doubles. Events without seq have no such protection."
            }
            Self::Draining => {
                "What was not acknowledged may or may not be stored. Connect again and send again with the same seq."
            }
            Self::KeysUnavailable => {
                "Nothing was stored. Wait for retry-after, then send again with the same token."
            }
            Self::BadRecordingId => {
                "Use 1 to 128 of the characters A-Z a-z 0-9 - . _ ~, the first a letter or digit."
            }
            Self::BadUpload => "Send `upload-offset: N`, and `upload-complete: ?0` where more is to follow.",
            Self::OffsetMismatch => {
                "What came before stays. Go on with PATCH at the `upload-offset` of this answer, or DELETE it and begin anew."
            }
            Self::RecordingFinished => "It is whole. Read it, or DELETE it and begin anew.",
            Self::RecordingUnfinished => {
                "Finish it with PATCH at the offset that HEAD tells, then ask again."
            }
            Self::RangeNotSatisfiable => {
                "Ask for bytes below the size of `content-range`, in at most 16 ranges."
            }
            Self::SpoolFailed => {
                "The server's log says more. What was stored before stays; HEAD tells how much."
            }
            Self::SpoolFull => {
                "What was stored stays; HEAD tells how much. DELETE recordings that are not needed, then go on with PATCH."
            }
        }
    }

    /// The HTTP status.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::UnreadableBody | Self::BadStreamId | Self::BadRecordingId | Self::BadUpload => {
                StatusCode::BAD_REQUEST
            }
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::UpgradeRequired => StatusCode::UPGRADE_REQUIRED,
            Self::SlowBody => StatusCode::REQUEST_TIMEOUT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::EventsRefused => StatusCode::UNPROCESSABLE_ENTITY,
            Self::RateLimited | Self::BytesLimited | Self::TenantLimited | Self::TenantBusy => {
                StatusCode::TOO_MANY_REQUESTS
            }
            Self::OffsetMismatch | Self::RecordingFinished | Self::RecordingUnfinished => {
                StatusCode::CONFLICT
            }
            Self::RangeNotSatisfiable => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::SpoolFailed => StatusCode::INTERNAL_SERVER_ERROR,
            Self::SpoolFull => StatusCode::INSUFFICIENT_STORAGE,
            Self::Busy | Self::LogUnavailable | Self::Draining | Self::KeysUnavailable => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }

    const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::UnreadableBody => ("unreadable-body", "The body cannot be read"),
            Self::BadStreamId => ("bad-stream-id", "The stream id is not valid"),
            Self::Unauthenticated => ("unauthenticated", "No valid credential"),
            Self::Forbidden => ("forbidden", "The credential does not cover the stream"),
            Self::NotFound => ("not-found", "No such path"),
            Self::MethodNotAllowed => ("method-not-allowed", "The path has another method"),
            Self::UpgradeRequired => ("upgrade-required", "The path speaks WebSocket only"),
            Self::SlowBody => ("slow-body", "The body did not arrive in time"),
            Self::TooLarge => ("too-large", "The request is over a limit"),
            Self::UnsupportedMediaType => ("unsupported-media-type", "Unknown content type or encoding"),
            Self::EventsRefused => ("events-refused", "Every event was refused"),
            Self::RateLimited => ("rate-limited", "Every event is over the device's rate"),
            Self::Busy => ("busy", "Too much is in flight"),
            Self::LogUnavailable => ("log-unavailable", "The log did not acknowledge"),
            Self::Draining => ("draining", "The server is shutting down"),
            Self::BytesLimited => ("bytes-limited", "Every event is over the device's bytes per second"),
            Self::TenantLimited => ("tenant-limited", "Every event is over the tenant's rate"),
            Self::TenantBusy => ("tenant-busy", "The tenant has too much in flight"),
            Self::KeysUnavailable => ("keys-unavailable", "The keys of signed tokens are not at hand"),
            Self::BadRecordingId => ("bad-recording-id", "The recording id is not valid"),
            Self::BadUpload => ("bad-upload", "A header of the upload cannot be read"),
            Self::OffsetMismatch => ("offset-mismatch", "The upload does not go on where the recording ends"),
            Self::RecordingFinished => ("recording-finished", "The recording is finished"),
            Self::RecordingUnfinished => ("recording-unfinished", "The recording is not finished"),
            Self::RangeNotSatisfiable => {
                ("range-not-satisfiable", "Nothing of the ranges is in the recording")
            }
            Self::SpoolFailed => ("spool-failed", "The recording cannot be read or written"),
            Self::SpoolFull => ("spool-full", "There is no room for more recordings"),
        }
    }
}

/// One refusal.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// Its kind.
    pub kind: Kind,
    /// What happened in this request.
    pub detail: String,
    /// When to come back, ms, where waiting helps.
    pub retry_after_ms: Option<u64>,
    /// The per-event verdicts, where events were judged.
    pub verdicts: Option<(Counts, Vec<Rejection>)>,
    /// How much of a recording there is, where that is the answer.
    pub extent: Option<Extent>,
}

/// How much of a recording there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Where an upload must go on: the header `upload-offset`, bytes.
    Offset(u64),
    /// What ranges may ask for: the header `content-range`, bytes.
    Size(u64),
}

impl Problem {
    /// The answer to a request without a credential. `spread` is drawn per client.
    pub(crate) fn of_unknown(unknown: &Unknown, spread: u64) -> Self {
        match unknown.is_ours() {
            true => Self {
                retry_after_ms: Some(1000 + spread % 4000),
                ..Self::new(Kind::KeysUnavailable, unknown.to_string())
            },
            false => Self::new(Kind::Unauthenticated, unknown.to_string()),
        }
    }

    /// A refusal that waiting does not cure.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), retry_after_ms: None, verdicts: None, extent: None }
    }

    /// The body of the answer.
    pub fn to_json(&self) -> Vec<u8> {
        let (counts, rejected) = match &self.verdicts {
            Some((counts, rejected)) => (Some(*counts), Some(rejected.as_slice())),
            None => (None, None),
        };
        let body = Body {
            kind: format!("{TYPE_PREFIX}{}", self.kind.slug()),
            title: self.kind.title(),
            status: self.kind.status().as_u16(),
            detail: &self.detail,
            help: self.kind.help(),
            counts,
            rejected,
        };
        serde_json::to_vec(&body).unwrap_or_default()
    }
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    help: &'a str,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    counts: Option<Counts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rejected: Option<&'a [Rejection]>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_kind_has_a_slug_of_its_own_and_an_error_status() {
        let slugs: BTreeSet<_> = Kind::ALL.iter().map(|kind| kind.slug()).collect();
        assert_eq!(slugs.len(), Kind::ALL.len());
        for kind in Kind::ALL {
            assert!(kind.status().as_u16() >= 400 && !kind.title().is_empty() && !kind.help().is_empty());
        }
    }

    #[test]
    fn a_problem_says_type_status_detail_and_help() {
        let text = Problem::new(Kind::TooLarge, "9 bytes").to_json();
        let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(value["type"], "urn:evenkeel:problem:too-large");
        assert_eq!(value["status"], 413);
        assert_eq!(value["detail"], "9 bytes");
        assert!(value.get("rejected").is_none());
    }
}
