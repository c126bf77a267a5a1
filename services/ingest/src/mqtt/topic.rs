//! Which stream a topic names, and how a payload is written. Pure.

use crate::body::{Format, essence};
use crate::delivery::BATCH_TYPE;
use crate::problem::{Kind, Problem};
use std::fmt;

/// First byte of a batch: the mark of Avro's single-object encoding. JSON never begins with it.
const BATCH_MARK: u8 = 0xC3;

/// What stands around the stream id of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicShape {
    prefix: String,
    suffix: String,
}

impl TopicShape {
    pub(crate) fn new(prefix: impl Into<String>, suffix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), suffix: suffix.into() }
    }

    /// The stream of a topic: what is left between prefix and suffix, slashes included.
    pub(crate) fn stream_of<'t>(&self, topic: &'t str) -> Result<&'t str, Problem> {
        let stream = topic.strip_prefix(&*self.prefix).and_then(|rest| rest.strip_suffix(&*self.suffix));
        stream
            .filter(|stream| !stream.is_empty() && !stream.contains(['+', '#']))
            .ok_or_else(|| Problem::new(Kind::NotFound, format!("the topic is not {self}")))
    }
}

/// The pattern: a topic with `{stream_id}` where its stream stands.
impl fmt::Display for TopicShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{{stream_id}}{}", self.prefix, self.suffix)
    }
}

/// The format of a payload: what its content type says, else what its first byte says.
pub(crate) fn format_of(content_type: Option<&str>, payload: &[u8]) -> Result<Format, Problem> {
    let Some(content_type) = content_type else {
        return Ok(if payload.first() == Some(&BATCH_MARK) { Format::Batch } else { Format::Json });
    };
    match essence(content_type).as_str() {
        "application/json" => Ok(Format::Json),
        "application/x-ndjson" => Ok(Format::Ndjson),
        BATCH_TYPE => Ok(Format::Batch),
        _ => {
            let detail = format!("content type {content_type:?} is not known");
            Err(Problem::new(Kind::UnsupportedMediaType, detail))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_what_prefix_and_suffix_leave() {
        let shape = TopicShape::new("streams/", "/events");
        for (topic, stream) in [
            ("streams/bowl/events", Some("bowl")),
            ("streams/bowl/7/events", Some("bowl/7")),
            ("streams/events/events", Some("events")),
            ("streams//events", None),
            ("streams/events", None),
            ("streams/bowl/event", None),
            ("stream/bowl/events", None),
            ("streams/a+/events", None),
            ("streams/#/events", None),
            ("", None),
        ] {
            assert_eq!(shape.stream_of(topic).ok(), stream, "{topic}");
        }
        assert_eq!(shape.to_string(), "streams/{stream_id}/events");
        assert_eq!(TopicShape::new("", "").stream_of("any/topic").ok(), Some("any/topic"));
    }

    #[test]
    fn a_content_type_decides_before_the_first_byte() {
        assert_eq!(format_of(None, b"\xC3\x01").unwrap(), Format::Batch);
        assert_eq!(format_of(None, b"[{}]").unwrap(), Format::Json);
        assert_eq!(format_of(None, b"").unwrap(), Format::Json);
        assert_eq!(format_of(Some("Application/X-NDJSON; a=b"), b"\xC3").unwrap(), Format::Ndjson);
        assert_eq!(format_of(Some(BATCH_TYPE), b"{").unwrap(), Format::Batch);
        assert_eq!(format_of(Some("text/plain"), b"{").unwrap_err().kind, Kind::UnsupportedMediaType);
    }
}
