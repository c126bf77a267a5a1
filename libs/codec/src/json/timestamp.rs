//! A time in text: decimal milliseconds since the epoch, or RFC 3339.

use super::EventTextError;

/// Milliseconds since the epoch of `1700000000000` or `2023-11-14T22:13:20Z` (RFC 3339, with an offset;
/// digits below the millisecond are cut off). Whether the time is in range is admission's to say.
pub fn parse_timestamp(text: &str) -> Result<i64, EventTextError> {
    let bad = |why| EventTextError::Timestamp { got: text.chars().take(64).collect(), why };
    let digits = text.strip_prefix('-').unwrap_or(text);
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().map_err(|_| bad("does not fit 64 bits".to_owned()));
    }
    // The length first: a whole line of text is no time, and need not be looked at.
    if text.len() > 64 {
        return Err(bad("is too long".to_owned()));
    }
    let time: jiff::Timestamp = text.parse().map_err(|e: jiff::Error| bad(e.to_string()))?;
    i64::try_from(time.as_nanosecond().div_euclid(1_000_000))
        .map_err(|_| bad("does not fit 64 bits".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_and_rfc_3339() {
        for (text, want) in [
            ("1700000000000", 1_700_000_000_000),
            ("0", 0),
            ("-5", -5),
            ("9223372036854775807", i64::MAX),
            ("2023-11-14T22:13:20Z", 1_700_000_000_000),
            ("2023-11-14T22:13:20.5Z", 1_700_000_000_500),
            ("2023-11-14T22:13:20.0019Z", 1_700_000_000_001),
            ("2023-11-15T00:13:20+02:00", 1_700_000_000_000),
            ("2023-11-14t22:13:20z", 1_700_000_000_000),
            ("2023-11-14 22:13:20Z", 1_700_000_000_000),
            ("1969-12-31T23:59:59.9999Z", -1),
            ("9999-12-30T22:00:00Z", 253_402_207_200_000),
        ] {
            assert_eq!(parse_timestamp(text), Ok(want), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused_and_quoted() {
        for text in [
            "",
            "-",
            "2023-11-14T22:13:20",
            "2023-11-14",
            "yesterday",
            "1.5",
            "1e3",
            " 1",
            "9223372036854775808",
        ] {
            let error = parse_timestamp(text).unwrap_err();
            assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
        }
        let error = parse_timestamp("9223372036854775808").unwrap_err().to_string();
        assert!(error.contains("does not fit 64 bits") && error.contains("RFC 3339"), "{error}");
        assert!(parse_timestamp(&"x".repeat(1 << 20)).unwrap_err().to_string().len() < 400);
    }
}
