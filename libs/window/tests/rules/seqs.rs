//! Duplicates by seq: the window's own set, the recent memory, fuzzy intervals, reboots.

use crate::world::{S, World, settings};
use evenkeel_model::DropReason::{Duplicate, Late, Overflow};
use evenkeel_model::SeqRange;

#[test]
fn a_shuffle_within_the_cap_is_exact() {
    let mut world = World::new(settings(|_| ()));
    for seq in (0..400u64).map(|n| (n * 37) % 200) {
        world.send("d", 0, &[(seq as i64, seq)]);
    }
    assert_eq!((world.reason(Duplicate), world.reason(Overflow)), (200, 0));
    assert_eq!(world.ledger(5 * S).in_open, 200);
}

#[test]
fn past_the_cap_the_two_nearest_join_and_what_falls_between_overflows() {
    let mut world = World::new(settings(|s| s.seq_intervals_max = 3));
    world.send("d", 0, &[(0, 10), (1, 20), (2, 30), (3, 12)]); // 10 and 12 are joined
    world.send("d", 0, &[(4, 11), (5, 12), (6, 20), (7, 13)]);
    assert_eq!((world.reason(Overflow), world.reason(Duplicate)), (2, 1));
    world.one("d", 8 * S, 99);
    world.tick();
    let row = world.rows().next().unwrap();
    assert_eq!(row.seqs[0], SeqRange { lo: 10, hi: 13, count: 3 }, "13 made a fourth, again the nearest");
    assert_eq!(row.seqs.iter().map(|r| r.count).sum::<u64>(), row.count);
    let diverted: Vec<_> = world.dlq.iter().flat_map(|r| r.events.seq.clone()).collect();
    assert_eq!(diverted, [11, 12]);
}

#[test]
fn below_final_an_exact_memory_says_duplicate_and_all_else_is_late() {
    let mut world = World::new(settings(|_| ()));
    world.send("d", 0, &[(0, 1), (1, 2)]);
    world.one("d", 8 * S, 3);
    world.send("d", 8 * S, &[(1, 2), (2, 7), (2, 7)]); // held; new; its repetition is known too
    assert_eq!((world.reason(Duplicate), world.reason(Late)), (2, 1));
    world.tick();
    let (store, _) = world.stored();
    assert_eq!(store.values().next().map(|s| (s.row.count, s.revision)), Some((3, 1)));
    // The row as it left does not know the late one.
    assert_eq!(world.rows().next().map(|r| r.seqs.clone()), Some(vec![SeqRange { lo: 1, hi: 2, count: 2 }]));
}

#[test]
fn at_or_above_final_only_the_windows_own_set_decides() {
    // A device that rebooted counts from 1 again: the same seqs in a new window are new events.
    let mut world = World::new(settings(|_| ()));
    world.send("d", 0, &[(0, 1), (1, 2)]);
    world.send("d", 8 * S, &[(8 * S, 1), (8 * S, 2)]);
    assert_eq!((world.reason(Duplicate), world.ledger(5 * S).in_open), (0, 4));
}

#[test]
fn a_clock_set_back_loses_nothing() {
    // The same seqs below final, in a window whose own set does not hold them: late, not duplicate.
    let mut world = World::new(settings(|_| ()));
    world.send("d", 0, &[(0, 1), (6 * S, 2), (12 * S, 3)]);
    world.send("d", 13 * S, &[(S, 2), (2 * S, 3)]);
    assert_eq!((world.reason(Duplicate), world.reason(Late)), (0, 2));
}

#[test]
fn seqs_at_the_ends_of_the_number_line() {
    let mut world = World::new(settings(|_| ()));
    world.send("d", 0, &[(0, u64::MAX), (1, 0), (2, u64::MAX - 1), (3, 1)]);
    world.send("d", 0, &[(0, u64::MAX), (1, 0)]);
    assert_eq!((world.reason(Duplicate), world.ledger(5 * S).in_open), (2, 4));
    world.one("d", 8 * S, 5);
    world.tick();
    assert_eq!(world.rows().next().map(|r| r.missing()), Some(u64::MAX - 4));
}

#[test]
fn the_split_between_duplicate_and_late_may_differ_after_a_crash_the_sum_may_not() {
    let mut world = World::new(settings(|_| ()));
    world.send("d", 0, &[(0, 1), (1, 2)]);
    world.one("d", 8 * S, 3);
    world.tick();
    assert_eq!(world.crash(), []);
    world.send("d", 8 * S, &[(1, 2)]);
    assert_eq!(world.reason(Duplicate) + world.reason(Late), 1);
    world.tick();
    let (store, _) = world.stored();
    assert_eq!(store.values().next().map(|s| (s.row.count, s.revision)), Some((2, 0)));
}
