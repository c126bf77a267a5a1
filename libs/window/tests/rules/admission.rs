//! Admission: each reason, and that the first that fits is the reason.

use crate::world::{BASE, S, World, batch, settings};
use evenkeel_model::DropReason::{self, Duplicate, Future, Late, Malformed, Misrouted, Overflow, TooOld};
use evenkeel_model::limits::{PAYLOAD_BYTES_MAX, TS_MAX_MS};
use evenkeel_model::partition_of;
use evenkeel_window::{Core, Output, Partition};

fn counts(world: &World) -> Vec<(DropReason, u64)> {
    let all = DropReason::ALL.iter().map(|r| (*r, world.reason(*r)));
    all.filter(|(_, n)| *n > 0).collect()
}

#[test]
fn future_and_too_old_are_measured_from_arrival_and_go_to_dlq() {
    let mut world = World::new(settings(|s| (s.max_future_ms, s.max_age_ms) = (10 * S, 60 * S)));
    world.send("d", 0, &[(10 * S, 1), (10 * S + 1, 2), (-60 * S, 3), (-60 * S - 1, 4)]);
    world.tick();
    assert_eq!(counts(&world), [(Future, 1), (TooOld, 1), (Late, 1)]);
    let dlq: Vec<_> = world.dlq.iter().map(|r| (r.reason, r.size_ms, r.events.seq.clone())).collect();
    assert_eq!(dlq, [(Future, None, vec![2]), (TooOld, None, vec![4])]);
    assert_eq!(world.dlq[0].events.fields[0].values, [2.0]);
}

#[test]
fn a_future_event_never_moves_the_watermark() {
    let mut world = World::new(settings(|s| s.max_future_ms = 10 * S));
    world.one("d", 0, 1);
    world.send("d", S, &[(3_600 * S, 2)]);
    world.one("d", 4 * S, 3);
    assert_eq!(counts(&world), [(Future, 1)]);
    assert_eq!(world.ledger(5 * S).in_open, 2);
}

#[test]
fn an_event_that_breaks_a_limit_is_malformed_before_it_is_anything_else() {
    let mut world = World::new(settings(|_| ()));
    let mut bad = batch("d", 0, &[(0, 1), (1, 2), (3_600 * S, 3), (2, 4), (3, 5)]);
    bad.fields[0].values[1] = f64::NAN;
    bad.fields[0].values[2] = f64::INFINITY; // also far in the future
    bad.ts[3] = -1;
    bad.ts[4] = TS_MAX_MS + 1;
    world.feed(bad);
    let mut heavy = batch("d", 0, &[(4, 6), (5, 7)]);
    heavy.payloads = vec![Some(vec![0; PAYLOAD_BYTES_MAX]), Some(vec![0; PAYLOAD_BYTES_MAX + 1])];
    world.feed(heavy);
    assert_eq!(counts(&world), [(Malformed, 5)]);
    assert_eq!(world.ledger(5 * S).in_open, 2);
}

#[test]
fn an_arrival_out_of_range_spoils_the_record_and_leaves_the_clock_alone() {
    let mut world = World::new(settings(|_| ()));
    world.one("d", 0, 1);
    for arrival in [i64::MIN, -1, TS_MAX_MS + 1, i64::MAX] {
        let mut bad = batch("d", 0, &[(0, 2)]);
        bad.arrival_ms = arrival;
        world.feed(bad);
    }
    assert_eq!(counts(&world), [(Malformed, 4)]);
    assert_eq!(world.core.clocks(), (BASE, BASE));
}

#[test]
fn an_undecodable_record_counts_one_in_every_size() {
    let mut world = World::new(settings(|s| s.classes[0].sizes_ms = vec![5 * S, 60 * S]));
    world.core.feed_undecodable();
    for size in &world.core.ledger().sizes {
        assert_eq!((size.consumed, size.reasons[Malformed.index()], size.imbalance()), (1, 1, 0));
    }
}

#[test]
fn a_record_of_another_owner_is_misrouted() {
    let (mine, other) = (partition_of("d", 7), (partition_of("d", 7) + 1) % 7);
    let refusals = |number, key: Option<&[u8]>, trusted| {
        let partition = Partition { number, count: 7, writer: String::new(), hash_seed: 0 };
        let mut core = Core::new(&settings(|s| s.trusts_partitions = trusted), partition).unwrap();
        let mut refused = Vec::new();
        // Twice: a known stream is not asked for its partition again, but for its key.
        for offset in 0..2 {
            core.feed(offset, key, &batch("d", 0, &[(0, offset)]), &mut |output| match output {
                Output::Refused(r) => refused.push(r.reason),
                other => panic!("{other:?}"),
            });
        }
        assert_eq!(core.clocks().0 == i64::MIN, !refused.is_empty(), "a foreign record moves no clock");
        refused
    };
    assert_eq!(refusals(mine, Some(b"d"), false), []);
    assert_eq!(refusals(other, Some(b"d"), false), [Misrouted, Misrouted]);
    assert_eq!(refusals(mine, Some(b"e"), false), [Misrouted, Misrouted]);
    assert_eq!(refusals(mine, None, false), [Misrouted, Misrouted], "a record without key");
    // Another system's producers have rules of their own.
    assert_eq!(refusals(other, None, true), []);
    assert_eq!(refusals(other, Some(b"e"), true), []);
}

#[test]
fn a_seq_counts_once_in_its_window() {
    let mut world = World::new(settings(|_| ()));
    world.send("d", 0, &[(0, 1), (S, 2)]);
    world.send("d", S, &[(S, 2), (2 * S, 3), (2 * S, 3)]);
    assert_eq!(counts(&world), [(Duplicate, 2)]);
    assert_eq!(world.ledger(5 * S).in_open, 3);
    assert!(world.dlq.is_empty(), "duplicates are dropped");
    // Never by timestamp: two values at one time are two events.
    world.send("d", S, &[(S, 8), (S, 9)]);
    assert_eq!(world.ledger(5 * S).in_open, 5);
}

#[test]
fn events_without_seq_have_no_dedup() {
    let mut world = World::new(settings(|_| ()));
    for _ in 0..3 {
        let mut plain = batch("d", 0, &[(0, 1)]);
        plain.seq.clear();
        world.feed(plain);
    }
    assert_eq!((world.ledger(5 * S).in_open, counts(&world)), (3, vec![]));
}

#[test]
fn late_is_merged_and_not_refused() {
    let mut world = World::new(settings(|_| ()));
    world.one("d", 0, 1);
    world.one("d", 7 * S, 2); // the watermark reaches 5 s
    world.send("d", 8 * S, &[(4_999, 3)]);
    world.tick();
    assert_eq!(counts(&world), [(Late, 1)]);
    assert!(world.dlq.is_empty());
    assert_eq!(world.late().map(|l| l.events.seq.clone()).collect::<Vec<_>>(), [vec![3]]);
}

#[test]
fn too_many_fields_of_one_window_overflow() {
    let mut world = World::new(settings(|_| ()));
    for n in 0..64 {
        let mut one = batch("d", 0, &[(0, n)]);
        one.fields[0].name = format!("f{n}");
        world.feed(one);
    }
    assert_eq!(counts(&world), []);
    let mut more = batch("d", 0, &[(0, 64)]);
    more.fields[0].name = "f64".into();
    world.feed(more);
    let mut known = batch("d", 0, &[(0, 65)]);
    known.fields[0].name = "f7".into();
    world.feed(known);
    world.tick();
    assert_eq!(counts(&world), [(Overflow, 1)]);
    assert_eq!((world.dlq[0].size_ms, world.dlq[0].events.seq.clone()), (Some(5 * S), vec![64]));
    assert_eq!(world.ledger(5 * S).in_open, 65);
}

#[test]
fn backfill_is_never_too_old_and_takes_the_late_path() {
    let mut world = World::new(settings(|s| s.max_age_ms = 600 * S));
    let mut old = batch("d", 0, &[(-7_200 * S, 1), (-7_199 * S, 2)]);
    old.backfill = true;
    world.feed(old.clone());
    world.tick();
    assert_eq!(counts(&world), [(Late, 2)]);
    assert_eq!(world.core.sizes().2, 0, "nothing is opened");
    old.backfill = false;
    world.feed(old);
    assert_eq!(counts(&world), [(TooOld, 2), (Late, 2)]);
}

#[test]
fn backfill_at_the_edge_of_max_age_does_not_precede_its_row() {
    let mut world = World::new(settings(|s| (s.max_age_ms, s.clock_slack_ms) = (600 * S, 0)));
    let mut edge = batch("d", 601 * S, &[(500, 1)]); // older than max-age; its window's end is not
    edge.backfill = true;
    world.feed(edge);
    world.send("d", 601 * S, &[(2 * S, 2)]); // the same window, by a young event: EK-LATE-0
    world.send("d", 620 * S, &[(620 * S, 3)]);
    world.tick();
    let (store, _) = world.stored();
    assert_eq!(store.values().next().map(|s| (s.row.count, s.revision)), Some((2, 0)));
}
