//! What a metric is called, counts and is labelled with: said once, as a constant.
//!
//! Owns: the three kinds of declaration and the `metrics!` macro that lists them. Never: a value. The number
//! of labels is part of the type, so that a handle with too few or too many values does not compile. A
//! stream id is never a label: its values are as many as there are devices.

/// A sum that only rises.
#[derive(Debug, Clone, Copy)]
pub struct CounterDecl<const LABELS: usize> {
    /// OTel name, dots between the parts.
    pub name: &'static str,
    /// UCUM unit, `{event}` for counted things.
    pub unit: &'static str,
    /// One sentence.
    pub description: &'static str,
    /// Label names, in the order of their values.
    pub labels: [&'static str; LABELS],
}

/// A value that rises and falls.
#[derive(Debug, Clone, Copy)]
pub struct GaugeDecl<const LABELS: usize> {
    /// OTel name.
    pub name: &'static str,
    /// UCUM unit.
    pub unit: &'static str,
    /// One sentence.
    pub description: &'static str,
    /// Label names.
    pub labels: [&'static str; LABELS],
}

/// A distribution over fixed buckets.
#[derive(Debug, Clone, Copy)]
pub struct HistogramDecl<const LABELS: usize> {
    /// OTel name.
    pub name: &'static str,
    /// UCUM unit.
    pub unit: &'static str,
    /// One sentence.
    pub description: &'static str,
    /// Label names.
    pub labels: [&'static str; LABELS],
    /// Upper bounds of the buckets, rising, in `unit`.
    pub bounds: &'static [f64],
}

/// Which kind a declaration is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// [`CounterDecl`]
    Counter,
    /// [`GaugeDecl`]
    Gauge,
    /// [`HistogramDecl`]
    Histogram,
}

/// One line of a list of declarations: what documents, dashboards and tests need to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Declared {
    /// OTel name.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// UCUM unit.
    pub unit: &'static str,
    /// One sentence.
    pub description: &'static str,
    /// Label names.
    pub labels: &'static [&'static str],
}

/// Bucket bounds for durations from 0.1 ms to 2 min, seconds.
pub const SECONDS: &[f64] = &[
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    10.0, 30.0, 60.0, 120.0,
];

/// Bucket bounds for ages from 0.1 s to 7 days, seconds.
pub const AGE_SECONDS: &[f64] = &[
    0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 21_600.0,
    86_400.0, 604_800.0,
];

/// Bucket bounds for clock differences, both signs, seconds.
pub const SKEW_SECONDS: &[f64] = &[
    -3600.0, -300.0, -60.0, -5.0, -1.0, -0.1, 0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 30.0, 60.0,
    300.0, 3600.0, 86_400.0,
];

/// Bucket bounds for counts, 1 to 1 M.
pub const COUNTS: &[f64] = &[
    0.0,
    1.0,
    3.0,
    10.0,
    30.0,
    100.0,
    300.0,
    1000.0,
    3000.0,
    10_000.0,
    30_000.0,
    100_000.0,
    300_000.0,
    1_000_000.0,
];

/// Bucket bounds for sizes, 256 B to 4 MiB.
pub const BYTES: &[f64] =
    &[256.0, 1024.0, 4096.0, 16_384.0, 65_536.0, 131_072.0, 262_144.0, 524_288.0, 1_048_576.0, 4_194_304.0];

/// Declares metrics as constants, and `ALL`, the list of them.
///
/// ```
/// evenkeel_telemetry::metrics! {
///     counter EVENTS "evenkeel.example.events" "{event}" ["outcome"] "Events, by outcome.";
///     gauge DEPTH "evenkeel.example.queue.depth" "By" [] "Bytes that wait.";
///     histogram AGE "evenkeel.example.age" "s" [] (evenkeel_telemetry::declared::SECONDS) "Age at the end.";
/// }
/// assert_eq!(ALL.len(), 3);
/// ```
#[macro_export]
macro_rules! metrics {
    ($($kind:ident $id:ident $name:literal $unit:literal [$($label:literal),*] $(($bounds:expr))? $text:literal;)+) => {
        $($crate::metrics!(@one $kind $id $name $unit [$($label),*] $(($bounds))? $text);)+

        /// Every metric declared here.
        pub const ALL: &[$crate::declared::Declared] = &[$($crate::declared::Declared {
            name: $name,
            kind: $crate::metrics!(@kind $kind),
            unit: $unit,
            description: $text,
            labels: &[$($label),*],
        }),+];
    };
    (@kind counter) => { $crate::declared::Kind::Counter };
    (@kind gauge) => { $crate::declared::Kind::Gauge };
    (@kind histogram) => { $crate::declared::Kind::Histogram };
    (@labels [$($label:literal),*]) => {{ let labels: &[&str] = &[$($label),*]; labels.len() }};
    (@one counter $id:ident $name:literal $unit:literal [$($label:literal),*] $text:literal) => {
        #[doc = $text]
        pub const $id: $crate::declared::CounterDecl<{ $crate::metrics!(@labels [$($label),*]) }> =
            $crate::declared::CounterDecl { name: $name, unit: $unit, description: $text, labels: [$($label),*] };
    };
    (@one gauge $id:ident $name:literal $unit:literal [$($label:literal),*] $text:literal) => {
        #[doc = $text]
        pub const $id: $crate::declared::GaugeDecl<{ $crate::metrics!(@labels [$($label),*]) }> =
            $crate::declared::GaugeDecl { name: $name, unit: $unit, description: $text, labels: [$($label),*] };
    };
    (@one histogram $id:ident $name:literal $unit:literal [$($label:literal),*] ($bounds:expr) $text:literal) => {
        #[doc = $text]
        pub const $id: $crate::declared::HistogramDecl<{ $crate::metrics!(@labels [$($label),*]) }> =
            $crate::declared::HistogramDecl {
                name: $name, unit: $unit, description: $text, labels: [$($label),*], bounds: $bounds,
            };
    };
}
