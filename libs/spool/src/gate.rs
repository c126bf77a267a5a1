//! One lock around the picture of a stream, and the waits on it, blocking and async alike.
//!
//! Owns: the [`Core`] and the rule that wakers are called after the lock is gone. Never: IO or a wait for
//! somebody else while the lock is held; the longest it is held is one copy of a part of one page. This
//! crate's unit tests run it under a scheduler that tries interleavings ([`crate::sync`]).

use crate::core::{Core, End, Piece, Wanted};
use crate::error::ReadError;
use crate::sync::{Mutex, MutexGuard, Thread, current, park};
use crate::waiters::Ticket;
use bytes::Bytes;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// What a reader got in one step.
#[derive(Debug)]
pub(crate) enum Took {
    /// A part of a page, not copied.
    Page(Bytes),
    /// So many bytes were put into the destination.
    Copied(usize),
    /// So many bytes are to be read from the file, at the content's offset.
    Disk(usize),
    /// Nothing is here (yet).
    Nothing,
}

/// Where a reader collects bytes.
#[derive(Debug)]
pub(crate) enum Sink<'a> {
    /// At the end of a vector.
    Vec(&'a mut Vec<u8>),
    /// At the start of a slice, which has the room.
    Slice(&'a mut [u8]),
}

impl Sink<'_> {
    /// Copies `bytes` there.
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        match self {
            Self::Vec(vec) => vec.extend_from_slice(bytes),
            Self::Slice(slice) => slice[..bytes.len()].copy_from_slice(bytes),
        }
    }
}

/// The picture, and who waits for it to change.
#[derive(Debug)]
pub(crate) struct Gate {
    core: Mutex<Core>,
    waits: AtomicU64,
}

impl Gate {
    /// A gate around `core`.
    pub(crate) fn new(core: Core) -> Self {
        Self { core: Mutex::new(core), waits: AtomicU64::new(0) }
    }

    /// The picture, for a look or a small change that wakes nobody.
    pub(crate) fn core(&self) -> MutexGuard<'_, Core> {
        // Nothing of ours panics under the lock; if a waker's clone does, the picture is whole all the same.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often a reader had to wait for the stream.
    pub(crate) fn waits(&self) -> u64 {
        self.waits.load(Relaxed)
    }

    /// The first piece of `[offset, offset + len)` that is here.
    pub(crate) fn take(&self, offset: u64, len: usize, out: &mut Sink<'_>) -> Took {
        let mut core = self.core();
        let took = match core.piece(offset, len) {
            Piece::Page(page) => Took::Page(page),
            Piece::Disk(len) => Took::Disk(len),
            Piece::Nothing => Took::Nothing,
            Piece::Tail(bytes) => {
                out.put(bytes);
                Took::Copied(bytes.len())
            }
        };
        let len = match &took {
            Took::Page(page) => page.len(),
            Took::Copied(len) | Took::Disk(len) => *len,
            Took::Nothing => return took,
        };
        let filler = core.has_read(offset + len as u64);
        drop(core);
        wake(filler);
        took
    }

    /// Waits until everything below `target` is here, or the stream ends; answers how many bytes are here, or
    /// the failure of a stream that failed before `target`.
    pub(crate) fn wait(&self, target: u64) -> Wait<'_> {
        Wait { gate: self, target, ticket: None }
    }

    /// The same for a thread. Never call it on a thread that drives async tasks.
    pub(crate) fn wait_blocking(&self, target: u64) -> Result<u64, ReadError> {
        // What is here costs no waker.
        if let Some(outcome) = self.core().outcome(target) {
            return outcome;
        }
        let mut wait = self.wait(target);
        let waker = Waker::from(Arc::new(Unpark(current())));
        let mut context = Context::from_waker(&waker);
        loop {
            match Pin::new(&mut wait).poll(&mut context) {
                Poll::Ready(result) => return result,
                Poll::Pending => park(),
            }
        }
    }

    /// What the filler is to pull next; pending while nobody wants more.
    pub(crate) fn poll_wanted(&self, context: &Context<'_>) -> Poll<Wanted> {
        self.core().wanted(context.waker()).map_or(Poll::Pending, Poll::Ready)
    }

    /// Bytes that came.
    pub(crate) fn publish(&self, bytes: &[u8]) {
        let woken = self.core().publish(bytes);
        wake(woken);
    }

    /// A whole page that came at once.
    pub(crate) fn publish_page(&self, page: Bytes) {
        let woken = self.core().publish_page(page);
        wake(woken);
    }

    /// Bytes that are on disk behind the others.
    pub(crate) fn appended(&self, bytes: u64) {
        let woken = self.core().appended(bytes);
        wake(woken);
    }

    /// The stream is over.
    pub(crate) fn finish(&self, end: End) {
        let woken = self.core().finish(end);
        wake(woken);
    }
}

fn wake(wakers: impl IntoIterator<Item = Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}

/// A reader that waits. Dropped, it wants nothing more.
#[derive(Debug)]
pub(crate) struct Wait<'a> {
    gate: &'a Gate,
    target: u64,
    ticket: Option<Ticket>,
}

impl Future for Wait<'_> {
    type Output = Result<u64, ReadError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut core = self.gate.core();
        if let Some(outcome) = core.outcome(self.target) {
            return Poll::Ready(outcome);
        }
        if self.ticket.is_some_and(|ticket| core.renew(ticket, context.waker())) {
            return Poll::Pending;
        }
        let (ticket, filler) = core.wait(self.target, context.waker().clone());
        drop(core);
        if self.ticket.replace(ticket).is_none() {
            self.gate.waits.fetch_add(1, Relaxed);
        }
        wake(filler);
        Poll::Pending
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.gate.core().give_up(ticket);
        }
    }
}

/// Wakes a thread that is parked.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[cfg(test)]
mod tests {
    //! Every test here runs many schedules of its threads; a wake-up that gets lost in one of them is a deadlock
    //! that the scheduler reports.

    use super::*;
    use crate::options::Fill;
    use shuttle::{future::block_on, thread};
    use std::future::poll_fn;

    const SCHEDULES: usize = 1_000;

    fn content(len: usize) -> Vec<u8> {
        (0..len).map(|i| u8::try_from(i % 251).unwrap()).collect()
    }

    fn read(gate: &Gate, offset: u64, len: usize) -> Vec<u8> {
        let mut out = Vec::new();
        while out.len() < len {
            let at = offset + out.len() as u64;
            match gate.take(at, len - out.len(), &mut Sink::Vec(&mut out)) {
                Took::Page(page) => out.extend_from_slice(&page),
                Took::Copied(_) => {}
                Took::Disk(_) => panic!("nothing is on disk here"),
                Took::Nothing => break,
            }
        }
        out
    }

    /// Pulls as far as somebody wants, up to `content`, and then ends.
    fn fill(gate: &Gate, content: &[u8], step: usize) {
        let mut at = 0;
        loop {
            let wanted = block_on(poll_fn(|context| gate.poll_wanted(context)));
            if at == content.len() {
                return gate.finish(End::Eof);
            }
            let len = step.min(wanted.room_bytes).min(content.len() - at);
            gate.publish(&content[at..at + len]);
            at += len;
        }
    }

    #[test]
    fn no_reader_misses_its_wake_up_and_the_filler_none_of_the_demand() {
        let run = || {
            let (gate, content) = (Arc::new(Gate::new(Core::new(4, Fill::OnDemand))), content(11));
            let ranges = [(0u64, 3usize), (5, 4), (2, 20), (30, 2)];
            let readers: Vec<_> = ranges
                .into_iter()
                .enumerate()
                .map(|(i, (offset, len))| {
                    let (gate, content) = (Arc::clone(&gate), content.clone());
                    thread::spawn(move || {
                        let target = offset + len as u64;
                        let filled = if i % 2 == 0 {
                            gate.wait_blocking(target).unwrap()
                        } else {
                            block_on(gate.wait(target)).unwrap()
                        };
                        assert!(filled >= target || filled == 11, "woken at {filled}, wanted {target}");
                        let from = content.len().min(usize::try_from(offset).unwrap());
                        assert_eq!(read(&gate, offset, len), content[from..content.len().min(from + len)]);
                    })
                })
                .collect();
            fill(&gate, &content, 3);
            readers.into_iter().for_each(|reader| reader.join().unwrap());
            assert_eq!(gate.core().waiting(), 0);
        };
        shuttle::check_random(run, SCHEDULES);
        shuttle::check_pct(run, SCHEDULES, 3);
    }

    #[test]
    fn a_failure_reaches_everybody_who_waits_and_everybody_who_comes() {
        let run = || {
            let gate = Arc::new(Gate::new(Core::new(4, Fill::All)));
            let readers: Vec<_> = (1..4u64)
                .map(|target| {
                    let gate = Arc::clone(&gate);
                    thread::spawn(move || (target, gate.wait_blocking(target * 2)))
                })
                .collect();
            gate.publish(b"abc");
            gate.finish(End::Failed(ReadError::Abandoned { at: 3, why: "test" }));
            for reader in readers {
                let (target, result) = reader.join().unwrap();
                assert_eq!(result.is_ok(), target * 2 <= 3, "{target}: {result:?}");
            }
        };
        shuttle::check_random(run, SCHEDULES);
        shuttle::check_pct(run, SCHEDULES, 3);
    }

    #[test]
    fn a_reader_that_gives_up_takes_its_demand_along_and_disturbs_nobody() {
        let run = || {
            let gate = Arc::new(Gate::new(Core::new(4, Fill::OnDemand)));
            let giving_up = {
                let gate = Arc::clone(&gate);
                thread::spawn(move || {
                    let mut wait = gate.wait(6);
                    let mut context = Context::from_waker(Waker::noop());
                    // Ready or not, it goes.
                    let _ = Pin::new(&mut wait).poll(&mut context);
                })
            };
            let staying = {
                let gate = Arc::clone(&gate);
                thread::spawn(move || gate.wait_blocking(2).unwrap())
            };
            gate.publish(b"ab");
            giving_up.join().unwrap();
            assert!(staying.join().unwrap() >= 2);
            let core = gate.core();
            assert_eq!((core.waiting(), core.demand()), (0, 0));
        };
        shuttle::check_random(run, SCHEDULES);
        shuttle::check_pct(run, SCHEDULES, 3);
    }
}
