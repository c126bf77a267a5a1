//! A contender of `evenkeel bench spool`: fills a buffer from a stream, then reads it at random from threads.
//!
//! Owns: one run of one contender, and what it prints: a line of JSON. Never: anything that is not the same for every
//! contender: the content, the threads, the reads, the touching of every byte. peer.py is the same in Python.
//!
//! Arguments: CONTENDER SIZE_BYTES READERS READ_BYTES_TOTAL.

use std::env;
use std::fs;
use std::future::poll_fn;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::{Arc, Barrier, Mutex};
use std::task::{Context, Poll};
use std::time::Instant;

use evenkeel_spool::{Fill, Source, SpoolBuffer, SpoolOptions};
use stream_download::async_read::AsyncReadStreamParams;
use stream_download::storage::adaptive::AdaptiveStorageProvider;
use stream_download::storage::memory::MemoryStorageProvider;
use stream_download::storage::temp::TempStorageProvider;
use stream_download::{Settings, StreamDownload};
use tempfile::SpooledTempFile;
use tokio::io::{AsyncRead, ReadBuf};

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What every contender may keep in memory, bytes.
const MEMORY_BYTES_MAX: usize = 5 << 20;
/// What is read at once, bytes.
const READ_BYTES: usize = 64 << 10;
/// The period of the content, bytes: a prime, so that no read looks like another.
const PERIOD: usize = 65_521;

/// The content at `offset`: no byte is 255, so looking for one touches them all.
fn content(offset: u64) -> u8 {
    ((offset % PERIOD as u64) % 251) as u8
}

/// Two periods and a read of it.
fn pattern() -> Vec<u8> {
    (0..2 * PERIOD + READ_BYTES).map(|at| content(at as u64)).collect()
}

/// The stream that everybody buffers.
struct Stream {
    pattern: Arc<Vec<u8>>,
    at: u64,
    size: u64,
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let from = (self.at % PERIOD as u64) as usize;
        let left = usize::try_from(self.size - self.at).unwrap_or(usize::MAX);
        let len = left.min(buf.remaining()).min(READ_BYTES);
        buf.put_slice(&self.pattern[from..from + len]);
        self.at += len as u64;
        Poll::Ready(Ok(()))
    }
}

/// A buffer that threads read at an offset.
trait Contender: Send + Sync {
    /// Calls `touch` with the bytes there.
    fn read(&self, offset: u64, scratch: &mut [u8], touch: &mut dyn FnMut(&[u8])) -> Outcome<()>;
}

struct Ours(SpoolBuffer);

impl Contender for Ours {
    fn read(&self, offset: u64, scratch: &mut [u8], touch: &mut dyn FnMut(&[u8])) -> Outcome<()> {
        touch(&self.0.read_at_blocking(offset, scratch.len())?);
        Ok(())
    }
}

/// All of the content, without a buffer and without a copy: the touching alone.
struct Bare(Vec<u8>);

impl Contender for Bare {
    fn read(&self, offset: u64, scratch: &mut [u8], touch: &mut dyn FnMut(&[u8])) -> Outcome<()> {
        let from = usize::try_from(offset)?;
        touch(&self.0[from..from + scratch.len()]);
        Ok(())
    }
}

/// A cursor that all readers share, as these types are used.
struct Locked<T>(Mutex<T>);

impl<T: Read + Seek + Send> Contender for Locked<T> {
    fn read(&self, offset: u64, scratch: &mut [u8], touch: &mut dyn FnMut(&[u8])) -> Outcome<()> {
        {
            let mut file = self.0.lock().map_err(|_| "a reader panicked")?;
            file.seek(SeekFrom::Start(offset))?;
            file.read_exact(scratch)?;
        }
        touch(scratch);
        Ok(())
    }
}

fn fill(name: &str, stream: Stream, runtime: &tokio::runtime::Runtime) -> Outcome<Box<dyn Contender>> {
    let size = stream.size;
    match name {
        "ours" => {
            let options = SpoolOptions {
                size_hint: Some(size),
                memory_bytes_max: MEMORY_BYTES_MAX as u64,
                fill: Fill::All,
                ..SpoolOptions::default()
            };
            let _inside = runtime.enter();
            let buffer = SpoolBuffer::new(Source::read(stream), options)?;
            buffer.wait_end_blocking()?;
            Ok(Box::new(Ours(buffer)))
        }
        "stream-download" => {
            let bound = NonZeroUsize::new(MEMORY_BYTES_MAX).ok_or("no memory")?;
            let storage = AdaptiveStorageProvider::with_fixed_and_variable(
                MemoryStorageProvider,
                TempStorageProvider::new(),
                bound,
            );
            let params = AsyncReadStreamParams::new(stream).content_length(size);
            let reader = runtime.block_on(async {
                let settings =
                    Settings::default().batch_write_size(NonZeroUsize::new(READ_BYTES).unwrap_or(bound));
                let reader = StreamDownload::new_async_read(params, storage, settings).await?;
                reader.handle().wait_for_completion().await;
                Ok::<_, Box<dyn std::error::Error + Send + Sync>>(reader)
            })?;
            Ok(Box::new(Locked(Mutex::new(reader))))
        }
        "bare" => {
            let mut content = Vec::with_capacity(usize::try_from(size)? + READ_BYTES);
            let mut stream = stream;
            runtime.block_on(async {
                while tokio::io::AsyncReadExt::read_buf(&mut stream, &mut content).await? > 0 {}
                Ok::<_, io::Error>(())
            })?;
            Ok(Box::new(Bare(content)))
        }
        "tempfile" => {
            let mut file = SpooledTempFile::new(MEMORY_BYTES_MAX);
            let mut stream = stream;
            let mut step = vec![0; READ_BYTES];
            runtime.block_on(async {
                loop {
                    let mut buf = ReadBuf::new(&mut step);
                    poll_fn(|context| Pin::new(&mut stream).poll_read(context, &mut buf)).await?;
                    if buf.filled().is_empty() {
                        return Ok::<_, io::Error>(());
                    }
                    file.write_all(buf.filled())?;
                }
            })?;
            Ok(Box::new(Locked(Mutex::new(file))))
        }
        other => {
            Err(format!("no contender is called {other}; known are ours, stream-download, tempfile, bare")
                .into())
        }
    }
}

/// One thread's reads.
fn read(contender: &dyn Contender, (thread, reads): (u64, u64), size: u64) -> Outcome<()> {
    let mut scratch = vec![0; READ_BYTES];
    let mut random = 0x9E37_79B9_7F4A_7C15 ^ (thread + 1);
    for _ in 0..reads {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let offset = random % (size - READ_BYTES as u64 + 1);
        let mut good = false;
        contender.read(offset, &mut scratch, &mut |bytes| {
            let last = offset + READ_BYTES as u64 - 1;
            good = bytes.len() == READ_BYTES
                && !bytes.iter().fold(false, |found, byte| found | (*byte == 255))
                && (bytes[0], bytes[READ_BYTES - 1]) == (content(offset), content(last));
        })?;
        if !good {
            return Err(format!("the bytes at {offset} are not the content's").into());
        }
    }
    Ok(())
}

/// A figure of /proc/self/status, bytes.
fn status(name: &str) -> Outcome<u64> {
    let text = fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)).ok_or("no such figure")?;
    let kib: u64 = line.trim_start_matches(':').trim().trim_end_matches(" kB").parse()?;
    Ok(kib << 10)
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [name, size, readers, total] = arguments.as_slice() else {
        return Err("arguments: CONTENDER SIZE_BYTES READERS READ_BYTES_TOTAL".into());
    };
    let (size, readers, total): (u64, u64, u64) = (size.parse()?, readers.parse()?, total.parse()?);
    let reads = total / READ_BYTES as u64 / readers;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let stream = Stream { pattern: Arc::new(pattern()), at: 0, size };
    let (start, slot) = (Arc::new(Barrier::new(readers as usize + 1)), Arc::new(Mutex::new(None)));
    let threads: Vec<_> = (0..readers)
        .map(|thread| {
            let (start, slot) = (Arc::clone(&start), Arc::clone(&slot));
            std::thread::spawn(move || -> Outcome<()> {
                start.wait();
                let contender: Option<Arc<dyn Contender>> = slot.lock().map_err(|_| "poisoned")?.clone();
                read(&*contender.ok_or("nothing was filled")?, (thread, reads), size)
            })
        })
        .collect();
    // The threads are there: what comes on top from here on is the contender's.
    fs::write("/proc/self/clear_refs", "5")?;
    let before = status("VmRSS")?;
    let begun = Instant::now();
    let contender: Arc<dyn Contender> = Arc::from(fill(name, stream, &runtime)?);
    let filled = begun.elapsed().as_secs_f64();
    *slot.lock().map_err(|_| "poisoned")? = Some(contender);
    let begun = Instant::now();
    start.wait();
    for thread in threads {
        thread.join().map_err(|_| "a reader panicked")??;
    }
    let read = begun.elapsed().as_secs_f64();
    let held = status("VmHWM")?.saturating_sub(before);
    println!("{{\"fill_s\":{filled},\"reads_s\":{read},\"held_bytes\":{held}}}");
    Ok(())
}
