//! What is known of one stream: how far it is filled, what of that is on disk, who waits, how it ended.
//!
//! Owns: the one picture that readers, the filler and the spiller share:
//!
//! ```text
//! 0 ........ disk_end ........................ filled ........ demand
//! [ on disk )[ page )[ page )[ page )[ tail )  not here yet
//! ```
//! A whole page is immutable; the tail is the page that still grows. Pages leave for the disk from the front,
//! so that what is on disk is always one range, and any read of it one system call. Never: IO, a clock, a
//! thread, a lock. Bounds: [`Core::memory_bytes`] is what it holds; the filler keeps it below its limit.

use crate::error::ReadError;
use crate::options::Fill;
use crate::waiters::{Ticket, Waiters};
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;
use std::task::Waker;

/// How a stream ended.
#[derive(Debug, Clone)]
pub(crate) enum End {
    /// The source said so: `filled` is the length.
    Eof,
    /// Nothing comes after `filled`, and every reader that wants more gets this.
    Failed(ReadError),
}

/// What a reader takes next.
#[derive(Debug)]
pub(crate) enum Piece<'a> {
    /// A part of a page in memory, without a copy.
    Page(Bytes),
    /// A part of the tail, to be copied at once, because the tail still moves.
    Tail(&'a [u8]),
    /// So many bytes are on disk, at the same offset as in the content.
    Disk(usize),
    /// Nothing is here (yet) at this offset.
    Nothing,
}

/// What the filler may do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// How many bytes fit into the page that grows now.
    pub(crate) room_bytes: usize,
    /// After so many bytes somebody can go on; at most `room_bytes`, at least 1.
    pub(crate) publish_bytes: usize,
}

/// The state of one stream.
#[derive(Debug)]
pub(crate) struct Core {
    page_bytes: usize,
    fill: Fill,
    disk_end: u64,
    /// First byte and content; each begins where the one before ended, the first at `disk_end`.
    pages: VecDeque<(u64, Bytes)>,
    pages_bytes: u64,
    /// Pages whose content is on disk and which nobody reads any more: the next ones to be filled. An allocator that
    /// gets a page on one thread and gives it back on another keeps twice as much.
    spares: Vec<BytesMut>,
    tail: Vec<u8>,
    filled: u64,
    end: Option<End>,
    /// The end of the farthest read so far, bytes.
    farthest: u64,
    waiters: Waiters,
    filler: Option<Waker>,
}

impl Core {
    /// An empty stream.
    pub(crate) fn new(page_bytes: usize, fill: Fill) -> Self {
        Self {
            page_bytes: page_bytes.max(1),
            fill,
            disk_end: 0,
            pages: VecDeque::new(),
            pages_bytes: 0,
            spares: Vec::new(),
            tail: Vec::new(),
            filled: 0,
            end: None,
            farthest: 0,
            waiters: Waiters::default(),
            filler: None,
        }
    }

    /// A stream whose first `bytes` are on disk already; with `finished` there is nothing more.
    pub(crate) fn on_disk(bytes: u64, finished: bool) -> Self {
        let end = finished.then_some(End::Eof);
        Self { disk_end: bytes, filled: bytes, end, ..Self::new(1, Fill::OnDemand) }
    }

    // --- what readers ask ---

    /// Whether a reader that wants everything below `target` can go on, be it with less.
    pub(crate) fn settled(&self, target: u64) -> bool {
        target <= self.filled || self.end.is_some()
    }

    /// The failure that a reader of everything below `target` must be told.
    pub(crate) fn failure(&self, target: u64) -> Option<ReadError> {
        match &self.end {
            Some(End::Failed(error)) if target > self.filled => Some(error.clone()),
            _ => None,
        }
    }

    /// What a reader that wants everything below `target` is told, if it can go on: how many bytes are here.
    pub(crate) fn outcome(&self, target: u64) -> Option<Result<u64, ReadError>> {
        self.settled(target).then(|| self.failure(target).map_or(Ok(self.filled), Err))
    }

    /// What to take of `[offset, offset + len)` first.
    pub(crate) fn piece(&self, offset: u64, len: usize) -> Piece<'_> {
        let here = self.filled.saturating_sub(offset);
        let len = usize::try_from(here).unwrap_or(usize::MAX).min(len);
        if len == 0 {
            return Piece::Nothing;
        }
        if offset < self.disk_end {
            let on_disk = usize::try_from(self.disk_end - offset).unwrap_or(usize::MAX);
            return Piece::Disk(len.min(on_disk));
        }
        let tail_start = self.filled - self.tail.len() as u64;
        if offset >= tail_start {
            let from = as_index(offset - tail_start);
            return Piece::Tail(&self.tail[from..from + len]);
        }
        let at = self.pages.partition_point(|(start, _)| *start <= offset) - 1;
        let (start, page) = &self.pages[at];
        let from = as_index(offset - start);
        Piece::Page(page.slice(from..page.len().min(from.saturating_add(len))))
    }

    /// A reader was served up to `to`. Answers the filler if it must go on reading ahead.
    pub(crate) fn has_read(&mut self, to: u64) -> Option<Waker> {
        if to <= self.farthest {
            return None;
        }
        self.farthest = to;
        self.filler_if_wanted()
    }

    /// A reader waits until `target` bytes are there. Answers the filler if that is news to it.
    pub(crate) fn wait(&mut self, target: u64, waker: Waker) -> (Ticket, Option<Waker>) {
        let ticket = self.waiters.add(target, waker);
        (ticket, self.filler_if_wanted())
    }

    /// The reader's waker of today; false if it was woken meanwhile.
    pub(crate) fn renew(&mut self, ticket: Ticket, waker: &Waker) -> bool {
        self.waiters.renew(ticket, waker)
    }

    /// A reader no longer waits: what only it demanded is demanded no more.
    pub(crate) fn give_up(&mut self, ticket: Ticket) {
        self.waiters.remove(ticket);
    }

    // --- what the filler does ---

    /// How far the stream is to be pulled: to what readers wait for, and as far ahead as the policy says.
    pub(crate) fn demand(&self) -> u64 {
        let ahead = match self.fill {
            Fill::OnDemand => 0,
            Fill::Ahead { bytes } => self.farthest.saturating_add(bytes),
            Fill::All => u64::MAX,
        };
        self.waiters.largest().unwrap_or(0).max(ahead)
    }

    /// What to pull now, or nothing: then `waker` is called when there is demand.
    pub(crate) fn wanted(&mut self, waker: &Waker) -> Option<Wanted> {
        let more = self.demand().saturating_sub(self.filled);
        if more == 0 || self.end.is_some() {
            self.filler = Some(waker.clone());
            return None;
        }
        let room_bytes = self.page_bytes - self.tail.len();
        let nearest = self.waiters.smallest().map_or(u64::MAX, |target| target.saturating_sub(self.filled));
        let publish = usize::try_from(nearest.min(more)).unwrap_or(usize::MAX);
        Some(Wanted { room_bytes, publish_bytes: publish.clamp(1, room_bytes) })
    }

    /// Bytes that came, at most the room that [`Self::wanted`] told. Answers who can go on.
    pub(crate) fn publish(&mut self, bytes: &[u8]) -> Vec<Waker> {
        debug_assert!(self.tail.len() + bytes.len() <= self.page_bytes, "more than there was room for");
        let needed = self.tail.len() + bytes.len();
        if needed > self.tail.capacity() {
            let doubled = needed.max(self.tail.capacity() * 2).min(self.page_bytes.max(needed));
            self.tail.reserve_exact(doubled - self.tail.len());
        }
        self.tail.extend_from_slice(bytes);
        self.filled += bytes.len() as u64;
        if self.tail.len() >= self.page_bytes {
            self.seal_tail();
        }
        self.waiters.reached(self.filled)
    }

    /// A whole page that came at once, without a copy; only while the tail is empty. Answers who can go on.
    pub(crate) fn publish_page(&mut self, page: Bytes) -> Vec<Waker> {
        if !self.tail.is_empty() {
            return self.publish(&page);
        }
        let start = self.filled;
        self.filled += page.len() as u64;
        self.pages_bytes += page.len() as u64;
        self.pages.push_back((start, page));
        self.waiters.reached(self.filled)
    }

    /// Bytes that somebody has written to disk behind what was there. Answers who can go on.
    pub(crate) fn appended(&mut self, bytes: u64) -> Vec<Waker> {
        debug_assert!(self.pages.is_empty() && self.tail.is_empty(), "an append behind bytes in memory");
        self.disk_end += bytes;
        self.filled = self.disk_end;
        self.waiters.reached(self.filled)
    }

    /// The stream is over; the first end stands. Answers who can go on.
    pub(crate) fn finish(&mut self, end: End) -> Vec<Waker> {
        if self.end.is_none() {
            self.end = Some(end);
            self.seal_tail();
            self.drop_spares();
            self.filler = None;
        }
        self.waiters.all()
    }

    // --- what the spiller does ---

    /// Makes a page of the tail, so that it can be written out as well.
    pub(crate) fn seal_tail(&mut self) {
        if !self.tail.is_empty() {
            // Boxed: what the tail had in reserve is not kept with the page.
            let page = Bytes::from(std::mem::take(&mut self.tail).into_boxed_slice());
            self.pages_bytes += page.len() as u64;
            self.pages.push_back((self.filled - page.len() as u64, page));
        }
    }

    /// The page that leaves memory next, with its offset, while pages hold more than `keep_bytes`.
    pub(crate) fn spill_next(&self, keep_bytes: u64) -> Option<(u64, Bytes)> {
        self.pages.front().filter(|_| self.pages_bytes > keep_bytes).cloned()
    }

    /// The page at `start` is on disk now.
    pub(crate) fn spilled(&mut self, start: u64) {
        if start == self.disk_end
            && let Some((_, page)) = self.pages.pop_front()
        {
            self.disk_end += page.len() as u64;
            self.pages_bytes -= page.len() as u64;
        }
    }

    /// Keeps a page that has left for the next that is filled, unless the stream is over.
    pub(crate) fn keep_spare(&mut self, mut page: BytesMut) {
        if self.end.is_none() && page.capacity() >= self.page_bytes {
            page.clear();
            self.spares.push(page);
        }
    }

    /// A page to fill, empty.
    pub(crate) fn take_spare(&mut self) -> Option<BytesMut> {
        self.spares.pop()
    }

    /// Gives the memory of spare pages back.
    pub(crate) fn drop_spares(&mut self) {
        self.spares = Vec::new();
    }

    /// Forgets all content: nobody can read it any more.
    pub(crate) fn clear(&mut self) {
        *self = Self { end: self.end.take(), ..Self::new(self.page_bytes, Fill::OnDemand) };
    }

    // --- figures ---

    /// Bytes of content that are readable now.
    pub(crate) fn filled(&self) -> u64 {
        self.filled
    }

    /// Bytes of content on disk.
    pub(crate) fn disk_bytes(&self) -> u64 {
        self.disk_end
    }

    /// Bytes of whole pages in memory.
    pub(crate) fn pages_bytes(&self) -> u64 {
        self.pages_bytes
    }

    /// Bytes of whole pages in memory, be they full or spare.
    pub(crate) fn held_bytes(&self) -> u64 {
        self.pages_bytes + self.spares.iter().map(|page| page.capacity() as u64).sum::<u64>()
    }

    /// Bytes held in memory for content, the reserve of the tail with it.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.held_bytes() + self.tail.capacity() as u64
    }

    /// How it ended, if it did.
    pub(crate) fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// Readers that wait now.
    pub(crate) fn waiting(&self) -> usize {
        self.waiters.len()
    }

    fn filler_if_wanted(&mut self) -> Option<Waker> {
        let wanted = self.end.is_none() && self.demand() > self.filled;
        if wanted { self.filler.take() } else { None }
    }
}

/// An offset inside a page: it came from a `usize`.
fn as_index(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::task::Wake;

    /// Counts how often it was woken.
    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    fn content(len: u64) -> Vec<u8> {
        (0..len).map(|i| u8::try_from(i * 31 % 251).unwrap()).collect()
    }

    /// Everything from `offset` that is here, the disk's part from `disk`.
    fn read(core: &Core, disk: &[u8], offset: u64, len: usize) -> Vec<u8> {
        let mut out = Vec::new();
        while out.len() < len {
            let at = offset + out.len() as u64;
            match core.piece(at, len - out.len()) {
                Piece::Page(bytes) => out.extend_from_slice(&bytes),
                Piece::Tail(bytes) => out.extend_from_slice(bytes),
                Piece::Disk(len) => out.extend_from_slice(&disk[as_index(at)..as_index(at) + len]),
                Piece::Nothing => break,
            }
        }
        out
    }

    #[test]
    fn only_whoever_has_all_its_bytes_is_woken() {
        let mut core = Core::new(10, Fill::OnDemand);
        let wakers: Vec<_> = (0..3).map(|_| Arc::new(Count::default())).collect();
        for (target, count) in [5, 6, 100].into_iter().zip(&wakers) {
            core.wait(target, Waker::from(Arc::clone(count)));
        }
        let woken = |wakers: &[Arc<Count>]| wakers.iter().map(|w| w.0.load(Relaxed)).collect::<Vec<_>>();
        core.publish(b"12345").into_iter().for_each(Waker::wake);
        assert_eq!(woken(&wakers), [1, 0, 0]);
        core.publish(b"6").into_iter().for_each(Waker::wake);
        assert_eq!(woken(&wakers), [1, 1, 0]);
        core.finish(End::Eof).into_iter().for_each(Waker::wake);
        assert_eq!(woken(&wakers), [1, 1, 1]);
    }

    #[test]
    fn who_gives_up_demands_nothing_any_more() {
        let mut core = Core::new(10, Fill::OnDemand);
        assert_eq!(core.wanted(Waker::noop()), None);
        let (far, filler) = core.wait(1_000, Waker::noop().clone());
        assert!(filler.is_some(), "the filler that waits is told of new demand");
        let (near, filler) = core.wait(25, Waker::noop().clone());
        assert!(filler.is_none(), "once");
        assert_eq!((core.demand(), core.waiting()), (1_000, 2));
        assert_eq!(core.wanted(Waker::noop()), Some(Wanted { room_bytes: 10, publish_bytes: 10 }));
        core.publish(&[0; 7]);
        assert_eq!(core.wanted(Waker::noop()), Some(Wanted { room_bytes: 3, publish_bytes: 3 }));
        core.give_up(far);
        assert_eq!(core.demand(), 25);
        core.give_up(near);
        assert_eq!((core.demand(), core.wanted(Waker::noop())), (0, None));
    }

    #[test]
    fn reading_ahead_follows_the_farthest_reader() {
        let mut core = Core::new(4, Fill::Ahead { bytes: 10 });
        assert_eq!(core.demand(), 10);
        for _ in 0..3 {
            core.publish(&[0; 4]);
        }
        assert_eq!(core.wanted(Waker::noop()), None);
        assert!(core.has_read(2).is_none(), "12 bytes are there, and 12 are wanted");
        assert!(core.has_read(3).is_some());
        assert_eq!(core.demand(), 13);
    }

    #[test]
    fn the_first_end_stands_and_hurts_only_who_wants_more() {
        let failed = |why| End::Failed(ReadError::Abandoned { at: 3, why });
        let mut core = Core::new(10, Fill::All);
        core.publish(b"abc");
        core.finish(failed("first"));
        core.finish(End::Eof);
        core.finish(failed("second"));
        assert!(core.failure(3).is_none() && core.settled(u64::MAX));
        assert!(matches!(core.failure(4), Some(ReadError::Abandoned { why: "first", .. })));
        assert_eq!(core.wanted(Waker::noop()), None);
        assert_eq!(read(&core, &[], 1, 9), b"bc");
    }

    #[derive(Debug, Clone)]
    enum Step {
        Publish(usize),
        Page,
        Seal,
        Spill(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (1usize..9).prop_map(Step::Publish),
            2 => Just(Step::Page),
            1 => Just(Step::Seal),
            2 => (0u64..30).prop_map(Step::Spill),
        ]
    }

    proptest! {
        // Against a plain vector: whatever moved where, every range reads as the content does.
        #[test]
        fn every_range_is_the_contents(
            page in 1usize..9,
            steps in prop::collection::vec(step(), 0..60),
            ranges in prop::collection::vec((0u64..400, 0usize..60), 1..12),
        ) {
            let content = content(600);
            let mut core = Core::new(page, Fill::All);
            let mut disk = Vec::new();
            for step in steps {
                let at = as_index(core.filled());
                let wanted = core.wanted(Waker::noop()).unwrap();
                match step {
                    Step::Publish(len) => { core.publish(&content[at..at + len.min(wanted.room_bytes)]); }
                    Step::Page => { core.publish_page(Bytes::copy_from_slice(&content[at..at + wanted.room_bytes])); }
                    Step::Seal => core.seal_tail(),
                    Step::Spill(keep) => while let Some((start, bytes)) = core.spill_next(keep) {
                        prop_assert_eq!(start, disk.len() as u64);
                        disk.extend_from_slice(&bytes);
                        core.spilled(start);
                        prop_assert_eq!(core.disk_bytes(), disk.len() as u64);
                    },
                }
                prop_assert!(core.memory_bytes() <= core.filled() - core.disk_bytes() + page as u64);
                prop_assert!(core.tail.capacity() <= page);
                for (offset, len) in &ranges {
                    let from = as_index(*offset).min(as_index(core.filled()));
                    let to = (from + len).min(as_index(core.filled()));
                    let want = if *offset >= core.filled() { &[][..] } else { &content[from..to] };
                    prop_assert_eq!(read(&core, &disk, *offset, *len), want);
                }
            }
        }
    }
}
