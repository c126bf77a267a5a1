//! The partition clocks: per-event decisions use the log clock only; silence uses the live clock, which an
//! outage does not move.

use crate::world::{BASE, S, World, input, settings};
use evenkeel_model::DropReason::Future;
use evenkeel_window::TickInput;

fn quiet(ms: i64) -> TickInput {
    TickInput { at_end: true, worker_quiet_ms: ms, ..input() }
}

#[test]
fn the_log_clock_is_the_largest_arrival_and_never_goes_back() {
    let mut world = World::new(settings(|_| ()));
    world.one("d", 10 * S, 1);
    world.one("d", 4 * S, 2);
    assert_eq!(world.core.clocks(), (BASE + 10 * S, BASE + 10 * S));
}

#[test]
fn an_arrival_far_behind_counts_as_clock_minus_slack() {
    let mut world = World::new(settings(|s| (s.clock_slack_ms, s.max_future_ms) = (4 * S, 10 * S)));
    world.one("d", 100 * S, 1);
    // An ingest whose clock is a minute behind: without the slack this would be `future`.
    world.send("d", 40 * S, &[(106 * S, 2), (106 * S + 1, 3)]);
    assert_eq!(world.reason(Future), 1);
    assert_eq!(world.core.clocks().0, BASE + 100 * S);
}

#[test]
fn only_the_end_of_the_log_moves_the_live_clock() {
    let mut world = World::new(settings(|_| ()));
    world.one("d", 0, 1);
    for _ in 0..100 {
        world.tick(); // no fetch was answered: we, or the broker, are away
    }
    assert_eq!(world.core.clocks().1, BASE);
    world.silence(3);
    assert_eq!(world.core.clocks(), (BASE, BASE + 3 * S));
    world.one("d", 60 * S, 2); // it follows the log clock while catching up
    assert_eq!(world.core.clocks().1, BASE + 60 * S);
}

#[test]
fn no_traffic_at_all_is_an_outage_for_at_most_outage_max() {
    let mut world = World::new(settings(|s| s.outage_max_ms = 60 * S)); // idle-timeout 30 s
    world.one("d", 0, 1);
    for n in 1..=30 {
        world.tick_with(&quiet(n * S));
    }
    assert_eq!(world.core.clocks().1, BASE + 30 * S);
    for n in 31..=90 {
        world.tick_with(&quiet(n * S));
    }
    assert_eq!(world.core.clocks().1, BASE + 30 * S, "it stands");
    world.tick_with(&quiet(91 * S));
    assert_eq!(world.core.clocks().1, BASE + 31 * S);
}

#[test]
fn an_outage_of_ours_closes_nothing() {
    let mut world = World::new(settings(|_| ()));
    world.one("d", S, 1);
    world.tick();
    // Down for an hour; the device was not. Then the log is read on.
    assert_eq!(world.crash(), []);
    world.tick();
    world.one("d", 2 * S, 2);
    world.tick();
    assert_eq!((world.rows().count(), world.ledger(5 * S).in_open), (0, 2));
}

#[test]
fn before_the_first_record_nothing_moves() {
    let mut world = World::new(settings(|_| ()));
    world.silence(100);
    assert_eq!(world.core.clocks(), (i64::MIN, i64::MIN));
    assert_eq!(world.crash(), []);
    world.silence(100);
    world.one("d", 0, 1);
    assert_eq!(world.core.clocks(), (BASE, BASE));
}

#[test]
fn both_clocks_travel_with_the_commit() {
    let mut world = World::new(settings(|_| ()));
    world.one("d", 0, 1);
    world.silence(7);
    let clocks = world.core.clocks();
    assert_eq!(world.crash(), []);
    assert_eq!(world.core.clocks(), clocks);
}
