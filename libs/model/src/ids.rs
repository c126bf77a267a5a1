//! Stream ids and field names: what they may look like.

use crate::limits::{FIELD_NAME_BYTES_MAX, STREAM_ID_BYTES_MAX};

/// Why a stream id or a field name is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StreamIdError {
    /// Empty string.
    #[error("is empty; send 1 to {max} bytes", max = STREAM_ID_BYTES_MAX)]
    Empty,
    /// Longer than the limit.
    #[error("is {0} bytes long; the limit is {max}", max = STREAM_ID_BYTES_MAX)]
    TooLong(usize),
    /// Holds a control character.
    #[error("holds a control character at byte {0}; remove it")]
    Control(usize),
}

/// Checks a stream id: 1–256 bytes of UTF-8 without control characters.
pub fn check_stream_id(id: &str) -> Result<(), StreamIdError> {
    check(id, STREAM_ID_BYTES_MAX)
}

/// Checks a field name: 1–128 bytes of UTF-8 without control characters.
pub fn check_field_name(name: &str) -> Result<(), StreamIdError> {
    check(name, FIELD_NAME_BYTES_MAX)
}

fn check(text: &str, bytes_max: usize) -> Result<(), StreamIdError> {
    if text.is_empty() {
        return Err(StreamIdError::Empty);
    }
    if text.len() > bytes_max {
        return Err(StreamIdError::TooLong(text.len()));
    }
    if text.is_ascii() {
        return match text.bytes().position(|b| b < 0x20 || b == 0x7f) {
            Some(at) => Err(StreamIdError::Control(at)),
            None => Ok(()),
        };
    }
    match text.char_indices().find(|(_, c)| c.is_control()) {
        Some((at, _)) => Err(StreamIdError::Control(at)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_devices_send_and_refuses_the_rest() {
        assert_eq!(check_stream_id("imu/S06/ankle"), Ok(()));
        assert_eq!(check_stream_id("größe"), Ok(()));
        assert_eq!(check_stream_id(""), Err(StreamIdError::Empty));
        assert_eq!(check_stream_id("a\nb"), Err(StreamIdError::Control(1)));
        assert_eq!(check_stream_id("ä\u{85}"), Err(StreamIdError::Control(2)));
        assert_eq!(check_stream_id(&"x".repeat(256)), Ok(()));
        assert_eq!(check_stream_id(&"x".repeat(257)), Err(StreamIdError::TooLong(257)));
        assert_eq!(check_field_name(&"x".repeat(129)), Err(StreamIdError::TooLong(129)));
    }
}
