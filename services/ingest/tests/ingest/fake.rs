//! A log in memory: acknowledges, refuses, fails or keeps silent, as told.

use evenkeel_codec::decode_batch;
use evenkeel_model::EventBatch;
use evenkeel_seam::{Ack, AppendError, Appender, Bell, Outputs};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// What the log does with appends from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Acknowledges, at most one ticket per look.
    Ack,
    /// Takes and keeps silent until released.
    Hold,
    /// Has no room.
    Full,
    /// Takes, then says it failed.
    Fail,
}

/// One record as appended.
#[derive(Debug, Clone)]
pub struct Appended {
    pub ticket: u64,
    pub partition: u32,
    pub key: String,
    pub headers: Vec<(String, String)>,
    pub batch: EventBatch,
}

struct State {
    bell: Option<Bell>,
    mode: Mode,
    records: Vec<Appended>,
    held: Vec<u64>,
    acks: Vec<Ack>,
    durable: Vec<u64>,
}

/// The log, and the test's handle on it.
#[derive(Clone)]
pub struct Fake(Arc<(Mutex<State>, Condvar)>);

pub const PARTITIONS: u32 = 12;

impl State {
    fn ring(&self) {
        if let Some(bell) = &self.bell {
            bell();
        }
    }
}

impl Fake {
    pub fn new() -> Self {
        let state = State {
            bell: None,
            mode: Mode::Ack,
            records: vec![],
            held: vec![],
            acks: vec![],
            durable: vec![],
        };
        Self(Arc::new((Mutex::new(state), Condvar::new())))
    }

    pub fn set(&self, mode: Mode) {
        self.0.0.lock().unwrap().mode = mode;
    }

    /// Acknowledges everything held.
    pub fn release(&self) {
        let mut state = self.0.0.lock().unwrap();
        for ticket in std::mem::take(&mut state.held) {
            state.durable.push(ticket);
            state.acks.push(Ack { ticket, result: Ok(()) });
        }
        self.0.1.notify_all();
        state.ring();
    }

    /// Everything appended so far.
    pub fn records(&self) -> Vec<Appended> {
        self.0.0.lock().unwrap().records.clone()
    }

    /// Everything of acknowledged tickets.
    pub fn durable(&self) -> Vec<Appended> {
        let state = self.0.0.lock().unwrap();
        state.records.iter().filter(|record| state.durable.contains(&record.ticket)).cloned().collect()
    }
}

impl Appender for Fake {
    fn append(&mut self, records: &Outputs, ticket: u64) -> Result<(), AppendError> {
        let mut state = self.0.0.lock().unwrap();
        match state.mode {
            Mode::Full => return Err(AppendError::Full),
            Mode::Hold => state.held.push(ticket),
            Mode::Ack => {
                state.durable.push(ticket);
                state.acks.push(Ack { ticket, result: Ok(()) });
            }
            Mode::Fail => {
                let result = Err(AppendError::Failed("the disk of the log is full".into()));
                state.acks.push(Ack { ticket, result });
            }
        }
        for record in records.records() {
            let mut batch = EventBatch::default();
            decode_batch(records.value(record).unwrap(), &mut batch).unwrap();
            state.records.push(Appended {
                ticket,
                partition: record.partition,
                key: String::from_utf8(records.key(record).unwrap().to_vec()).unwrap(),
                headers: records
                    .headers(record)
                    .map(|h| (h.name.to_owned(), String::from_utf8(h.value.to_vec()).unwrap()))
                    .collect(),
                batch,
            });
        }
        state.ring();
        Ok(())
    }

    fn wake_by(&mut self, bell: Bell) {
        self.0.0.lock().unwrap().bell = Some(bell);
    }

    fn acks(&mut self, wait: Duration, out: &mut Vec<Ack>) {
        let state = self.0.0.lock().unwrap();
        let (mut state, _) = self.0.1.wait_timeout_while(state, wait, |state| state.acks.is_empty()).unwrap();
        if !state.acks.is_empty() {
            out.push(state.acks.remove(0));
        }
        if !state.acks.is_empty() {
            state.ring();
        }
    }

    fn partitions(&self) -> u32 {
        PARTITIONS
    }
}
