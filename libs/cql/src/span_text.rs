//! Lengths of time as people write them: "5s", "1m", "30d".

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::time::Duration;

/// A length of time, in whole ms, at least 1. Written as a number and a unit: ms, s, m, h, d.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Millis(u64);

/// Unit and its length in ms, longest first.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl Millis {
    /// So many ms; 0 counts as 1.
    pub const fn from_ms(ms: u64) -> Self {
        Self(if ms == 0 { 1 } else { ms })
    }

    /// So many seconds.
    pub const fn from_s(s: u64) -> Self {
        Self::from_ms(s.saturating_mul(1_000))
    }

    /// So many days.
    pub const fn from_days(days: u64) -> Self {
        Self::from_ms(days.saturating_mul(86_400_000))
    }

    /// Length, ms.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Length as the standard library's type.
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }

    /// Reads "200ms", "5s", "1m", "2h", "30d".
    pub fn parse(text: &str) -> Result<Self, String> {
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let unit_ms = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, ms)| *ms);
        let ms = number.parse::<u64>().ok().zip(unit_ms).and_then(|(n, ms)| n.checked_mul(ms));
        match ms {
            Some(ms) if ms > 0 && i64::try_from(ms).is_ok() => Ok(Self(ms)),
            _ => Err(format!(
                "{text:?} is not a length of time; write for example \"200ms\", \"5s\", \"1m\", \"30d\""
            )),
        }
    }
}

/// The shortest exact form, e.g. `5s`, `1m`, `1500ms`.
impl std::fmt::Display for Millis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (name, unit_ms) in UNITS {
            if self.0.is_multiple_of(unit_ms) {
                return write!(f, "{}{name}", self.0 / unit_ms);
            }
        }
        write!(f, "{}ms", self.0)
    }
}

impl Serialize for Millis {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Millis {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        for (text, ms) in
            [("200ms", 200), ("5s", 5_000), ("1m", 60_000), ("90s", 90_000), ("30d", 2_592_000_000)]
        {
            let millis = Millis::parse(text).unwrap();
            assert_eq!((millis.get(), millis.to_string().as_str()), (ms, text));
        }
        assert_eq!(Millis::parse("60s").unwrap().to_string(), "1m");
        for bad in ["", "5", "s", "0s", "-1s", "1.5s", "5 s", "99999999999999999999d", "9999999999999d"] {
            assert!(Millis::parse(bad).is_err(), "{bad}");
        }
    }
}
