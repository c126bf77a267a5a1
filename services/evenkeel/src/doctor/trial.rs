//! How the tests of the subjects try every kind of finding: healthy facts, one thing changed, one finding expected.

use super::Told;
use std::collections::BTreeSet;

const DOCUMENT: &str = include_str!("../../../../docs/doctor.md");

/// A change of the facts and the one kind that must come of it.
pub type Trial<F> = (&'static str, fn(&mut F));

/// Every trial has exactly its kind, the healthy facts have none, and `kinds` are all tried.
#[track_caller]
pub fn try_all<F>(healthy: fn() -> F, judge: fn(&F) -> Vec<Told>, trials: &[Trial<F>], kinds: &[&str]) {
    let found = judge(&healthy());
    assert!(found.is_empty(), "healthy, and {found:?}");
    for (kind, change) in trials {
        let mut facts = healthy();
        change(&mut facts);
        let found = judge(&facts);
        let names: BTreeSet<&str> = found.iter().map(|told| told.kind).collect();
        assert_eq!(names, BTreeSet::from([*kind]), "{found:?}");
        let row = format!("| `{kind}` | {} |", found[0].weight.name());
        assert!(DOCUMENT.contains(&row), "docs/doctor.md has no row that begins {row}");
        for told in &found {
            assert!(!told.place.is_empty() && told.why.len() > 10 && told.remedy.len() > 5, "{told:?}");
            let kebab = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            assert!(told.kind.chars().all(kebab), "{told:?}");
        }
    }
    let tried: BTreeSet<&str> = trials.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(tried, kinds.iter().copied().collect(), "kinds that were not tried, or are not listed");
}
