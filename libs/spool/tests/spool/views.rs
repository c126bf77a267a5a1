//! A buffer as a file, and saved to one.

use crate::rig::{Choppy, broken, chunked, content, feed, run, spool, tap, tight, until};
use evenkeel_spool::{Fill, SaveError};
use proptest::prelude::*;
use std::io::{Cursor, ErrorKind, Read, Seek, SeekFrom};
use tokio::io::{AsyncReadExt, AsyncSeekExt};

fn to() -> impl Strategy<Value = SeekFrom> {
    prop_oneof![
        (0u64..2_500).prop_map(SeekFrom::Start),
        (-1_500i64..1_500).prop_map(SeekFrom::Current),
        (-2_500i64..500).prop_map(SeekFrom::End),
    ]
}

proptest! {
    // The standard library's cursor over the same bytes is the reference.
    #[test]
    fn both_views_do_what_a_cursor_does(
        len in 0usize..2_000,
        sizes in prop::collection::vec(0usize..300, 0..6),
        steps in prop::collection::vec((to(), 0usize..400), 1..12),
    ) {
        let content = content(len);
        let buffer = spool(Choppy::source(&content, &sizes, false), tight(64, 512, Fill::OnDemand));
        let (mut reference, mut view, mut async_view) =
            (Cursor::new(&content), buffer.reader(), buffer.async_reader());
        for (to, len) in steps {
            let want = Seek::seek(&mut reference, to).map_err(|e| e.kind());
            prop_assert_eq!(Seek::seek(&mut view, to).map_err(|e| e.kind()), want);
            prop_assert_eq!(run(async_view.seek(to)).map_err(|e| e.kind()), want);
            let (mut want, mut got, mut got_async) = (Vec::new(), Vec::new(), Vec::new());
            Read::read_to_end(&mut Read::take(&mut reference, len as u64), &mut want).unwrap();
            Read::read_to_end(&mut Read::take(&mut view, len as u64), &mut got).unwrap();
            run(AsyncReadExt::take(&mut async_view, len as u64).read_to_end(&mut got_async)).unwrap();
            prop_assert_eq!(&got, &want);
            prop_assert_eq!(&got_async, &want);
        }
    }
}

#[test]
fn views_give_what_is_there_and_have_cursors_of_their_own() {
    let (tap, source) = tap();
    let buffer = spool(source, tight(16, 1_000, Fill::OnDemand));
    feed(&tap, b"hello");
    let (mut one, mut other, mut buf) = (buffer.reader(), buffer.async_reader(), [0; 100]);
    assert_eq!(one.read(&mut buf).unwrap(), 5, "it does not wait for the other 95");
    assert_eq!(run(other.read(&mut buf[..2])).unwrap(), 2);
    assert_eq!(one.stream_position().unwrap(), 5);
    tap.unbounded_send(Err(broken())).unwrap();
    assert_eq!(one.read(&mut buf).unwrap_err().kind(), ErrorKind::ConnectionReset);
    let mut rest = Vec::new();
    assert_eq!(run(other.read_to_end(&mut rest)).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(rest, b"llo", "what came before is read first");
}

#[test]
fn it_is_saved_while_it_streams_and_has_its_name_when_it_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let files = || std::fs::read_dir(dir.path()).unwrap().count();
    let content = content(300_000);
    for blocking in [false, true] {
        let (tap, source) = tap();
        let buffer = spool(source, tight(16 << 10, 64 << 10, Fill::OnDemand));
        let path = dir.path().join(format!("saved-{blocking}"));
        let saving = std::thread::spawn({
            let (buffer, path) = (buffer.clone(), path.clone());
            move || if blocking { buffer.save_blocking(path) } else { run(buffer.save(path)) }
        });
        for chunk in content.chunks(50_000) {
            until("it has taken what there was", || buffer.status().waiting == 1);
            assert!(!path.exists());
            feed(&tap, chunk);
        }
        drop(tap);
        assert_eq!(saving.join().unwrap().unwrap(), 300_000);
        assert_eq!(std::fs::read(&path).unwrap(), content);
        assert_eq!(
            buffer.read_at_blocking(299_990, 100).unwrap(),
            content[299_990..],
            "and can be read still"
        );
    }
    assert_eq!(files(), 2);
}

#[test]
fn a_save_that_fails_leaves_nothing_and_what_was_there_before() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("saved");
    std::fs::write(&path, "older").unwrap();
    let failing = spool(chunked(&content(1_000), &[100], true).0, tight(100, 500, Fill::OnDemand));
    assert!(matches!(run(failing.save(&path)), Err(SaveError::Read(_))));
    assert!(matches!(failing.save_blocking(&path), Err(SaveError::Read(_))));
    assert_eq!(std::fs::read(&path).unwrap(), b"older");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    let nowhere = dir.path().join("no/such/place");
    let error = run(failing.save(&nowhere)).unwrap_err();
    assert!(error.to_string().contains("no/such/place"), "{error}");
    // Dropped under way: nothing stays either.
    let (_tap, source) = tap();
    let waiting = spool(source, tight(100, 500, Fill::OnDemand));
    run(async {
        let limit = std::time::Duration::from_millis(20);
        assert!(tokio::time::timeout(limit, waiting.save(dir.path().join("never"))).await.is_err());
    });
    assert_eq!((std::fs::read_dir(dir.path()).unwrap().count(), waiting.status().waiting), (1, 0));
}
