//! The lanes in front of the log: what waits, what leaves together, who is answered for it.
//!
//! Owns: the records of requests until they are handed over, one lane per partition leader, the sends on their way.
//! Never: reads a clock (time is an argument), gives a request two answers or none, hands over a record nobody waits
//! for any more. A request whose records span leaders waits for all of them. Everything here is charged to the byte
//! budget of the driver; a second limit of the same size bounds what the driver has given up and this still holds.

use crate::appending::Job;
use crate::flush::Wish;
use crate::meters::FlushMeters;
use evenkeel_flush::{Admission, Caps, Decision, ITEM_BYTES_MIN, Lane, Mode, Policy, SendId};
use evenkeel_seam::{Ack, AppendError, Appender, Header, OutRecord, Outputs};
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::time::{Duration, Instant};

/// Some records of one request, all for one leader: what a lane counts as an item.
#[derive(Debug)]
struct Part {
    request: u64,
    /// Of [`Request::order`].
    records: Range<usize>,
}

/// A request that has no answer yet.
#[derive(Debug)]
struct Request {
    records: Outputs,
    /// The records, leader by leader; within a leader as they came.
    order: Vec<u32>,
    give_up: Instant,
    /// Parts not handed over: with the last one the records' memory goes.
    waiting: usize,
    /// Parts without an outcome.
    open: usize,
    error: Option<AppendError>,
}

/// Sealed parts, on their way or waiting for room in the log's client.
#[derive(Debug)]
struct Sealed {
    lane: usize,
    send: SendId,
    parts: Vec<Part>,
}

#[derive(Debug)]
struct Line {
    lane: Lane,
    parts: VecDeque<Part>,
    /// The log's client had no room for it.
    stuck: Option<(Sealed, Outputs)>,
    sealed_at: Option<Instant>,
}

/// All lanes. Time never goes back.
pub(crate) struct Lanes {
    lines: Vec<Line>,
    admission: Admission,
    policy: Policy,
    caps: Caps,
    began: Instant,
    requests: BTreeMap<u64, Request>,
    in_flight: BTreeMap<u64, Sealed>,
    next_ticket: u64,
    meters: FlushMeters,
}

impl Lanes {
    pub(crate) fn new(
        policy: Policy,
        caps: Caps,
        bytes_max: u64,
        began: Instant,
        meters: FlushMeters,
        appender: &dyn Appender,
    ) -> Self {
        let mut led = vec![0; appender.lanes().max(1)];
        for partition in 0..appender.partitions() {
            led[appender.lane_of(partition).min(appender.lanes().max(1) - 1)] += 1;
        }
        let line = |partitions| Line {
            lane: Lane::new(policy.clone(), caps.clone(), partitions),
            parts: VecDeque::new(),
            stuck: None,
            sealed_at: None,
        };
        Self {
            lines: led.into_iter().map(line).collect(),
            admission: Admission::new(bytes_max),
            policy,
            caps,
            began,
            requests: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            next_ticket: 0,
            meters,
        }
    }

    /// Another policy, other caps, another bound; what waits and flies stays.
    pub(crate) fn set(&mut self, Wish { policy, caps, bytes_max }: Wish) {
        self.admission.set_limit(bytes_max);
        for line in &mut self.lines {
            line.lane.set_policy(policy.clone(), caps.clone());
        }
        (self.policy, self.caps) = (policy, caps);
    }

    /// From now on everything leaves at once.
    pub(crate) fn drain(&mut self) {
        for line in &mut self.lines {
            line.lane.drain();
        }
    }

    /// Whether the log's client had no room for something.
    pub(crate) fn is_stuck(&self) -> bool {
        self.lines.iter().any(|line| line.stuck.is_some())
    }

    /// Takes a request's records. [`Lanes::send`] follows.
    pub(crate) fn offer(
        &mut self,
        now: Instant,
        job: Job,
        appender: &dyn Appender,
        tell: &mut dyn FnMut(Ack),
    ) {
        let lane_of = |r: &OutRecord| appender.lane_of(r.partition).min(self.lines.len() - 1);
        let records = job.records.records();
        let mut order: Vec<u32> = (0..records.len() as u32).collect();
        if self.lines.len() > 1 {
            order.sort_by_key(|&at| lane_of(&records[at as usize]));
        }
        let mut parts: Vec<(usize, Range<usize>, u64)> = Vec::new();
        for (at, &record) in order.iter().enumerate() {
            let record = &records[record as usize];
            let (lane, bytes) = (lane_of(record), bytes_of(&job.records, record));
            match parts.last_mut() {
                Some((of, range, sum)) if *of == lane && *sum + bytes <= self.caps.bytes_per_send_max => {
                    range.end = at + 1;
                    *sum += bytes;
                }
                _ => parts.push((lane, at..at + 1, bytes)),
            }
        }
        let charge: u64 = parts.iter().map(|(_, _, bytes)| (*bytes).max(ITEM_BYTES_MIN)).sum();
        let full = self.admission.used_bytes() + charge > self.admission.limit_bytes();
        if full || parts.is_empty() {
            let result = if full { Err(AppendError::Full) } else { Ok(()) };
            return tell(Ack { ticket: job.ticket, result });
        }
        let total: u64 = parts.iter().map(|(_, _, bytes)| *bytes).sum();
        let now_us = self.us(now);
        let open = parts.len();
        for (lane, records, bytes) in parts {
            // A record above the cap is counted as the cap: the service's limits judged it already.
            let counted = bytes.min(self.caps.bytes_per_send_max).min(u64::from(u32::MAX)) as u32;
            let events = (u64::from(job.events) * bytes).div_ceil(total.max(1)) as u32;
            let line = &mut self.lines[lane];
            // Neither refusal can be: the size was capped, the room was looked at.
            if line.lane.offer(now_us, counted, events, &mut self.admission).is_ok() {
                line.parts.push_back(Part { request: job.ticket, records });
            }
        }
        let request =
            Request { records: job.records, order, give_up: job.give_up, waiting: open, open, error: None };
        self.requests.insert(job.ticket, request);
    }

    /// Hands over what the policy says; answers when to come again without an offer or an ack.
    pub(crate) fn send(
        &mut self,
        now: Instant,
        appender: &mut dyn Appender,
        tell: &mut dyn FnMut(Ack),
    ) -> Option<Instant> {
        let (now_us, mut due_us) = (self.us(now), None);
        for lane in 0..self.lines.len() {
            if let Some((sealed, batch)) = self.lines[lane].stuck.take() {
                self.hand_over(now, sealed, Some(batch), appender, tell);
            }
            while self.lines[lane].stuck.is_none() {
                match self.lines[lane].lane.poll(now_us, &self.admission) {
                    Decision::Seal(seal) => {
                        let line = &mut self.lines[lane];
                        self.meters.sealed(seal.bytes, line.sealed_at.map(|at| now.duration_since(at)));
                        line.sealed_at = Some(now);
                        let parts = line.parts.drain(..seal.items.min(line.parts.len())).collect();
                        self.hand_over(now, Sealed { lane, send: seal.send, parts }, None, appender, tell);
                    }
                    Decision::WaitUntil(us) => {
                        due_us = Some(due_us.map_or(us, |due: u64| due.min(us)));
                        break;
                    }
                    Decision::Idle => break,
                }
            }
        }
        self.meters.modes(self.lines.iter().map(|line| line.lane.mode()));
        due_us.map(|us| self.began + Duration::from_micros(us))
    }

    /// Gives a sealed send to the log. `batch` holds its records, if they were put together before.
    fn hand_over(
        &mut self,
        now: Instant,
        mut sealed: Sealed,
        batch: Option<Outputs>,
        appender: &mut dyn Appender,
        tell: &mut dyn FnMut(Ack),
    ) {
        let before = sealed.parts.len();
        let (alive, gone): (Vec<Part>, Vec<Part>) =
            sealed.parts.into_iter().partition(|part| self.is_awaited(part, now));
        for part in gone {
            let why = AppendError::Failed("the log had no room in time".into());
            self.settle(&part, Err(why), tell);
        }
        sealed.parts = alive;
        if sealed.parts.is_empty() {
            self.lines[sealed.lane].lane.lost(sealed.send, &mut self.admission);
            return;
        }
        let whole = sealed.parts.len() == before;
        let batch = batch.filter(|_| whole).unwrap_or_else(|| self.batch_of(&sealed.parts));
        let ticket = self.next_ticket;
        match appender.append(&batch, ticket) {
            Ok(()) => {
                self.next_ticket += 1;
                for part in &sealed.parts {
                    self.leaves(part.request);
                }
                self.in_flight.insert(ticket, sealed);
            }
            Err(AppendError::Full) => {
                let lane = sealed.lane;
                self.lines[lane].stuck = Some((sealed, batch));
            }
            Err(error) => {
                self.lines[sealed.lane].lane.lost(sealed.send, &mut self.admission);
                for part in &sealed.parts {
                    self.settle(part, Err(error.clone()), tell);
                }
            }
        }
    }

    /// Whether somebody still waits for a part: its time is not up, and no other part of its request has failed.
    fn is_awaited(&self, part: &Part, now: Instant) -> bool {
        self.requests.get(&part.request).is_some_and(|r| r.give_up > now && r.error.is_none())
    }

    /// One arena of all parts.
    fn batch_of(&mut self, parts: &[Part]) -> Outputs {
        if let [part] = parts
            && let Some(request) = self.requests.get_mut(&part.request)
            && part.records.len() == request.order.len()
        {
            // The whole request alone: nothing is copied.
            return std::mem::take(&mut request.records);
        }
        let mut batch = Outputs::new();
        for part in parts {
            let Some(request) = self.requests.get(&part.request) else { continue };
            for &at in &request.order[part.records.clone()] {
                copy(&request.records, &request.records.records()[at as usize], &mut batch);
            }
        }
        batch
    }

    /// A part was handed over: with the last one of its request the records are no longer needed.
    fn leaves(&mut self, request: u64) {
        if let Some(request) = self.requests.get_mut(&request) {
            request.waiting -= 1;
            if request.waiting == 0 {
                (request.records, request.order) = (Outputs::new(), Vec::new());
            }
        }
    }

    /// Outcomes of the log, in any order.
    pub(crate) fn heard(&mut self, now: Instant, acks: impl Iterator<Item = Ack>, tell: &mut dyn FnMut(Ack)) {
        let now_us = self.us(now);
        for ack in acks {
            let Some(sealed) = self.in_flight.remove(&ack.ticket) else { continue };
            let lane = &mut self.lines[sealed.lane].lane;
            match &ack.result {
                Ok(()) | Err(AppendError::Partly { .. }) => {
                    lane.acked(now_us, sealed.send, &mut self.admission)
                }
                Err(_) => lane.lost(sealed.send, &mut self.admission),
            };
            let mut first = 0;
            for part in &sealed.parts {
                let records = first..first + part.records.len() as u32;
                first = records.end;
                self.settle(part, result_of(&ack.result, records), tell);
            }
        }
    }

    /// A part has its outcome; the last one of a request is its answer.
    fn settle(&mut self, part: &Part, result: Result<(), AppendError>, tell: &mut dyn FnMut(Ack)) {
        let Some(request) = self.requests.get_mut(&part.request) else { return };
        if let Err(error) = result {
            request.error.get_or_insert(error);
        }
        request.open -= 1;
        if request.open == 0
            && let Some(done) = self.requests.remove(&part.request)
        {
            tell(Ack { ticket: part.request, result: done.error.map_or(Ok(()), Err) });
        }
    }

    fn us(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.began).as_micros()).unwrap_or(u64::MAX)
    }

    #[cfg(test)]
    pub(crate) fn held(&self) -> (usize, usize, u64) {
        (self.requests.len(), self.in_flight.len(), self.admission.used_bytes())
    }
}

/// What an append's outcome means for these of its records: a request does not pay for its neighbours'.
fn result_of(result: &Result<(), AppendError>, of: Range<u32>) -> Result<(), AppendError> {
    match result {
        Err(AppendError::Partly { records, .. }) if !records.iter().any(|place| of.contains(place)) => Ok(()),
        Err(AppendError::Partly { why, .. }) => Err(AppendError::Failed(why.clone())),
        result => result.clone(),
    }
}

fn bytes_of(records: &Outputs, record: &OutRecord) -> u64 {
    let [key, value] = [records.key(record), records.value(record)].map(|b| b.map_or(0, <[u8]>::len));
    let headers: usize = records.headers(record).map(|h| h.name.len() + h.value.len()).sum();
    (key + value + headers) as u64
}

fn copy(from: &Outputs, record: &OutRecord, to: &mut Outputs) {
    let key = from.key(record);
    let Some(value) = from.value(record) else {
        return to.push_tombstone(record.topic, record.partition, key.unwrap_or_default());
    };
    let headers: Vec<Header<'_>> = from.headers(record).collect();
    to.push(record.topic, record.partition, key, &headers, |arena| arena.extend_from_slice(value));
}

/// Every mode, for the metric.
pub(crate) const MODES: [Mode; 10] = [
    Mode::Idle,
    Mode::Filling,
    Mode::Cold,
    Mode::Warm,
    Mode::Hot,
    Mode::Panic,
    Mode::Clear,
    Mode::Paced,
    Mode::Busy,
    Mode::Draining,
];

#[cfg(test)]
mod tests;
