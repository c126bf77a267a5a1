//! Classes: sizes, time by arrival, raw events in rows, buffered mode and its three policies.

use crate::world::{BASE, S, World, batch, settings};
use evenkeel_model::DropReason::{Duplicate, Future, Late, Overflow};
use evenkeel_model::limits::BATCH_EVENTS_MAX;
use evenkeel_window::{Aggregation, Class, Overflow as Policy, Settings, TimeSource};

fn buffered(policy: Policy, change: impl FnOnce(&mut Class)) -> World {
    World::new(settings(|s| {
        let class = &mut s.classes[0];
        class.aggregation = Aggregation::Buffered;
        (class.overflow, class.ring_events_max, class.horizon_ms) = (policy, 3, 10 * S);
        change(class);
    }))
}

/// Count, seqs and sum of the first row once it has left.
fn row(world: &mut World) -> (u64, Vec<u64>, f64) {
    world.one("d", 30 * S, 999);
    world.tick();
    let row = world.rows().next().expect("a row");
    let seqs = row.seqs.iter().flat_map(|r| r.lo..=r.hi).collect();
    assert_eq!(row.seqs.iter().map(|r| r.count).sum::<u64>(), row.count, "{row:?}");
    (row.count, seqs, row.stats[0].sum)
}

#[test]
fn the_first_class_that_fits_decides_and_counts_only_its_sizes() {
    let mut world = World::new(settings(|s| {
        let imu = Class { pattern: "imu/*".into(), sizes_ms: vec![S], ..s.classes[0].clone() };
        s.classes.insert(0, imu);
    }));
    world.one("imu/7", 0, 1);
    world.one("bowl/7", 0, 1);
    world.one("bowl/7", 1, 2);
    let consumed: Vec<_> = world.core.ledger().sizes.iter().map(|s| (s.size_ms, s.consumed)).collect();
    assert_eq!(consumed, [(S, 1), (5 * S, 2)]); // EK-SUM-1 per size
    world.silence(60);
    let sizes: Vec<_> = world.rows().map(|r| (r.stream_id.as_str(), r.span.size_ms)).collect();
    assert_eq!(sizes, [("bowl/7", 5 * S), ("imu/7", S)].iter().rev().copied().collect::<Vec<_>>());
}

#[test]
fn devices_without_a_clock_are_placed_by_arrival() {
    let mut world = World::new(settings(|s| s.classes[0].time = TimeSource::Arrival));
    world.send("d", S, &[(-400 * 86_400 * S, 1), (3_600 * S, 2)]);
    world.send("d", 3 * S, &[(0, 3)]);
    assert_eq!((world.reason(Future), world.ledger(5 * S).in_open), (0, 3));
    world.one("d", 8 * S, 4);
    world.tick();
    let row = world.rows().next().unwrap();
    assert_eq!((row.span.t_start(), row.count, row.max_ts), (BASE, 3, BASE + 8 * S));
    assert_eq!((row.stats[0].first_ts, row.stats[0].last_ts), (BASE + S, BASE + 3 * S));
}

#[test]
fn rows_carry_their_raw_events_where_asked_and_a_full_ring_costs_history_only() {
    let mut world = World::new(settings(|s| {
        (s.classes[0].include_events, s.classes[0].ring_events_max) = (true, 3);
    }));
    world.send("d", 0, &[(0, 1), (1, 2), (2, 3), (3, 4)]);
    let (count, seqs, sum) = row(&mut world);
    assert_eq!((count, seqs, sum), (4, vec![1, 2, 3, 4], 10.0));
    let events = world.rows().next().unwrap().events.clone().unwrap();
    events.check_shape().unwrap();
    assert_eq!((events.seq, events.fields[0].values.clone()), (vec![2, 3, 4], vec![2.0, 3.0, 4.0]));
    assert_eq!((world.core.counters().history_dropped, world.reason(Overflow)), (1, 0));
}

#[test]
fn events_without_numbers_keep_their_arrivals() {
    let mut world = World::new(settings(|s| {
        (s.classes[0].include_events, s.classes[0].ring_events_max) = (true, 1);
    }));
    for n in 0..3 {
        let mut bare = batch("d", n * S, &[(0, n as u64)]);
        bare.fields.clear();
        world.feed(bare);
    }
    world.one("d", 30 * S, 999);
    world.tick();
    let row = world.rows().next().unwrap();
    assert_eq!((row.count, row.first_arrival, row.last_arrival), (3, BASE, BASE + 2 * S));
}

#[test]
fn buffered_evict_oldest() {
    let mut world = buffered(Policy::EvictOldest, |_| ());
    world.send("d", 0, &[(0, 1), (1, 2), (2, 3), (3, 4)]);
    assert_eq!((world.reason(Overflow), world.ledger(5 * S).in_open), (1, 3));
    assert_eq!(row(&mut world), (3, vec![2, 3, 4], 9.0));
    assert_eq!((world.dlq[0].events.seq.as_slice(), world.dlq[0].size_ms), (&[1][..], Some(5 * S)));
}

#[test]
fn an_evicted_event_may_come_back() {
    // Its seq is not counted any more: from dlq it is merged into the row, not a duplicate.
    let mut world = buffered(Policy::EvictOldest, |_| ());
    world.send("d", 0, &[(0, 1), (1, 2), (2, 3), (3, 4)]);
    row(&mut world);
    world.send("d", 31 * S, &[(0, 1), (1, 2)]);
    world.tick();
    assert_eq!((world.reason(Duplicate), world.reason(Late)), (1, 1));
    let (store, _) = world.stored();
    assert_eq!(store.values().next().map(|s| (s.row.count, s.revision)), Some((4, 1)));
}

#[test]
fn buffered_reject_new() {
    let mut world = buffered(Policy::RejectNew, |_| ());
    world.send("d", 0, &[(0, 1), (1, 2), (2, 3), (3, 4)]);
    assert_eq!(row(&mut world), (3, vec![1, 2, 3], 6.0));
    assert_eq!(world.dlq[0].events.seq, [4]);
}

#[test]
fn buffered_evict_older_than_horizon() {
    let mut world = buffered(Policy::EvictOlderThanHorizon, |_| ());
    world.send("d", 0, &[(0, 1), (1, 2)]);
    world.send("d", 9 * S, &[(2, 3)]);
    world.send("d", 10 * S, &[(3, 4)]); // nobody is older than 10 s
    world.send("d", 11 * S, &[(4, 5)]); // two are
    assert_eq!(row(&mut world), (2, vec![3, 5], 8.0));
    let diverted: Vec<u64> = world.dlq.iter().flat_map(|r| r.events.seq.clone()).collect();
    assert_eq!(diverted, [4, 1, 2]);
}

#[test]
fn buffered_and_folded_agree_when_nothing_overflows() {
    let run = |aggregation| {
        let mut world = World::new(settings(|s| s.classes[0].aggregation = aggregation));
        for n in 0..40u64 {
            world.send("d", n as i64, &[(n as i64, (n * 7) % 40)]);
        }
        world.one("d", 30 * S, 999);
        world.tick();
        world.rows().next().cloned().unwrap()
    };
    let (mut folded, mut buffered) = (run(Aggregation::Folded), run(Aggregation::Buffered));
    let (a, b) = (folded.stats.remove(0), buffered.stats.remove(0));
    assert_eq!(folded, buffered);
    assert_eq!(
        (a.count, a.min, a.max, a.sum, a.first, a.last),
        (b.count, b.min, b.max, b.sum, b.first, b.last)
    );
    assert!((a.m2 - b.m2).abs() <= 1e-9 * a.m2);
}

#[test]
fn buffered_windows_survive_a_crash_as_they_were() {
    for policy in [Policy::EvictOldest, Policy::RejectNew, Policy::EvictOlderThanHorizon] {
        let run = |crash: bool| {
            let mut world = buffered(policy, |_| ());
            for n in 0..12u64 {
                world.send("d", n as i64 * S, &[(n as i64, n), (n as i64, n + 100)]);
                world.tick();
                if crash {
                    assert_eq!(world.crash(), [], "{policy:?}");
                }
            }
            let row = row(&mut world);
            (row, world.dlq.len(), world.reason(Overflow))
        };
        assert_eq!(run(true), run(false), "{policy:?}");
    }
}

#[test]
fn a_row_cannot_be_asked_to_carry_more_events_than_a_batch_holds() {
    let broken = |change: fn(&mut Settings)| {
        let mut settings = settings(|_| ());
        change(&mut settings);
        settings.check().unwrap_err().key
    };
    assert_eq!(BATCH_EVENTS_MAX, 65_536);
    let key = broken(|s| (s.classes[0].include_events, s.classes[0].ring_events_max) = (true, 65_537));
    assert_eq!(key, "rate-max");
    // Durations beyond any clock would overflow the arithmetic of time.
    assert_eq!(broken(|s| s.classes[0].lateness_ms = i64::MAX), "lateness");
    assert_eq!(broken(|s| s.classes[0].idle_timeout_ms = i64::MAX), "idle-timeout");
    assert_eq!(broken(|s| s.classes[0].horizon_ms = i64::MAX), "horizon");
    assert_eq!(broken(|s| s.max_future_ms = i64::MAX), "max-future");
    assert_eq!(broken(|s| s.max_age_ms = i64::MAX), "max-age");
    assert_eq!(broken(|s| s.interval_ms = i64::MAX), "interval");
    assert_eq!(broken(|s| s.open_age_max_ms = i64::MAX), "open-age-max");
}

#[test]
fn a_row_carries_no_more_raw_events_than_the_log_takes() {
    let mut world = World::new(settings(|s| s.classes[0].include_events = true));
    for n in 0..20u64 {
        let mut heavy = batch("d", 0, &[(n as i64, n)]);
        heavy.payloads = vec![Some(vec![n as u8; 60_000])];
        world.feed(heavy);
    }
    assert_eq!(row(&mut world).0, 20);
    let events = world.rows().next().unwrap().events.clone().unwrap();
    let bytes: usize = events.payloads.iter().flatten().map(Vec::len).sum();
    assert!((400_000..=524_288).contains(&bytes), "{bytes}");
    assert_eq!(events.seq.last(), Some(&19), "the newest");
}

#[test]
fn field_names_stay_with_their_values_among_many_spare_lists() {
    for spares in 0..80 {
        let mut world = World::new(settings(|_| ()));
        for n in 0..spares {
            let id = format!("spare/{n}");
            let mut one = batch(&id, 0, &[(0, 1)]);
            one.fields[0].name = format!("f{n}");
            world.feed(one);
        }
        world.silence(40); // their rows leave, the lists of names stay for a while
        world.send("d", 40 * S, &[(40 * S, 1)]);
        let mut other = batch("d", 40 * S, &[(41 * S, 2), (45 * S, 3), (50 * S, 4)]);
        other.fields[0].name = "other".into();
        world.feed(other);
        world.one("d", 60 * S, 5);
        world.tick();
        let rows = world.rows().filter(|r| r.stream_id == "d");
        let names: Vec<Vec<&str>> = rows.map(|r| r.stats.iter().map(|s| s.name.as_str()).collect()).collect();
        assert_eq!(names, [vec!["other", "x"], vec!["other"], vec!["other"]], "{spares} spares");
    }
}
