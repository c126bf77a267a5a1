//! What the spool is to reach beside the best of the others, and whether it did.

use super::{BARE, Median, OURS, Place, SIZES};
use crate::bench::report::{Goal, Measured};
use std::collections::BTreeMap;

/// What every contender may keep in memory, bytes.
pub(super) const MEMORY_BYTES_MAX: u64 = 5 << 20;
/// Our page, bytes.
const PAGE_BYTES: u64 = 256 << 10;
/// Sixteen readers, content in memory: times as fast as the best of the others, at least.
const MANY_IN_MEMORY: f64 = 3.0;
/// Sixteen readers at 1 GiB.
const MANY_ON_DISK: f64 = 1.5;
/// One reader, at every size.
const ONE: f64 = 0.95;

/// Fill and reads together are compared.
pub(super) fn goals(medians: &BTreeMap<Place, Median>) -> Vec<Goal> {
    let mut goals = Vec::new();
    for (size, title) in SIZES {
        for (readers, target) in [(1, Some(ONE)), (16, many(size))] {
            let Some(ours) = medians.get(&(size, readers, OURS)) else { continue };
            if let Some(target) = target {
                let goal = format!("{title}, {readers} readers: times the best of the others");
                goals.push(Goal::at_least(goal, best(medians, size, readers) / whole(ours), target));
            }
            let limit = (MEMORY_BYTES_MAX + readers * PAGE_BYTES) as f64 / f64::from(1 << 20);
            let held = ours.held_bytes / f64::from(1 << 20);
            goals.push(Goal::at_most(format!("{title}, {readers} readers: memory held, MiB"), held, limit));
        }
    }
    goals
}

/// What the comparison could come to on this machine if a read cost nothing but its touching.
pub(super) fn ceilings(medians: &BTreeMap<Place, Median>) -> Vec<Measured> {
    let bare = medians.iter().filter(|((_, _, who), _)| *who == BARE);
    let ceiling = |((size, readers, _), bare): (&Place, &Median)| {
        let title = SIZES.iter().find(|(of, _)| of == size).map_or("", |(_, title)| title);
        let name = format!("{title}, {readers} readers: the best of the others to {BARE}");
        Measured { name, value: best(medians, *size, *readers) / whole(bare), unit: "times" }
    };
    bare.map(ceiling).collect()
}

fn whole(median: &Median) -> f64 {
    median.fill_s + median.reads_s
}

/// The quickest of the others, s.
fn best(medians: &BTreeMap<Place, Median>, size: u64, readers: u64) -> f64 {
    let other = |who| who != OURS && who != BARE;
    let others = medians.iter().filter(|((s, r, who), _)| (*s, *r) == (size, readers) && other(*who));
    others.map(|(_, median)| whole(median)).fold(f64::INFINITY, f64::min)
}

/// Between memory and 1 GiB nothing was promised.
fn many(size: u64) -> Option<f64> {
    match size {
        _ if size <= MEMORY_BYTES_MAX => Some(MANY_IN_MEMORY),
        _ if size >= 1 << 30 => Some(MANY_ON_DISK),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_is_compared_with_the_best_and_memory_with_its_bound() {
        let median = |whole: f64, mib: u64| Median {
            fill_s: whole / 2.0,
            reads_s: whole / 2.0,
            held_bytes: (mib << 20) as f64,
        };
        let place = |who| (4 << 20, 16, who);
        let medians = BTreeMap::from([
            (place(OURS), median(1.0, 9)),
            (place("slow"), median(9.0, 0)),
            (place("quick"), median(3.0, 0)),
            (place(BARE), median(0.5, 4)),
        ]);
        let goals = goals(&medians);
        assert_eq!(goals.len(), 2);
        assert_eq!(ceilings(&medians)[0].value, 6.0);
        assert_eq!((goals[0].value, goals[0].target, goals[0].met), (3.0, 3.0, true));
        assert_eq!((goals[1].value, goals[1].target, goals[1].met), (9.0, 9.0, true));
    }
}
