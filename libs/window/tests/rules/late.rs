//! Late records: EK-LATE-0, EK-LATE-1, and what they may hold.

use crate::world::{BASE, S, World, batch, input, settings};
use evenkeel_model::ClosedBy;
use evenkeel_model::limits::{BATCH_EVENTS_MAX, FIELDS_MAX};
use evenkeel_scenarios::Body;
use evenkeel_window::TickInput;

#[test]
fn a_late_record_takes_the_pending_rows_up_to_its_window_along_beyond_the_room() {
    let mut world = World::new(settings(|_| ())); // EK-LATE-0
    let events: Vec<(i64, u64)> = (0..6).map(|n| (n as i64 * 5 * S, n)).collect();
    world.send("d", 27 * S, &events); // four windows close
    world.send("d", 27 * S, &[(11 * S, 9)]); // late in the third
    let report = world.tick_with(&TickInput { rows_max: 1, ..input() });
    assert_eq!((report.rows, report.late, report.waiting), (3, 1, true));
    assert!(matches!(world.topic.last().map(|r| &r.body), Some(Body::Late(_))));
    world.stored(); // asserts the order
}

#[test]
fn late_events_never_wait_for_room() {
    let mut world = World::new(settings(|_| ()));
    world.one("d", 0, 1);
    world.one("d", 8 * S, 2);
    world.tick();
    world.send("d", 8 * S, &[(S, 3)]);
    let report = world.tick_with(&TickInput { rows_max: 0, ..input() });
    assert_eq!(report.late, 1);
}

#[test]
fn without_a_row_late_events_make_one() {
    let mut world = World::new(settings(|_| ()));
    world.one("d", 20 * S, 1);
    world.send("d", 20 * S, &[(3 * S, 3), (2 * S, 2)]);
    world.send("d", 21 * S, &[(S, 4)]);
    world.tick();
    let (store, _) = world.stored(); // EK-LATE-1
    let row = store.values().next().unwrap();
    assert_eq!((row.row.closed_by, row.row.count, row.revision), (ClosedBy::Late, 3, 3));
    assert_eq!((row.row.first_arrival, row.row.last_arrival), (BASE + 20 * S, BASE + 21 * S));
    assert_eq!((row.row.stats[0].first, row.row.stats[0].last), (4.0, 3.0));
}

#[test]
fn a_late_record_keeps_the_limits_of_a_batch() {
    // Else the sink could not read it: more events or fields than a batch may have go into another record.
    let mut world = World::new(settings(|_| ()));
    world.one("d", 20 * S, 0);
    let many: Vec<(i64, u64)> = (0..40_000).map(|n| (S, 10 * n)).collect();
    let more: Vec<(i64, u64)> = (40_000..80_000).map(|n| (S, 10 * n)).collect();
    world.send("d", 20 * S, &many);
    world.send("d", 20 * S, &more);
    for n in 0..=FIELDS_MAX {
        let mut one = batch("e", 20 * S, &[(S, n as u64)]);
        one.fields[0].name = format!("f{n}");
        world.one("e", 20 * S, 1_000);
        world.feed(one);
    }
    world.tick();
    assert!(world.late().count() >= 4, "{}", world.late().count());
    for late in world.late() {
        late.events.check_shape().unwrap();
        assert_eq!(late.arrivals.len(), late.events.len());
        assert!(late.events.len() <= BATCH_EVENTS_MAX);
    }
    let events =
        |id| world.late().filter(|l| l.events.stream_id == id).map(|l| l.events.len()).sum::<usize>();
    assert_eq!((events("d"), events("e")), (80_000, FIELDS_MAX + 1));
}

#[test]
fn a_late_record_keeps_the_order_of_the_log() {
    let mut world = World::new(settings(|_| ()));
    world.one("d", 20 * S, 0);
    for seq in [5, 3, 9] {
        world.send("d", 20 * S, &[(S, seq)]);
    }
    world.tick();
    assert_eq!(world.late().next().map(|l| l.events.seq.clone()), Some(vec![5, 3, 9]));
}

#[test]
fn an_abort_says_it_all_again() {
    let mut world = World::new(settings(|_| ()));
    world.one("d", 0, 1);
    world.tick();
    world.one("d", 8 * S, 2);
    world.send("d", 8 * S, &[(S, 3)]);
    assert_eq!(world.tick_aborted(&input()), []);
    assert_eq!(world.topic.len(), 0);
    while world.consume() {}
    world.tick();
    let (store, _) = world.stored();
    assert_eq!(store.values().map(|s| s.row.count).collect::<Vec<_>>(), [2]);
}
