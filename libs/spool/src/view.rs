//! A buffer as a file: a cursor over it, blocking or async.
//!
//! Owns: the cursor. Never: content; each view of a buffer has a cursor of its own, so they do not disturb each
//! other.

use crate::buffer::SpoolBuffer;
use crate::error::ReadError;
use bytes::{Buf, Bytes};
use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncSeek, ReadBuf};

/// [`Read`] and [`Seek`] over a buffer, for a thread. A read waits for its first byte only. Seeking from the end
/// waits for the end, which pulls the whole source.
#[derive(Debug, Clone)]
pub struct SpoolReader {
    buffer: SpoolBuffer,
    position: u64,
}

impl SpoolReader {
    pub(crate) fn new(buffer: SpoolBuffer) -> Self {
        Self { buffer, position: 0 }
    }
}

impl Read for SpoolReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.buffer.read_some_blocking(self.position, buf)?;
        self.position += read as u64;
        Ok(read)
    }
}

impl Seek for SpoolReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.position = match to {
            SeekFrom::Start(position) => position,
            SeekFrom::Current(by) => moved(self.position, by)?,
            SeekFrom::End(by) => moved(self.buffer.wait_end_blocking()?, by)?,
        };
        Ok(self.position)
    }
}

type ReadUnderWay = Pin<Box<dyn Future<Output = Result<Bytes, ReadError>> + Send>>;
type EndUnderWay = Pin<Box<dyn Future<Output = Result<u64, ReadError>> + Send>>;

/// [`AsyncRead`] and [`AsyncSeek`] over a buffer. A read waits for its first byte only. Seeking from the end
/// waits for the end, which pulls the whole source.
pub struct AsyncSpoolReader {
    buffer: SpoolBuffer,
    position: u64,
    read: Option<ReadUnderWay>,
    /// Bytes at `position` that a read brought and the caller has not taken.
    rest: Bytes,
    seek: Option<(i64, EndUnderWay)>,
}

impl AsyncSpoolReader {
    pub(crate) fn new(buffer: SpoolBuffer) -> Self {
        Self { buffer, position: 0, read: None, rest: Bytes::new(), seek: None }
    }

    fn go_to(&mut self, position: u64) {
        self.position = position;
        self.read = None;
        self.rest = Bytes::new();
    }
}

impl AsyncRead for AsyncSpoolReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if self.rest.is_empty() {
            let (buffer, at, max) = (self.buffer.clone(), self.position, buf.remaining());
            let read =
                self.read.get_or_insert_with(|| Box::pin(async move { buffer.read_some(at, max).await }));
            let result = ready!(read.as_mut().poll(context));
            self.read = None;
            self.rest = result?;
        }
        let len = self.rest.len().min(buf.remaining());
        buf.put_slice(&self.rest[..len]);
        self.rest.advance(len);
        if self.rest.is_empty() {
            // Not a page that nobody reads.
            self.rest = Bytes::new();
        }
        self.position += len as u64;
        Poll::Ready(Ok(()))
    }
}

impl AsyncSeek for AsyncSpoolReader {
    fn start_seek(mut self: Pin<&mut Self>, to: SeekFrom) -> io::Result<()> {
        match to {
            SeekFrom::Start(position) => self.go_to(position),
            SeekFrom::Current(by) => {
                let position = moved(self.position, by)?;
                self.go_to(position);
            }
            SeekFrom::End(by) => {
                let buffer = self.buffer.clone();
                self.seek = Some((by, Box::pin(async move { buffer.wait_end().await })));
            }
        }
        Ok(())
    }

    fn poll_complete(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<u64>> {
        if let Some((by, end)) = &mut self.seek {
            let by = *by;
            let result = ready!(end.as_mut().poll(context));
            self.seek = None;
            let position = moved(result?, by)?;
            self.go_to(position);
        }
        Poll::Ready(Ok(self.position))
    }
}

impl fmt::Debug for AsyncSpoolReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncSpoolReader")
            .field("position", &self.position)
            .field("buffer", &self.buffer)
            .finish_non_exhaustive()
    }
}

fn moved(from: u64, by: i64) -> io::Result<u64> {
    from.checked_add_signed(by)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a seek to before the first byte"))
}
