//! The way from memory to disk: beside the filling, in turns, with room taken ahead.

use crate::rig::{chunked, content, feed, spool, tap, tight, until};
use evenkeel_spool::{Disk, Fill, OsDisk, Source, SpoolBuffer, SpoolOptions};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(30);

/// A disk that writes as often as it is let.
#[derive(Debug, Default)]
struct Turnstile {
    left: Mutex<u64>,
    more: Condvar,
}

impl Turnstile {
    fn let_through(&self, writes: u64) {
        *self.left.lock().unwrap() = writes;
        self.more.notify_all();
    }
}

impl Disk for Turnstile {
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let left = self.more.wait_while(self.left.lock().unwrap(), |left| *left == 0);
        *left.unwrap() -= 1;
        OsDisk.write_at(file, bytes, offset)
    }
}

#[test]
fn filling_goes_on_when_a_step_has_left_memory_while_the_next_page_is_still_written() {
    const PAGE: usize = 4 << 10;
    let content = content(40 * PAGE);
    let disk = Arc::new(Turnstile::default());
    let options = SpoolOptions { disk: Arc::clone(&disk) as _, ..tight(PAGE, 16 * PAGE as u64, Fill::All) };
    let buffer = spool(chunked(&content, &[PAGE], false).0, options);
    // Sixteen pages, of which three are worked in: the fourteenth is the last that fits.
    let filled = |pages: usize| buffer.filled() == (pages * PAGE) as u64;
    until("memory is full", || filled(14));
    disk.let_through(4);
    until("as much has come as has left", || filled(18));
    assert_eq!(buffer.status().disk_bytes, 4 * PAGE as u64, "the fifth is being written");
    disk.let_through(u64::MAX);
    assert_eq!(buffer.slice_blocking(..).unwrap(), content);
}

/// A disk that keeps nothing and gives zeros, none of them from the system's memory.
#[derive(Debug)]
struct Nowhere;

impl Disk for Nowhere {
    fn read_cached_at(&self, _: &File, _: &mut [u8], _: u64) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn read_spare_at(&self, _: &File, into: &mut Vec<u8>, _: u64) -> io::Result<usize> {
        let room = into.capacity() - into.len();
        into.resize(into.capacity(), 0);
        Ok(room)
    }

    fn write_at(&self, _: &File, bytes: &[u8], _: u64) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn allocate(&self, _: &File, _: u64, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[test]
fn a_stream_without_an_end_leaves_the_thread_for_disks_to_readers_too() {
    let one = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(1)
        .enable_all()
        .build()
        .unwrap();
    one.block_on(async {
        let options = SpoolOptions { disk: Arc::new(Nowhere), ..SpoolOptions::default() };
        let options = SpoolOptions { fill: Fill::All, disk_bytes_max: u64::MAX, ..options };
        let buffer = SpoolBuffer::new(Source::read(tokio::io::repeat(0)), options).unwrap();
        buffer.read_some(32 << 20, 1).await.unwrap();
        for offset in [0, 1 << 20] {
            let read = tokio::time::timeout(DEADLINE, buffer.read_at(offset, 100));
            assert_eq!(read.await.expect("a turn of the thread").unwrap(), [0; 100][..]);
        }
        assert!(buffer.len().is_none(), "it still comes");
    });
}

/// Notes what room is taken.
#[derive(Debug, Default)]
struct Surveyor {
    taken: Mutex<Vec<(u64, u64)>>,
    /// The length that the file was cut to, and what it holds on disk then, bytes.
    left: Mutex<Option<(u64, u64)>>,
}

impl Disk for Surveyor {
    fn allocate(&self, file: &File, offset: u64, len: u64) -> io::Result<()> {
        self.taken.lock().unwrap().push((offset, len));
        OsDisk.allocate(file, offset, len)
    }

    fn trim(&self, file: &File, len: u64) -> io::Result<()> {
        OsDisk.trim(file, len)?;
        *self.left.lock().unwrap() = Some((len, file.metadata()?.blocks() * 512));
        Ok(())
    }
}

#[test]
fn a_long_stream_takes_room_ahead_within_its_limit_and_gives_it_back_at_its_end() {
    const MIB: usize = 1 << 20;
    let disk = Arc::new(Surveyor::default());
    let options = SpoolOptions { disk: Arc::clone(&disk) as _, ..tight(256 << 10, MIB as u64, Fill::All) };
    let limit = 10 * MIB as u64;
    let (tap, source) = tap();
    let buffer = spool(source, SpoolOptions { disk_bytes_max: limit, ..options });
    let chunk = content(MIB);
    let arrive = |first: usize, last: usize| {
        (first..last).for_each(|_| feed(&tap, &chunk));
        until("it is there", || buffer.filled() == (last * MIB) as u64);
        buffer.spill_blocking().unwrap();
    };
    let taken = || disk.taken.lock().unwrap().clone();
    arrive(0, 7);
    assert!(taken().is_empty(), "a short stream takes what it needs");
    arrive(7, 9);
    let ends: Vec<u64> = taken().iter().map(|(offset, len)| offset + len).collect();
    assert!(!ends.is_empty() && ends.iter().all(|end| *end <= limit), "{ends:?}");
    assert!(taken().windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0), "{:?}", taken());
    drop(tap);
    assert_eq!(buffer.wait_end_blocking().unwrap(), 9 * MIB as u64);
    let (len, on_disk) = disk.left.lock().unwrap().expect("the file was cut before the end was told");
    assert_eq!(len, 9 * MIB as u64);
    assert!(on_disk < len + MIB as u64, "{on_disk} bytes are held for {len}");
    assert_eq!(buffer.read_at_blocking(8 * MIB as u64, MIB).unwrap(), chunk);
}
