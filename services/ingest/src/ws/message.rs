//! What stands in a message: up a batch with its id, down its answer.

use crate::body::Format;
use crate::delivery::Accepted;
use crate::problem::{Kind, Problem};
use crate::verdict::Answered;
use bytes::{Buf, Bytes};
use evenkeel_telemetry::TraceContext;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Bytes of the id in front of a binary message: a big-endian number.
const ID_BYTES: usize = 8;

/// One batch as it came.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) id: u64,
    pub(crate) format: Format,
    pub(crate) body: Bytes,
    pub(crate) trace: Option<TraceContext>,
}

/// A text message: `events` is what an HTTP body would be.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<'a> {
    id: u64,
    #[serde(borrow)]
    events: &'a RawValue,
    traceparent: Option<String>,
    tracestate: Option<String>,
}

/// A message down. `type` says which.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Down<'a> {
    Hello {
        credits: usize,
        message_max: usize,
    },
    Ack {
        id: u64,
        #[serde(flatten)]
        answered: &'a Answered,
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    },
    Refusal {
        id: Option<u64>,
        problem: &'a RawValue,
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    },
    Drain {
        retry_after_ms: u64,
    },
}

/// Reads a text message.
pub(crate) fn text(message: &Bytes) -> Result<Batch, Problem> {
    let envelope: Envelope<'_> = serde_json::from_slice(message).map_err(|error| {
        Problem::new(Kind::UnreadableBody, format!("not a message {{\"id\", \"events\"}}: {error}"))
    })?;
    let headers = [("traceparent", &envelope.traceparent), ("tracestate", &envelope.tracestate)];
    let lines = headers.iter().filter_map(|(name, value)| Some((*name, value.as_ref()?.as_bytes())));
    let trace = TraceContext::find(lines);
    let body = message.slice_ref(envelope.events.get().as_bytes());
    Ok(Batch { id: envelope.id, format: Format::Json, body, trace })
}

/// Reads a binary message: the id, then an Avro batch.
pub(crate) fn binary(mut message: Bytes) -> Result<Batch, Problem> {
    if message.len() < ID_BYTES {
        let detail = "a binary message is 8 bytes of id, big-endian, and a batch";
        return Err(Problem::new(Kind::UnreadableBody, detail));
    }
    let id = message.get_u64();
    Ok(Batch { id, format: Format::Batch, body: message, trace: None })
}

/// The first message.
pub(crate) fn hello(credits: usize, message_max: usize) -> String {
    json(&Down::Hello { credits, message_max })
}

/// The answer to a batch.
pub(crate) fn answer(id: u64, outcome: &Result<Accepted, Problem>) -> String {
    match outcome {
        Ok(accepted) => {
            let retry_after_ms = (accepted.retry_after_ms > 0).then_some(accepted.retry_after_ms);
            json(&Down::Ack { id, answered: &accepted.answered, retry_after_ms })
        }
        Err(problem) => refusal(Some(id), problem),
    }
}

/// A refusal; without an id where none could be read.
pub(crate) fn refusal(id: Option<u64>, problem: &Problem) -> String {
    let body = String::from_utf8(problem.to_json()).ok().and_then(|text| RawValue::from_string(text).ok());
    let body = body.as_deref().unwrap_or(RawValue::NULL);
    json(&Down::Refusal { id, problem: body, retry_after_ms: problem.retry_after_ms })
}

/// The server leaves: no further batch is taken, those on the way get their answers.
pub(crate) fn drain(retry_after_ms: u64) -> String {
    json(&Down::Drain { retry_after_ms })
}

fn json(message: &Down<'_>) -> String {
    serde_json::to_string(message).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_events_of_a_text_message_are_a_body_of_their_own() {
        let message = Bytes::from_static(br#"{"id": 7, "events": [{"ts": 1}, {"ts": 2}]}"#);
        let batch = text(&message).unwrap();
        assert_eq!((batch.id, &batch.body[..]), (7, &br#"[{"ts": 1}, {"ts": 2}]"#[..]));
        for broken in
            ["", "[]", r#"{"id": 7}"#, r#"{"id": -1, "events": []}"#, r#"{"id":1,"events":[],"x":1}"#]
        {
            let problem = text(&Bytes::from(broken)).unwrap_err();
            assert_eq!(problem.kind, Kind::UnreadableBody, "{broken}");
        }
    }

    #[test]
    fn a_binary_message_begins_with_its_id() {
        let batch = binary(Bytes::from_static(b"\0\0\0\0\0\0\0\x09rest")).unwrap();
        assert_eq!((batch.id, &batch.body[..]), (9, &b"rest"[..]));
        assert!(binary(Bytes::from_static(b"short")).is_err());
    }

    #[test]
    fn answers_name_their_batch() {
        let text =
            answer(3, &Err(Problem { retry_after_ms: Some(5), ..Problem::new(Kind::Busy, "no room") }));
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&value["type"], &value["id"]), (&"refusal".into(), &3.into()));
        assert_eq!(value["problem"]["type"], "urn:evenkeel:problem:busy");
        assert_eq!(value["retry_after_ms"], 5);
    }
}
