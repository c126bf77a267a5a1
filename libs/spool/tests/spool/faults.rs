//! A disk that is full, broken, slow to finish or interrupted.

use crate::rig::{EINTR, EIO, ENOSPC, Fault, FaultyDisk, chunked, content, run, spool, tight, until};
use evenkeel_spool::{Disk, Fill, Progress, ReadError, SpillError, SpoolBuffer, SpoolOptions};
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

fn on(disk: &Arc<FaultyDisk>, content: &[u8], options: SpoolOptions) -> SpoolBuffer {
    spool(chunked(content, &[50], false).0, SpoolOptions { disk: Arc::clone(disk) as _, ..options })
}

#[test]
fn a_full_disk_stops_the_pull_and_hurts_nothing_that_is_there() {
    let content = content(10_000);
    for fault in [Fault::Fails(ENOSPC), Fault::Fails(EIO)] {
        let disk = Arc::new(FaultyDisk::default());
        // Three writes go well, the fourth does half and then no more.
        disk.writes.lock().unwrap().extend([Fault::Fine, Fault::Fine, Fault::Fine, Fault::Short(50), fault]);
        let buffer = on(&disk, &content, tight(100, 500, Fill::All));
        let error = buffer.wait_end_blocking().unwrap_err();
        let ReadError::Full { at, source: SpillError::Disk { dir, .. } } = &error else { panic!("{error}") };
        assert_eq!(*dir, std::env::temp_dir());
        assert!(error.to_string().contains("free space there"), "{error}");
        let status = buffer.status();
        assert_eq!((status.filled_bytes, status.disk_bytes), (*at, 300));
        assert!(matches!(status.progress, Progress::Failed(_)) && *at < 10_000);
        let at = usize::try_from(*at).unwrap();
        assert_eq!(buffer.read_at_blocking(0, at).unwrap(), content[..at], "on disk and in memory");
        assert_eq!(run(buffer.read_at(250, 100)).unwrap(), content[250..350]);
        assert!(matches!(buffer.read_at_blocking(at as u64, 1), Err(ReadError::Full { .. })), "sticky");
        // There is room again: what is in memory can leave, but the stream has been given up.
        assert_eq!(buffer.spill_blocking().unwrap(), status.filled_bytes - 300);
        assert_eq!(buffer.read_at_blocking(0, at).unwrap(), content[..at]);
        assert!(buffer.wait_end_blocking().is_err());
    }
}

/// The system's own full disk.
#[derive(Debug)]
struct DevFull;

impl Disk for DevFull {
    fn unnamed(&self, _: &Path) -> io::Result<File> {
        File::options().read(true).write(true).open("/dev/full")
    }
}

#[test]
fn the_systems_own_enospc_is_told_as_such() {
    let content = content(2_000);
    let options = SpoolOptions { disk: Arc::new(DevFull), ..tight(100, 500, Fill::All) };
    let buffer = spool(chunked(&content, &[50], false).0, options);
    let ReadError::Full { at, source: SpillError::Disk { source, .. } } =
        buffer.wait_end_blocking().unwrap_err()
    else {
        panic!("{buffer}")
    };
    assert_eq!(source.kind(), io::ErrorKind::StorageFull);
    let at = usize::try_from(at).unwrap();
    assert_eq!(buffer.read_at_blocking(0, at).unwrap(), content[..at]);
}

#[test]
fn a_spill_on_demand_that_fails_leaves_the_stream_alone() {
    let content = content(2_000);
    let disk = Arc::new(FaultyDisk::default());
    let buffer = on(&disk, &content, tight(100, 1 << 20, Fill::OnDemand));
    buffer.read_at_blocking(900, 50).unwrap();
    disk.writes.lock().unwrap().extend([Fault::Fine, Fault::Fails(ENOSPC)]);
    let error = buffer.spill_blocking().unwrap_err();
    assert!(matches!(error, SpillError::Disk { len: 100, .. }), "{error}");
    assert_eq!(buffer.status().disk_bytes, 100);
    assert_eq!(buffer.slice_blocking(..).unwrap(), content, "the rest comes as before");
}

#[test]
fn what_must_stay_free_stays_free() {
    let content = content(10_000);
    let disk = Arc::new(FaultyDisk { available: Some(1_099).into(), ..FaultyDisk::default() });
    let options = SpoolOptions { disk_reserve_bytes: 1_000, ..tight(100, 500, Fill::All) };
    let buffer = on(&disk, &content, options);
    let error = buffer.wait_end_blocking().unwrap_err();
    let reserve = |error: &ReadError| {
        matches!(
            error,
            ReadError::Full {
                source: SpillError::Reserve { available_bytes: 1_099, reserve_bytes: 1_000, .. },
                ..
            }
        )
    };
    assert!(reserve(&error), "{error}");
    assert_eq!(disk.written.load(SeqCst), 0);
    *disk.available.lock().unwrap() = Some(1_100);
    assert!(buffer.spill_blocking().is_ok(), "one byte more, and a page fits");
}

#[test]
fn a_buffer_takes_its_share_of_the_disk_and_no_more() {
    let content = content(10_000);
    let disk = Arc::new(FaultyDisk::default());
    let options = SpoolOptions { disk_bytes_max: 1_050, ..tight(100, 500, Fill::All) };
    let buffer = on(&disk, &content, options);
    let error = buffer.wait_end_blocking().unwrap_err();
    assert!(
        matches!(error, ReadError::Full { source: SpillError::TooLong { limit_bytes: 1_050 }, .. }),
        "{error}"
    );
    assert_eq!((buffer.status().disk_bytes, disk.written.load(SeqCst)), (1_000, 1_000));
    let filled = usize::try_from(buffer.filled()).unwrap();
    assert_eq!(buffer.read_at_blocking(0, filled).unwrap(), content[..filled]);
}

#[test]
fn interrupted_and_short_calls_are_no_errors() {
    let content = content(5_000);
    let disk = Arc::new(FaultyDisk::default());
    let hiccup = [Fault::Fails(EINTR), Fault::Short(1), Fault::Fails(EINTR), Fault::Short(7)];
    disk.writes.lock().unwrap().extend(hiccup.iter().cycle().take(400));
    let buffer = on(&disk, &content, tight(100, 500, Fill::All));
    run(buffer.wait_end()).unwrap();
    buffer.spill_blocking().unwrap();
    for cold in [false, true] {
        disk.reads.lock().unwrap().extend(hiccup.iter().cycle().take(100));
        assert_eq!(buffer.read_at_blocking(30, 4_000).unwrap(), content[30..4_030], "{cold}");
        disk.reads.lock().unwrap().extend(hiccup.iter().cycle().take(100));
        assert_eq!(run(buffer.read_at(30, 4_000)).unwrap(), content[30..4_030]);
        let mut buf = [0; 300];
        disk.reads.lock().unwrap().extend(hiccup.iter().cycle().take(100));
        assert_eq!(run(buffer.read_into(4_900, &mut buf)).unwrap(), 100);
        assert_eq!(buf[..100], content[4_900..]);
    }
}

#[test]
fn a_read_that_the_disk_refuses_hurts_that_read_only() {
    let content = content(3_000);
    let disk = Arc::new(FaultyDisk { cold: true, ..FaultyDisk::default() });
    let buffer = on(&disk, &content, tight(100, 500, Fill::All));
    run(buffer.wait_end()).unwrap();
    buffer.spill_blocking().unwrap();
    let refused = |result: Result<bytes::Bytes, ReadError>, kind: &str| {
        let error = result.unwrap_err();
        let is_it = matches!(&error, ReadError::Disk { offset: 150, len: 100, .. });
        assert!(is_it && error.to_string().contains(kind), "{error}");
    };
    for (fault, kind) in
        [(Fault::Fails(EIO), "os error 5"), (Fault::Short(0), "shorter than what was written")]
    {
        disk.reads.lock().unwrap().push_back(fault);
        refused(buffer.read_at_blocking(150, 100), kind);
        disk.reads.lock().unwrap().push_back(fault);
        refused(run(buffer.read_at(150, 100)), kind);
        assert_eq!(buffer.read_at_blocking(150, 100).unwrap(), content[150..250]);
    }
}

#[test]
fn a_directory_that_is_not_there_is_named() {
    let dir = tempfile::tempdir().unwrap().path().join("gone");
    let options = SpoolOptions { dir: dir.clone(), ..tight(100, 500, Fill::All) };
    let buffer = spool(chunked(&content(5_000), &[100], false).0, options);
    let error = buffer.wait_end_blocking().unwrap_err();
    assert!(error.to_string().contains(&dir.display().to_string()), "{error}");
    assert_eq!(buffer.read_at_blocking(0, 100).unwrap(), content(100));
}

#[test]
fn a_file_has_no_name_and_ends_with_the_last_handle() {
    let dir = tempfile::tempdir().unwrap();
    let options = SpoolOptions { dir: dir.path().to_path_buf(), ..tight(100, 500, Fill::All) };
    let buffer = spool(chunked(&content(5_000), &[100], false).0, options);
    let ours = || {
        let fds = std::fs::read_dir("/proc/self/fd").unwrap();
        let to = fds.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok());
        to.filter(|to| to.starts_with(dir.path())).count()
    };
    run(buffer.wait_end()).unwrap();
    assert!(buffer.status().disk_bytes > 0);
    assert_eq!((std::fs::read_dir(dir.path()).unwrap().count(), ours()), (0, 1));
    let second = buffer.clone();
    drop(buffer);
    assert_eq!(second.read_at_blocking(0, 5_000).unwrap(), content(5_000));
    drop(second);
    until("the file is closed", || ours() == 0);
}
