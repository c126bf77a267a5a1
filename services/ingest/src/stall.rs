//! A connection whose writes may not wait for ever: a client that never reads its answers, or reads them byte by
//! byte, is cut.

use evenkeel_auth::Transport;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// What a client takes within the limit while something waits for it, bytes: 1.6 KiB/s at the default of 10 s.
const FAIR_BYTES: u32 = 16 * 1024;

/// A stream that fails with `TimedOut` when writes have waited for `limit`. Every [`FAIR_BYTES`] taken earn the client
/// that much again.
#[derive(Debug)]
pub(crate) struct WriteStall {
    stream: Transport,
    patience: Patience,
    timer: Pin<Box<Sleep>>,
}

/// How long writes have waited, less what was earned.
#[derive(Debug)]
struct Patience {
    limit: Duration,
    waited: Duration,
    since: Option<Instant>,
}

impl Patience {
    /// A write waits; when patience ends, if this is news.
    fn waits(&mut self, now: Instant) -> Option<Instant> {
        if self.since.is_some() {
            return None;
        }
        self.since = Some(now);
        Some(now + self.limit.saturating_sub(self.waited))
    }

    /// A write took so many bytes.
    fn took(&mut self, bytes: usize, now: Instant) {
        if let Some(since) = self.since.take() {
            self.waited += now.saturating_duration_since(since);
        }
        let fair = u32::try_from(bytes).unwrap_or(u32::MAX).min(FAIR_BYTES);
        self.waited = self.waited.saturating_sub(self.limit * fair / FAIR_BYTES);
    }
}

impl WriteStall {
    pub(crate) fn new(stream: Transport, limit: Duration) -> Self {
        let patience = Patience { limit, waited: Duration::ZERO, since: None };
        Self { stream, patience, timer: Box::pin(sleep(limit)) }
    }

    /// Passes a write's outcome on; one that waits starts the timer, one that does not stops it.
    fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        outcome: Poll<io::Result<T>>,
        bytes: impl FnOnce(&T) -> usize,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(outcome) = outcome {
            if let Ok(taken) = &outcome {
                self.patience.took(bytes(taken), Instant::now());
            }
            return Poll::Ready(outcome);
        }
        if let Some(until) = self.patience.waits(Instant::now()) {
            self.timer.as_mut().reset(until);
        }
        ready!(self.timer.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read its answer")))
    }
}

impl AsyncRead for WriteStall {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for WriteStall {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watch(cx, outcome, |taken| *taken)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.watch(cx, outcome, |taken| *taken)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_flush(cx);
        self.watch(cx, outcome, |()| 0)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.watch(cx, outcome, |()| 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    /// Takes `bytes` after every `wait`; how many rounds patience lasts, at most 1000.
    fn rounds(bytes: usize, wait: Duration) -> usize {
        let mut patience = Patience { limit: LIMIT, waited: Duration::ZERO, since: None };
        let mut now = Instant::now();
        for round in 0..1000 {
            let until = patience.waits(now).expect("it waits anew");
            assert!(patience.waits(now).is_none());
            now += wait;
            if now >= until {
                return round;
            }
            patience.took(bytes, now);
        }
        1000
    }

    #[test]
    fn a_slow_link_is_borne_and_a_trickle_is_not() {
        assert_eq!(rounds(FAIR_BYTES as usize, Duration::from_secs(9)), 1000);
        assert_eq!(rounds(2 * 1024, Duration::from_secs(1)), 1000);
        assert!((9..=10).contains(&rounds(1, Duration::from_secs(1))));
        assert!((20..=25).contains(&rounds(100, Duration::from_millis(500))));
        assert_eq!(rounds(usize::MAX, Duration::from_secs(10)), 0);
    }
}
