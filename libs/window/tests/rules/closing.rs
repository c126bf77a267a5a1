//! When windows close and rows leave: EK-WIN-1, EK-WIN-2, EK-WIN-3, each `closed_by`.

use crate::world::{BASE, S, World, batch, input, settings};
use evenkeel_model::ClosedBy::{Age, Crowded, End, Evicted, Idle, Watermark};
use evenkeel_model::DropReason::Late;
use evenkeel_window::TickInput;

#[test]
fn a_window_closes_when_the_watermark_reaches_its_end_and_not_before() {
    let mut world = World::new(settings(|_| ())); // lateness 2 s
    world.one("d", S, 1);
    world.one("d", 7 * S - 1, 2);
    world.tick();
    assert_eq!(world.closed(), [], "EK-WIN-1: an open window has no row");
    world.one("d", 7 * S, 3);
    assert_eq!(world.rows().count(), 0, "rows leave on ticks only");
    world.tick();
    world.tick();
    assert_eq!(world.closed(), [(0, 1, Watermark)]);
}

#[test]
fn a_steady_stream_loses_nothing_whatever_the_tick() {
    // The naive sketch that emits open windows loses 71 % of this one: window 5 s, tick 2 s.
    let mut world = World::new(settings(|_| ()));
    for n in 0..600u64 {
        world.one("d", n as i64 * 100, n);
        if n % 20 == 19 {
            world.tick();
        }
    }
    world.tick_with(&TickInput { ending: true, ..input() });
    assert_eq!((world.rows().map(|r| r.count).sum::<u64>(), world.rows().count()), (600, 12));
    assert!(world.rows().all(|r| r.count == 50));
}

#[test]
fn the_final_mark_moves_with_each_event_not_with_the_tick() {
    let mut world = World::new(settings(|_| ())); // EK-WIN-2
    world.send("d", 8 * S, &[(0, 1), (8 * S, 2), (S, 3)]); // one batch: the third is late already
    assert_eq!(world.reason(Late), 1);
    let mut world = World::new(settings(|_| ()));
    world.send("d", 8 * S, &[(0, 1), (S, 3), (8 * S, 2)]);
    assert_eq!(world.reason(Late), 0);
}

#[test]
fn one_skewed_or_silent_stream_neither_holds_nor_hurries_another() {
    let mut world = World::new(settings(|_| ()));
    world.one("slow", 0, 1);
    world.send("ahead", 0, &[(290 * S, 1)]);
    world.one("d", S, 1);
    world.one("d", 7 * S, 2);
    world.tick();
    assert_eq!(world.rows().map(|r| r.stream_id.as_str()).collect::<Vec<_>>(), ["d"]);
}

#[test]
fn past_open_windows_max_the_oldest_closes_event_by_event() {
    let mut world = World::new(settings(|s| {
        s.open_windows_max = 3;
        s.classes[0].lateness_ms = 3_600 * S;
    }));
    world.send("d", 0, &[(20 * S, 1), (5 * S, 2), (10 * S, 3), (6 * S, 4), (15 * S, 5), (7 * S, 6)]);
    // The fourth window closes the first one, so the next event for that is late.
    assert_eq!(world.reason(Late), 1);
    // A window older than all three opens and closes at once; its second event meets it closed.
    let mut world2 = World::new(world.settings.clone());
    world2.send("d", 0, &[(20 * S, 1), (10 * S, 2), (15 * S, 3), (0, 4), (1, 5), (2, 6)]);
    assert_eq!(world2.reason(Late), 2);
    world2.tick();
    assert_eq!(world2.closed(), [(0, 1, Crowded)]);
    world.tick();
    assert_eq!(world.closed(), [(5, 2, Crowded)]);
}

#[test]
fn silence_closes_with_the_row_and_reopening_is_late() {
    let mut world = World::new(settings(|s| s.classes[0].idle_timeout_ms = 10 * S));
    world.one("d", S, 1);
    world.silence(9);
    assert_eq!(world.closed(), []);
    world.silence(1);
    assert_eq!(world.closed(), [(0, 1, Idle)]);
    world.send("d", 11 * S, &[(2 * S, 2)]);
    world.tick();
    assert_eq!((world.reason(Late), world.rows().count()), (1, 1)); // EK-WIN-1
}

#[test]
fn idle_waits_until_the_streams_own_clock_would_have_run_out() {
    // Idle-timeout 3 s, but the window ends at 60 s: max ts + silence ≥ t_end + lateness.
    let mut world = World::new(settings(|s| {
        (s.classes[0].sizes_ms, s.classes[0].idle_timeout_ms) = (vec![60 * S], 3 * S);
    }));
    world.one("d", 50 * S, 1);
    world.silence(11);
    assert_eq!(world.closed(), []);
    world.silence(1); // 50 + 12 ≥ 60 + 2
    assert_eq!(world.closed(), [(0, 1, Idle)]);
}

#[test]
fn a_fact_happens_only_with_its_row_and_oldest_first() {
    let mut world = World::new(settings(|s| s.classes[0].lateness_ms = 30 * S));
    world.send("d", 0, &[(0, 1), (5 * S, 2), (10 * S, 3)]);
    let narrow = TickInput { at_end: true, rows_max: 1, ..input() };
    for _ in 0..31 {
        world.tick_with(&narrow);
    }
    assert_eq!(world.closed(), [(0, 1, Idle), (5, 1, Idle)], "one a tick, from 30 s on");
    world.send("d", 31 * S, &[(11 * S, 4)]); // no room yet, so still open: it counts
    assert_eq!((world.reason(Late), world.ledger(5 * S).in_open), (0, 2));
}

#[test]
fn a_fact_waits_for_rows_without_room() {
    // No room at all: silence has closed nothing, so nothing is late.
    let mut world = World::new(settings(|_| ()));
    world.one("d", S, 1);
    for _ in 0..60 {
        world.tick_with(&TickInput { at_end: true, rows_max: 0, ..input() });
    }
    world.send("d", 60 * S, &[(2 * S, 2)]);
    assert_eq!((world.reason(Late), world.ledger(5 * S).in_open), (0, 2));
}

#[test]
fn a_stuck_clock_does_not_pin_the_log() {
    let mut world = World::new(settings(|s| s.open_age_max_ms = 60 * S));
    for n in 0..60 {
        world.send("stuck", n * S, &[(0, n as u64)]);
        world.tick();
    }
    assert_eq!(world.closed(), []);
    world.send("stuck", 60 * S, &[(0, 60)]);
    world.tick();
    assert_eq!(world.closed(), [(0, 61, Age)]);
    let (offset, meta) = world.committed.clone().unwrap();
    assert_eq!(meta.replay_from, offset, "nothing is left to replay");
}

#[test]
fn age_goes_first_in_the_room_and_takes_the_rows_ahead_along() {
    let mut world = World::new(settings(|s| {
        s.open_age_max_ms = 60 * S;
        s.classes[0].idle_timeout_ms = 3_600 * S;
    }));
    world.send("old", 0, &[(100 * S, 1), (107 * S, 2)]); // [100, 105) is due, [105, 110) open
    world.send("new", 60 * S, &[(0, 1), (8 * S, 2)]); // [0, 5) is due and ends first, but is younger
    for _ in 0..3 {
        world.tick_with(&TickInput { rows_max: 1, ..input() });
    }
    let rows: Vec<_> = world.rows().map(|r| (r.stream_id.as_str(), r.closed_by)).collect();
    assert_eq!(rows, [("old", Watermark), ("old", Age), ("new", Watermark)]);
}

#[test]
fn an_overdue_window_takes_its_pending_rows_along() {
    let mut world = World::new(settings(|s| s.open_age_max_ms = 60 * S));
    world.send("d", 0, &[(0, 1), (7 * S, 2)]); // [0, 5) is pending, [5, 10) open
    world.send("e", 61 * S, &[(61 * S, 1)]);
    world.tick_with(&TickInput { rows_max: 2, ..input() });
    assert_eq!(world.closed(), [(0, 1, Watermark), (5, 1, Age)]);
}

#[test]
fn the_inputs_end_closes_everything_over_as_many_ticks_as_it_takes() {
    let mut world = World::new(settings(|_| ()));
    world.send("d", 0, &[(0, 1), (5 * S, 2)]);
    world.one("e", 0, 1);
    let ending = TickInput { ending: true, rows_max: 2, ..input() };
    assert_eq!(world.tick_with(&ending).rows, 2);
    assert_eq!(world.tick_with(&ending).rows, 1);
    assert!(world.rows().all(|r| r.closed_by == End));
    assert_eq!((world.core.sizes().2, world.marks.len()), (0, 2));
    assert_eq!(world.tick_with(&ending).rows, 0);
}

#[test]
fn the_budget_evicts_the_longest_silent() {
    let mut world = World::new(settings(|_| ()));
    for n in 0..8 {
        world.one(&format!("d{n}"), n * S, 1);
    }
    world.tick_with(&TickInput { free_bytes: 1, ..input() });
    let rows: Vec<_> = world.rows().map(|r| (r.stream_id.as_str(), r.closed_by)).collect();
    assert_eq!(rows, [("d0", Evicted)]);
    assert_eq!(world.core.sizes(), (7, 1, 7));
    for _ in 0..2 {
        world.tick_with(&TickInput { free_bytes: usize::MAX, ..input() });
    }
    assert_eq!(world.core.sizes(), (0, 0, 0));
}

#[test]
fn rows_of_a_series_leave_in_order_and_the_rest_waits() {
    let mut world = World::new(settings(|_| ()));
    let events: Vec<(i64, u64)> = (0..20).map(|n| (n as i64 * 5 * S, n)).collect();
    world.feed({
        let mut all = batch("d", 0, &events);
        all.arrival_ms = BASE + 100 * S; // a device that was offline: hours at once, nothing is late
        all
    });
    assert_eq!(world.reason(Late), 0);
    let report = world.tick_with(&TickInput { rows_max: 7, ..input() });
    assert_eq!((report.rows, report.waiting), (7, true));
    world.tick();
    let starts: Vec<i64> = world.closed().iter().map(|(start, ..)| *start).collect();
    assert_eq!(starts, (0..18).map(|n| n * 5).collect::<Vec<_>>()); // EK-WIN-2
}

#[test]
fn a_due_row_leaves_in_the_next_tick() {
    // EK-WIN-3: lateness + gap to the next event, + one interval.
    let mut world = World::new(settings(|_| ()));
    for n in 0..30 {
        world.one("d", n * S, n as u64);
        world.tick();
        let newest = world.rows().last().map_or(BASE, |r| r.span.t_end());
        assert!(BASE + n * S - newest < (5 + 2 + 1) * S, "{n}");
    }
}

#[test]
fn each_size_is_folded_on_its_own() {
    let mut world = World::new(settings(|s| s.classes[0].sizes_ms = vec![4 * S, 6 * S]));
    for n in 0..15 {
        world.one("d", n * S, n as u64);
    }
    world.tick();
    let rows = world.rows().map(|r| (r.span.size_ms / S, (r.span.t_start() - BASE) / S, r.count));
    let mut rows: Vec<_> = rows.collect();
    rows.sort_unstable();
    assert_eq!(rows, [(4, 0, 4), (4, 4, 4), (4, 8, 4), (6, 0, 6), (6, 6, 6)]);
}
