//! The seam's `Appender` on the embedded log: hands records to the one writer, hears when they are durable.
//! Owns: the tickets on their way. Never: waits for room (a full queue is `Full`, at once).

use crate::local::Inner;
use crate::queue::Refusal;
use crate::writer::Job;
use evenkeel_seam::{Ack, AppendError, Appender, Bell, Outputs};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// Where the writer tells outcomes.
#[derive(Clone)]
pub(crate) struct Told {
    sender: Sender<Ack>,
    bell: Option<Bell>,
}

impl Told {
    /// Without a bell.
    pub fn new(sender: Sender<Ack>) -> Self {
        Self { sender, bell: None }
    }

    /// Nobody waits any more: fine.
    pub fn tell(&self, ack: Ack) {
        let _ = self.sender.send(ack);
        if let Some(bell) = &self.bell {
            bell();
        }
    }
}

/// Appends to the embedded log.
pub struct LocalAppender {
    inner: Arc<Inner>,
    told: Told,
    receiver: Receiver<Ack>,
    /// Tickets taken whose outcome was not fetched yet.
    open: usize,
}

impl LocalAppender {
    /// Most tickets without a fetched outcome; beyond it an append is `Full`.
    pub const TICKETS_MAX: usize = 65_536;

    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        let (sender, receiver) = channel();
        Self { inner, told: Told::new(sender), receiver, open: 0 }
    }

    fn took(&mut self, ack: Ack, out: &mut Vec<Ack>) {
        self.open = self.open.saturating_sub(1);
        out.push(ack);
    }
}

impl Appender for LocalAppender {
    fn append(&mut self, records: &Outputs, ticket: u64) -> Result<(), AppendError> {
        if self.open >= Self::TICKETS_MAX {
            return Err(AppendError::Full);
        }
        let bytes = records.allocated().max(256);
        if !self.inner.queue.has_room(bytes) {
            return Err(AppendError::Full); // before the copy: a full queue costs nothing
        }
        let job = Job::Append { outputs: records.clone(), ticket, told: self.told.clone() };
        match self.inner.queue.push(job, bytes) {
            Ok(()) => {
                self.open += 1;
                Ok(())
            }
            Err(Refusal::Full) => Err(AppendError::Full),
            Err(Refusal::Closed) => Err(AppendError::Failed("the log is closed".into())),
        }
    }

    fn wake_by(&mut self, bell: Bell) {
        self.told.bell = Some(bell);
    }

    fn acks(&mut self, wait: Duration, out: &mut Vec<Ack>) {
        if self.open == 0 {
            return;
        }
        if let Ok(ack) = self.receiver.recv_timeout(wait) {
            self.took(ack, out);
        }
        while let Ok(ack) = self.receiver.try_recv() {
            self.took(ack, out);
        }
    }

    fn partitions(&self) -> u32 {
        self.inner.hub.extents().partitions()
    }
}
