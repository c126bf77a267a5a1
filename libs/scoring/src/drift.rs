//! How far features have moved from what a model was trained on: the population stability index.
//!
//! PSI = Σ (a − e) · ln(a / e) over the bins of a feature, a = share seen, e = share in training (Siddiqi 2006).
//! By custom below 0.1 is little, above 0.25 much. A share of 0 counts as 0.0001.

use crate::report::quantile;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The least share.
const SHARE_MIN: f64 = 1e-4;
/// Most bins of a feature.
const BINS_MAX: usize = 1000;

/// What a model was trained on, feature by feature. A JSON file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// By name of the feature.
    pub features: BTreeMap<String, FeatureProfile>,
}

/// One feature.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureProfile {
    /// Where bins meet, rising: n edges make n + 1 bins; a value on an edge is in the bin above it.
    pub edges: Vec<f64>,
    /// The share of each bin, and last the share of missing values: n + 2 numbers that add up to 1.
    pub shares: Vec<f64>,
}

/// A profile that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// No JSON of this form.
    #[error(
        "is no profile: {0}; write {{\"features\": {{\"NAME\": {{\"edges\": [..], \"shares\": [..]}}}}}}"
    )]
    Form(String),
    /// A feature.
    #[error("feature {0:?}: {1}")]
    Feature(String, &'static str),
}

/// Counts values by bin.
#[derive(Debug, Clone, PartialEq)]
pub struct Drift {
    features: Vec<(usize, String, FeatureProfile, Vec<u64>)>,
    rows: u64,
}

impl Profile {
    /// Reads a profile.
    pub fn parse(text: &str) -> Result<Self, ProfileError> {
        let profile: Self = serde_json::from_str(text).map_err(|e| ProfileError::Form(e.to_string()))?;
        for (name, feature) in &profile.features {
            feature.check().map_err(|why| ProfileError::Feature(name.clone(), why))?;
        }
        Ok(profile)
    }
}

impl FeatureProfile {
    /// Of the values seen in training, in `bins` bins of about the same share; NaN = missing.
    pub fn of(values: &[f64], bins: usize) -> Self {
        let mut sorted: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let bins = bins.clamp(1, BINS_MAX);
        let mut edges: Vec<f64> = (1..bins).map(|n| quantile(&sorted, n as f64 / bins as f64)).collect();
        edges.dedup();
        let mut counts = vec![0_u64; edges.len() + 2];
        values.iter().for_each(|value| counts[bin(&edges, *value)] += 1);
        let shares = counts.iter().map(|n| *n as f64 / values.len().max(1) as f64).collect();
        Self { edges, shares }
    }

    fn check(&self) -> Result<(), &'static str> {
        if self.edges.len() >= BINS_MAX {
            return Err("has more than 1000 bins");
        }
        if !self.edges.iter().all(|e| e.is_finite()) || !self.edges.is_sorted_by(|a, b| a < b) {
            return Err("its edges must be numbers and rise");
        }
        if self.shares.len() != self.edges.len() + 2 {
            return Err("it needs a share per bin and one for missing values: two more than edges");
        }
        if !self.shares.iter().all(|s| (0.0..=1.0).contains(s)) {
            return Err("its shares must be from 0 to 1");
        }
        match (self.shares.iter().sum::<f64>() - 1.0).abs() < 1e-6 {
            true => Ok(()),
            false => Err("its shares must add up to 1"),
        }
    }

    fn psi(&self, counts: &[u64]) -> f64 {
        let all = counts.iter().sum::<u64>().max(1) as f64;
        let terms = self.shares.iter().zip(counts).map(|(expected, seen)| {
            let (expected, seen) = (expected.max(SHARE_MIN), (*seen as f64 / all).max(SHARE_MIN));
            (seen - expected) * (seen / expected).ln()
        });
        terms.sum()
    }
}

impl Drift {
    /// Of these columns those that the profile knows.
    pub fn new(profile: &Profile, columns: &[String]) -> Self {
        let known = columns.iter().enumerate().filter_map(|(at, name)| {
            let feature = profile.features.get(name)?.clone();
            let counts = vec![0; feature.shares.len()];
            Some((at, name.clone(), feature, counts))
        });
        Self { features: known.collect(), rows: 0 }
    }

    /// A row: a value per column; NaN = missing.
    pub fn see(&mut self, values: &[f64]) {
        self.rows += 1;
        for (at, _, feature, counts) in &mut self.features {
            let value = values.get(*at).copied().unwrap_or(f64::NAN);
            counts[bin(&feature.edges, value)] += 1;
        }
    }

    /// Rows since the last index.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The index of each feature over the rows since the last one; begins anew.
    pub fn take(&mut self) -> Vec<(String, f64)> {
        self.rows = 0;
        let index = |(_, name, feature, counts): &mut (usize, String, FeatureProfile, Vec<u64>)| {
            let psi = feature.psi(counts);
            counts.fill(0);
            (name.clone(), psi)
        };
        self.features.iter_mut().map(index).collect()
    }
}

/// The bin of a value; the last is for what is missing.
fn bin(edges: &[f64], value: f64) -> usize {
    if value.is_nan() { edges.len() + 1 } else { edges.partition_point(|edge| *edge <= value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_is_the_sum_over_the_bins() {
        let text = r#"{"features": {"t.max": {"edges": [10.0], "shares": [0.5, 0.5, 0.0]}}}"#;
        let columns = ["count".to_owned(), "t.max".to_owned()];
        let mut drift = Drift::new(&Profile::parse(text).unwrap(), &columns);
        for value in [1.0, 10.0, 11.0, 12.0] {
            drift.see(&[0.0, value]);
        }
        assert_eq!(drift.rows(), 4);
        let [(name, psi)] = &drift.take()[..] else { panic!() };
        // Shares 1/4, 3/4 and none missing against 1/2, 1/2.
        let want = -0.25 * 0.5_f64.ln() + 0.25 * 1.5_f64.ln();
        assert_eq!((name.as_str(), drift.rows()), ("t.max", 0));
        assert!((psi - want).abs() < 1e-12, "{psi} {want}");
        drift.see(&[0.0, f64::NAN]);
        assert!(drift.take()[0].1 > 5.0, "all missing is far away, and the rows before are forgotten");
    }

    #[test]
    fn a_profile_of_values_has_no_drift_from_them() {
        let values: Vec<f64> = (0..1000).map(|n| f64::from(n % 97)).chain([f64::NAN; 10]).collect();
        let feature = FeatureProfile::of(&values, 10);
        assert_eq!(feature.check(), Ok(()));
        let profile = Profile { features: [("x".to_owned(), feature)].into() };
        let mut drift = Drift::new(&profile, &["x".to_owned()]);
        values.iter().for_each(|v| drift.see(&[*v]));
        assert!(drift.take()[0].1.abs() < 1e-9);
        let constant = FeatureProfile::of(&[5.0; 20], 10);
        assert_eq!((constant.edges, constant.shares), (vec![5.0], vec![0.0, 1.0, 0.0]));
    }

    #[test]
    fn nonsense_says_what_is_wrong() {
        let refused = |body: &str| {
            Profile::parse(&format!(r#"{{"features": {{"f": {body}}}}}"#)).unwrap_err().to_string()
        };
        assert!(refused(r#"{"edges": [1], "shares": [0.5, 0.5]}"#).contains("two more than edges"));
        assert!(refused(r#"{"edges": [2, 1], "shares": [0.5, 0.5, 0, 0]}"#).contains("rise"));
        assert!(refused(r#"{"edges": [], "shares": [0.5, 0.6]}"#).contains("add up to 1"));
        assert!(refused(r#"{"edges": []}"#).contains("is no profile"));
    }
}
