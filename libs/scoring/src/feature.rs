//! Features of window rows by name: `weight.mean`, `weight.last@2`, `count`, `gap_ms`.
//!
//! A model names its inputs so, and the scorer of windows computes them from a row and the rows before it.

use evenkeel_model::{FieldStats, WindowRow};
use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;

/// Most windows that a lag may reach back.
const LAG_MAX: usize = 64;

/// A statistic of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stat {
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

#[derive(Debug, Clone, PartialEq, Eq)]
enum Of {
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
    of: Of,
    /// Windows back; 0 = this one.
    lag: usize,
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

/// What is kept of a window for the features of later ones.
#[derive(Debug, Clone, PartialEq)]
struct Kept {
    t_start: i64,
    t_end: i64,
    count: u64,
    missing: u64,
    stats: Vec<FieldStats>,
}

/// The last windows of one stream and size. A function of the rows in their order, so a replay rebuilds it.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    limit: usize,
    windows: VecDeque<Kept>,
}

impl History {
    /// As far back as `features` reach.
    pub fn for_features(features: &[Feature]) -> Self {
        let gap = |f: &Feature| usize::from(f.of == Of::Gap);
        let reach = features.iter().map(|f| f.lag + gap(f)).max().unwrap_or(0);
        Self { limit: reach + 1, windows: VecDeque::new() }
    }

    /// The next row of the stream.
    pub fn push(&mut self, row: &WindowRow) {
        if self.windows.len() == self.limit {
            self.windows.pop_back();
        }
        self.windows.push_front(Kept {
            t_start: row.span.t_start(),
            t_end: row.span.t_end(),
            count: row.count,
            missing: row.missing(),
            stats: row.stats.clone(),
        });
    }

    /// A feature of the newest row; NaN where the window or the field is not there.
    pub fn value(&self, feature: &Feature) -> f64 {
        let Some(window) = self.windows.get(feature.lag) else { return f64::NAN };
        match &feature.of {
            Of::Count => window.count as f64,
            Of::Missing => window.missing as f64,
            Of::Gap => match self.windows.get(feature.lag + 1) {
                Some(before) => window.t_start.saturating_sub(before.t_end) as f64,
                None => f64::NAN,
            },
            Of::Field(field, stat) => {
                let stats = window.stats.iter().find(|s| s.name == *field);
                stats.map_or(f64::NAN, |s| of_field(s, *stat))
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
    use evenkeel_model::{ClosedBy, WindowSpan};

    fn row(window_id: i64, mean: f64) -> WindowRow {
        let weight = FieldStats {
            name: "scale.weight".into(),
            count: 4,
            mean,
            m2: 16.0,
            sum: 4.0 * mean,
            ..FieldStats::default()
        };
        WindowRow {
            stream_id: "bowl/7".into(),
            span: WindowSpan { size_ms: 5_000, window_id },
            closed_by: ClosedBy::Watermark,
            max_ts: 0,
            first_arrival: 0,
            last_arrival: 0,
            count: 4,
            seqs: Vec::new(),
            dropped: Vec::new(),
            stats: vec![weight],
            events: None,
        }
    }

    fn feature(name: &str) -> Feature {
        let feature: Feature = name.parse().unwrap();
        assert_eq!(feature.to_string(), name);
        feature
    }

    #[test]
    fn features_of_this_window_of_earlier_ones_and_between_them() {
        let features = [
            "scale.weight.mean",
            "scale.weight.std",
            "scale.weight.mean@1",
            "gap_ms",
            "gap_ms@1",
            "count",
            "lid.max",
        ]
        .map(feature);
        let mut history = History::for_features(&features);
        let values = |history: &History| features.each_ref().map(|f| history.value(f));
        history.push(&row(10, 400.0));
        let first = values(&history);
        assert_eq!((first[0], first[1], first[5]), (400.0, 2.0, 4.0));
        assert!(first[2].is_nan() && first[3].is_nan() && first[6].is_nan());
        history.push(&row(11, 410.0));
        history.push(&row(14, 420.0));
        let third = values(&history);
        assert_eq!((third[0], third[2], third[3], third[4]), (420.0, 410.0, 10_000.0, 0.0));
        assert_eq!(history.windows.len(), 3, "no further back than a feature reaches");
    }

    #[test]
    fn names_that_are_none_say_what_would_be() {
        for name in
            ["weight", "weight.median", ".mean", "weight.mean@0", "weight.mean@65", "weight.mean@x", ""]
        {
            let error = name.parse::<Feature>().unwrap_err().to_string();
            assert!(error.contains("write field.stat"), "{name}: {error}");
        }
    }
}
