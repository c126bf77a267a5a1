//! Each rule of the core broken on purpose: the random histories notice every one. Needs the feature
//! `sabotage`.

#[path = "rules/look.rs"]
mod look;
#[path = "rules/random.rs"]
mod random;
#[path = "rules/world.rs"]
#[allow(dead_code)] // the rules' own tests use the rest
mod world;

use evenkeel_window::{Sabotage, TickInput, plant};
use random::{Trouble, play};
use std::panic::{AssertUnwindSafe, catch_unwind};
use world::{S, World, input, settings};

/// Rules that are kept outside the core, by the drivers and by what a sink does with repetition; and one
/// with a test of its own.
const ELSEWHERE: [Sabotage; 6] = [
    Sabotage::NoWindowsToWait,
    Sabotage::MetadataOnlyWhenOffsetMoves,
    Sabotage::WallAtEnd,
    Sabotage::NoLateOffset,
    Sabotage::EmptyMergeWrites,
    Sabotage::AgeWaitsForPending, // random histories are too short for it: see below
];

/// How many histories may pass before one notices.
const SEEDS: u64 = 6_000;

/// The first seed whose history comes to another end than it must, or dies of an assertion.
fn noticed_by(rule: Sabotage) -> Option<u64> {
    plant(Some(rule));
    let fails = |seed: &u64| {
        let run = catch_unwind(AssertUnwindSafe(|| play(*seed, true, Trouble::All).1.len()));
        run.map_or(true, |violations| violations > 0)
    };
    let found = (0..SEEDS).find(fails);
    plant(None);
    found
}

#[test]
fn every_broken_rule_is_noticed() {
    let rules = Sabotage::ALL.into_iter().filter(|rule| !ELSEWHERE.contains(rule));
    let outcomes: Vec<_> = rules.map(|rule| (rule, noticed_by(rule))).collect();
    let missed: Vec<_> = outcomes.iter().filter(|(_, seed)| seed.is_none()).collect();
    assert!(missed.is_empty(), "not noticed: {missed:?}; the others: {outcomes:?}");
}

#[test]
fn a_window_past_open_age_max_that_waits_for_its_pending_rows_is_noticed() {
    let first = |rule| {
        plant(rule);
        let mut world = World::new(settings(|s| {
            s.open_age_max_ms = 60 * S;
            s.classes[0].idle_timeout_ms = 3_600 * S;
        }));
        world.send("old", 0, &[(100 * S, 1), (107 * S, 2)]);
        world.send("new", 60 * S, &[(0, 1), (8 * S, 2)]);
        world.tick_with(&TickInput { rows_max: 1, ..input() });
        plant(None);
        world.rows().next().map(|row| row.stream_id.clone())
    };
    assert_eq!(first(None).as_deref(), Some("old"));
    assert_eq!(first(Some(Sabotage::AgeWaitsForPending)).as_deref(), Some("new"));
}
