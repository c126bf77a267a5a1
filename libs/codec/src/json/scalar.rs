//! One value of an event's text, and what it may be as each member.
//!
//! Owns: the types a member takes, and how a refused value is shown (cut to 64 characters).

use super::{EventTextError, base64, parse_timestamp};
use evenkeel_model::check_stream_id;
use evenkeel_model::limits::PAYLOAD_BYTES_MAX;
use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// Text, borrowed from the line where it holds no escapes.
pub(super) struct Text<'de>(pub(super) Cow<'de, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Scalar::deserialize(deserializer)? {
            Scalar::Text(text) => Ok(Self(text)),
            other => Err(de::Error::custom(other.shown())),
        }
    }
}

/// A value of any type. Arrays and objects are read over: no member but `fields` may be one.
pub(super) enum Scalar<'de> {
    Null,
    Bool(bool),
    Unsigned(u64),
    Negative(i64),
    Float(f64),
    Text(Cow<'de, str>),
    Array,
    Object,
}

impl<'de> Scalar<'de> {
    /// A stream id.
    pub(super) fn stream_id(self) -> Result<Cow<'de, str>, EventTextError> {
        let Self::Text(text) = self else {
            return Err(self.refused("stream_id", "it must be text of 1 to 256 bytes"));
        };
        match check_stream_id(&text) {
            Ok(()) => Ok(text),
            Err(source) => Err(EventTextError::Text { member: "stream_id".to_owned(), source }),
        }
    }

    /// A time in ms, of the member `member`.
    pub(super) fn time(self, member: &str) -> Result<i64, EventTextError> {
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

    /// A sequence number.
    pub(super) fn seq(self) -> Result<u64, EventTextError> {
        match self {
            Self::Unsigned(seq) => Ok(seq),
            other => Err(other.refused("seq", "it must be an integer from 0 to 18446744073709551615")),
        }
    }

    /// The value of the field `name`.
    pub(super) fn number(self, name: &str) -> Result<f64, EventTextError> {
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

    /// A payload.
    pub(super) fn payload(self) -> Result<Vec<u8>, EventTextError> {
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

    pub(super) fn refused(&self, member: &str, want: &'static str) -> EventTextError {
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
pub(crate) fn cut(text: &str) -> String {
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
