//! One event as an app sends it, one JSON object:
//! `{"stream_id"?, "ts": ms | RFC 3339, "seq"?, "arrival"?: ms, "fields"?: {name: number | bool}, "payload"?: base64}`.
//!
//! A member this program does not know is refused, not ignored: a misspelt `fields` would lose data in
//! silence. A member that is `null` is as if it were not there, except inside `fields`.

use super::scalar::{Scalar, Text, cut};
use evenkeel_model::limits::{FIELDS_MAX, PAYLOAD_BYTES_MAX};
use evenkeel_model::{StreamIdError, check_field_name, check_stream_id};
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, Visitor};
use std::fmt;

/// An event of a JSON text. It keeps the limits of the contract, but for its time's range (admission's).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JsonEvent {
    /// The stream, if the text names it.
    pub stream_id: Option<String>,
    /// Event time, ms since the epoch.
    pub ts: i64,
    /// The device's sequence number.
    pub seq: Option<u64>,
    /// When the event arrived, ms since the epoch (files that are replayed).
    pub arrival: Option<i64>,
    /// Numeric fields in the text's order, names distinct; booleans as 0 and 1.
    pub fields: Vec<(String, f64)>,
    /// Opaque payload.
    pub payload: Option<Vec<u8>>,
}

/// Why a text is not an event. Each message says which member, what is wrong and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventTextError {
    /// Not one JSON object.
    #[error("not a JSON object with an event: {0}")]
    Syntax(String),
    /// No event time.
    #[error("ts is missing; send the event's time as integer ms since the epoch or as RFC 3339 text")]
    NoTime,
    /// A member nobody reads.
    #[error("{0:?} is no member of an event; allowed are stream_id, ts, seq, arrival, fields, payload")]
    Unknown(String),
    /// A member, or a field, given twice.
    #[error("{0:?} is given twice; give it once")]
    Twice(String),
    /// A value of another type or out of range.
    #[error("{member} is {got}; {want}")]
    Value {
        /// The member, or `fields.` and the name of the field.
        member: String,
        /// What the text says.
        got: String,
        /// What is allowed.
        want: &'static str,
    },
    /// A time that is none.
    #[error(
        "{got:?} is no time ({why}); send integer ms since the epoch, or RFC 3339 text such as 2023-11-14T22:13:20Z"
    )]
    Timestamp {
        /// The text, at most 64 characters of it.
        got: String,
        /// What is wrong with it.
        why: String,
    },
    /// A stream id or field name that breaks a limit.
    #[error("{member} {source}")]
    Text {
        /// `stream_id`, or `the name of field number n`.
        member: String,
        /// Which limit.
        source: StreamIdError,
    },
    /// More fields than an event may have.
    #[error("fields holds more than {max} fields; send at most {max}", max = FIELDS_MAX)]
    TooManyFields,
    /// Too large a payload.
    #[error("payload is {0} bytes; the limit is {max}", max = PAYLOAD_BYTES_MAX)]
    PayloadTooLarge(usize),
}

/// Reads one event. `line` is one whole JSON object; blanks around it are allowed, more is not. Every
/// number it holds is finite (a number beyond the range of a double is refused).
pub fn parse_event(line: &[u8]) -> Result<JsonEvent, EventTextError> {
    let mut event = JsonEvent::default();
    read_event(line, &mut event).map(|()| event)
}

/// As [`parse_event`], over another event, whose texts' memory is used again: events of one device are much alike.
/// After an error `event` holds nothing of use.
pub fn read_event(line: &[u8], event: &mut JsonEvent) -> Result<(), EventTextError> {
    let mut error = None;
    let mut text = serde_json::Deserializer::from_slice(line);
    let read = EventSeed { event, error: &mut error }.deserialize(&mut text).and_then(|()| text.end());
    read.map_err(|syntax| error.unwrap_or_else(|| EventTextError::Syntax(syntax.to_string())))
}

/// Checks an event that came by another way than text: names, number of fields, their values, the payload's size.
pub fn check_event(event: &JsonEvent) -> Result<(), EventTextError> {
    let text = |member: String, source| EventTextError::Text { member, source };
    if let Some(id) = &event.stream_id {
        check_stream_id(id).map_err(|source| text("stream_id".to_owned(), source))?;
    }
    if event.fields.len() > FIELDS_MAX {
        return Err(EventTextError::TooManyFields);
    }
    for (at, (name, value)) in event.fields.iter().enumerate() {
        check_field_name(name)
            .map_err(|source| text(format!("the name of field number {}", at + 1), source))?;
        if event.fields[..at].iter().any(|(other, _)| other == name) {
            return Err(EventTextError::Twice(cut(name)));
        }
        if !value.is_finite() {
            let (member, want) = (format!("fields.{}", cut(name)), "a field must be a finite number");
            return Err(EventTextError::Value { member, got: value.to_string(), want });
        }
    }
    match event.payload.as_ref().map_or(0, Vec::len) {
        bytes if bytes > PAYLOAD_BYTES_MAX => Err(EventTextError::PayloadTooLarge(bytes)),
        _ => Ok(()),
    }
}

/// Reads the object. The reader of texts carries errors as texts only, so ours leaves by `error`.
struct EventSeed<'e> {
    event: &'e mut JsonEvent,
    error: &'e mut Option<EventTextError>,
}

impl<'de> DeserializeSeed<'de> for EventSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for EventSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object such as {\"ts\": 1700000000000, \"fields\": {\"weight\": 12.5}}")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let event = self.event;
        let (mut ts, mut stream_id, mut fields) = (None, event.stream_id.take(), 0);
        (event.seq, event.arrival, event.payload) = (None, None, None);
        let mut seen = [false; MEMBERS.len()];
        while let Some(Text(member)) = map.next_key::<Text<'de>>()? {
            let Some(at) = MEMBERS.iter().position(|name| *name == member) else {
                return stop(self.error, EventTextError::Unknown(cut(&member)));
            };
            if std::mem::replace(&mut seen[at], true) {
                return stop(self.error, EventTextError::Twice(cut(&member)));
            }
            let member = MEMBERS[at];
            if member == "fields" {
                fields =
                    map.next_value_seed(FieldsSeed { fields: &mut event.fields, error: &mut *self.error })?;
                continue;
            }
            let value: Scalar<'de> = map.next_value()?;
            if matches!(value, Scalar::Null) {
                continue;
            }
            let set = match member {
                "stream_id" => value.stream_id().map(|id| {
                    let mut kept = stream_id.take().unwrap_or_default();
                    renew(&mut kept, &id);
                    event.stream_id = Some(kept);
                }),
                "ts" => value.time(member).map(|time| ts = Some(time)),
                "arrival" => value.time(member).map(|time| event.arrival = Some(time)),
                "seq" => value.seq().map(|seq| event.seq = Some(seq)),
                _ => value.payload().map(|bytes| event.payload = Some(bytes)),
            };
            if let Err(error) = set {
                return stop(self.error, error);
            }
        }
        event.fields.truncate(fields);
        match ts {
            Some(ts) => event.ts = ts,
            None => return stop(self.error, EventTextError::NoTime),
        }
        Ok(())
    }
}

/// Makes `kept` the text; most often it is already.
pub(crate) fn renew(kept: &mut String, text: &str) {
    if kept != text {
        kept.clear();
        kept.push_str(text);
    }
}

const MEMBERS: [&str; 6] = ["stream_id", "ts", "seq", "arrival", "fields", "payload"];

/// Hands `error` out and ends the reading.
fn stop<T, E: de::Error>(slot: &mut Option<EventTextError>, error: EventTextError) -> Result<T, E> {
    *slot = Some(error);
    Err(E::custom("stopped"))
}

/// Sets the field in place `at`, at most one behind the last, in old memory.
pub(crate) fn set_field(fields: &mut Vec<(String, f64)>, at: usize, name: &str, value: f64) {
    match fields.get_mut(at) {
        Some((kept, of)) => {
            renew(kept, name);
            *of = value;
        }
        None => fields.push((name.to_owned(), value)),
    }
}

/// Reads `fields` over those that are there; answers how many there are now, the others are left behind them.
struct FieldsSeed<'f, 'e> {
    fields: &'f mut Vec<(String, f64)>,
    error: &'e mut Option<EventTextError>,
}

impl<'de> DeserializeSeed<'de> for FieldsSeed<'_, '_> {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<usize, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for FieldsSeed<'_, '_> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("fields to be an object of names and numbers")
    }

    fn visit_unit<E: de::Error>(self) -> Result<usize, E> {
        Ok(0)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<usize, A::Error> {
        let mut read = 0;
        while let Some(Text(name)) = map.next_key::<Text<'de>>()? {
            if read == FIELDS_MAX {
                return stop(self.error, EventTextError::TooManyFields);
            }
            if let Err(source) = check_field_name(&name) {
                let member = format!("the name of field number {}", read + 1);
                return stop(self.error, EventTextError::Text { member, source });
            }
            if self.fields[..read].iter().any(|(other, _)| *other == name) {
                return stop(self.error, EventTextError::Twice(name.into_owned()));
            }
            let value = match map.next_value::<Scalar<'de>>()?.number(&name) {
                Ok(value) => value,
                Err(error) => return stop(self.error, error),
            };
            set_field(self.fields, read, &name, value);
            read += 1;
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::parse_timestamp;

    fn refused(line: &str) -> String {
        parse_event(line.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn an_event_read_over_another_has_nothing_of_it() {
        let everything = r#"{"stream_id": "a", "ts": 1, "seq": 2, "arrival": 3, "payload": "Zm9v", "fields": {"x": 1, "y": 2, "z": 3}}"#;
        for line in [
            everything,
            r#"{"ts": 5}"#,
            r#"{"ts": 6, "fields": {"y": 7}}"#,
            r#"{"ts": 6, "fields": null, "stream_id": "longer"}"#,
        ] {
            for before in [
                everything,
                r#"{"ts": 9, "fields": {"x": 1}}"#,
                r#"{"ts": 9, "seq": 1, "fields": {"a": 0, "b": "#,
            ] {
                let mut event = JsonEvent::default();
                let _ = read_event(before.as_bytes(), &mut event);
                read_event(line.as_bytes(), &mut event).unwrap();
                assert_eq!(event, parse_event(line.as_bytes()).unwrap(), "{line} over {before}");
            }
        }
    }

    #[test]
    fn an_event_with_everything() {
        let line =
            br#" {"stream_id": "bowl/7", "ts": "2023-11-14T22:13:20.250Z", "seq": 18446744073709551615,
            "arrival": 1700000000300, "payload": "Zm9v",
            "fields": {"g": 12.5, "lid\u00e9": true, "off": false, "n": -3, "big": 9007199254740993}} "#;
        let fields =
            [("g", 12.5), ("lidé", 1.0), ("off", 0.0), ("n", -3.0), ("big", 9_007_199_254_740_992.0)];
        let want = JsonEvent {
            stream_id: Some("bowl/7".into()),
            ts: 1_700_000_000_250,
            seq: Some(u64::MAX),
            arrival: Some(1_700_000_000_300),
            fields: fields.map(|(name, value)| (name.to_owned(), value)).to_vec(),
            payload: Some(b"foo".to_vec()),
        };
        assert_eq!(parse_event(line), Ok(want));
    }

    #[test]
    fn only_the_time_is_needed_and_null_is_nothing() {
        let bare = JsonEvent { ts: 5, ..JsonEvent::default() };
        let nulls = r#"{"stream_id":null,"ts":"5","seq":null,"arrival":null,"fields":null,"payload":null}"#;
        for line in [r#"{"ts":5}"#, r#"{"ts":5.0}"#, nulls] {
            assert_eq!(parse_event(line.as_bytes()).as_ref(), Ok(&bare), "{line}");
        }
        for line in ["{}", r#"{"ts":null}"#] {
            assert_eq!(parse_event(line.as_bytes()), Err(EventTextError::NoTime));
        }
    }

    #[test]
    fn times_that_do_not_fit_are_refused() {
        let edge = parse_event(br#"{"ts":9223372036854775807}"#).unwrap();
        assert_eq!(edge.ts, i64::MAX);
        for ts in [
            "9223372036854775808",
            "\"9223372036854775808\"",
            "1e300",
            "1.5",
            "true",
            "[]",
            "-9223372036854775809",
        ] {
            let message = refused(&format!("{{\"ts\":{ts}}}"));
            assert!(message.contains("integer ms") && message.contains("RFC 3339"), "{message}");
        }
        assert!(
            refused(r#"{"ts":9223372036854775808}"#).starts_with("ts is 9223372036854775808; it must be")
        );
        assert!(refused(r#"{"ts":"now"}"#).contains("\"now\" is no time"));
    }

    #[test]
    fn every_message_names_the_member_and_what_is_allowed() {
        for (line, parts) in [
            (r#"{"ts":1,"ts":2}"#, ["\"ts\" is given twice", "give it once"]),
            (r#"{"ts":1,"fields":{"a":1,"a":2}}"#, ["\"a\" is given twice", "give it once"]),
            (
                r#"{"ts":1,"field":{}}"#,
                ["\"field\" is no member", "stream_id, ts, seq, arrival, fields, payload"],
            ),
            (r#"{"ts":1,"seq":-1}"#, ["seq is -1", "from 0 to 18446744073709551615"]),
            (r#"{"ts":1,"seq":1.5}"#, ["seq is 1.5", "integer"]),
            (r#"{"ts":1,"stream_id":7}"#, ["stream_id is 7", "text of 1 to 256 bytes"]),
            (r#"{"ts":1,"stream_id":""}"#, ["stream_id is empty", "1 to 256 bytes"]),
            (r#"{"ts":1,"stream_id":"a\u0000"}"#, ["stream_id holds a control character", "byte 1"]),
            (r#"{"ts":1,"fields":{"a":"1"}}"#, ["fields.a is the text \"1\"", "a number, true or false"]),
            (r#"{"ts":1,"fields":{"a":null}}"#, ["fields.a is null", "leave a field without a value out"]),
            (r#"{"ts":1,"fields":{"a":{"b":1}}}"#, ["fields.a is an object", "a number"]),
            (r#"{"ts":1,"fields":{"a":[1,[2]]}}"#, ["fields.a is an array", "a number"]),
            (r#"{"ts":1,"fields":{"":1}}"#, ["the name of field number 1 is empty", "send"]),
            (r#"{"ts":1,"fields":[1]}"#, ["fields to be an object", "column"]),
            (r#"{"ts":1,"payload":"?"}"#, ["payload is the text \"?\"", "base64"]),
            (r#"{"ts":1,"payload":1}"#, ["payload is 1", "base64"]),
            (r#"{"ts":1,"fields":{"a":1e999}}"#, ["number out of range", "column"]),
            (r#"{"ts":1,"fields":{"a":NaN}}"#, ["not a JSON object", "column"]),
            (r#"{"ts":1} x"#, ["trailing characters", "column 10"]),
            (r#"{"ts":1"#, ["EOF", "column"]),
            ("[]", ["expected an object such as", "sequence"]),
            ("", ["not a JSON object", "EOF"]),
        ] {
            let message = refused(line);
            assert!(parts.iter().all(|part| message.contains(part)), "{line} -> {message}");
        }
        assert!(parse_event(b"{\"ts\":1,\"stream_id\":\"\xff\"}").is_err());
    }

    #[test]
    fn limits_hold() {
        let fields = |n: usize| (0..n).map(|i| format!("\"f{i}\":{i}")).collect::<Vec<_>>().join(",");
        let line = |n| format!("{{\"ts\":1,\"fields\":{{{}}}}}", fields(n));
        assert_eq!(parse_event(line(64).as_bytes()).unwrap().fields.len(), 64);
        assert_eq!(parse_event(line(65).as_bytes()), Err(EventTextError::TooManyFields));
        let payload = |digits: usize| {
            parse_event(format!("{{\"ts\":1,\"payload\":\"{}\"}}", "A".repeat(digits)).as_bytes())
        };
        assert_eq!(payload(87_382).unwrap().payload.map(|bytes| bytes.len()), Some(65_536));
        assert_eq!(payload(87_383), Err(EventTextError::PayloadTooLarge(65_537)));
        assert!(matches!(payload(1 << 20), Err(EventTextError::PayloadTooLarge(_))));
        let deep = "[".repeat(1 << 20);
        assert!(refused(&format!("{{\"ts\":1,\"seq\":{deep}")).contains("EOF"));
        assert!(refused(&format!("{{\"{}\":1}}", "x".repeat(1 << 20))).len() < 400);
    }

    #[test]
    fn numbers_are_read_to_the_last_bit() {
        for value in [0.1, 1.0 / 3.0, 5e-324, f64::MAX, 9.355_566_448_557_81e-308, 2.225_073_858_507_201e-308]
        {
            let event =
                parse_event(format!("{{\"ts\":1,\"fields\":{{\"a\":{value:?}}}}}").as_bytes()).unwrap();
            assert_eq!(event.fields[0].1.to_bits(), value.to_bits(), "{value:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(line in "\\PC{0,80}", bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..80)) {
            let _ = parse_event(line.as_bytes());
            let _ = parse_event(&bytes);
            let _ = parse_event(&[b"{\"ts\":", &bytes[..], b"}"].concat());
            let _ = parse_timestamp(&line);
        }
    }
}
