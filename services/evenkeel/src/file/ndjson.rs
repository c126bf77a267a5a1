//! NDJSON: one JSON object per line, `{"stream_id", "ts", "seq"?, "arrival"?, "fields", "payload"?}`.

use super::error::LineError;
use evenkeel_codec::json::{JsonEvent, parse_event};

/// Reads one line.
pub fn read(line: &[u8]) -> Result<JsonEvent, LineError> {
    let event = parse_event(line)?;
    if event.stream_id.is_none() {
        return Err(LineError::NoStream);
    }
    Ok(event)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_needs_its_stream() {
        assert_eq!(read(br#"{"ts":5}"#), Err(LineError::NoStream));
        let event = read(br#"{"stream_id":"s","ts":5,"fields":{"x":true}}"#).unwrap();
        assert_eq!((event.stream_id.as_deref(), event.ts), (Some("s"), 5));
        assert!(matches!(read(b"{}"), Err(LineError::Json(_))));
    }
}
