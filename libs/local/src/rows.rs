//! The seam's `Rows` on the embedded store. Owns: the actions on their way. Never: touches the file (the one
//! writer does). Bounded by the sink's own limit of records in work.

use crate::local::Inner;
use crate::store_writer::RowJob;
use evenkeel_seam::{RowAction, RowResult, Rows};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// Reads and writes window rows, and writes scores, of the embedded store.
pub struct LocalRows {
    inner: Arc<Inner>,
    sender: Sender<(u64, RowResult)>,
    receiver: Receiver<(u64, RowResult)>,
}

impl LocalRows {
    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        let (sender, receiver) = channel();
        Self { inner, sender, receiver }
    }
}

impl Rows for LocalRows {
    fn submit(&mut self, id: u64, action: RowAction) {
        let bytes = match &action {
            RowAction::Read(_) => 256,
            RowAction::Write(row) => 512 + row.row.stats.len() * 160,
            RowAction::Score(_) => 512,
        };
        let job = RowJob { id, action, results: self.sender.clone() };
        if self.inner.rows.push_over(job, bytes).is_err() {
            let _ = self.sender.send((id, RowResult::Unavailable("the store is closed".into())));
        }
    }

    fn done(&mut self, wait: Duration, out: &mut Vec<(u64, RowResult)>) {
        match wait.is_zero() {
            true => {}
            false => out.extend(self.receiver.recv_timeout(wait)),
        }
        out.extend(self.receiver.try_iter());
    }
}
