//! How far an ingest is: what a client is told, and what a restart needs.

use crate::verdict::Rejection;
use serde::{Deserialize, Serialize};

/// Refused rows that are listed; the count is of all.
const LISTED_MAX: usize = 20;

/// What an ingest does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// Nobody has asked for it.
    Idle,
    Running,
    Done,
    Failed,
}

/// A row that is no event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RefusedRow {
    /// Its number, from 0; blank lines and a header do not count.
    row: u64,
    message: String,
}

/// How far an ingest is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Progress {
    pub(crate) state: State,
    pub(crate) size_bytes: u64,
    /// Everything before it is in the log, or was refused.
    pub(crate) offset_bytes: u64,
    /// Rows before that.
    pub(crate) rows: u64,
    /// Those in the log.
    pub(crate) accepted: u64,
    /// Those that are no events.
    pub(crate) rejected: u64,
    /// The first of them.
    pub(crate) listed: Vec<RefusedRow>,
    /// Why it failed; a further POST tries again from here.
    pub(crate) error: Option<String>,
}

/// What is saved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Saved {
    /// Of the recording: another one of the same name begins anew.
    pub(crate) etag: String,
    /// Who asked: the tenant that it is charged to.
    pub(crate) tenant: String,
    /// BLAKE3 of the content, hex; empty until it is known. Rows are numbered by it.
    pub(crate) content: String,
    pub(crate) progress: Progress,
}

impl Progress {
    pub(crate) fn idle(size_bytes: u64) -> Self {
        Self {
            state: State::Idle,
            size_bytes,
            offset_bytes: 0,
            rows: 0,
            accepted: 0,
            rejected: 0,
            listed: Vec::new(),
            error: None,
        }
    }

    /// So many rows more, up to `offset_bytes`. The refused ones are numbered from the first of them.
    pub(crate) fn moved(&mut self, offset_bytes: u64, accepted: u64, rejected: u64, refused: Vec<Rejection>) {
        let room = LISTED_MAX.saturating_sub(self.listed.len());
        let first = self.rows;
        let rows = refused.into_iter().take(room);
        self.listed.extend(rows.map(|r| RefusedRow { row: first + u64::from(r.index), message: r.message }));
        self.offset_bytes = offset_bytes;
        self.rows += accepted + rejected;
        self.accepted += accepted;
        self.rejected += rejected;
    }
}

impl Saved {
    pub(crate) fn begin(size_bytes: u64, tenant: &str, etag: &str) -> Self {
        let progress = Progress { state: State::Running, ..Progress::idle(size_bytes) };
        Self { etag: etag.to_owned(), tenant: tenant.to_owned(), content: String::new(), progress }
    }

    /// One more try from where it is.
    pub(crate) fn again(mut self) -> Self {
        (self.progress.state, self.progress.error) = (State::Running, None);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Reason;

    #[test]
    fn rows_are_counted_from_the_beginning_and_few_are_listed() {
        let mut progress = Progress::idle(1000);
        let refused = |index| Rejection { index, reason: Reason::Malformed, message: "ts is missing".into() };
        progress.moved(10, 4, 1, vec![refused(2)]);
        progress.moved(900, 0, 40, (0..40).map(refused).collect());
        assert_eq!((progress.rows, progress.accepted, progress.rejected), (45, 4, 41));
        assert_eq!(progress.listed.len(), LISTED_MAX);
        assert_eq!((progress.listed[0].row, progress.listed[1].row), (2, 5));
    }
}
