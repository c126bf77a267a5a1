//! One event as an app sends it, one JSON object:
//! `{"stream_id"?, "ts": ms | RFC 3339, "seq"?, "arrival"?: ms, "fields"?: {name: number | bool}, "payload"?: base64}`.
//!
//! A member this program does not know is refused, not ignored: a misspelt `fields` would lose data in
//! silence. A member that is `null` is as if it were not there, except inside `fields`.

use super::{base64, parse_timestamp};
use evenkeel_model::limits::{FIELDS_MAX, PAYLOAD_BYTES_MAX};
use evenkeel_model::{StreamIdError, check_field_name, check_stream_id};
use serde::de::{
    self, Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use std::borrow::Cow;
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
    let mut error = None;
    let mut text = serde_json::Deserializer::from_slice(line);
    let read = EventSeed { error: &mut error }.deserialize(&mut text).and_then(|event| {
        text.end()?;
        Ok(event)
    });
    read.map_err(|syntax| error.unwrap_or_else(|| EventTextError::Syntax(syntax.to_string())))
}

/// Reads the object. The reader of texts carries errors as texts only, so ours leaves by `error`.
struct EventSeed<'e> {
    error: &'e mut Option<EventTextError>,
}

impl<'de> DeserializeSeed<'de> for EventSeed<'_> {
    type Value = JsonEvent;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<JsonEvent, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for EventSeed<'_> {
    type Value = JsonEvent;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object such as {\"ts\": 1700000000000, \"fields\": {\"weight\": 12.5}}")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JsonEvent, A::Error> {
        let mut event = JsonEvent::default();
        let mut ts = None;
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
                map.next_value_seed(FieldsSeed { fields: &mut event.fields, error: &mut *self.error })?;
                continue;
            }
            let value: Scalar<'de> = map.next_value()?;
            if matches!(value, Scalar::Null) {
                continue;
            }
            let set = match member {
                "stream_id" => value.stream_id().map(|id| event.stream_id = Some(id)),
                "ts" => value.time(member).map(|time| ts = Some(time)),
                "arrival" => value.time(member).map(|time| event.arrival = Some(time)),
                "seq" => value.seq().map(|seq| event.seq = Some(seq)),
                _ => value.payload().map(|bytes| event.payload = Some(bytes)),
            };
            if let Err(error) = set {
                return stop(self.error, error);
            }
        }
        match ts {
            Some(ts) => Ok(JsonEvent { ts, ..event }),
            None => stop(self.error, EventTextError::NoTime),
        }
    }
}

const MEMBERS: [&str; 6] = ["stream_id", "ts", "seq", "arrival", "fields", "payload"];

/// Hands `error` out and ends the reading.
fn stop<T, E: de::Error>(slot: &mut Option<EventTextError>, error: EventTextError) -> Result<T, E> {
    *slot = Some(error);
    Err(E::custom("stopped"))
}

/// Reads `fields`.
struct FieldsSeed<'f, 'e> {
    fields: &'f mut Vec<(String, f64)>,
    error: &'e mut Option<EventTextError>,
}

impl<'de> DeserializeSeed<'de> for FieldsSeed<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for FieldsSeed<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("fields to be an object of names and numbers")
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Text(name)) = map.next_key::<Text<'de>>()? {
            if self.fields.len() == FIELDS_MAX {
                return stop(self.error, EventTextError::TooManyFields);
            }
            if let Err(source) = check_field_name(&name) {
                let member = format!("the name of field number {}", self.fields.len() + 1);
                return stop(self.error, EventTextError::Text { member, source });
            }
            if self.fields.iter().any(|(other, _)| *other == name) {
                return stop(self.error, EventTextError::Twice(name.into_owned()));
            }
            match map.next_value::<Scalar<'de>>()?.number(&name) {
                Ok(value) => self.fields.push((name.into_owned(), value)),
                Err(error) => return stop(self.error, error),
            }
        }
        Ok(())
    }
}

/// Text, borrowed from the line where it holds no escapes.
struct Text<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Scalar::deserialize(deserializer)? {
            Scalar::Text(text) => Ok(Self(text)),
            other => Err(de::Error::custom(other.shown())),
        }
    }
}

/// A value of any type. Arrays and objects are read over: no member but `fields` may be one.
enum Scalar<'de> {
    Null,
    Bool(bool),
    Unsigned(u64),
    Negative(i64),
    Float(f64),
    Text(Cow<'de, str>),
    Array,
    Object,
}

impl Scalar<'_> {
    fn stream_id(self) -> Result<String, EventTextError> {
        let Self::Text(text) = self else {
            return Err(self.refused("stream_id", "it must be text of 1 to 256 bytes"));
        };
        match check_stream_id(&text) {
            Ok(()) => Ok(text.into_owned()),
            Err(source) => Err(EventTextError::Text { member: "stream_id".to_owned(), source }),
        }
    }

    fn time(self, member: &str) -> Result<i64, EventTextError> {
        const WANT: &str = "it must be integer ms since the epoch that fit 64 bits, or RFC 3339 text";
        match self {
            Self::Text(text) => parse_timestamp(&text),
            Self::Unsigned(ms) => i64::try_from(ms).map_err(|_| Self::Unsigned(ms).refused(member, WANT)),
            Self::Negative(ms) => Ok(ms),
            // Some writers know no integers: 1.7e12 is one, as far as doubles are exact.
            Self::Float(ms) if ms.fract() == 0.0 && ms.abs() <= EXACT_MAX => Ok(ms as i64),
            other => Err(other.refused(member, WANT)),
        }
    }

    fn seq(self) -> Result<u64, EventTextError> {
        match self {
            Self::Unsigned(seq) => Ok(seq),
            other => Err(other.refused("seq", "it must be an integer from 0 to 18446744073709551615")),
        }
    }

    fn number(self, name: &str) -> Result<f64, EventTextError> {
        match self {
            Self::Float(value) => Ok(value),
            Self::Unsigned(value) => Ok(value as f64),
            Self::Negative(value) => Ok(value as f64),
            Self::Bool(value) => Ok(f64::from(u8::from(value))),
            other => Err(other.refused(
                &format!("fields.{name}"),
                "a field must be a number, true or false; leave a field without a value out",
            )),
        }
    }

    fn payload(self) -> Result<Vec<u8>, EventTextError> {
        const WANT: &str = "it must be text in base64 (standard alphabet)";
        let Self::Text(text) = self else {
            return Err(self.refused("payload", WANT));
        };
        // 4 digits for 3 bytes: longer texts are refused before they are decoded.
        if text.len().div_ceil(4) > PAYLOAD_BYTES_MAX.div_ceil(3) {
            return Err(EventTextError::PayloadTooLarge(text.len() / 4 * 3));
        }
        match base64::decode(&text) {
            Some(bytes) if bytes.len() > PAYLOAD_BYTES_MAX => {
                Err(EventTextError::PayloadTooLarge(bytes.len()))
            }
            Some(bytes) => Ok(bytes),
            None => Err(Self::Text(text).refused("payload", WANT)),
        }
    }

    fn refused(&self, member: &str, want: &'static str) -> EventTextError {
        EventTextError::Value { member: member.to_owned(), got: self.shown(), want }
    }

    fn shown(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Unsigned(value) => value.to_string(),
            Self::Negative(value) => value.to_string(),
            Self::Float(value) => format!("{value:?}"),
            Self::Text(text) => format!("the text {:?}", cut(text)),
            Self::Array => "an array".to_owned(),
            Self::Object => "an object".to_owned(),
        }
    }
}

/// Up to here doubles hold every integer: 2⁵³.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// What of a text an error shows: its first 64 characters.
fn cut(text: &str) -> String {
    text.chars().take(64).collect()
}

impl<'de> Deserialize<'de> for Scalar<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Unsigned(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Negative(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Float(value))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Scalar<'de>, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Array)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Object)
    }
}
