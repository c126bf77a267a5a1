//! Features of window rows by name: `weight.mean`, `weight.last@2`, `count`, `gap_ms`.
//!
//! A model names its inputs so, and the scorer of windows computes them from a row and the rows before it.

use evenkeel_model::{FieldStats, WindowRow};
use std::fmt;
use std::str::FromStr;

/// Most windows that a lag may reach back.
pub const LAG_MAX: usize = 64;

/// A statistic of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stat {
    Count,
    First,
    Last,
    Max,
    Mean,
    Min,
    Std,
    Sum,
    Var,
}

const STATS: [(&str, Stat); 9] = [
    ("count", Stat::Count),
    ("first", Stat::First),
    ("last", Stat::Last),
    ("max", Stat::Max),
    ("mean", Stat::Mean),
    ("min", Stat::Min),
    ("std", Stat::Std),
    ("sum", Stat::Sum),
    ("var", Stat::Var),
];

/// What of one window a feature needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Of {
    /// Events of the window.
    Count,
    /// Events that are missing inside it.
    Missing,
    /// From the end of the window before to the start of this one, ms; 0 where they touch.
    Gap,
    Field(String, Stat),
}

/// A feature of a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feature {
    pub(crate) of: Of,
    /// Windows back; 0 = this one.
    pub(crate) lag: usize,
}

/// A name that is no feature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{name:?} is no feature of a window; write field.stat (stat: count, first, last, max, mean, min, std, sum, \
     var), or count, missing, gap_ms, each with @N for N windows back (1 to {LAG_MAX})"
)]
pub struct FeatureError {
    name: String,
}

impl FromStr for Feature {
    type Err = FeatureError;

    fn from_str(name: &str) -> Result<Self, FeatureError> {
        let wrong = || FeatureError { name: name.chars().take(128).collect() };
        let (body, lag) = match name.rsplit_once('@') {
            Some((body, lag)) => {
                let lag = lag.parse().ok().filter(|n| (1..=LAG_MAX).contains(n)).ok_or_else(wrong)?;
                (body, lag)
            }
            None => (name, 0),
        };
        let of = match body {
            "count" => Of::Count,
            "missing" => Of::Missing,
            "gap_ms" => Of::Gap,
            body => {
                let (field, stat) = body.rsplit_once('.').filter(|(f, _)| !f.is_empty()).ok_or_else(wrong)?;
                let (_, stat) = STATS.iter().find(|(known, _)| *known == stat).ok_or_else(wrong)?;
                Of::Field(field.to_owned(), *stat)
            }
        };
        Ok(Self { of, lag })
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.of {
            Of::Count => f.write_str("count")?,
            Of::Missing => f.write_str("missing")?,
            Of::Gap => f.write_str("gap_ms")?,
            Of::Field(field, stat) => {
                let name = STATS.iter().find(|(_, known)| known == stat).map_or("", |(name, _)| name);
                write!(f, "{field}.{name}")?;
            }
        }
        if self.lag > 0 { write!(f, "@{}", self.lag) } else { Ok(()) }
    }
}

impl Of {
    /// Of this row; NaN where the field is not there. A gap is not of one row: NaN.
    pub fn value(&self, row: &WindowRow) -> f64 {
        match self {
            Self::Count => row.count as f64,
            Self::Missing => row.missing() as f64,
            Self::Gap => f64::NAN,
            Self::Field(field, stat) => {
                let at = row.stats.binary_search_by(|s| s.name.as_str().cmp(field));
                at.map_or(f64::NAN, |at| of_field(&row.stats[at], *stat))
            }
        }
    }
}

fn of_field(stats: &FieldStats, stat: Stat) -> f64 {
    let variance = stats.m2 / stats.count as f64;
    match stat {
        Stat::Count => stats.count as f64,
        Stat::First => stats.first,
        Stat::Last => stats.last,
        Stat::Max => stats.max,
        Stat::Mean => stats.mean,
        Stat::Min => stats.min,
        Stat::Std => variance.sqrt(),
        Stat::Sum => stats.sum + stats.sum_lo,
        Stat::Var => variance,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_none_say_what_would_be() {
        for name in
            ["weight", "weight.median", ".mean", "weight.mean@0", "weight.mean@65", "weight.mean@x", ""]
        {
            let error = name.parse::<Feature>().unwrap_err().to_string();
            assert!(error.contains("write field.stat"), "{name}: {error}");
        }
    }

    #[test]
    fn a_name_is_shown_as_it_was_written() {
        for name in ["scale.weight.mean", "scale.weight.std@3", "gap_ms", "count@64", "missing"] {
            assert_eq!(name.parse::<Feature>().unwrap().to_string(), name);
        }
    }
}
