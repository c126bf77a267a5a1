//! The record Score: what a model said of a window or of one of its events.

use crate::batch::read_stream_id;
use crate::wire::{Reader, put_bytes, put_double, put_long, put_u64};
use crate::{DecodeError, schema};
use evenkeel_model::limits::SCORE_NAME_BYTES_MAX;
use evenkeel_model::{Score, ScoredEvent, WindowSpan};

/// Appends `score` as one record.
pub fn encode_score(score: &Score, out: &mut Vec<u8>) {
    schema::write_header(&schema::SCORE, out);
    put_bytes(out, score.stream_id.as_bytes());
    put_long(out, score.span.size_ms);
    put_long(out, score.span.window_id);
    put_long(out, score.span.t_start());
    put_long(out, score.span.t_end());
    put_optional(out, score.event.map(|event| event.ts), put_long);
    put_optional(out, score.event.and_then(|event| event.seq), put_u64);
    put_bytes(out, score.model.as_bytes());
    put_bytes(out, score.version.as_bytes());
    out.push(u8::from(score.shadow));
    put_double(out, score.score);
    put_optional(out, score.threshold, put_double);
    out.push(u8::from(score.prediction));
    put_long(out, score.last_arrival);
}

/// Reads a record of the topic scores.
pub fn decode_score(bytes: &[u8]) -> Result<Score, DecodeError> {
    let mut reader = Reader::new(schema::body_of(&schema::SCORE, bytes)?);
    let mut stream_id = String::new();
    read_stream_id(&mut reader, &mut stream_id)?;
    let span = read_span(&mut reader)?;
    reader.long("t_start")?;
    reader.long("t_end")?;
    let ts = if reader.present("event_ts")? { Some(reader.long("event_ts")?) } else { None };
    let seq = if reader.present("event_seq")? { Some(reader.u64("event_seq")?) } else { None };
    let model = read_name(&mut reader, "model", SCORE_NAME_BYTES_MAX)?;
    let version = read_name(&mut reader, "version", SCORE_NAME_BYTES_MAX)?;
    let shadow = reader.boolean("shadow")?;
    let score = read_finite(&mut reader, "score")?;
    let threshold = if reader.present("threshold")? { Some(reader.double("threshold")?) } else { None };
    let prediction = reader.boolean("prediction")?;
    let last_arrival = reader.long("last_arrival")?;
    reader.end()?;
    let event = ts.map(|ts| ScoredEvent { ts, seq });
    Ok(Score { stream_id, span, event, model, version, shadow, score, threshold, prediction, last_arrival })
}

fn put_optional<T>(out: &mut Vec<u8>, value: Option<T>, put: impl FnOnce(&mut Vec<u8>, T)) {
    put_long(out, i64::from(value.is_some()));
    if let Some(value) = value {
        put(out, value);
    }
}

/// A size of at least 1 and the window's number; both ends of the window must be numbers.
fn read_span(reader: &mut Reader<'_>) -> Result<WindowSpan, DecodeError> {
    let (size_ms, window_id) = (reader.long("size_ms")?, reader.long("window_id")?);
    let t_start = window_id.checked_mul(size_ms).filter(|_| size_ms > 0);
    match t_start.and_then(|start| start.checked_add(size_ms)) {
        Some(_) => Ok(WindowSpan { size_ms, window_id }),
        None => {
            Err(DecodeError::Contradiction { member: "window_id", why: "its window has no place in time" })
        }
    }
}

/// Text of 1 to `bytes_max` bytes.
pub(crate) fn read_name(
    reader: &mut Reader<'_>,
    member: &'static str,
    bytes_max: usize,
) -> Result<String, DecodeError> {
    let bytes = reader.bytes(member, bytes_max)?;
    match std::str::from_utf8(bytes) {
        Ok("") => Err(DecodeError::Contradiction { member, why: "must not be empty" }),
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(DecodeError::Utf8 { member }),
    }
}

/// A double that is a number.
pub(crate) fn read_finite(reader: &mut Reader<'_>, member: &'static str) -> Result<f64, DecodeError> {
    let value = reader.double(member)?;
    match value.is_finite() {
        true => Ok(value),
        false => Err(DecodeError::Contradiction { member, why: "must be a finite number" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::hex;

    fn score() -> Score {
        Score {
            stream_id: "s".into(),
            span: WindowSpan { size_ms: 5, window_id: 2 },
            event: None,
            model: "m".into(),
            version: "1".into(),
            shadow: false,
            score: 0.5,
            threshold: Some(0.25),
            prediction: true,
            last_arrival: 16,
        }
    }

    fn bytes(score: &Score) -> Vec<u8> {
        let mut out = Vec::new();
        encode_score(score, &mut out);
        out
    }

    #[test]
    fn golden_bytes() {
        let want = "0273 0a 04 14 1e 00 00 026d 0231 00 000000000000e03f 02 000000000000d03f 01 20";
        assert_eq!(hex(&bytes(&score())[schema::HEADER_BYTES..]), want.replace(' ', ""));
        let event = Some(ScoredEvent { ts: 11, seq: Some(u64::MAX) });
        let of_event = Score { event, shadow: true, threshold: None, prediction: false, ..score() };
        let want = "0273 0a 04 14 1e 0216 0201 026d 0231 01 000000000000e03f 00 00 20";
        assert_eq!(hex(&bytes(&of_event)[schema::HEADER_BYTES..]), want.replace(' ', ""));
        assert_eq!(decode_score(&bytes(&of_event)), Ok(of_event));
    }

    #[test]
    fn what_is_no_score_says_what_is_wrong() {
        let member = |change: fn(&mut Score)| {
            let mut broken = score();
            change(&mut broken);
            match decode_score(&bytes(&broken)) {
                Err(DecodeError::Contradiction { member, .. } | DecodeError::Limit { member, .. }) => member,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(member(|s| s.score = f64::NAN), "score");
        assert_eq!(member(|s| s.model = String::new()), "model");
        assert_eq!(member(|s| s.version = "x".repeat(SCORE_NAME_BYTES_MAX + 1)), "version");
        let mut nowhere = Vec::new();
        schema::write_header(&schema::SCORE, &mut nowhere);
        put_bytes(&mut nowhere, b"s");
        [0, 7].into_iter().for_each(|n| put_long(&mut nowhere, n)); // a size of 0
        assert!(matches!(
            decode_score(&nowhere),
            Err(DecodeError::Contradiction { member: "window_id", .. })
        ));
    }
}
