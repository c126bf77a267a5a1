//! Ten thousand buffers opened, used and dropped leave the process as it was: descriptors, disk, memory.
//!
//! Alone in its binary, because descriptors and resident memory are the process's.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use evenkeel_spool::{Fill, Source, SpoolBuffer, SpoolOptions};
use std::path::Path;
use std::time::{Duration, Instant};

const BUFFERS: usize = 10_000;
const CONTENT: usize = 48 << 10;

/// Open descriptors, and bytes of memory that are resident.
fn held() -> (usize, u64) {
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap().count();
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let resident: u64 = pages.split(' ').nth(1).unwrap().parse().unwrap();
    (descriptors, resident * 4_096)
}

/// One life of a buffer: some end, some are dropped in the middle, some with a reader that waits.
async fn one(i: usize, dir: &Path, content: &Bytes) {
    let chunks: Vec<_> =
        (0..CONTENT).step_by(4_000).map(|at| content.slice(at..CONTENT.min(at + 4_000))).collect();
    let chunks = futures::stream::iter(chunks.into_iter().map(Ok));
    // Every other stream never ends.
    let source = match i % 2 {
        0 => Source::chunks(chunks),
        _ => Source::chunks(futures::StreamExt::chain(chunks, futures::stream::pending())),
    };
    let options = SpoolOptions {
        page_bytes: 4 << 10,
        memory_bytes_max: 16 << 10,
        dir: dir.to_path_buf(),
        fill: if i.is_multiple_of(3) { Fill::All } else { Fill::OnDemand },
        disk_reserve_bytes: 0,
        ..SpoolOptions::default()
    };
    let buffer = SpoolBuffer::new(source, options).unwrap();
    assert_eq!(buffer.read_at(40_000, 5_000).await.unwrap(), content[40_000..45_000]);
    assert!(buffer.status().disk_bytes > 0);
    if i % 2 == 1 {
        let beyond = buffer.read_at(CONTENT as u64, 1);
        tokio::pin!(beyond);
        assert!(futures::poll!(&mut beyond).is_pending());
    }
}

#[test]
fn ten_thousand_buffers_leave_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let content = Bytes::from((0..CONTENT).map(|i| (i % 251) as u8).collect::<Vec<_>>());
    let lives = |range: std::ops::Range<usize>| {
        runtime.block_on(async {
            for i in range {
                one(i, dir.path(), &content).await;
            }
        });
    };
    // What the last ones leave to their tasks is done soon.
    let settled = |descriptors_max: usize| {
        let deadline = Instant::now() + Duration::from_secs(30);
        while held().0 > descriptors_max || runtime.metrics().num_alive_tasks() > 0 {
            let tasks = runtime.metrics().num_alive_tasks();
            assert!(Instant::now() < deadline, "{} descriptors, {tasks} tasks are left", held().0);
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    lives(0..1);
    settled(usize::MAX);
    let descriptors = held().0;
    // The first thousand bring threads and allocator to where they stay.
    lives(1..1_000);
    settled(descriptors);
    let resident = held().1;
    lives(1_000..BUFFERS);
    settled(descriptors);
    let grown = held().1.saturating_sub(resident);
    // A leak of one page per buffer would be 36 MiB.
    assert!(grown < 8 << 20, "{grown} bytes more are resident than after the first thousand");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
