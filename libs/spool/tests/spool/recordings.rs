//! Recordings: appended at an offset, durable as far as told, whole again after a crash.

use crate::rig::{EIO, ENOSPC, Fault, FaultyDisk, content, run, until};
use bytes::Bytes;
use evenkeel_spool::{
    AppendError, ReadError, Recording, RecordingOptions, RecoverError, Recovered, SyncPolicy, Verify,
};
use proptest::prelude::*;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

fn options(sync: SyncPolicy) -> RecordingOptions {
    RecordingOptions { sync, disk_reserve_bytes: 0, ..RecordingOptions::default() }
}

fn open(path: &Path, options: RecordingOptions) -> (Recording, Recovered) {
    Recording::open(path, options).unwrap()
}

fn journal(path: &Path) -> PathBuf {
    path.with_extension("journal")
}

/// A directory and the path of a recording in it.
fn place() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rec");
    (dir, path)
}

#[test]
fn an_upload_is_resumed_where_it_stopped_and_read_meanwhile() {
    let (_dir, path) = place();
    let content = content(10_000);
    let (first, recovered) = open(&path, options(SyncPolicy::AtEnd));
    assert_eq!(recovered, Recovered { kept_bytes: 0, cut_bytes: 0, finished: false, verified_bytes: 0 });
    let buffer = first.buffer();
    let waiting =
        std::thread::spawn(move || (buffer.read_at_blocking(2_000, 3_000), buffer.wait_end_blocking()));
    assert_eq!(run(first.append(0, Bytes::copy_from_slice(&content[..4_000]))).unwrap(), 4_000);
    assert_eq!(first.buffer().read_at_blocking(10, 20).unwrap(), content[10..30]);
    let wrong = first.append_blocking(3_000, b"again").unwrap_err();
    assert!(matches!(wrong, AppendError::Offset { offset: 3_000, expected: 4_000 }), "{wrong}");
    assert_eq!(first.append_blocking(4_000, &content[4_000..6_000]).unwrap(), 6_000);
    until("both reads had their bytes or wait for the end", || first.buffer().status().waiting == 1);
    drop(first);
    let (read, end) = waiting.join().unwrap();
    assert_eq!(read.unwrap(), content[2_000..5_000]);
    assert!(matches!(end, Err(ReadError::Abandoned { at: 6_000, .. })), "closed unfinished");

    let (second, recovered) = open(&path, options(SyncPolicy::AtEnd));
    assert_eq!((recovered.kept_bytes, recovered.verified_bytes, second.len()), (6_000, 6_000, 6_000));
    second.append_blocking(6_000, &content[6_000..]).unwrap();
    assert_eq!((second.finish_blocking().unwrap(), second.finish_blocking().unwrap()), (10_000, 10_000));
    assert_eq!((second.len_durable(), second.is_finished()), (10_000, true));
    let refused = second.append_blocking(10_000, b"more").unwrap_err();
    assert!(matches!(refused, AppendError::Finished { len: 10_000 }));
    let buffer = second.buffer();
    drop(second);
    assert_eq!(buffer.slice_blocking(..).unwrap(), content, "still readable when it is closed");
    assert_eq!(fs::read(&path).unwrap(), content, "the file is the content");

    let (third, recovered) =
        open(&path, RecordingOptions { verify: Verify::All, ..options(SyncPolicy::AtEnd) });
    assert_eq!(
        recovered,
        Recovered { kept_bytes: 10_000, cut_bytes: 0, finished: true, verified_bytes: 10_000 }
    );
    assert_eq!(third.buffer().len(), Some(10_000));
    assert_eq!(
        third.disk_bytes(),
        fs::metadata(&path).unwrap().len() + fs::metadata(journal(&path)).unwrap().len()
    );
    third.remove().unwrap();
    assert!(!path.exists() && !journal(&path).exists());
}

#[test]
fn what_was_removed_takes_nothing_more_and_ends_its_readers() {
    let (_dir, path) = place();
    let (recording, _) = open(&path, options(SyncPolicy::AtEnd));
    recording.append_blocking(0, b"here").unwrap();
    let buffer = recording.buffer();
    recording.remove().unwrap();
    let refused = recording.append_blocking(4, b"more").unwrap_err();
    assert!(matches!(refused, AppendError::Removed { .. }), "{refused}");
    assert_eq!(buffer.read_at_blocking(0, 4).unwrap(), "here", "what was there stays readable");
    assert!(buffer.read_at_blocking(4, 1).unwrap_err().to_string().contains("was removed"));
    // The name is free for another one.
    let (next, recovered) = open(&path, options(SyncPolicy::AtEnd));
    assert_eq!((next.len(), recovered.kept_bytes), (0, 0));
}

#[test]
fn one_holder_at_a_time() {
    let (_dir, path) = place();
    let (held, _) = open(&path, options(SyncPolicy::AtEnd));
    let second = Recording::open(&path, options(SyncPolicy::AtEnd));
    assert!(matches!(second, Err(RecoverError::Held { .. })), "{second:?}");
    drop(held);
    open(&path, options(SyncPolicy::AtEnd));
}

#[test]
fn who_only_looks_begins_nothing() {
    let (dir, path) = place();
    let look = || RecordingOptions { create: false, ..options(SyncPolicy::AtEnd) };
    assert!(matches!(Recording::open(&path, look()), Err(RecoverError::Absent { .. })));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    open(&path, options(SyncPolicy::AtEnd)).0.append_blocking(0, b"abc").unwrap();
    assert_eq!(open(&path, look()).1.kept_bytes, 3);
}

#[test]
fn a_file_of_somebody_else_is_left_alone() {
    let (dir, path) = place();
    fs::write(&path, "a diary").unwrap();
    assert!(matches!(
        Recording::open(&path, options(SyncPolicy::AtEnd)),
        Err(RecoverError::NotARecording { .. })
    ));
    assert_eq!(
        (fs::read(&path).unwrap(), fs::read_dir(dir.path()).unwrap().count()),
        (b"a diary".to_vec(), 1)
    );
    fs::write(journal(&path), [7; 48]).unwrap();
    assert!(matches!(
        Recording::open(&path, options(SyncPolicy::AtEnd)),
        Err(RecoverError::NotARecording { .. })
    ));
    assert_eq!(
        (fs::read(&path).unwrap(), fs::read(journal(&path)).unwrap()),
        (b"a diary".to_vec(), vec![7; 48])
    );
}

#[test]
fn damage_before_a_mark_is_told_and_not_cut() {
    let (_dir, path) = place();
    let (recording, _) = open(&path, options(SyncPolicy::Each));
    for i in 0..4u64 {
        recording.append_blocking(i * 100, &content(100)).unwrap();
    }
    drop(recording);
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(b"!", 150).unwrap();
    let all = || RecordingOptions { verify: Verify::All, ..options(SyncPolicy::Each) };
    let damaged = Recording::open(&path, all()).unwrap_err();
    assert!(matches!(damaged, RecoverError::Damaged { at: 100, synced: 400, .. }), "{damaged}");
    assert_eq!(fs::metadata(&path).unwrap().len(), 400, "nothing was cut");
    assert_eq!(open(&path, options(SyncPolicy::Each)).1.verified_bytes, 0, "who does not ask is not told");
    file.set_len(399).unwrap();
    assert!(matches!(
        Recording::open(&path, options(SyncPolicy::Each)),
        Err(RecoverError::Damaged { at: 399, synced: 400, .. })
    ));
}

#[test]
fn the_policy_says_when_bytes_are_durable() {
    // Per policy: what is durable after each append, and how many syncs that took.
    for (sync, want, syncs) in [
        (SyncPolicy::Each, [100, 200, 300], 6),
        (SyncPolicy::Bytes(150), [0, 200, 200], 2),
        (SyncPolicy::AtEnd, [0, 0, 0], 0),
    ] {
        let (_dir, path) = place();
        let disk = Arc::new(FaultyDisk::default());
        let (recording, _) = open(&path, RecordingOptions { disk: Arc::clone(&disk) as _, ..options(sync) });
        let begun = disk.synced.load(SeqCst);
        for (i, want) in (0u64..).zip(want) {
            recording.append_blocking(i * 100, &content(100)).unwrap();
            assert_eq!(recording.len_durable(), want, "{sync:?}");
        }
        assert_eq!(disk.synced.load(SeqCst) - begun, syncs, "{sync:?}");
        assert_eq!(recording.sync_blocking().unwrap(), 300);
        assert_eq!(recording.len_durable(), 300);
        drop(recording);
        assert_eq!(open(&path, options(sync)).0.len_durable(), 300, "and it is known afterwards");
    }
}

#[test]
fn a_disk_that_refuses_an_append_can_be_asked_again() {
    let (_dir, path) = place();
    let disk = Arc::new(FaultyDisk::default());
    let with = || RecordingOptions { disk: Arc::clone(&disk) as _, ..options(SyncPolicy::Each) };
    let (recording, _) = open(&path, with());
    recording.append_blocking(0, &content(100)).unwrap();
    // Data, entry, mark: each of the three writes may be the one that fails, in its middle as well.
    for good in 0..3 {
        for half in [false, true] {
            let mut writes = disk.writes.lock().unwrap();
            writes.extend((0..good).map(|_| Fault::Fine));
            writes.extend(half.then_some(Fault::Short(7)));
            writes.push_back(Fault::Fails(ENOSPC));
            drop(writes);
            let at = recording.len();
            let refused = recording.append_blocking(at, &content(50)).unwrap_err();
            assert!(matches!(refused, AppendError::Disk { .. }), "{refused}");
            assert_eq!((recording.len(), recording.len_durable()), (at, at));
            // Another piece than the one that was refused.
            recording.append_blocking(at, &content(30)).unwrap();
        }
    }
    drop(recording);
    let (again, recovered) = open(&path, RecordingOptions { verify: Verify::All, ..with() });
    assert_eq!((recovered.kept_bytes, recovered.verified_bytes), (280, 280));
    let bytes = again.buffer().read_at_blocking(0, 280).unwrap();
    assert_eq!(bytes[..100], content(100));
    assert!(bytes[100..].chunks(30).all(|chunk| chunk == content(30)));
}

#[test]
fn after_a_failed_sync_nothing_is_promised_until_it_is_opened_anew() {
    let (_dir, path) = place();
    let disk = Arc::new(FaultyDisk::default());
    let with = || RecordingOptions { disk: Arc::clone(&disk) as _, ..options(SyncPolicy::Each) };
    let (recording, _) = open(&path, with());
    recording.append_blocking(0, &content(100)).unwrap();
    disk.syncs.lock().unwrap().push_back(Fault::Fails(EIO));
    for _ in 0..2 {
        let broken = recording.append_blocking(100, &content(100)).unwrap_err();
        assert!(matches!(broken, AppendError::Broken { .. }), "a later success would be a lie: {broken}");
    }
    assert!(matches!(recording.finish_blocking(), Err(AppendError::Broken { .. })));
    assert_eq!((recording.len(), recording.len_durable()), (100, 100));
    assert!(matches!(
        recording.buffer().read_at_blocking(50, 100),
        Err(ReadError::Abandoned { at: 100, .. })
    ));
    drop(recording);
    let (again, recovered) = open(&path, with());
    assert_eq!(recovered.kept_bytes, 200, "here it had survived, its checksum says so");
    assert_eq!(again.len_durable(), 100, "but no mark says that it would survive a loss of power");
    again.append_blocking(200, b"more").unwrap();
}

#[test]
fn the_limits_are_kept() {
    let (_dir, path) = place();
    let disk = Arc::new(FaultyDisk::default());
    let (recording, _) = open(
        &path,
        RecordingOptions {
            bytes_max: 150,
            disk_reserve_bytes: 1_000,
            disk: Arc::clone(&disk) as _,
            ..options(SyncPolicy::AtEnd)
        },
    );
    *disk.available.lock().unwrap() = Some(1_099);
    let refused = recording.append_blocking(0, &content(100)).unwrap_err();
    assert!(matches!(refused, AppendError::Reserve { available_bytes: 1_099, .. }), "{refused}");
    *disk.available.lock().unwrap() = Some(1_100);
    recording.append_blocking(0, &content(100)).unwrap();
    let refused = recording.append_blocking(100, &content(51)).unwrap_err();
    assert!(matches!(refused, AppendError::TooLong { asked: 151, limit: 150 }), "{refused}");
    assert_eq!(recording.append_blocking(100, b"").unwrap(), 100);
}

/// What a crash does to the last pages of a file.
#[derive(Debug, Clone, Copy)]
enum Tear {
    CutData(u64),
    CutJournal(u64),
    SpoilData(u64),
    SpoilJournal(u64),
    GrowData(u8),
    GrowJournal(u8),
}

fn tear() -> impl Strategy<Value = Tear> {
    prop_oneof![
        (0u64..1_000).prop_map(Tear::CutData),
        (0u64..300).prop_map(Tear::CutJournal),
        (0u64..1_000).prop_map(Tear::SpoilData),
        (0u64..300).prop_map(Tear::SpoilJournal),
        any::<u8>().prop_map(Tear::GrowData),
        any::<u8>().prop_map(Tear::GrowJournal),
    ]
}

/// Tears behind what was durable, as a loss of power may.
fn tear_up(path: &Path, tear: Tear, data_from: u64, journal_from: u64) {
    let tear_file = |path: &Path, from: u64, what: u8, by: u64| {
        let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
        let len = file.metadata().unwrap().len();
        let at = len.saturating_sub(by).max(from);
        match what {
            0 => file.set_len(at).unwrap(),
            1 if at < len => {
                let mut byte = [0];
                file.read_exact_at(&mut byte, at).unwrap();
                file.write_all_at(&[byte[0] ^ 0x55], at).unwrap();
            }
            1 => {}
            _ => file.write_all_at(&vec![0xEE; usize::try_from(by).unwrap()], len).unwrap(),
        }
    };
    let journal = journal(path);
    match tear {
        Tear::CutData(by) => tear_file(path, data_from, 0, by),
        Tear::SpoilData(by) => tear_file(path, data_from, 1, by),
        Tear::GrowData(by) => tear_file(path, data_from, 2, by.into()),
        Tear::CutJournal(by) => tear_file(&journal, journal_from, 0, by),
        Tear::SpoilJournal(by) => tear_file(&journal, journal_from, 1, by),
        Tear::GrowJournal(by) => tear_file(&journal, journal_from, 2, by.into()),
    }
}

proptest! {
    // Whatever a crash did behind the last mark: everything durable is there, and what is there is right.
    #[test]
    fn a_torn_tail_is_cut_and_the_rest_goes_on(
        appends in prop::collection::vec((1usize..400, any::<bool>()), 1..12),
        tears in prop::collection::vec(tear(), 0..4),
    ) {
        let (_dir, path) = place();
        let content = content(10_000);
        let (recording, _) = open(&path, options(SyncPolicy::AtEnd));
        let (mut at, mut journal_durable) = (0, 24);
        for (len, sync) in appends {
            recording.append_blocking(at as u64, &content[at..at + len]).unwrap();
            at += len;
            if sync {
                recording.sync_blocking().unwrap();
                journal_durable = fs::metadata(journal(&path)).unwrap().len();
            }
        }
        let durable = recording.len_durable();
        drop(recording);
        for tear in &tears {
            tear_up(&path, *tear, durable, journal_durable);
        }
        let (again, recovered) = open(&path, options(SyncPolicy::AtEnd));
        let kept = usize::try_from(recovered.kept_bytes).unwrap();
        prop_assert!(recovered.kept_bytes >= durable && kept <= at, "{durable} <= {kept} <= {at}");
        prop_assert_eq!(again.len_durable(), durable);
        prop_assert_eq!(fs::metadata(&path).unwrap().len(), recovered.kept_bytes, "cut at once");
        prop_assert_eq!(fs::metadata(journal(&path)).unwrap().len() % 24, 0, "the journal as well");
        if tears.is_empty() {
            prop_assert_eq!((kept, recovered.cut_bytes), (at, 0));
        }
        prop_assert_eq!(again.buffer().read_at_blocking(0, kept).unwrap(), &content[..kept]);
        again.append_blocking(kept as u64, &content[kept..kept + 500]).unwrap();
        again.finish_blocking().unwrap();
        drop(again);
        let all = RecordingOptions { verify: Verify::All, ..options(SyncPolicy::AtEnd) };
        let (_, recovered) = open(&path, all);
        prop_assert_eq!((recovered.kept_bytes, recovered.cut_bytes, recovered.finished), (kept as u64 + 500, 0, true));
        prop_assert_eq!(fs::read(&path).unwrap(), &content[..kept + 500]);
    }
}
