//! The one task that pulls a source forward.
//!
//! Owns: the source, and the part of a page that is not published yet. Never: reads a byte that nobody wants
//! (the policy of reading ahead is a want), holds more than the limits say, goes on after the end. While it
//! waits for the source, all that came is published.

use crate::core::{End, Wanted};
use crate::error::{ReadError, SpillError};
use crate::source::Source;
use crate::spill::Left;
use crate::spool::{Spool, WORKING_PAGES};
use bytes::BytesMut;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::task::JoinHandle;

/// The first reserve for a source that did not say how long it is.
const FIRST_BYTES: u64 = 16 << 10;

/// Fills `spool` from `source` to its end, as far as somebody wants it.
pub(crate) async fn fill(spool: Arc<Spool>, mut source: Source) {
    // However this task ends, nobody is left to wait for it.
    let guard = Ended(Arc::clone(&spool));
    let end = pull(&spool, &mut source).await;
    if spool.is_on_disk() {
        let spool = Arc::clone(&spool);
        let _ = tokio::task::spawn_blocking(move || spool.trim()).await; // room, not content: it may fail
    }
    spool.finish(end);
    drop(guard);
}

/// A spill under way beside the filling.
type Spilling = Option<JoinHandle<Result<u64, SpillError>>>;

async fn pull(spool: &Arc<Spool>, source: &mut Source) -> End {
    let first = spool.size_hint.unwrap_or(FIRST_BYTES).clamp(1, spool.limits.page as u64);
    let first = usize::try_from(first).unwrap_or(spool.limits.page);
    let (mut scratch, mut spilling) = (BytesMut::new(), None);
    loop {
        let wanted = poll_fn(|context| spool.gate.poll_wanted(context)).await;
        if let Err(error) = make_room(spool, &mut scratch, &mut spilling).await {
            return End::Failed(error);
        }
        let came = poll_fn(|context| gather(context, source, &mut scratch, wanted, first)).await;
        publish(spool, &mut scratch);
        match came {
            Ok(true) => {}
            Ok(false) => return End::Eof,
            Err(source) => {
                let at = spool.gate.core().filled();
                return End::Failed(ReadError::Source { at, source: Arc::new(source) });
            }
        }
        // A source that is always ready must not keep a thread for itself.
        tokio::task::coop::consume_budget().await;
    }
}

/// Polls the source until the page is full, somebody can go on, or nothing more is ready; false at its end.
fn gather(
    context: &mut Context<'_>,
    source: &mut Source,
    scratch: &mut BytesMut,
    wanted: Wanted,
    first: usize,
) -> Poll<io::Result<bool>> {
    loop {
        if scratch.len() >= wanted.publish_bytes {
            return Poll::Ready(Ok(true));
        }
        match source.poll_fill(context, scratch, wanted.room_bytes - scratch.len(), first) {
            Poll::Ready(Ok(0)) => return Poll::Ready(Ok(false)),
            Poll::Ready(Ok(_)) => {}
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending if scratch.is_empty() => return Poll::Pending,
            Poll::Pending => return Poll::Ready(Ok(true)),
        }
    }
}

fn publish(spool: &Spool, scratch: &mut BytesMut) {
    if scratch.len() >= spool.limits.page {
        spool.gate.publish_page(std::mem::take(scratch).freeze());
    } else if !scratch.is_empty() {
        spool.gate.publish(scratch);
        scratch.clear();
    }
}

/// Waits until there is room for one more page, in this buffer's own limit and in the account. Once a stream is too long
/// for memory one thread writes its pages for as long as they come, beside the filling: neither waits for the other to
/// be started.
async fn make_room(
    spool: &Arc<Spool>,
    scratch: &mut BytesMut,
    spilling: &mut Spilling,
) -> Result<(), ReadError> {
    let (limits, working) = (spool.limits, WORKING_PAGES * spool.limits.page as u64);
    let spill = |keep: u64| {
        let spiller = Arc::clone(spool);
        tokio::task::spawn_blocking(move || spiller.spill(keep, Left::Reuse))
    };
    loop {
        let (held, pages, on_disk) = {
            let mut core = spool.gate.core();
            if scratch.capacity() == 0 {
                *scratch = core.take_spare().unwrap_or_default();
            }
            (core.held_bytes(), core.pages_bytes(), core.disk_bytes() > 0)
        };
        let fits = held.saturating_add(working) <= limits.memory;
        // Without a page to spill there is nothing to do: the working pages are charged from the start.
        if pages == 0 || fits && spool.account.set_memory(spool.memory_needed()) {
            if on_disk && spilling.is_none() && pages > limits.keep() + limits.step() {
                *spilling = Some(spill(limits.keep()));
            }
            if !spilling.as_ref().is_some_and(JoinHandle::is_finished) {
                return Ok(());
            }
        } else if spool.gate.core().take_spare().is_some() {
            continue; // one that nobody needs now
        }
        // The account may want more of us than our own limit does, so it is always less than there is.
        let keep = limits.keep().min(pages.saturating_sub(limits.step()));
        let task = spilling.get_or_insert_with(|| spill(keep));
        let spilled = tokio::select! {
            spilled = task => spilled,
            () = spool.room.notified() => continue,
        };
        *spilling = None;
        let at = spool.gate.core().filled();
        match spilled {
            Ok(Ok(_)) => {}
            Ok(Err(source)) => return Err(ReadError::Full { at, source }),
            Err(_) => return Err(ReadError::Abandoned { at, why: "its runtime is shutting down" }),
        }
    }
}

/// Ends the stream if the filler was dropped before: the runtime went away, or the source panicked.
struct Ended(Arc<Spool>);

impl Drop for Ended {
    fn drop(&mut self) {
        let at = self.0.gate.core().filled();
        let why = "the task that filled it is gone (its runtime ended, or the source panicked)";
        self.0.finish(End::Failed(ReadError::Abandoned { at, why }));
    }
}
