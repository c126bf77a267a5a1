//! Which recordings are past their time, and letting them go.
//!
//! Owns: when each recording was begun, while there is a retention. Never: takes a recording from who uploads it, or
//! from its way into the log; reads a clock (the time is an argument). Who downloads one goes on with what is there.
//! Bound: an entry of 32 bytes for each recording there may be.

use super::about::{self, About, beside};
use super::ingest::is_running;
use super::name::RecordingName;
use super::store::{ABOUT, Store};
use evenkeel_chassis::units::Ms;
use std::collections::BTreeSet;
use std::ops::Bound;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A recording by when it was begun, ms since the epoch, and its stem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Begun {
    at_ms: i64,
    stem: u128,
}

impl Begun {
    fn new(stem: &str, at_ms: i64) -> Option<Self> {
        Some(Self { at_ms, stem: u128::from_str_radix(stem, 16).ok()? })
    }

    fn stem(self) -> String {
        format!("{:032x}", self.stem)
    }
}

/// When each recording was begun. Without a retention it keeps nothing.
#[derive(Debug)]
pub(super) struct Ages {
    /// How long one stays, ms; 0 = until it is removed.
    retention_ms: i64,
    begun: Mutex<BTreeSet<Begun>>,
}

impl Ages {
    pub(super) fn new(retention: Ms) -> Self {
        Self { retention_ms: i64::try_from(retention.ms()).unwrap_or(i64::MAX), begun: Mutex::default() }
    }

    /// A recording was begun.
    pub(super) fn begun(&self, stem: &str, at_ms: i64) {
        if let Some(begun) = Begun::new(stem, at_ms).filter(|_| self.retention_ms > 0) {
            self.entries().insert(begun);
        }
    }

    /// A recording that is there already, by the file about it. One that cannot be read stays.
    pub(super) fn found(&self, stem: &str, path: &Path) {
        if self.retention_ms > 0
            && let Ok(Some(about)) = about::read::<About>(path)
        {
            self.begun(stem, about.created_ms);
        }
    }

    /// It is gone.
    pub(super) fn removed(&self, stem: &str, at_ms: i64) {
        if let Some(begun) = Begun::new(stem, at_ms) {
            self.entries().remove(&begun);
        }
    }

    /// The next one, oldest first, whose time is over.
    fn due(&self, now_ms: i64, after: Option<Begun>) -> Option<Begun> {
        let last = Begun { at_ms: now_ms.saturating_sub(self.retention_ms), stem: u128::MAX };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let over = |begun: &Begun| *begun <= last;
        self.entries().range((from, Bound::Unbounded)).next().copied().filter(over)
    }

    fn entries(&self) -> MutexGuard<'_, BTreeSet<Begun>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// Removes the recordings whose retention is over at `now_ms`. One that is uploaded or ingested just now is looked at
    /// again the next time, and so is one whose files cannot be used.
    pub(super) async fn expire(self: &Arc<Self>, now_ms: i64) {
        let mut after = None;
        while let Some(begun) = self.ages.due(now_ms, after) {
            after = Some(begun);
            let stem = begun.stem();
            let (dir, of) = (self.dir.clone(), stem.clone());
            let look = move || (about::read::<About>(&beside(&dir, &of, ABOUT)), is_running(&dir, &of));
            match tokio::task::spawn_blocking(look).await {
                Ok((Ok(Some(about)), false)) if about.created_ms == begun.at_ms && !self.in_use(&stem) => {
                    let (stream_id, recording_id) = (about.stream_id, about.recording_id);
                    if self.remove(&RecordingName { stream_id, recording_id }).await.is_ok() {
                        self.meters.expired();
                    }
                }
                Ok((Ok(None), _)) => self.ages.removed(&stem, begun.at_ms),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "000000000000000000000000000000aa";
    const B: &str = "ffffffffffffffffffffffffffffffff";

    fn all_due(ages: &Ages, now_ms: i64) -> Vec<String> {
        let next = |after: &Option<Begun>| ages.due(now_ms, *after).map(Some);
        std::iter::successors(Some(None), next).flatten().map(Begun::stem).collect()
    }

    #[test]
    fn whoever_was_begun_the_retention_ago_is_due_and_the_oldest_first() {
        let ages = Ages::new(Ms::new(1_000).unwrap());
        ages.begun(B, 10);
        ages.begun(A, 20);
        assert!(all_due(&ages, 1_009).is_empty());
        assert_eq!(all_due(&ages, 1_010), [B]);
        assert_eq!(all_due(&ages, 5_000), [B, A], "one that stays hides nobody behind it");
        ages.removed(B, 10);
        ages.removed(A, 21); // another one of the name
        assert_eq!(all_due(&ages, 5_000), [A]);
    }

    #[test]
    fn without_a_retention_nothing_is_kept_or_due() {
        let ages = Ages::new(Ms::new(0).unwrap());
        ages.begun(A, 10);
        assert!(all_due(&ages, i64::MAX).is_empty() && ages.entries().is_empty());
    }
}
