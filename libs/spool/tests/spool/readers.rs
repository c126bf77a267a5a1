//! Many readers at once, and the limit on memory while they read.

use crate::rig::{chunked, content, feed, run, spool, tap, tight, until};
use evenkeel_spool::{Fill, Source, SpoolOptions};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

const READERS: usize = 1_000;

#[test]
fn a_thousand_readers_wait_and_each_gets_its_own() {
    let (tap, source) = tap();
    let buffer = spool(source, tight(4 << 10, 64 << 10, Fill::OnDemand));
    let content = content(READERS * 300 + 100);
    run(async {
        let readers: Vec<_> = (0..READERS)
            .map(|i| {
                let buffer = buffer.clone();
                // Every third asks for what straddles its neighbours, in an order of its own.
                let at = (i * 7_919) % READERS * 300;
                let len = if i % 3 == 0 { 400 } else { 100 };
                tokio::spawn(async move { (at, len, buffer.read_at(at as u64, len).await.unwrap()) })
            })
            .collect();
        until("all of them wait", || buffer.status().waiting == READERS);
        for chunk in content.chunks(1_000) {
            feed(&tap, chunk);
        }
        for reader in readers {
            let (at, len, bytes) = reader.await.unwrap();
            assert!(bytes == content[at..at + len], "the reader at {at}");
        }
    });
    assert_eq!(buffer.status().waiting, 0);
    assert_eq!(buffer.status().waits_total, READERS as u64);
}

#[test]
fn threads_read_anywhere_while_pages_leave_memory_under_them() {
    let content = content(3 << 20);
    let (source, _) = chunked(&content, &[10_000, 3, 70_000], false);
    let options = tight(16 << 10, 256 << 10, Fill::Ahead { bytes: 64 << 10 });
    let (page_bytes, memory_max) = (options.page_bytes as u64, options.memory_bytes_max);
    let buffer = spool(source, options);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut most = 0;
            while !done.load(SeqCst) {
                most = most.max(buffer.status().memory_bytes);
                std::thread::yield_now();
            }
            most
        });
        let readers: Vec<_> = (0..16u64)
            .map(|seed| {
                let (buffer, content) = (&buffer, &content);
                scope.spawn(move || {
                    let mut lot = seed + 1;
                    for step in 0..300usize {
                        lot = lot
                            .wrapping_mul(6_364_136_223_846_793_005)
                            .wrapping_add(1_442_695_040_888_963_407);
                        // Forward with the stream, jumping back and forth.
                        let reach = content.len() * (step + 1) / 300;
                        let at = usize::try_from(lot >> 20).unwrap() % reach;
                        let len = usize::try_from(lot % 40_000).unwrap();
                        let want = &content[at..content.len().min(at + len)];
                        assert!(buffer.read_at_blocking(at as u64, len).unwrap() == want, "{len} at {at}");
                    }
                })
            })
            .collect();
        readers.into_iter().for_each(|reader| reader.join().unwrap());
        done.store(true, SeqCst);
        let most = watch.join().unwrap();
        assert!(
            most <= memory_max && most > memory_max / 2,
            "{most} bytes at most, the limit is {memory_max}"
        );
    });
    let status = buffer.status();
    assert_eq!(status.filled_bytes, content.len() as u64);
    assert!(status.memory_bytes > memory_max / 2, "the newest pages stay in memory: {status:?}");
    assert!(status.disk_bytes + memory_max >= status.filled_bytes);
    assert_eq!(status.disk_bytes % page_bytes, 0, "whole pages, each once");
}

#[test]
fn what_is_inside_one_page_is_not_copied() {
    let content = content(64 << 10);
    let source = Source::read(io::Cursor::new(content.clone()));
    let options = SpoolOptions { page_bytes: 32 << 10, fill: Fill::All, ..SpoolOptions::default() };
    let buffer = spool(source, options);
    run(buffer.wait_end()).unwrap();
    let page = buffer.read_at_blocking(0, 32 << 10).unwrap();
    let part = buffer.read_at_blocking(1_000, 500).unwrap();
    assert_eq!(part.as_ptr(), page[1_000..].as_ptr());
    let straddling = buffer.read_at_blocking((32 << 10) - 10, 20).unwrap();
    assert_eq!(straddling, content[(32 << 10) - 10..(32 << 10) + 10]);
    // A page that a reader holds outlives its place in memory.
    assert_eq!(buffer.spill_blocking().unwrap(), 64 << 10);
    assert_eq!((buffer.status().memory_bytes, &part[..]), (0, &content[1_000..1_500]));
    assert_eq!(buffer.read_at_blocking(1_000, 500).unwrap(), part);
}
