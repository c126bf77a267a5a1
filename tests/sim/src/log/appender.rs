//! `seam::Appender` over the simulated log.

use super::cluster::{ClientId, Cluster, Due, SimLog, timing};
use super::partition::Record;
use evenkeel_seam::{Ack, AppendError, Appender, Bell, Outputs};
use std::time::Duration;

/// Most records in front of the log.
const QUEUE_RECORDS_MAX: usize = 10_000;

#[derive(Debug)]
pub(super) struct Pending {
    records: Outputs,
    result: Option<Result<(), AppendError>>,
}

/// Appends to the simulated log.
#[derive(Debug)]
pub struct SimAppender {
    log: SimLog,
    client: ClientId,
}

impl SimAppender {
    /// A producer without transactions.
    pub fn new(log: &SimLog) -> Self {
        let client = log.cluster().start_client();
        Self { log: log.clone(), client }
    }
}

impl Cluster {
    /// The records of a ticket reach the log.
    pub(super) fn land(&mut self, client: ClientId, ticket: u64) {
        let Some(pending) = self.appends.get_mut(&(client, ticket)) else { return };
        let records = std::mem::take(&mut pending.records);
        let fails = std::mem::take(&mut self.faults.append_fails);
        let landing = if fails { records.len() / 2 } else { records.len() };
        let now_ms = self.now_ms();
        for out in &records.records()[..landing] {
            let record = Record {
                timestamp_ms: now_ms,
                key: records.key(out).map(<[u8]>::to_vec),
                value: records.value(out).map(<[u8]>::to_vec),
                headers: records.headers(out).map(|h| (h.name.to_owned(), h.value.to_vec())).collect(),
            };
            self.append(out.topic, out.partition, record);
        }
        let result = if fails { Err(AppendError::Failed("the log lost it".into())) } else { Ok(()) };
        if let Some(pending) = self.appends.get_mut(&(client, ticket)) {
            pending.result = Some(result);
        }
    }
}

impl Appender for SimAppender {
    fn append(&mut self, records: &Outputs, ticket: u64) -> Result<(), AppendError> {
        let mut cluster = self.log.cluster();
        let mine = cluster.appends.range((self.client, 0)..=(self.client, u64::MAX));
        let queued: usize = mine.map(|(_, pending)| pending.records.len()).sum();
        if queued + records.len() > QUEUE_RECORDS_MAX {
            return Err(AppendError::Full);
        }
        let pending = Pending { records: records.clone(), result: None };
        cluster.appends.insert((self.client, ticket), pending);
        cluster.later(timing::APPEND_MS, Due::Append { client: self.client, ticket });
        Ok(())
    }

    /// Nobody waits in simulated time: who asks moves the clock.
    fn wake_by(&mut self, _: Bell) {}

    fn acks(&mut self, wait: Duration, out: &mut Vec<Ack>) {
        let mut cluster = self.log.cluster();
        let until = cluster.now_ms() + i64::try_from(wait.as_millis()).unwrap_or(i64::MAX / 2);
        loop {
            let done: Vec<u64> = (cluster.appends.range((self.client, 0)..=(self.client, u64::MAX)))
                .filter(|(_, pending)| pending.result.is_some())
                .map(|((_, ticket), _)| *ticket)
                .collect();
            for &ticket in &done {
                let pending = cluster.appends.remove(&(self.client, ticket));
                out.extend(pending.and_then(|p| p.result).map(|result| Ack { ticket, result }));
            }
            if !done.is_empty() || cluster.now_ms() >= until {
                return;
            }
            let next = cluster.next_due_ms().unwrap_or(until).min(until);
            cluster.advance_to(next);
        }
    }

    fn partitions(&self) -> u32 {
        self.log.cluster().partitions()
    }
}
