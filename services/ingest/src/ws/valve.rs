//! A stream that reads no more than it was allowed: what a message takes beyond the free bytes of its
//! connection waits, unread, until the budget has room for it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

/// How much may be read, shared by the stream and its session.
#[derive(Debug)]
pub(crate) struct Allowance {
    left: AtomicUsize,
    /// The stream would read and may not.
    wanted: Notify,
    waker: futures::task::AtomicWaker,
}

impl Allowance {
    pub(crate) fn new(bytes: usize) -> Arc<Self> {
        let waker = futures::task::AtomicWaker::new();
        Arc::new(Self { left: AtomicUsize::new(bytes), wanted: Notify::new(), waker })
    }

    /// Waits until the stream would read more than it may. Cancel-safe.
    pub(crate) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// From now on so many bytes may be read.
    pub(crate) fn set(&self, bytes: usize) {
        self.left.store(bytes, Ordering::Release);
        self.waker.wake();
    }
}

/// The stream.
#[derive(Debug)]
pub(crate) struct Valve<S> {
    stream: S,
    allowance: Arc<Allowance>,
}

impl<S> Valve<S> {
    pub(crate) fn new(stream: S, allowance: Arc<Allowance>) -> Self {
        Self { stream, allowance }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Valve<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let mut left = this.allowance.left.load(Ordering::Acquire);
        if left == 0 {
            this.allowance.waker.register(cx.waker());
            // It may have been raised between the two.
            left = this.allowance.left.load(Ordering::Acquire);
            if left == 0 {
                this.allowance.wanted.notify_one();
                return Poll::Pending;
            }
        }
        let room = buf.remaining().min(left);
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(room));
        let outcome = Pin::new(&mut this.stream).poll_read(cx, &mut part);
        let read = part.filled().len();
        buf.advance(read);
        this.allowance.left.store(left - read, Ordering::Release);
        outcome
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Valve<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    #[tokio::test]
    async fn what_is_not_allowed_waits_and_says_so() {
        let allowance = Allowance::new(3);
        let mut valve = Valve::new(&b"abcdef"[..], Arc::clone(&allowance));
        let mut got = [0; 6];
        assert_eq!(valve.read(&mut got).await.unwrap(), 3);
        let reading = async { valve.read_exact(&mut got[3..]).await.unwrap() };
        let allowing = async {
            allowance.wanted().await;
            allowance.set(2);
            allowance.wanted().await;
            allowance.set(100);
        };
        tokio::join!(reading, allowing);
        assert_eq!(&got, b"abcdef");
    }
}
