//! The five cases of source E, announced sizes that lie, ends and failures, what a buffer says of itself.

use crate::rig::{broken, chunked, content, feed, run, spool, tap, tight, until};
use evenkeel_spool::{Fill, OpenError, Progress, ReadError, SizeMismatch, Source, SpoolBuffer, SpoolOptions};
use std::sync::atomic::Ordering::SeqCst;

/// 100 bytes came, more will: pages of 16, of which the first are on disk.
fn hundred() -> (futures::channel::mpsc::UnboundedSender<std::io::Result<bytes::Bytes>>, SpoolBuffer, Vec<u8>)
{
    let (tap, source) = tap();
    let buffer = spool(source, tight(16, 80, Fill::All));
    let content = content(200);
    feed(&tap, &content[..100]);
    until("100 bytes", || buffer.filled() == 100);
    until("some of it on disk", || buffer.status().disk_bytes > 0);
    (tap, buffer, content)
}

#[test]
fn inside_what_is_buffered() {
    let (_tap, buffer, content) = hundred();
    for (from, to) in [(0, 100), (0, 1), (17, 18), (15, 33), (3, 99), (99, 100)] {
        assert_eq!(
            buffer.read_at_blocking(from as u64, to - from).unwrap(),
            content[from..to],
            "{from}..{to}"
        );
    }
    assert_eq!(buffer.status().waits_total, 0, "none of it waited for the source");
}

#[test]
fn at_the_end_of_what_is_buffered() {
    let (tap, buffer, content) = hundred();
    run(async {
        let read = buffer.read_at(100, 10);
        tokio::pin!(read);
        assert!(futures::poll!(&mut read).is_pending());
        feed(&tap, &content[100..105]);
        until("5 bytes more", || buffer.filled() == 105);
        assert!(futures::poll!(&mut read).is_pending(), "half of it is not it");
        feed(&tap, &content[105..110]);
        assert_eq!(read.await.unwrap(), content[100..110]);
    });
}

/// The original answers the first bytes of the chunk it skipped into.
#[test]
fn beyond_what_is_buffered_into_the_middle_of_a_chunk() {
    let (tap, buffer, content) = hundred();
    feed(&tap, &content[100..200]);
    assert_eq!(buffer.read_at_blocking(141, 7).unwrap(), content[141..148]);
}

#[test]
fn straddling_disk_memory_and_what_is_not_here_yet() {
    let (tap, buffer, content) = hundred();
    run(async {
        let read = tokio::spawn({
            let buffer = buffer.clone();
            async move { buffer.read_at(5, 140).await }
        });
        until("somebody waits", || buffer.status().waiting == 1);
        feed(&tap, &content[100..150]);
        assert_eq!(read.await.unwrap().unwrap(), content[5..145]);
    });
}

#[test]
fn concurrently_each_waits_for_its_own_bytes_only() {
    let (tap, buffer, content) = hundred();
    let far = std::thread::spawn({
        let buffer = buffer.clone();
        move || buffer.read_at_blocking(150, 50).unwrap()
    });
    until("the far reader waits", || buffer.status().waiting == 1);
    // Beside it everybody else reads what is there.
    for from in 0..90usize {
        assert_eq!(buffer.read_at_blocking(from as u64, 10).unwrap(), content[from..from + 10]);
    }
    feed(&tap, &content[100..200]);
    assert_eq!(far.join().unwrap(), content[150..200]);
}

#[test]
fn nothing_is_past_the_end_and_that_is_no_error() {
    let content = content(50);
    let buffer = spool(chunked(&content, &[7], false).0, tight(16, 1_000, Fill::OnDemand));
    assert_eq!(buffer.read_at_blocking(0, 0).unwrap(), "");
    assert_eq!(buffer.filled(), 0, "nothing was asked for, nothing was pulled");
    assert_eq!(buffer.read_at_blocking(45, 100).unwrap(), content[45..]);
    for offset in [50, 51, 1 << 40, u64::MAX] {
        assert_eq!(buffer.read_at_blocking(offset, 10).unwrap(), "");
        assert_eq!(buffer.read_at_blocking(offset, usize::MAX).unwrap(), "");
        assert_eq!(run(buffer.read_some(offset, 10)).unwrap(), "");
    }
    assert_eq!(buffer.slice_blocking(..).unwrap(), content);
    assert_eq!(buffer.slice_blocking(10..=12).unwrap(), content[10..=12]);
    assert_eq!(run(buffer.slice(30..)).unwrap(), content[30..]);
    #[expect(clippy::reversed_empty_ranges, reason = "what a caller may compute")]
    let reversed = buffer.slice_blocking(30..20).unwrap();
    assert_eq!(reversed, "");
}

#[test]
fn an_announced_size_is_a_hint() {
    let content = content(100);
    for (hint, early) in [(60, None), (100, None), (101, None), (4_000_000_000, None), (0, None)] {
        let options = SpoolOptions { size_hint: Some(hint), ..tight(16, 64, Fill::OnDemand) };
        let buffer = spool(chunked(&content, &[9], false).0, options);
        assert_eq!(buffer.size_mismatch(), early, "nothing is known yet");
        assert_eq!(buffer.read_at_blocking(95, 10).unwrap(), content[95..], "announced {hint}");
        assert_eq!(buffer.wait_end_blocking().unwrap(), 100);
        let lie = (hint != 100).then_some(SizeMismatch { announced: hint, actual: 100 });
        assert_eq!((buffer.size_mismatch(), buffer.len()), (lie, Some(100)));
    }
}

#[test]
fn more_than_announced_is_told_before_the_end() {
    let (tap, source) = tap();
    let buffer = spool(source, SpoolOptions { size_hint: Some(10), ..tight(16, 64, Fill::All) });
    feed(&tap, &content(10));
    until("10 bytes", || buffer.filled() == 10);
    assert_eq!((buffer.size_mismatch(), buffer.len()), (None, None), "an announced end is no end");
    feed(&tap, b"x");
    until("one more", || buffer.filled() == 11);
    assert_eq!(buffer.size_mismatch(), Some(SizeMismatch { announced: 10, actual: 11 }));
}

#[test]
fn a_failure_is_the_same_for_everybody_and_for_ever_and_what_came_before_stays() {
    let (tap, source) = tap();
    let buffer = spool(source, tight(16, 48, Fill::All));
    let content = content(70);
    feed(&tap, &content);
    let waiting = std::thread::spawn({
        let buffer = buffer.clone();
        move || buffer.read_at_blocking(60, 20)
    });
    until("somebody waits", || buffer.status().waiting == 1);
    tap.unbounded_send(Err(broken())).unwrap();
    let is_it = |error: ReadError| match error {
        ReadError::Source { at: 70, source } => source.to_string() == "the peer has gone",
        _ => false,
    };
    assert!(is_it(waiting.join().unwrap().unwrap_err()));
    for _ in 0..3 {
        assert!(is_it(buffer.read_at_blocking(70, 1).unwrap_err()));
        assert!(is_it(buffer.read_at_blocking(1 << 40, 1).unwrap_err()), "also past any end");
        assert!(is_it(run(buffer.read_some(70, 1)).unwrap_err()));
        assert!(is_it(run(buffer.wait_end()).unwrap_err()));
        assert_eq!(buffer.read_at_blocking(0, 70).unwrap(), content);
        assert_eq!(run(buffer.read_some(69, 100)).unwrap(), content[69..]);
    }
    assert!(matches!(buffer.status().progress, Progress::Failed(_)));
    assert_eq!(buffer.len(), None, "a failed stream has no known length");
}

#[test]
fn demand_pulls_the_source_and_nothing_else_does() {
    let content = content(10_000);
    let (source, pulled) = chunked(&content, &[10], false);
    let buffer = spool(source, tight(100, 1 << 20, Fill::OnDemand));
    buffer.read_at_blocking(500, 20).unwrap();
    assert_eq!(pulled.load(SeqCst), 520, "up to what was asked for, in whole chunks");
    let (source, pulled) = chunked(&content, &[10], false);
    let ahead = spool(source, tight(100, 1 << 20, Fill::Ahead { bytes: 1_000 }));
    until("the lead", || ahead.filled() == 1_000);
    ahead.read_at_blocking(0, 400).unwrap();
    until("the lead again", || ahead.filled() == 1_400);
    assert_eq!(pulled.load(SeqCst), 1_400);
}

#[test]
fn who_gives_up_waiting_pulls_no_further() {
    let (tap, source) = tap();
    let buffer = spool(source, tight(16, 1 << 20, Fill::OnDemand));
    run(async {
        let read = buffer.read_at(0, 1 << 20);
        let limit = std::time::Duration::from_millis(20);
        assert!(tokio::time::timeout(limit, read).await.is_err(), "the source has not begun");
    });
    assert_eq!(buffer.status().waiting, 0);
    for chunk in content(320).chunks(16) {
        feed(&tap, chunk);
    }
    // The filler was inside the source already: one page of it may come, and no more is wanted.
    until("what was under way", || buffer.filled() == 16);
    assert_eq!(buffer.read_at_blocking(16, 16).unwrap(), content(320)[16..32]);
    assert_eq!(buffer.filled(), 32);
}

#[test]
fn a_source_that_panics_or_a_runtime_that_ends_leaves_nobody_waiting() {
    let panics = futures::stream::poll_fn(|_| -> std::task::Poll<Option<std::io::Result<bytes::Bytes>>> {
        panic!("a panic that the test has asked for")
    });
    let buffer = spool(Source::chunks(panics), SpoolOptions::default());
    assert!(matches!(buffer.read_at_blocking(0, 1), Err(ReadError::Abandoned { at: 0, .. })));

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let (_tap, source) = tap();
    let entered = runtime.enter();
    let buffer = SpoolBuffer::new(source, SpoolOptions::default()).unwrap();
    drop(entered);
    let waiting = std::thread::spawn(move || buffer.read_at_blocking(0, 1));
    runtime.shutdown_background();
    assert!(matches!(waiting.join().unwrap(), Err(ReadError::Abandoned { .. })));
}

#[test]
fn without_a_runtime_or_with_impossible_options_there_is_an_error() {
    let open = |options| SpoolBuffer::new(tap().1, options);
    assert!(matches!(open(SpoolOptions::default()), Err(OpenError::NoRuntime)));
    let _entered = crate::rig::RUNTIME.enter();
    assert!(matches!(
        open(SpoolOptions { page_bytes: 0, ..SpoolOptions::default() }),
        Err(OpenError::Options(_))
    ));
}

#[test]
fn it_says_how_it_stands() {
    let (tap, source) = tap();
    let buffer = spool(source, SpoolOptions { size_hint: Some(64), ..tight(16, 1 << 20, Fill::All) });
    feed(&tap, &content(40));
    until("40 bytes", || buffer.filled() == 40);
    assert_eq!(buffer.to_string(), "spool: 40 of 64? bytes, 0 on disk, arriving, 0 waiting");
    assert_eq!(buffer.spill_blocking().unwrap(), 40);
    drop(tap);
    run(buffer.wait_end()).unwrap();
    assert_eq!(buffer.to_string(), "spool: 40 bytes, 40 on disk, complete, announced 64");
    let debug = format!("{buffer:?}");
    assert!(debug.contains("disk_bytes: 40") && debug.contains("Complete"), "{debug}");

    let failed = spool(chunked(&content(3), &[3], true).0, SpoolOptions::default());
    run(failed.wait_end()).unwrap_err();
    let said = failed.to_string();
    assert!(said.starts_with("spool: 3 bytes, 0 on disk, failed: the source failed at byte 3"), "{said}");
}
