//! Marks, eviction of silent streams, and the floor that stands for every forgotten mark.

use crate::world::{BASE, S, World, input, settings};
use evenkeel_model::DropReason::Late;
use evenkeel_window::{Class, Settings, TickInput};

fn short(s: &mut Settings) {
    (s.idle_evict_ms, s.max_age_ms, s.clock_slack_ms) = (40 * S, 300 * S, 4 * S);
    s.classes[0].idle_timeout_ms = 10 * S;
}

#[test]
fn an_old_row_gets_a_mark_and_windows_from_moves_on() {
    let mut world = World::new(settings(|s| s.idle_evict_ms = 3_600 * S)); // mark-refresh 30 s
    world.one("d", 0, 1);
    world.one("d", 8 * S, 2);
    world.tick();
    world.one("other", 20 * S, 1);
    world.tick();
    let meta = &world.committed.as_ref().unwrap().1;
    assert_eq!((meta.windows_from, meta.windows_to), (0, 1));
    world.silence(90);
    let mark = &world.marks[0].1;
    assert_eq!((mark.stream_id.as_str(), mark.max_ts), ("d", BASE + 8 * S));
    let meta = &world.committed.as_ref().unwrap().1;
    assert!(meta.windows_to - meta.windows_from <= 2, "{meta:?}");
}

#[test]
fn a_stream_is_evicted_after_idle_evict_with_a_mark_at_the_latest_then() {
    let mut world = World::new(settings(|s| {
        short(s);
        s.mark_refresh_ms = 3_600 * S;
    }));
    world.one("d", 0, 1);
    world.silence(39);
    assert_eq!((world.core.sizes(), world.marks.len()), ((1, 0, 0), 0));
    world.silence(2);
    assert_eq!((world.core.sizes(), world.marks.len()), ((0, 1, 0), 1));
    assert_eq!(world.marks[0].1.emitted, [(5 * S, BASE + 5 * S)]);
}

#[test]
fn a_quiet_streams_mark_keeps_its_windows_closed() {
    let mut world = World::new(settings(short)); // EK-WIN-1, EK-WIN-2
    world.one("d", 0, 1);
    world.silence(60);
    for crash in [false, true] {
        if crash {
            assert_eq!(world.crash(), []);
        }
        world.send("d", 60 * S, &[(S, 2)]);
        world.tick();
        assert_eq!(world.rows().count(), 1, "crash {crash}");
    }
    assert_eq!(world.reason(Late), 2);
    world.send("d", 60 * S, &[(5 * S, 3)]);
    assert_eq!(world.ledger(5 * S).in_open, 1, "above its mark it is open");
}

#[test]
fn a_forgotten_mark_raises_the_floor_for_unknown_streams() {
    let mut world = World::new(settings(short));
    world.one("d", 0, 1);
    world.silence(60);
    world.one("clock", 306 * S, 1); // past max-age after the mark at 5 s
    world.tick();
    assert_eq!(world.core.sizes().1, 0);
    assert_eq!(world.committed.as_ref().unwrap().1.floor, BASE + 5 * S);
    for crash in [false, true] {
        if crash {
            assert_eq!(world.crash(), []);
        }
        let before = world.reason(Late);
        world.send("new", 302 * S, &[(4_999, crash.into())]); // counted as arrived at 302 s: not too old
        assert_eq!(world.reason(Late) - before, 1, "crash {crash}");
        world.tick();
    }
    world.send("new", 302 * S, &[(5 * S, 9)]);
    assert_eq!(world.ledger(5 * S).in_open, 2, "its window ends above the floor");
}

#[test]
fn the_floor_never_passes_the_start_of_an_unsent_window() {
    let mut world = World::new(settings(|s| {
        short(s);
        s.max_age_ms = 120 * S;
        let behind = Class { pattern: "behind".into(), idle_timeout_ms: 3_600 * S, ..s.classes[0].clone() };
        s.classes.insert(0, behind);
    }));
    world.one("d", 12 * S, 1);
    world.silence(60);
    world.send("behind", 72 * S, &[(0, 1)]); // holds a window below d's mark (15 s) open
    world.one("clock", 136 * S, 1);
    world.tick();
    assert_eq!((world.core.sizes().1, world.committed.as_ref().unwrap().1.floor), (1, i64::MIN));
    world.send("behind", 136 * S, &[(136 * S, 2)]); // it closes, nothing is in the way any more
    world.tick();
    assert_eq!((world.core.sizes().1, world.committed.as_ref().unwrap().1.floor), (0, BASE + 15 * S));
}

#[test]
fn when_marks_fill_the_budget_the_floor_rises_early() {
    let mut world = World::new(settings(short));
    for n in 0..500 {
        world.one(&format!("short-lived/{n}"), n * 10, 1);
    }
    world.silence(60);
    assert_eq!(world.core.sizes(), (0, 500, 0));
    let used = world.core.used_bytes();
    world.tick_with(&TickInput { free_bytes: used / 2, ..input() });
    assert!(world.core.sizes().1 < 300, "{:?}", world.core.sizes());
    assert!(world.core.used_bytes() <= used - used / 2);
    assert!(world.committed.as_ref().unwrap().1.floor >= BASE + 5 * S);
}

#[test]
fn an_open_window_in_the_way_of_the_floor_is_evicted() {
    let mut world = World::new(settings(short));
    for n in 0..500 {
        world.one(&format!("short-lived/{n}"), 20 * S + n * 10, 1);
    }
    world.silence(40);
    for n in 0..30 {
        world.send(&format!("behind/{n}"), 65 * S, &[(0, 1)]); // below every mark
    }
    let used = world.core.used_bytes();
    for _ in 0..5 {
        world.tick_with(&TickInput { free_bytes: used / 2, ..input() });
    }
    assert!(world.committed.as_ref().unwrap().1.floor > BASE, "{:?}", world.core.sizes());
    assert_eq!(world.core.sizes().2, 0);
}

#[test]
fn a_mark_brings_max_ts_back_but_only_after_the_replay() {
    let mut world = World::new(settings(short));
    world.one("d", 0, 1);
    world.silence(60);
    assert_eq!(world.crash(), []);
    world.send("d", 60 * S, &[(6 * S, 2)]);
    world.one("d", 30 * S, 3);
    world.silence(1);
    assert_eq!(world.rows().last().map(|r| r.max_ts), Some(BASE + 30 * S));
}
