//! One recording on its way into the log, piece by piece at its pace.
//!
//! Owns: the numbering of rows, the pace, what is tried again. Never: more than one delivery in flight; a row in the
//! log twice.
//!
//! Rows are delivered as uploaded events are, flagged backfill. A row without a seq gets one that is the same every
//! time: bit 62, 30 bits of the BLAKE3 of the content, 32 bits of the row's number. What a crash lets happen again is
//! known by it, and so is the same file uploaded twice, under whatever name. Neighbouring rows have neighbouring
//! numbers, so a window needs few intervals for them; devices count from 0 and do not come there.

use super::cut::Shape;
use super::progress::{Progress, Saved, State};
use super::{Shown, save};
use crate::body::{Encoding, Rows};
use crate::delivery::{Delivery, Edge, Manner, Share};
use crate::meters::Protocol;
use crate::mqtt::message::passes_later;
use crate::problem::{Kind, Problem};
use crate::recordings::name::RecordingName;
use crate::recordings::opened::Opened;
use crate::recordings::store::Store;
use crate::verdict::Counts;
use evenkeel_auth::Credential;
use evenkeel_spool::SpoolBuffer;
use std::io::{self, Read};
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Most rows of a delivery.
const ROWS_MAX: u32 = 2_000;
/// Deliveries per second at least, so that the pace is even.
const PER_S: u32 = 4;
/// Longest wait before what was refused for now is tried again.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// One ingest.
pub(super) struct Job {
    edge: Arc<Edge>,
    store: Arc<Store>,
    name: RecordingName,
    credential: Arc<Credential>,
    saved: Saved,
    shown: Shown,
    /// Events per second.
    rate: u32,
}

/// Why it ends before the recording does.
enum Stop {
    /// The server does; a restart goes on.
    Draining,
    /// The recording was removed.
    Removed,
    /// It cannot go on.
    Failed(Problem),
}

impl Job {
    pub(super) fn new(
        edge: Arc<Edge>,
        store: Arc<Store>,
        name: RecordingName,
        (saved, shown): (Saved, Shown),
        rate: u32,
    ) -> Self {
        let credential = Credential::of_config(&saved.tenant, &[]); // the path names the stream
        Self { edge, store, name, credential, saved, shown, rate: rate.max(1) }
    }

    pub(super) async fn run(mut self) {
        let ended = match self.store.find(&self.name).await {
            Ok(opened) if opened.about.etag != self.saved.etag => Err(Stop::Removed),
            Ok(opened) => self.rows(&opened).await,
            Err(problem) if problem.kind == Kind::NotFound => Err(Stop::Removed),
            Err(problem) => Err(Stop::Failed(problem)),
        };
        match ended {
            Ok(()) => self.saved.progress.state = State::Done,
            Err(Stop::Draining | Stop::Removed) => return,
            Err(Stop::Failed(problem)) => {
                self.saved.progress.state = State::Failed;
                self.saved.progress.error = Some(problem.detail);
            }
        }
        self.keep().await;
    }

    async fn rows(&mut self, opened: &Opened) -> Result<(), Stop> {
        let buffer = opened.recording.buffer();
        if self.saved.content.is_empty() {
            self.saved.content = digest(buffer.clone()).await.map_err(Stop::Failed)?;
            self.keep().await;
        }
        let shape = Shape::of(&opened.about.content_type, &buffer).await.map_err(Stop::Failed)?;
        let first = shape.first;
        self.saved.progress.offset_bytes = self.saved.progress.offset_bytes.max(first);
        let mut due = Instant::now();
        while self.saved.progress.offset_bytes < self.saved.progress.size_bytes {
            if opened.is_removed() {
                return Err(Stop::Removed);
            }
            let before = self.saved.progress.rows;
            match self.piece(&shape, &buffer).await {
                Ok(()) => self.keep().await,
                Err(problem) if problem.kind == Kind::Draining => return Err(Stop::Draining),
                Err(problem) if passes_later(problem.kind) => {
                    let wait = Duration::from_millis(problem.retry_after_ms.unwrap_or(1_000));
                    tokio::time::sleep(wait.min(WAIT_MAX)).await;
                }
                Err(problem) => return Err(Stop::Failed(problem)),
            }
            // Behind its time it does not hurry: what was waited for is not made up.
            let rows = (self.saved.progress.rows - before) as f64;
            due = due.max(Instant::now()) + Duration::from_secs_f64(rows / f64::from(self.rate));
            tokio::time::sleep_until(due).await;
        }
        Ok(())
    }

    /// Delivers one piece and waits for the log.
    async fn piece(&mut self, shape: &Shape, buffer: &SpoolBuffer) -> Result<(), Problem> {
        let Progress { offset_bytes, rows, .. } = self.saved.progress;
        let rows = Rows { seq_first: seq_of(&self.saved.content, rows)?, columns: shape.columns.as_ref() };
        let edge = &self.edge;
        let manner = Manner {
            protocol: Protocol::Recording,
            format: shape.format,
            encoding: Encoding::Plain,
            credential: &self.credential,
            stream_id: Some(&self.name.stream_id),
        };
        let share = Share::open(edge, &self.credential, 0).await?;
        let mut delivery = Delivery::begin_rows(edge, share, manner, rows);
        let rows_max = (self.rate / PER_S).clamp(1, ROWS_MAX).min(edge.limits.events_max);
        let limits = (rows_max as usize, edge.limits.collect.record_bytes_max);
        let end = shape.feed(&mut delivery, buffer, offset_bytes, limits).await?;
        let (counts, refused) = match delivery.finish(None).await {
            Ok(accepted) => (accepted.answered.counts, accepted.answered.rejected),
            Err(Problem { kind: Kind::EventsRefused, verdicts: Some(verdicts), .. }) => verdicts,
            Err(problem) => return Err(problem),
        };
        let Counts { accepted, rejected_total } = counts;
        self.saved.progress.moved(end, accepted, rejected_total, refused);
        Ok(())
    }

    /// Shows how far it is, and saves it. When it cannot be saved, a restart does more again, which harms nothing.
    async fn keep(&self) {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = self.saved.progress.clone();
        let _ = save(&self.store, &self.name, self.saved.clone()).await;
    }
}

/// The seq of a row without one.
fn seq_of(content: &str, row: u64) -> Result<u64, Problem> {
    let row = u32::try_from(row)
        .map_err(|_| Problem::new(Kind::TooLarge, "a recording may have 4294967296 rows"))?;
    let named = content.get(..8).and_then(|digits| u32::from_str_radix(digits, 16).ok());
    let named = named.ok_or_else(|| Problem::new(Kind::SpoolFailed, "its content is not known"))?;
    Ok(1 << 62 | u64::from(named >> 2) << 32 | u64::from(row))
}

/// BLAKE3 of the content, hex.
async fn digest(buffer: SpoolBuffer) -> Result<String, Problem> {
    let read = move || -> io::Result<String> {
        let (mut reader, mut hasher) = (buffer.reader(), blake3::Hasher::new());
        let mut step = vec![0; 64 * 1024];
        loop {
            match reader.read(&mut step)? {
                0 => return Ok(hasher.finalize().to_hex().to_string()),
                read => hasher.update(&step[..read]),
            };
        }
    };
    let unreadable = |_| Problem::new(Kind::SpoolFailed, "the recording cannot be read");
    match tokio::task::spawn_blocking(read).await {
        Ok(digest) => digest.map_err(unreadable),
        Err(_) => Err(Problem::new(Kind::Draining, "the server is shutting down")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_one_number_and_its_neighbour_the_next() {
        let seq = |content: &str, row| seq_of(content, row).unwrap();
        assert_eq!(seq("ffffffff00", 0), 0x7fff_ffff_0000_0000);
        assert_eq!(seq("00000003ff", 7), (1 << 62) + 7);
        assert_eq!(seq("abcd0123", 6) + 1, seq("abcd0123", 7));
        assert_ne!(seq("abcd0123", 7), seq("abce0123", 7));
        assert!(seq("ffffffff", u64::from(u32::MAX)) <= i64::MAX as u64, "every store can hold it");
        assert_eq!(seq_of("abcd0123", 1 << 32).unwrap_err().kind, Kind::TooLarge);
    }
}
