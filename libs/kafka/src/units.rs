//! Durations and sizes as a configuration writes them: `"200ms"`, `"512KiB"`.
//! Owns: the two newtypes and their text form. Never: a clock.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A duration of 1 ms to 24 h: `"200ms"`, `"10s"`, `"2m"`, `"1h"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Millis(u64);

/// A number of bytes, 1 to 1 TiB: `"512"`, `"512KiB"`, `"64MiB"`, `"1GiB"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ByteSize(u64);

/// Why a text is no duration or size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {wanted}")]
pub struct UnitError {
    text: String,
    wanted: &'static str,
}

const DURATION: &str = "a duration of 1ms to 24h, such as \"200ms\", \"10s\" or \"2m\"";
const SIZE: &str = "a size of 1 byte to 1TiB, such as \"512KiB\" or \"64MiB\"";
const DAY_MS: u64 = 86_400_000;
const TIB: u64 = 1 << 40;

impl Millis {
    /// That many milliseconds, brought into 1 ms to 24 h.
    pub const fn new(ms: u64) -> Self {
        Self(if ms == 0 {
            1
        } else if ms > DAY_MS {
            DAY_MS
        } else {
            ms
        })
    }

    /// Milliseconds.
    pub const fn ms(self) -> u64 {
        self.0
    }

    /// The same as a [`Duration`].
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl ByteSize {
    /// That many bytes, brought into 1 byte to 1 TiB.
    pub const fn new(bytes: u64) -> Self {
        Self(if bytes == 0 {
            1
        } else if bytes > TIB {
            TIB
        } else {
            bytes
        })
    }

    /// Bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

/// The leading number and the rest of a text.
fn split(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, text[end..].trim()))
}

impl FromStr for Millis {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let parsed = split(text).and_then(|(n, unit)| match unit {
            "ms" => Some(n),
            "s" => n.checked_mul(1_000),
            "m" => n.checked_mul(60_000),
            "h" => n.checked_mul(3_600_000),
            _ => None,
        });
        match parsed {
            Some(ms @ 1..=DAY_MS) => Ok(Self(ms)),
            _ => Err(UnitError { text: text.to_owned(), wanted: DURATION }),
        }
    }
}

impl FromStr for ByteSize {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let parsed = split(text).and_then(|(n, unit)| match unit {
            "" | "B" => Some(n),
            "KiB" => n.checked_mul(1 << 10),
            "MiB" => n.checked_mul(1 << 20),
            "GiB" => n.checked_mul(1 << 30),
            _ => None,
        });
        match parsed {
            Some(bytes @ 1..=TIB) => Ok(Self(bytes)),
            _ => Err(UnitError { text: text.to_owned(), wanted: SIZE }),
        }
    }
}

impl TryFrom<String> for Millis {
    type Error = UnitError;
    fn try_from(text: String) -> Result<Self, UnitError> {
        text.parse()
    }
}

impl TryFrom<String> for ByteSize {
    type Error = UnitError;
    fn try_from(text: String) -> Result<Self, UnitError> {
        text.parse()
    }
}

impl From<Millis> for String {
    fn from(value: Millis) -> Self {
        value.to_string()
    }
}

impl From<ByteSize> for String {
    fn from(value: ByteSize) -> Self {
        value.to_string()
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ms if ms % 1_000 == 0 => write!(f, "{}s", ms / 1_000),
            ms => write!(f, "{ms}ms"),
        }
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes % (1 << 20) == 0 => write!(f, "{}MiB", bytes >> 20),
            bytes if bytes % (1 << 10) == 0 => write!(f, "{}KiB", bytes >> 10),
            bytes => write!(f, "{bytes}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_round_trip() {
        for text in ["200ms", "10s", "86400s"] {
            assert_eq!(text.parse::<Millis>().unwrap().to_string(), text);
        }
        for text in ["512", "512KiB", "64MiB"] {
            assert_eq!(text.parse::<ByteSize>().unwrap().to_string(), text);
        }
        assert_eq!("2m".parse::<Millis>().unwrap().ms(), 120_000);
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "10", "-1s", "0ms", "25h", "1 day", "99999999999999999999ms"] {
            assert!(text.parse::<Millis>().is_err(), "{text}");
        }
        for text in ["", "0", "1KB", "-4", "99999999999GiB"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }
}
