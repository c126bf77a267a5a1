//! The cache: one buffer per key, limits that hold for all of them, figures.

use crate::rig::{Choppy, RUNTIME, broken, chunked, content, feed, run, tap, tight, until};
use evenkeel_spool::{
    CacheError, CacheOptions, Evictions, Fill, Pinned, ReadError, Source, SpillError, SpoolCache,
};
use proptest::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

const PAGE: usize = 100;
/// What a buffer is charged while it fills: three pages.
const WORKING: u64 = 300;

fn cache(memory_bytes_max: u64, disk_bytes_max: u64) -> SpoolCache {
    let options = CacheOptions {
        spool: tight(PAGE, 1_000, Fill::All),
        memory_bytes_max,
        disk_bytes_max,
        entries_max: 8,
        ttl_ms: 100,
    };
    SpoolCache::new(options).unwrap()
}

fn whole(len: usize) -> (Source, Option<u64>) {
    (chunked(&content(len), &[70], false).0, Some(len as u64))
}

fn open(cache: &SpoolCache, key: &str, now_ms: u64, len: usize) -> Result<Pinned, CacheError> {
    run(cache.open(key, now_ms, || whole(len)))
}

/// Opened, filled to its end, and read.
fn filled(cache: &SpoolCache, key: &str, now_ms: u64, len: usize) -> Pinned {
    let pinned = open(cache, key, now_ms, len).unwrap();
    assert_eq!(run(pinned.wait_end()).unwrap(), len as u64);
    assert_eq!(pinned.read_at_blocking(0, len).unwrap(), content(len));
    pinned
}

#[test]
fn who_asks_for_a_key_gets_the_one_buffer_and_the_source_is_begun_once() {
    let cache = cache(10_000, 10_000);
    let begun = Arc::new(AtomicUsize::new(0));
    let opened: Vec<_> = run(futures::future::join_all((0..20).map(|_| {
        let (cache, begun) = (cache.clone(), Arc::clone(&begun));
        RUNTIME.spawn(async move {
            let begin = || {
                begun.fetch_add(1, SeqCst);
                whole(500)
            };
            let pinned = cache.open("k", 0, begin).await.unwrap();
            pinned.read_at(100, 300).await.unwrap()
        })
    })));
    assert!(opened.into_iter().all(|bytes| bytes.unwrap() == content(500)[100..400]));
    let status = cache.status();
    assert_eq!((begun.load(SeqCst), status.hits, status.misses), (1, 19, 1));
    assert_eq!((status.entries, status.pinned, status.evictions), (1, 0, Evictions::default()));
}

#[test]
fn an_idle_buffer_goes_the_ttl_after_its_last_read_and_a_held_one_stays() {
    let cache = cache(10_000, 10_000);
    let held = filled(&cache, "held", 0, 250);
    drop(filled(&cache, "idle", 0, 250));
    assert_eq!(cache.sweep(10), 0);
    assert_eq!(cache.sweep(109), 0, "its reads were noticed at 10");
    assert_eq!((cache.sweep(110), cache.status().entries), (1, 1));
    assert_eq!(cache.status().evictions, Evictions { ttl: 1, ..Evictions::default() });
    assert_eq!(held.read_at_blocking(0, 250).unwrap(), content(250));
    drop(held);
    assert_eq!((cache.sweep(150), cache.sweep(249), cache.sweep(250)), (0, 0, 1));
    let status = cache.status();
    assert_eq!((status.entries, status.memory_bytes, status.disk_bytes), (0, 0, 0));
}

#[test]
fn memory_is_one_budget_idle_buffers_go_first_and_then_those_in_use_move_to_disk() {
    // A buffer of 250 bytes is charged 500 when it has two whole pages, and 250 when it is complete.
    let cache = cache(760, 100_000);
    drop(filled(&cache, "a", 1, 250));
    assert_eq!(cache.status().memory_bytes, 250);
    let b = filled(&cache, "b", 2, 250);
    assert_eq!(cache.status().memory_bytes, 500);
    let c = open(&cache, "c", 3, 250).unwrap();
    assert_eq!(cache.status().evictions, Evictions { memory: 1, ..Evictions::default() }, "a was idle");
    run(c.wait_end()).unwrap();
    assert_eq!(cache.status().memory_bytes, 500);
    // Both are in use now: one of them moves out, and nobody notices.
    let d = filled(&cache, "d", 4, 250);
    let status = cache.status();
    assert_eq!((status.memory_bytes, status.disk_bytes), (500, 250));
    assert_eq!((status.entries, status.evictions.memory), (3, 1));
    for buffer in [&b, &c, &d] {
        assert_eq!(buffer.read_at_blocking(0, 250).unwrap(), content(250));
    }
}

#[test]
fn when_all_memory_is_at_work_a_new_buffer_is_refused_and_told_why() {
    let cache = cache(2 * WORKING, 10_000);
    let taps: Vec<_> = (0..3).map(|_| tap()).collect();
    let mut pinned = Vec::new();
    let mut taps_held = Vec::new();
    for (i, (tap, source)) in taps.into_iter().enumerate() {
        taps_held.push(tap);
        let result = run(cache.open(&format!("{i}"), 0, || (source, None)));
        match result {
            Ok(one) => pinned.push(one),
            Err(error) => {
                let full = matches!(
                    error,
                    CacheError::Memory { used_bytes: 600, limit_bytes: 600, needed_bytes: 300 }
                );
                assert!(full && i == 2, "{i}: {error}");
            }
        }
    }
    assert_eq!((pinned.len(), cache.status().refused), (2, 1));
    // The budget is tight for those two, so what they hold goes through the disk.
    feed(&taps_held[0], &content(5_000));
    until("all of it", || pinned[0].filled() == 5_000);
    assert!(cache.status().memory_bytes <= 600 && cache.status().disk_bytes >= 4_700);
    assert_eq!(pinned[0].read_at_blocking(0, 5_000).unwrap(), content(5_000));
    drop(pinned);
    assert!(open(&cache, "2", 0, 10).is_ok(), "an idle one goes for it");
}

#[test]
fn disk_is_one_quota_an_idle_buffer_goes_for_it_and_without_one_the_stream_stops() {
    let cache = cache(2_000, 3_000);
    drop(filled(&cache, "idle", 0, 2_500));
    assert!(cache.status().disk_bytes >= 1_500);
    let held = filled(&cache, "held", 1, 3_000);
    let status = cache.status();
    assert_eq!(status.evictions, Evictions { disk: 1, ..Evictions::default() });
    assert!(status.disk_bytes <= 3_000);
    assert_eq!(held.read_at_blocking(0, 3_000).unwrap(), content(3_000));
    let stopped = open(&cache, "stopped", 2, 5_000).unwrap();
    let error = run(stopped.wait_end()).unwrap_err();
    let ReadError::Full { at, source: SpillError::Quota { limit_bytes: 3_000, .. } } = error else {
        panic!("{error}")
    };
    assert!(cache.status().disk_bytes <= 3_000);
    let at = usize::try_from(at).unwrap();
    assert_eq!(stopped.read_at_blocking(0, at).unwrap(), content(at), "what came before");
    assert_eq!(held.read_at_blocking(0, 3_000).unwrap(), content(3_000));
}

#[test]
fn a_failed_stream_is_begun_anew_for_the_next_who_asks() {
    let cache = cache(10_000, 10_000);
    let (tap, source) = tap();
    let first = run(cache.open("k", 0, || (source, None))).unwrap();
    tap.unbounded_send(Err(broken())).unwrap();
    run(first.wait_end()).unwrap_err();
    let second = filled(&cache, "k", 0, 100);
    assert!(first.read_at_blocking(0, 1).is_err());
    assert_eq!(cache.status().evictions, Evictions { failed: 1, ..Evictions::default() });
    drop(first);
    assert_eq!(cache.status().pinned, 1, "letting go of the old one is not letting go of the new one");
    drop(second);
    assert_eq!(cache.status().pinned, 0);
}

#[test]
fn entries_are_bounded_and_can_be_removed() {
    let cache = cache(100_000, 10_000);
    let mut held: Vec<_> = (0..8).map(|i| filled(&cache, &format!("{i}"), 0, 10)).collect();
    assert!(matches!(open(&cache, "8", 0, 10), Err(CacheError::Entries { limit: 8 })));
    held.remove(3);
    let ninth = filled(&cache, "8", 0, 10);
    assert_eq!(cache.status().evictions, Evictions { entries: 1, ..Evictions::default() });
    assert!(cache.remove("8") && !cache.remove("8"));
    assert_eq!(ninth.read_at_blocking(0, 10).unwrap(), content(10), "who holds it can read on");
    assert_eq!((cache.status().entries, cache.status().evictions.removed), (7, 1));
    drop((held, ninth));
    cache.sweep(1);
    assert_eq!(cache.sweep(1_000), 7);
    assert_eq!(cache.status().memory_bytes, 0);
}

#[test]
fn waits_are_counted_also_of_buffers_that_are_gone() {
    let cache = cache(10_000, 10_000);
    let (tap, source) = tap();
    let pinned = run(cache.open("k", 0, || (source, None))).unwrap();
    let reader = std::thread::spawn({
        let buffer = (*pinned).clone();
        move || buffer.read_at_blocking(0, 5).unwrap()
    });
    until("it waits", || pinned.status().waiting == 1);
    feed(&tap, b"12345");
    assert_eq!(reader.join().unwrap(), "12345");
    pinned.read_at_blocking(0, 5).unwrap();
    assert_eq!(cache.status().waits, 1);
    drop(pinned);
    cache.remove("k");
    assert_eq!(cache.status().waits, 1);
}

proptest! {
    // Whatever is opened, read, held and let go: limits hold at every moment, bytes are right, and in the end
    // nothing is charged.
    #[test]
    fn the_limits_hold_and_every_read_is_the_contents(
        memory in 300u64..2_500,
        disk in 0u64..6_000,
        steps in prop::collection::vec((0usize..6, 0usize..1_500, 0usize..800, any::<bool>()), 1..40),
    ) {
        let cache = cache(memory, disk);
        let content = content(2_000);
        let mut held: Vec<(usize, Pinned)> = Vec::new();
        for (now_ms, (key, at, len, keep)) in (0u64..).step_by(7).zip(steps) {
            // Each key has a length of its own.
            let all = &content[..key * 350];
            let begin = || (Choppy::source(all, &[33, 0, 90], false), None);
            match run(cache.open(&format!("{key}"), now_ms, begin)) {
                Ok(pinned) => {
                    match pinned.read_at_blocking(at as u64, len) {
                        Ok(bytes) => {
                            let from = at.min(all.len());
                            prop_assert_eq!(bytes, &all[from..all.len().min(from + len)]);
                        }
                        Err(ReadError::Full { .. }) => {}
                        Err(other) => panic!("{other}"),
                    }
                    if keep {
                        held.push((key, pinned));
                    }
                }
                Err(CacheError::Memory { .. }) => prop_assert!(!held.is_empty() || memory < WORKING),
                Err(other) => panic!("{other}"),
            }
            let status = cache.status();
            prop_assert!(status.memory_bytes <= memory && status.disk_bytes <= disk, "{status:?}");
            if held.len() > 4 {
                held.remove(0);
            }
        }
        drop(held);
        cache.sweep(1 << 40);
        cache.sweep(1 << 41);
        let status = cache.status();
        prop_assert_eq!((status.entries, status.pinned), (0, 0));
        until("everything is given back", || {
            let status = cache.status();
            (status.memory_bytes, status.disk_bytes) == (0, 0)
        });
    }
}
