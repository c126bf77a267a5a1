//! What a window knows about one numeric field.

/// Statistics of one field over the events of one window that have it.
///
/// `first`/`last` are by `(ts, seq)`; events without seq count as seq 0 and keep arrival order within one
/// timestamp. `sum + sum_lo` is a compensated sum (Neumaier 1974): |error| ≤ 4 ε Σ|x|.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FieldStats {
    /// Name of the field.
    pub name: String,
    /// Number of values. At least 1.
    pub count: u64,
    /// Smallest value.
    pub min: f64,
    /// Largest value.
    pub max: f64,
    /// High part of the sum.
    pub sum: f64,
    /// Low part of the sum.
    pub sum_lo: f64,
    /// Arithmetic mean.
    pub mean: f64,
    /// Sum of squared distances from the mean; variance = m2 / count. To 1e-9 relative.
    pub m2: f64,
    /// Value of the earliest event.
    pub first: f64,
    /// Its event time, ms since the epoch.
    pub first_ts: i64,
    /// Its seq; 0 without one.
    pub first_seq: u64,
    /// Value of the latest event.
    pub last: f64,
    /// Its event time, ms since the epoch.
    pub last_ts: i64,
    /// Its seq; 0 without one.
    pub last_seq: u64,
}
