//! Recovery: a core is a function of three bounded reads of the log.

use crate::world::{BASE, S, World, input, settings};
use evenkeel_model::ClosedBy::Watermark;
use evenkeel_model::DropReason::Late;
use evenkeel_seam::CommitMeta;
use evenkeel_window::{Core, Imbalance, Partition, RecoverError, TickInput};

fn partition(count: u32) -> Partition {
    Partition { number: 0, count, writer: "w".into(), hash_seed: 7 }
}

#[test]
fn open_and_pending_windows_come_back_and_go_on() {
    let mut world = World::new(settings(|_| ()));
    world.send("d", 0, &[(0, 1), (5 * S, 2), (10 * S, 3), (12 * S, 4)]);
    world.tick_with(&TickInput { rows_max: 1, ..input() }); // one row out, one pending, one open
    assert_eq!(world.ledger(5 * S).in_open, 3);
    assert_eq!(world.crash(), []);
    assert_eq!(world.ledger(5 * S).in_open, 3);
    world.send("d", 12 * S, &[(11 * S, 5), (S, 6)]);
    assert_eq!(world.reason(Late), 1);
    world.one("d", 20 * S, 7);
    world.tick();
    assert_eq!(world.closed(), [(0, 1, Watermark), (5, 1, Watermark), (10, 3, Watermark)]);
}

#[test]
fn a_row_vouches_for_its_own_window_only() {
    // The row of [0, 5) leaves when the clock is at 12 s; [5, 10) waits. After the crash it must come back.
    let mut world = World::new(settings(|_| ()));
    world.send("d", 0, &[(0, 1), (5 * S, 2), (12 * S, 3)]);
    world.tick_with(&TickInput { rows_max: 1, ..input() });
    assert_eq!(world.crash(), []);
    world.tick();
    assert_eq!(world.closed(), [(0, 1, Watermark), (5, 1, Watermark)]);
}

#[test]
fn replay_starts_with_the_log_clock_of_then() {
    let mut world = World::new(settings(|s| (s.clock_slack_ms, s.max_age_ms) = (4 * S, 60 * S)));
    world.send("slow", 50 * S, &[(-10 * S, 1)]); // exactly max-age old
    for n in 0..4 {
        world.one("fast", (52 + n) * S, n as u64);
    }
    world.one("fast", 100 * S, 9);
    world.tick();
    assert_eq!(world.crash(), [], "with the clock of the commit the first event would be too old");
}

#[test]
fn crowded_closings_replay_though_older_windows_have_left_by_facts() {
    let mut world = World::new(settings(|s| {
        s.open_windows_max = 2;
        s.classes[0].lateness_ms = 3_600 * S;
        s.classes[0].idle_timeout_ms = 4_000 * S;
        s.open_age_max_ms = 60 * S;
    }));
    world.send("d", 0, &[(0, 1), (5 * S, 2)]);
    world.one("clock", 60 * S, 1);
    world.tick_with(&TickInput { rows_max: 1, ..input() }); // [0, 5) leaves by age
    world.send("d", 60 * S, &[(10 * S, 3), (15 * S, 4)]);
    world.tick_with(&TickInput { rows_max: 0, ..input() });
    assert_eq!(world.crash(), []);
    world.send("d", 60 * S, &[(6 * S, 5)]);
    assert_eq!(world.reason(Late), 1, "[5, 10) was the oldest of three");
}

#[test]
fn without_a_commit_everything_is_read_again() {
    let mut world = World::new(settings(|_| ()));
    world.one("d", 0, 1);
    assert_eq!(world.crash(), []);
    assert_eq!((world.core.position(), world.ledger(5 * S).consumed), (0, 0));
}

#[test]
fn the_epoch_rises_with_each_recovery_and_the_ledger_goes_on() {
    let mut world = World::new(settings(|_| ()));
    for n in 0..3 {
        world.one("d", n * S, n as u64);
        world.tick();
        assert_eq!(world.committed.as_ref().map(|(_, m)| m.epoch), Some(n as u64));
        assert_eq!(world.crash(), []);
    }
    assert_eq!(world.ledger(5 * S).consumed, 3);
}

#[test]
fn another_partition_count_is_refused() {
    let meta = CommitMeta { partitions: 4, ..CommitMeta::default() };
    let got = Core::recover(&settings(|_| ()), partition(8), 0, &meta);
    assert_eq!(got.err(), Some(RecoverError::PartitionCount { committed: 4, now: 8 }));
}

#[test]
fn a_cut_log_is_counted_as_lost_and_never_emits_twice() {
    let mut world = World::new(settings(|_| ()));
    world.send("d", 0, &[(0, 1), (S, 2)]);
    world.one("d", 7 * S, 3);
    world.tick(); // the row of [0, 5) has left; [5, 10) is open
    let (offset, meta) = world.committed.clone().unwrap();
    let mut core = Core::recover(&world.settings, partition(1), offset, &meta).unwrap();
    core.rows_are_cut(); // neither rows nor events are there any more
    let lost = Imbalance { size_ms: 5 * S, committed: 1, rebuilt: 0 };
    assert_eq!(core.finish_recovery(), [lost]);
    assert_eq!((core.ledger().lost, core.ledger().sizes[0].imbalance()), (1, 0));
    world.core = core;
    world.send("d", 8 * S, &[(S, 2), (6 * S, 9)]);
    world.silence(60);
    assert_eq!((world.reason(Late), world.rows().count()), (2, 1)); // EK-WIN-1
}

#[test]
fn a_new_size_counts_from_its_first_record() {
    let mut world = World::new(settings(|_| ()));
    world.one("d", 0, 1);
    world.tick();
    world.settings.classes[0].sizes_ms = vec![5 * S, 60 * S];
    world.crash();
    world.one("d", S, 2);
    world.silence(120);
    let sizes: Vec<_> = world.core.ledger().sizes.iter().map(|s| (s.since, s.imbalance())).collect();
    assert_eq!(sizes, [(0, 0), (1, 0)]);
}

#[test]
fn a_thousand_ticks_of_nothing_change_nothing() {
    let mut world = World::new(settings(|_| ()));
    world.one("d", 0, 1);
    world.silence(400);
    let (_, meta) = world.committed.clone().unwrap();
    for _ in 0..1_000 {
        assert!(!world.core.moved());
        assert_eq!(world.tick().rows, 0);
    }
    let (_, after) = world.committed.clone().unwrap();
    assert_eq!((meta.floor, meta.windows_to, meta.marks_to), (after.floor, after.windows_to, after.marks_to));
    assert!(after.live_clock >= BASE);
}
