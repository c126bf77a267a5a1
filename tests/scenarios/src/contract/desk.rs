//! An appender under test: its tickets and their outcomes.

use super::log::Log;
use super::member::{DEADLINE_MS, put};
use super::must;
use evenkeel_model::Topic;
use evenkeel_seam::{Ack, Appender as _, Outputs};
use std::time::Duration;

/// An appender that counts its tickets.
pub struct Desk<L: Log> {
    /// The appender under test.
    pub appender: L::Appender,
    clock: Box<dyn Fn() -> i64>,
    last: u64,
}

impl<L: Log> Desk<L> {
    /// A new appender.
    pub fn new(log: &mut L) -> Self {
        Self { appender: log.appender(), clock: log.clock(), last: 0 }
    }

    /// Appends; returns the ticket.
    #[track_caller]
    pub fn append(&mut self, records: &Outputs) -> u64 {
        self.last += 1;
        must("append", self.appender.append(records, self.last));
        self.last
    }

    /// Waits for so many outcomes.
    #[track_caller]
    pub fn acks(&mut self, n: usize) -> Vec<Ack> {
        let (mut out, deadline) = (Vec::new(), (self.clock)() + DEADLINE_MS);
        while out.len() < n {
            assert!((self.clock)() < deadline, "{out:?}, {n} wanted");
            self.appender.acks(Duration::from_millis(50), &mut out);
        }
        out
    }

    /// Appends events, one per text, under one ticket; they must be acknowledged.
    #[track_caller]
    pub fn send(&mut self, partition: u32, texts: &[&str]) {
        let mut records = Outputs::new();
        texts.iter().for_each(|text| put(&mut records, Topic::Events, partition, "s", text));
        let ticket = self.append(&records);
        assert_eq!(self.acks(1), [Ack { ticket, result: Ok(()) }]);
    }
}
