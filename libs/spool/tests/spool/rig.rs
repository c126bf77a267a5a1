//! What the tests play with: content, sources, a disk with faults, a runtime.

use bytes::Bytes;
use evenkeel_spool::{Disk, Fill, Source, SpoolBuffer, SpoolOptions};
use futures::channel::mpsc::{UnboundedSender, unbounded};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, LazyLock, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::runtime::{Builder, Runtime};

pub static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_multi_thread().worker_threads(3).enable_all().build().unwrap());

/// Runs on the runtime, with an end to the patience.
pub fn run<T>(test: impl Future<Output = T>) -> T {
    let patience = Duration::from_secs(60);
    RUNTIME
        .block_on(async { tokio::time::timeout(patience, test).await.expect("no end within the deadline") })
}

/// Waits for a condition.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "not within the deadline: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Bytes that differ from place to place, so that a wrong offset shows.
pub fn content(len: usize) -> Vec<u8> {
    let mix = |i: usize| (i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29).to_le_bytes()[0];
    (0..len).map(mix).collect()
}

/// A source that the test feeds; dropped, it ends.
pub fn tap() -> (UnboundedSender<io::Result<Bytes>>, Source) {
    let (tap, chunks) = unbounded();
    (tap, Source::chunks(chunks))
}

/// Feeds bytes.
pub fn feed(tap: &UnboundedSender<io::Result<Bytes>>, bytes: &[u8]) {
    tap.unbounded_send(Ok(Bytes::copy_from_slice(bytes))).unwrap();
}

/// The error that sources of these tests end with.
pub fn broken() -> io::Error {
    io::Error::new(ErrorKind::ConnectionReset, "the peer has gone")
}

/// A source in chunks of these sizes (the last one repeats), which counts what was pulled.
pub fn chunked(content: &[u8], sizes: &[usize], fails: bool) -> (Source, Arc<AtomicU64>) {
    let (pulled, mut chunks, mut rest, mut i) = (Arc::new(AtomicU64::new(0)), Vec::new(), content, 0);
    while !rest.is_empty() {
        let size = sizes.get(i).or(sizes.last()).map_or(1, |size| (*size).max(1));
        let (chunk, behind) = rest.split_at(size.min(rest.len()));
        chunks.push(Ok(Bytes::copy_from_slice(chunk)));
        (rest, i) = (behind, i + 1);
    }
    chunks.extend(fails.then(|| Err(broken())));
    let count = Arc::clone(&pulled);
    let counting = futures::StreamExt::inspect(futures::stream::iter(chunks), move |chunk| {
        count.fetch_add(chunk.as_ref().map_or(0, |bytes| bytes.len() as u64), SeqCst);
    });
    (Source::chunks(counting), pulled)
}

/// A reader that gives as much as it likes, and now and then nothing yet.
pub struct Choppy {
    content: VecDeque<u8>,
    sizes: Vec<usize>,
    fails: bool,
    polls: usize,
}

impl Choppy {
    pub fn source(content: &[u8], sizes: &[usize], fails: bool) -> Source {
        let content = content.iter().copied().collect();
        Source::read(Self { content, sizes: sizes.to_vec(), fails, polls: 0 })
    }
}

impl AsyncRead for Choppy {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.polls += 1;
        let size = if self.sizes.is_empty() { 1 } else { self.sizes[self.polls % self.sizes.len()] };
        if size == 0 && !self.polls.is_multiple_of(2) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let len = size.max(1).min(buf.remaining()).min(self.content.len());
        if len == 0 && self.fails {
            return Poll::Ready(Err(broken()));
        }
        let bytes: Vec<u8> = self.content.drain(..len).collect();
        buf.put_slice(&bytes);
        Poll::Ready(Ok(()))
    }
}

/// Small pages and nearly no memory, so that little content goes through everything.
pub fn tight(page_bytes: usize, memory_bytes_max: u64, fill: Fill) -> SpoolOptions {
    SpoolOptions { page_bytes, memory_bytes_max, fill, disk_reserve_bytes: 0, ..SpoolOptions::default() }
}

/// A buffer on the tests' runtime.
pub fn spool(source: Source, options: SpoolOptions) -> SpoolBuffer {
    let _entered = RUNTIME.enter();
    SpoolBuffer::new(source, options).unwrap()
}

/// What the disk does wrong next; each entry is for one call.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// Fails with this error.
    Fails(i32),
    /// Does only so many bytes.
    Short(usize),
    /// Does what it should.
    Fine,
}

pub const ENOSPC: i32 = 28;
pub const EIO: i32 = 5;
pub const EINTR: i32 = 4;

/// Faults by kind of call, first come first; then `always`, if it is set.
#[derive(Debug, Default)]
pub struct FaultyDisk {
    pub writes: Mutex<VecDeque<Fault>>,
    pub reads: Mutex<VecDeque<Fault>>,
    pub syncs: Mutex<VecDeque<Fault>>,
    /// Once the list is empty, every write and read gives at most so many bytes; 0 is no limit.
    pub short: usize,
    /// Pretends that nothing is in the system's memory.
    pub cold: bool,
    /// What is free, bytes; `None` asks the system.
    pub available: Mutex<Option<u64>>,
    pub written: AtomicU64,
    pub synced: AtomicU64,
}

impl FaultyDisk {
    fn next(&self, list: &Mutex<VecDeque<Fault>>, len: usize) -> io::Result<usize> {
        match list.lock().unwrap().pop_front() {
            Some(Fault::Fails(errno)) => Err(io::Error::from_raw_os_error(errno)),
            Some(Fault::Short(most)) => Ok(most.min(len)),
            None if self.short > 0 => Ok(self.short.min(len)),
            Some(Fault::Fine) | None => Ok(len),
        }
    }
}

impl Disk for FaultyDisk {
    fn read_at(&self, file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let len = self.next(&self.reads, buf.len())?;
        file.read_at(&mut buf[..len], offset)
    }

    fn read_cached_at(&self, file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        if self.cold {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.read_at(file, buf, offset)
    }

    fn read_spare_at(&self, file: &File, into: &mut Vec<u8>, offset: u64) -> io::Result<usize> {
        let mut bytes = vec![0; into.capacity() - into.len()];
        let len = self.read_at(file, &mut bytes, offset)?;
        into.extend_from_slice(&bytes[..len]);
        Ok(len)
    }

    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let len = self.next(&self.writes, bytes.len())?;
        self.written.fetch_add(len as u64, SeqCst);
        file.write_at(&bytes[..len], offset)
    }

    fn sync(&self, _: &File) -> io::Result<()> {
        self.synced.fetch_add(1, SeqCst);
        self.next(&self.syncs, 0).map(|_| ())
    }

    fn available_bytes(&self, dir: &Path) -> io::Result<u64> {
        match *self.available.lock().unwrap() {
            Some(bytes) => Ok(bytes),
            None => evenkeel_spool::OsDisk.available_bytes(dir),
        }
    }
}
