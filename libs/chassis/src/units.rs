//! Times and sizes as people write them in a configuration: `"200ms"`, `"512KiB"`.
//!
//! Owns: the text forms, exact in both directions. Never: a bare number (its unit would be a guess), a sign,
//! a fraction, an overflow. `Positive…` cannot be zero.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Why a text is not a time or a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// No digits in front, or something else than digits and a unit.
    #[error("{given:?} is not {what}; write e.g. {example}")]
    Form {
        /// As given.
        given: String,
        /// What was expected.
        what: &'static str,
        /// How to write one.
        example: &'static str,
    },
    /// The unit is missing or not known.
    #[error("{given:?} has no known unit; allowed: {allowed}")]
    Unit {
        /// As given.
        given: String,
        /// The units.
        allowed: &'static str,
    },
    /// Beyond the largest value.
    #[error("{given:?} is too large; at most {max}")]
    TooLarge {
        /// As given.
        given: String,
        /// The largest value, as text.
        max: &'static str,
    },
    /// Zero where nothing can be done with it.
    #[error("{given:?} must be more than zero")]
    Zero {
        /// As given.
        given: String,
    },
}

/// A unit: its name and how many base units it is. Rising.
type Units = [(&'static str, u64)];

struct Scale {
    units: &'static Units,
    what: &'static str,
    example: &'static str,
    allowed: &'static str,
    max: u64,
    max_text: &'static str,
}

const TIME: Scale = Scale {
    units: &[("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)],
    what: "a time",
    example: r#""200ms", "5s", "10m", "7d""#,
    allowed: "ms, s, m, h, d",
    max: 365_000 * 86_400_000,
    max_text: "365000d",
};

const SIZE: Scale = Scale {
    units: &[("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)],
    what: "a size",
    example: r#""512KiB", "64MiB", "2GiB""#,
    allowed: "B, KiB, MiB, GiB, TiB",
    max: 1 << 60,
    max_text: "1048576TiB",
};

impl Scale {
    fn parse(&self, text: &str) -> Result<u64, UnitError> {
        let given = || text.to_owned();
        let text = text.trim();
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let unit = unit.trim_start();
        if number.is_empty() || !unit.bytes().all(|b| b.is_ascii_alphabetic()) {
            return Err(UnitError::Form { given: given(), what: self.what, example: self.example });
        }
        let Some((_, factor)) = self.units.iter().find(|(name, _)| *name == unit) else {
            return Err(UnitError::Unit { given: given(), allowed: self.allowed });
        };
        let value = number.parse::<u64>().ok().and_then(|n| n.checked_mul(*factor));
        value
            .filter(|v| *v <= self.max)
            .ok_or_else(|| UnitError::TooLarge { given: given(), max: self.max_text })
    }

    /// In the largest unit that says it exactly.
    fn write(&self, value: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = self.units.iter().rev().find(|(_, factor)| value != 0 && value.is_multiple_of(*factor));
        let (name, factor) = exact.or(self.units.first()).copied().unwrap_or(("", 1));
        write!(f, "{}{name}", value / factor)
    }
}

macro_rules! unit {
    ($(#[$doc:meta])* $name:ident, $scale:ident, $getter:ident, $positive:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u64);

        impl $name {
            /// From a plain number, within the same limits as the text form.
            pub fn new(value: u64) -> Result<Self, UnitError> {
                if value > $scale.max {
                    return Err(UnitError::TooLarge { given: value.to_string(), max: $scale.max_text });
                }
                if $positive && value == 0 {
                    return Err(UnitError::Zero { given: value.to_string() });
                }
                Ok(Self(value))
            }

            /// The plain number.
            pub const fn $getter(self) -> u64 {
                self.0
            }
        }

        impl FromStr for $name {
            type Err = UnitError;

            fn from_str(text: &str) -> Result<Self, UnitError> {
                let value = $scale.parse(text)?;
                if $positive && value == 0 {
                    return Err(UnitError::Zero { given: text.to_owned() });
                }
                Ok(Self(value))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                $scale.write(self.0, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(TextVisitor { what: $scale.what, example: $scale.example })?
                    .parse()
                    .map_err(serde::de::Error::custom)
            }
        }
    };
}

unit! {
    /// A time in milliseconds, 0 … 365,000 days.
    Ms, TIME, ms, false
}
unit! {
    /// A time in milliseconds, 1 … 365,000 days.
    PositiveMs, TIME, ms, true
}
unit! {
    /// A size in bytes, 0 … 2^60.
    Bytes, SIZE, bytes, false
}
unit! {
    /// A size in bytes, 1 … 2^60.
    PositiveBytes, SIZE, bytes, true
}

impl Ms {
    /// As a duration.
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl PositiveMs {
    /// As a duration, never zero.
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

/// Takes text only, and says how to write it when something else is given.
pub(crate) struct TextVisitor {
    pub(crate) what: &'static str,
    pub(crate) example: &'static str,
}

impl serde::de::Visitor<'_> for TextVisitor {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with its unit, e.g. {}", self.what, self.example)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_people_write() {
        let ms = |text: &str| text.parse::<Ms>().map(Ms::ms);
        assert_eq!(ms("200ms"), Ok(200));
        assert_eq!(ms(" 5 s "), Ok(5000));
        assert_eq!(ms("10m"), Ok(600_000));
        assert_eq!(ms("7d"), Ok(604_800_000));
        assert_eq!(ms("0s"), Ok(0));
        assert_eq!("512KiB".parse::<Bytes>().map(Bytes::bytes), Ok(524_288));
        assert_eq!("2GiB".parse::<PositiveBytes>().map(PositiveBytes::bytes), Ok(2 << 30));
        assert_eq!("5s".parse::<PositiveMs>().map(PositiveMs::duration), Ok(Duration::from_secs(5)));
    }

    #[test]
    fn every_refusal_says_what_to_write() {
        let time = |text: &str| text.parse::<PositiveMs>().unwrap_err().to_string();
        for bad in ["", "s", "-5s", "1.5s", "5s!", "1h30m", "+5s", "5 s s"] {
            assert!(time(bad).ends_with(r#"is not a time; write e.g. "200ms", "5s", "10m", "7d""#), "{bad}");
        }
        assert_eq!(time("5"), r#""5" has no known unit; allowed: ms, s, m, h, d"#);
        assert_eq!(time("5weeks"), r#""5weeks" has no known unit; allowed: ms, s, m, h, d"#);
        assert_eq!(time("0ms"), r#""0ms" must be more than zero"#);
        assert_eq!(time("365001d"), r#""365001d" is too large; at most 365000d"#);
        assert_eq!(time("99999999999999999999d"), r#""99999999999999999999d" is too large; at most 365000d"#);
        let size = |text: &str| text.parse::<Bytes>().unwrap_err().to_string();
        assert_eq!(size("5KB"), r#""5KB" has no known unit; allowed: B, KiB, MiB, GiB, TiB"#);
        assert_eq!(size("1048577TiB"), r#""1048577TiB" is too large; at most 1048576TiB"#);
        assert!(size("x").contains(r#"is not a size; write e.g. "512KiB""#));
        assert!(PositiveBytes::new(0).is_err() && PositiveMs::new(0).is_err());
        assert!(Ms::new(u64::MAX).is_err() && Bytes::new(u64::MAX).is_err());
        assert_eq!(Ms::new(0).unwrap().to_string(), "0ms");
    }

    proptest! {
        #[test]
        fn times_round_trip(n in 0u64..=365_000 * 86_400_000) {
            let ms = Ms::new(n).unwrap();
            prop_assert_eq!(ms.to_string().parse::<Ms>(), Ok(ms));
        }

        #[test]
        fn round_times_round_trip(n in 1u64..1000, unit in 0usize..5) {
            let ms = PositiveMs::new(n * TIME.units[unit].1).unwrap();
            prop_assert_eq!(ms.to_string().parse::<PositiveMs>(), Ok(ms));
        }

        #[test]
        fn sizes_round_trip(n in 0u64..=1 << 60, shift in 0u32..40) {
            let bytes = Bytes::new((n >> shift) << shift).unwrap();
            prop_assert_eq!(bytes.to_string().parse::<Bytes>(), Ok(bytes));
        }

        #[test]
        fn no_text_panics(text in ".{0,20}") {
            let _ = text.parse::<Ms>();
            let _ = text.parse::<PositiveBytes>();
        }
    }
}
