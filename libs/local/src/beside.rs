//! What a worker sends outside its transactions: appended like any other record, and forgotten if that fails.
//! Owns: the one send that is on its way. Never: waits, or asks for room that commits and appends need.

use crate::appender::Told;
use crate::writer::{Job, LogQueue};
use evenkeel_seam::{Ack, LogInput, Outputs};
use std::sync::mpsc::{Receiver, Sender, channel};

/// The sends of one worker.
#[derive(Debug)]
pub(crate) struct Beside {
    sender: Sender<Ack>,
    receiver: Receiver<Ack>,
    /// How many records the running send has.
    running: Option<usize>,
    /// Records without a place, and an outcome that needs no writer.
    dropped: usize,
}

impl Default for Beside {
    fn default() -> Self {
        let (sender, receiver) = channel();
        Self { sender, receiver, running: None, dropped: 0 }
    }
}

impl Beside {
    /// Hands the records to the writer, if its queue has room.
    pub fn send(&mut self, mut outputs: Outputs, queue: &LogQueue, partitions: u32) {
        let all = outputs.len();
        let nowhere: Vec<u32> =
            outputs.records().iter().map(|r| r.partition).filter(|p| *p >= partitions).collect();
        nowhere.into_iter().for_each(|partition| outputs.drop_partition(partition));
        let kept = outputs.len();
        let bytes = outputs.allocated().max(256);
        let job = Job::Append { outputs, ticket: 0, told: Told::new(self.sender.clone()) };
        let taken = kept > 0 && queue.push(job, bytes).is_ok();
        self.running = Some(if taken { kept } else { 0 });
        self.dropped = if taken { all - kept } else { all };
    }

    /// Tells the outcome of the last send, once there is one.
    pub fn tell(&mut self, each: &mut dyn FnMut(LogInput<'_>)) -> bool {
        let Some(records) = self.running else { return false };
        let mut dropped = self.dropped;
        if records > 0 {
            let Ok(ack) = self.receiver.try_recv() else { return false };
            dropped += if ack.result.is_ok() { 0 } else { records };
        }
        self.running = None;
        each(LogInput::Sent { outputs: Outputs::new(), dropped });
        true
    }
}
