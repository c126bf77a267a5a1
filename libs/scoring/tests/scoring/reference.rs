//! Which items drop, and when the others are done: the product's line against an event list written for this test.

use evenkeel_scoring::{Arrivals, Fate, Policy, simulate};
use proptest::prelude::*;

/// What happens next, in the order of a heap that is a sorted list: simple before fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A worker is done (before arrivals of the same moment).
    Done(usize),
    Arrival(usize),
}

/// A classical event list: the clock jumps from event to event. `Block` holds the producer, so the next arrival
/// is not scheduled before the last one got in.
fn reference(
    arrivals: &[u64],
    service: u64,
    queue_max: usize,
    policy: Policy,
    workers: usize,
) -> Vec<Option<(u64, u64)>> {
    let mut events: Vec<(u64, Event)> =
        arrivals.first().map(|&t| (t, Event::Arrival(0))).into_iter().collect();
    let mut waiting: Vec<(usize, u64)> = Vec::new();
    let mut held: Option<usize> = None;
    let mut idle = workers;
    let mut fates = vec![None; arrivals.len()];
    while !events.is_empty() {
        events.sort();
        let (now, event) = events.remove(0);
        let mut admitted = None;
        match event {
            Event::Done(_) => idle += 1,
            Event::Arrival(n) if idle > 0 || waiting.len() < queue_max => {
                waiting.push((n, now));
                admitted = Some(n);
            }
            Event::Arrival(n) => match policy {
                Policy::DropNew => admitted = Some(n),
                Policy::DropOldest => {
                    waiting.remove(0);
                    waiting.push((n, now));
                    admitted = Some(n);
                }
                Policy::Block => held = Some(n),
            },
        }
        while idle > 0 && !waiting.is_empty() {
            let (n, entered) = waiting.remove(0);
            idle -= 1;
            fates[n] = Some((entered, now + service));
            events.push((now + service, Event::Done(n)));
        }
        if let Some(n) = held.filter(|_| waiting.len() < queue_max) {
            held = None;
            waiting.push((n, now));
            admitted = Some(n);
        }
        if let Some(n) = admitted.map(|n| n + 1).filter(|&n| n < arrivals.len()) {
            events.push((arrivals[n].max(now), Event::Arrival(n)));
        }
    }
    fates
}

fn compare(arrivals: &[u64], service: u64, queue_max: usize, policy: Policy, workers: usize) {
    let made: Vec<Option<(u64, u64)>> = simulate(arrivals, &|_| service, queue_max, policy, workers)
        .into_iter()
        .map(|fate| match fate {
            Fate::Dropped => None,
            Fate::Done { entered_us, ended_us, .. } => Some((entered_us, ended_us)),
        })
        .collect();
    assert_eq!(
        made,
        reference(arrivals, service, queue_max, policy, workers),
        "{policy:?} {workers} workers"
    );
}

const POLICIES: [Policy; 3] = [Policy::DropNew, Policy::DropOldest, Policy::Block];

#[test]
fn the_seeded_arrivals_of_a_run_drop_the_same_rows() {
    let mut dropped = 0;
    for (seed, policy) in (0..20).flat_map(|seed| POLICIES.map(|p| (seed, p))) {
        let arrivals = Arrivals::new(5.0, seed).times_us(300);
        compare(&arrivals, 12_000, 8, policy, 2);
        let fates = simulate(&arrivals, &|_| 12_000, 8, policy, 2);
        dropped += fates.iter().filter(|f| **f == Fate::Dropped).count();
        assert!(policy != Policy::Block || !fates.contains(&Fate::Dropped));
    }
    assert!(dropped > 500, "the load is above what two workers do: {dropped} dropped");
}

#[test]
fn rows_in_work_do_not_count_in_the_queue() {
    // Five at once: two in work, two wait, one finds the queue full.
    let fates = simulate(&[0; 5], &|_| 1_000, 2, Policy::DropNew, 2);
    assert_eq!(fates.iter().filter(|f| **f == Fate::Dropped).count(), 1);
    assert_eq!(fates[4], Fate::Dropped);
}

proptest! {
    #[test]
    fn any_history_has_the_reference_s_fates(
        gaps in prop::collection::vec(0..40_u64, 1..80),
        service in 1..120_u64,
        queue_max in 1..6_usize,
        workers in 1..5_usize,
        policy in prop::sample::select(POLICIES.to_vec()),
    ) {
        let arrivals: Vec<u64> = gaps.iter().scan(0, |at, gap| { *at += gap; Some(*at) }).collect();
        compare(&arrivals, service, queue_max, policy, workers);
    }
}
