//! Live frames: what they hold, how they are bounded, and that they change nothing.

use crate::look::{KINDS, interest};
use crate::random::{Trouble, play_watched};
use crate::world::{BASE, S, World, input, settings};
use evenkeel_model::frame::limits::FRAME_POINTS_MAX;
use evenkeel_model::{EventBatch, FieldColumn, Frame, FrameFlag, FrameKind, Interest, Want};
use evenkeel_window::{FrameInput, GATEWAYS_MAX, INTEREST_MAX_MS, ROWS_KEPT, TickInput};
use std::collections::BTreeSet;

fn hear(world: &mut World, interest: &Interest, now: i64) -> bool {
    world.core.hear(BASE + now, interest)
}

/// The frames that are due at `now`, each with its partitions.
fn frames(world: &mut World, now: i64) -> Vec<(Frame, Vec<u32>)> {
    let mut made = Vec::new();
    world.core.frames(&FrameInput { now_ms: BASE + now, live: true }, &mut |frame, to| {
        made.push((frame.clone(), to.to_vec()));
        true
    });
    made
}

fn of(frames: &[(Frame, Vec<u32>)], kind: FrameKind) -> Frame {
    let mut found = frames.iter().filter(|(frame, _)| frame.kind == kind);
    let frame = found.next().expect("a frame of the kind").0.clone();
    assert!(found.next().is_none(), "one frame of a kind");
    frame
}

/// A world with a committed epoch, watched from the start.
fn watched() -> World {
    let mut world = World::new(settings(|_| ()));
    world.one("a", 0, 0);
    world.tick();
    assert!(hear(&mut world, &interest("a", "g1", 0), 0));
    world
}

#[test]
fn a_frame_holds_the_points_and_the_open_windows() {
    let mut world = watched();
    for n in 0..40 {
        world.one("a", 1_000 + 100 * n, n as u64 + 1);
    }
    let made = frames(&mut world, 5 * S);
    assert_eq!(made.len(), 3);
    assert!(made.iter().all(|(frame, to)| to == &[3] && frame.stream_id == "a" && frame.source == "w"));
    let frame = of(&made, FrameKind::Telemetry);
    assert_eq!((frame.from_ms, frame.to_ms), (BASE + 1_000, BASE + 4_900), "since it is watched");
    assert_eq!((frame.last_ts, frame.watermark), (Some(BASE + 4_900), Some(BASE + 2_900)));
    assert_eq!(frame.flags, [FrameFlag::Live, FrameFlag::Recent]);
    assert_eq!(frame.series.len(), 1);
    // One point per 100 ms, buckets of a little more: first and last of each bucket are all there are.
    let ts: Vec<i64> = (0..40).map(|n| BASE + 1_000 + 100 * n).collect();
    assert_eq!(frame.series[0].ts, ts);
    assert_eq!(frame.series[0].values, (1..=40).map(f64::from).collect::<Vec<_>>());
    let open = &frame.windows[0];
    assert_eq!((open.t_start, open.closed_by, open.count), (BASE, None, 41));
    assert_eq!((open.stats[0].min, open.stats[0].max, open.stats[0].last), (0.0, 40.0, 40.0));
    let status = of(&made, FrameKind::Status);
    assert!(status.series.is_empty() && status.windows.is_empty());
    assert_eq!((status.events_per_s, status.last_arrival_ms), (40.0 / 6.0, Some(BASE + 4_900)));
}

#[test]
fn between_whole_frames_only_what_is_new_and_a_little_more() {
    let mut world = watched();
    let telemetry = |world: &mut World, now| of(&frames(world, now), FrameKind::Telemetry);
    for n in 0..100 {
        world.one("a", 100 * n, n as u64);
    }
    assert_eq!(telemetry(&mut world, 10 * S).from_ms, BASE, "who is new gets all there is");
    world.one("a", 10 * S, 100);
    let tail = telemetry(&mut world, 10 * S + 100);
    assert!((BASE + 7_800..=BASE + 8_000).contains(&tail.from_ms), "{}", tail.from_ms - BASE);
    // A straggler: the frame reaches back to it.
    world.send("a", 10 * S + 100, &[(5 * S + 50, 101)]);
    let back = telemetry(&mut world, 10 * S + 200);
    assert!((BASE + 4_900..=BASE + 5_050).contains(&back.from_ms), "{}", back.from_ms - BASE);
    world.one("a", 20 * S, 102);
    hear(&mut world, &interest("a", "g1", 20 * S), 20 * S);
    assert_eq!(telemetry(&mut world, 20 * S).from_ms, BASE, "every ten seconds the whole again");
    world.one("a", 21 * S, 103);
    hear(&mut world, &interest("a", "g2", 21 * S), 21 * S);
    assert_eq!(telemetry(&mut world, 21 * S).from_ms, BASE, "a second gateway begins");
}

#[test]
fn rows_are_shown_as_they_leave() {
    let mut world = watched();
    let windows = |world: &mut World, now| of(&frames(world, now), FrameKind::Windows);
    world.one("a", 8 * S, 1);
    assert_eq!(windows(&mut world, 8 * S).windows.len(), 1, "open; the other has not left yet");
    world.tick();
    let frame = windows(&mut world, 9 * S);
    let seen: Vec<_> = frame.windows.iter().map(|w| (w.t_start - BASE, w.closed_by.is_some())).collect();
    assert_eq!(seen, [(0, true), (5 * S, false)]);
    assert_eq!(frame.windows[0].count, world.rows().next().expect("its row").count);
    // More rows in one tick than are kept.
    for n in 2..20 {
        world.one("a", n * 5 * S, n as u64);
    }
    world.tick();
    hear(&mut world, &interest("a", "g1", 100 * S), 100 * S);
    let frame = windows(&mut world, 100 * S);
    assert_eq!(frame.windows.iter().filter(|w| w.closed_by.is_some()).count(), ROWS_KEPT);
    assert!(frame.flags.contains(&FrameFlag::Partial));
    world.one("a", 100 * S, 20);
    assert!(!windows(&mut world, 101 * S).flags.contains(&FrameFlag::Partial), "only once");
}

#[test]
fn no_frame_before_the_epoch_is_committed_and_another_one_after_a_crash() {
    let mut world = World::new(settings(|_| ()));
    world.one("a", 0, 0);
    hear(&mut world, &interest("a", "g1", 0), 0);
    assert!(frames(&mut world, 0).is_empty());
    world.tick();
    let before = of(&frames(&mut world, 100), FrameKind::Status).epoch;
    world.crash();
    assert!(!world.core.is_watched(), "gateways ask again");
    hear(&mut world, &interest("a", "g1", 200), 200);
    assert!(frames(&mut world, 200).is_empty(), "the next crash would use this epoch again");
    world.tick();
    assert_eq!(of(&frames(&mut world, 300), FrameKind::Status).epoch, before + 1);
}

#[test]
fn an_interest_ends_when_it_expires_or_is_withdrawn() {
    let mut world = watched();
    assert!(!frames(&mut world, 14 * S).is_empty());
    assert!(frames(&mut world, 15 * S).is_empty() && !world.core.is_watched());
    hear(&mut world, &Interest { expires_at_ms: i64::MAX, ..interest("a", "g1", 0) }, 16 * S);
    assert!(frames(&mut world, 16 * S + INTEREST_MAX_MS).is_empty(), "no clock holds a stream for ever");
    hear(&mut world, &interest("a", "g1", 90 * S), 90 * S);
    hear(&mut world, &interest("a", "g2", 90 * S), 90 * S);
    assert!(!hear(&mut world, &Interest { wants: vec![], ..interest("a", "g1", 90 * S) }, 90 * S));
    assert!(world.core.is_watched(), "the other still does");
    assert!(!hear(&mut world, &Interest { expires_at_ms: 0, ..interest("a", "g2", 0) }, 90 * S));
    assert!(!world.core.is_watched());
    assert_eq!(world.core.watched(), (0, 0), "and nothing is left");
}

#[test]
fn gateways_get_what_they_asked_for_once_each() {
    let mut world = watched();
    let status = Want { kind: FrameKind::Status, size_ms: 0, hz: 1.0 };
    hear(&mut world, &Interest { partition: 5, wants: vec![status], ..interest("a", "g2", 0) }, 0);
    hear(&mut world, &interest("a", "g3", 0), 0); // shares its partition with g1
    let to: Vec<_> = frames(&mut world, 0).into_iter().map(|(frame, to)| (frame.kind, to)).collect();
    let (three, both) = (vec![3], vec![3, 5]);
    assert_eq!(to, [(KINDS[0].0, three.clone()), (KINDS[1].0, three), (KINDS[2].0, both)]);
}

#[test]
fn the_table_is_bounded_and_says_so() {
    let mut world = World::new(settings(|s| s.watch.streams_max = 2));
    world.one("a", 0, 0);
    world.tick();
    assert!(hear(&mut world, &interest("a", "g1", 0), 0) && hear(&mut world, &interest("b", "g1", 0), 0));
    assert!(!hear(&mut world, &interest("c", "g1", 0), 0));
    assert_eq!((world.core.watched().0, world.core.watch_counters().refused), (2, 1));
    assert!(hear(&mut world, &interest("c", "g1", 15 * S), 15 * S), "who did not ask again makes room");
    for n in 0..GATEWAYS_MAX {
        assert_eq!(hear(&mut world, &interest("c", &format!("h{n}"), 15 * S), 15 * S), n + 1 < GATEWAYS_MAX);
    }
    assert_eq!(world.core.watch_counters().refused, 2);
    let mut nobody = World::new(settings(|s| s.watch.streams_max = 0));
    assert!(!hear(&mut nobody, &interest("a", "g1", 0), 0));
}

#[test]
fn a_round_stops_where_there_is_no_room_and_goes_on_there() {
    let mut world = watched();
    for id in ["b", "c"] {
        hear(&mut world, &interest(id, "g1", 0), 0);
    }
    let mut seen = Vec::new();
    for _ in 0..9 {
        world.core.frames(&FrameInput { now_ms: BASE, live: true }, &mut |frame, _| {
            seen.push((frame.stream_id.clone(), frame.kind));
            false
        });
    }
    let all: BTreeSet<_> = seen.iter().cloned().collect();
    assert_eq!((seen.len(), all.len()), (9, 9), "each once, whoever it is");
}

#[test]
fn a_full_history_costs_points_and_no_aggregate() {
    let mut world = World::new(settings(|s| s.watch.history_bytes_max = 12_000));
    world.one("a", 0, 0);
    world.tick();
    hear(&mut world, &interest("a", "g1", 0), 0);
    for n in 1..1_000 {
        world.one("a", 4 * n, n as u64);
    }
    let frame = of(&frames(&mut world, 4 * S), FrameKind::Telemetry);
    assert!(frame.flags.contains(&FrameFlag::Partial) && frame.from_ms > BASE + 4);
    assert!(world.core.watch_counters().points_dropped > 0);
    assert_eq!(frame.windows[0].count, 1_000);
}

#[test]
fn histories_go_before_any_window_when_memory_is_short() {
    let mut world = watched();
    for n in 0..300 {
        world.one("a", n, n as u64);
    }
    let (_, bytes) = world.core.watched();
    world.tick_with(&TickInput { free_bytes: 2_000, ..input() });
    assert!(world.core.watched().1 + 2_000 <= bytes);
    assert_eq!((world.rows().count(), world.core.sizes().2), (0, 1), "the window stays");
    let frame = of(&frames(&mut world, S), FrameKind::Telemetry);
    assert!(frame.series.is_empty() && frame.from_ms > frame.to_ms, "and nothing is claimed");
    assert_eq!(frame.flags.last(), Some(&FrameFlag::Partial));
}

#[test]
fn refused_events_are_not_shown() {
    let mut world = watched();
    world.send("a", 1_000, &[(1_000, 1), (10_000 * S, 2)]); // the second one is far in the future
    let frame = of(&frames(&mut world, S), FrameKind::Telemetry);
    assert_eq!((frame.to_ms, frame.last_ts), (BASE + 1_000, Some(BASE + 1_000)));
}

#[test]
fn many_fields_share_the_points_of_a_frame() {
    let mut world = watched();
    let field = |n: usize| FieldColumn { name: format!("f{n}"), rows: vec![], values: vec![n as f64] };
    for at in 0..1_000 {
        let (fields, ts) = ((0..64).map(field).collect(), vec![BASE + 30 * at]);
        let (stream_id, arrival_ms) = ("a".to_owned(), BASE + 30 * at);
        world.feed(EventBatch { stream_id, arrival_ms, ts, fields, ..EventBatch::default() });
    }
    hear(&mut world, &interest("a", "g2", 30 * S), 30 * S);
    let frame = of(&frames(&mut world, 30 * S), FrameKind::Telemetry);
    let points: usize = frame.series.iter().map(|series| series.ts.len()).sum();
    assert!(
        frame.series.len() == 64 && points <= FRAME_POINTS_MAX && points > FRAME_POINTS_MAX / 8,
        "{points}"
    );
}

/// Whoever watches: the same rows, late records, marks, refusals and commits, byte for byte of their content.
#[test]
fn watching_changes_nothing() {
    for seed in 0..300 {
        let all = |watched| {
            let (world, found) = play_watched(seed, false, Trouble::All, watched);
            assert!(found.is_empty(), "seed {seed}: {found:#?}");
            format!("{:?}\n{:?}\n{:?}\n{:?}", world.topic, world.marks, world.dlq, world.commits)
        };
        assert!(all(true) == all(false), "seed {seed}");
    }
}
