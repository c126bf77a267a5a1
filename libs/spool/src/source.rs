//! Where bytes come from: something that is read, or a stream of chunks.
//!
//! Owns: the difference between the two. Never: holds more than the chunk that a stream has handed over.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_core::Stream;
use std::fmt;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncReadExt};

type Chunks = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;
type Reader = Pin<Box<dyn AsyncRead + Send>>;

/// A stream that only goes forward, once. Its end is its own; a read of nothing ends an [`AsyncRead`], `None` a
/// [`Stream`]. The first error ends both.
pub struct Source(Kind);

enum Kind {
    Read(Reader),
    /// The stream, and what is left of its last chunk.
    Chunks(Chunks, Bytes),
}

impl Source {
    /// Bytes that are read: a socket, a file, a decoder.
    pub fn read(reader: impl AsyncRead + Send + 'static) -> Self {
        Self(Kind::Read(Box::pin(reader)))
    }

    /// Bytes that come in chunks: the body of a request. An empty chunk is no end.
    pub fn chunks(stream: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Self {
        Self(Kind::Chunks(Box::pin(stream), Bytes::new()))
    }

    /// Appends 1 to `room` bytes to `into`; 0 at the end. `first` is the reserve to begin with.
    pub(crate) fn poll_fill(
        &mut self,
        context: &mut Context<'_>,
        into: &mut BytesMut,
        room: usize,
        first: usize,
    ) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Kind::Read(reader) => {
                grow(into, 1, room, first);
                let mut limited = into.limit(room);
                pin!(reader.read_buf(&mut limited)).poll(context)
            }
            Kind::Chunks(stream, rest) => {
                while rest.is_empty() {
                    match ready!(stream.as_mut().poll_next(context)) {
                        Some(chunk) => *rest = chunk?,
                        None => return Poll::Ready(Ok(0)),
                    }
                }
                let len = rest.len().min(room);
                grow(into, len, room, first);
                into.extend_from_slice(&rest[..len]);
                rest.advance(len);
                if rest.is_empty() {
                    *rest = Bytes::new();
                }
                Poll::Ready(Ok(len))
            }
        }
    }
}

/// Makes room for `len` bytes: little at first, then the whole page, because most resources are small and the
/// others long. Never more than the page, which doubling would be.
fn grow(into: &mut BytesMut, len: usize, room: usize, first: usize) {
    if into.capacity() - into.len() < len {
        let enough = if into.is_empty() && len <= first { first.min(room) } else { room };
        let mut larger = BytesMut::with_capacity(into.len() + enough);
        larger.extend_from_slice(into);
        *into = larger;
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Read(_) => f.write_str("Source::read(..)"),
            Kind::Chunks(_, rest) => write!(f, "Source::chunks(.., {} bytes left of a chunk)", rest.len()),
        }
    }
}
