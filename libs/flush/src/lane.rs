//! The lane of one partition leader: what waits, what is in flight, what leaves now.
//!
//! Owns: counts in arrival order, the caps over every ruling, what the answers teach. Never: payloads, sends,
//! retries. Its caller keeps the records in a queue of the same order and takes as many of the oldest as a
//! [`Seal`] says. Bounds: queue and flight hold at most the items that [`Admission`] let in; at the cap of sends in
//! flight nothing is sealed until an answer comes.

use crate::admission::Admission;
use crate::learn::{Learnt, Sample};
use crate::policy::{Caps, Policy};
use crate::rate::RollingRate;
use crate::rules::{Mode, Verdict, View, rule};
use std::collections::VecDeque;

/// A send of one lane; rising from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SendId(pub u64);

/// What leaves: so many of the oldest items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seal {
    /// To be named when the answer comes.
    pub send: SendId,
    /// How many of the oldest items.
    pub items: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Their events.
    pub events: u64,
}

/// What the caller does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Send these, and poll again.
    Seal(Seal),
    /// Poll again at this time (µs), or after an offer or an answer, whichever is first.
    WaitUntil(u64),
    /// Poll again after an offer or an answer.
    Idle,
}

/// Why an item may not enter. Nothing changed but a count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// The admission budget has no room: come back later.
    OverLimit,
    /// Larger than the largest send: it can never leave.
    TooLarge,
}

/// What a lane holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Depth {
    /// Items that wait.
    pub queued_items: usize,
    /// Their bytes.
    pub queued_bytes: u64,
    /// Sends without an answer.
    pub in_flight_sends: usize,
    /// Their bytes.
    pub in_flight_bytes: u64,
}

#[derive(Debug, Clone, Copy)]
struct Item {
    at_us: u64,
    bytes: u32,
    events: u32,
}

#[derive(Debug, Clone, Copy)]
struct Flight {
    seal: Seal,
    sent_us: u64,
    charge: u64,
    requests: f64,
    /// As learnt when it left, µs.
    cost_us: f64,
}

/// The state machine of one partition leader.
#[derive(Debug, Clone)]
pub struct Lane {
    policy: Policy,
    caps: Caps,
    partitions: u32,
    queue: VecDeque<Item>,
    queued_bytes: u64,
    flight: VecDeque<Flight>,
    flight_bytes: u64,
    rate: RollingRate,
    learnt: Learnt,
    next: u64,
    /// Learnt cost of the sends in flight, µs, and when the broker will be done with them.
    flight_cost_us: f64,
    done_us: f64,
    last_send_us: Option<u64>,
    last_ack_us: Option<u64>,
    mode: Mode,
    threshold_bytes: u64,
    draining: bool,
}

impl Lane {
    /// An empty lane of a leader that leads `partitions` of ours: a send makes at most so many requests.
    pub fn new(policy: Policy, caps: Caps, partitions: u32) -> Self {
        Self {
            policy,
            caps,
            partitions: partitions.max(1),
            queue: VecDeque::new(),
            queued_bytes: 0,
            flight: VecDeque::new(),
            flight_bytes: 0,
            rate: RollingRate::new(),
            learnt: Learnt::default(),
            next: 0,
            flight_cost_us: 0.0,
            done_us: 0.0,
            last_send_us: None,
            last_ack_us: None,
            mode: Mode::Idle,
            threshold_bytes: 0,
            draining: false,
        }
    }

    /// Puts an item of `bytes` with `events` at the end of the queue, or refuses it. Poll afterwards; offering
    /// several items before a poll lets them leave together.
    pub fn offer(
        &mut self,
        now_us: u64,
        bytes: u32,
        events: u32,
        admission: &mut Admission,
    ) -> Result<(), Refusal> {
        if u64::from(bytes) > self.caps.bytes_per_send_max {
            return Err(Refusal::TooLarge);
        }
        if !admission.take(Admission::charge_of(bytes)) {
            return Err(Refusal::OverLimit);
        }
        self.rate.add(now_us, events, bytes);
        self.queue.push_back(Item { at_us: now_us, bytes, events });
        self.queued_bytes += u64::from(bytes);
        Ok(())
    }

    /// The broker has acknowledged all of `send`. Answers what it was; `None` for a send already answered.
    pub fn acked(&mut self, now_us: u64, send: SendId, admission: &mut Admission) -> Option<Seal> {
        let flight = self.land(send, admission)?;
        self.learnt.answer(Sample {
            acked_us: now_us,
            sent_us: flight.sent_us,
            previous_us: self.last_ack_us,
            requests: flight.requests,
            bytes: flight.seal.bytes,
        });
        self.last_ack_us = Some(now_us);
        // The guess starts afresh at each answer, so that neither a stall nor a wrong cost adds up.
        self.done_us = now_us as f64 + self.flight_cost_us;
        Some(flight.seal)
    }

    /// `send` has failed for good: its place is free again, and its time teaches nothing.
    pub fn lost(&mut self, send: SendId, admission: &mut Admission) -> Option<Seal> {
        Some(self.land(send, admission)?.seal)
    }

    fn land(&mut self, send: SendId, admission: &mut Admission) -> Option<Flight> {
        // Answers come in order but for faults, so this looks at the front.
        let at = self.flight.iter().position(|f| f.seal.send == send)?;
        let flight = self.flight.remove(at)?;
        self.flight_bytes -= flight.seal.bytes;
        // An empty flight costs nothing, whatever rounding left.
        self.flight_cost_us = if self.flight.is_empty() { 0.0 } else { self.flight_cost_us - flight.cost_us };
        admission.give(flight.charge);
        Some(flight)
    }

    /// What to do now. Call again after each [`Decision::Seal`].
    pub fn poll(&mut self, now_us: u64, admission: &Admission) -> Decision {
        self.rate.advance(now_us);
        let oldest_us = self.queue.front().map_or(now_us, |item| item.at_us);
        let ruling = rule(&self.policy, &self.view(now_us, oldest_us, admission));
        (self.mode, self.threshold_bytes) = (ruling.mode, ruling.threshold_bytes);
        if self.queue.is_empty() {
            self.mode = ruling.mode.of_empty(self.flight.len());
            return Decision::Idle;
        }
        if self.flight.len() >= self.caps.in_flight_max.max(1) {
            self.mode = Mode::Busy;
            return Decision::Idle;
        }
        if self.draining {
            self.mode = Mode::Draining;
            return Decision::Seal(self.seal(now_us));
        }
        let cap_us = oldest_us.saturating_add(self.caps.age_max_ms.saturating_mul(1000));
        match ruling.verdict {
            Verdict::Seal => Decision::Seal(self.seal(now_us)),
            Verdict::WaitUntil(_) if cap_us <= now_us => Decision::Seal(self.seal(now_us)),
            Verdict::WaitUntil(until) => Decision::WaitUntil(until.min(cap_us)),
            Verdict::Busy => Decision::Idle,
        }
    }

    fn view(&self, now_us: u64, oldest_us: u64, admission: &Admission) -> View {
        View {
            now_us,
            queued_bytes: self.queued_bytes,
            oldest_us,
            last_send_us: self.last_send_us,
            in_flight: self.flight.len(),
            rate: self.rate.events_per_s(),
            byte_rate: self.rate.bytes_per_s(),
            rate_changes_us: self.rate.next_change_us(),
            fill: admission.fill(),
            round_trip_us: self.learnt.round_trip_us(),
            fixed_us: self.learnt.fixed_us(),
            done_us: self.done_us,
            bytes_per_send_max: self.caps.bytes_per_send_max,
        }
    }

    /// The requests that a send of `items` makes: one per partition met, if partitions are met by chance.
    fn requests_of(&self, items: usize) -> f64 {
        let partitions = f64::from(self.partitions);
        partitions * (1.0 - (1.0 - 1.0 / partitions).powi(i32::try_from(items).unwrap_or(i32::MAX)))
    }

    /// As many of the oldest items as fit one send; at least one, because offers larger than a send are refused.
    fn seal(&mut self, now_us: u64) -> Seal {
        let (mut items, mut bytes, mut events, mut charge) = (0, 0, 0, 0);
        while let Some(item) = self.queue.front() {
            let fits = bytes + u64::from(item.bytes) <= self.caps.bytes_per_send_max;
            // After a reload that made the cap smaller, an item above it leaves alone.
            if !fits && items > 0 {
                break;
            }
            items += 1;
            bytes += u64::from(item.bytes);
            events += u64::from(item.events);
            charge += Admission::charge_of(item.bytes);
            self.queue.pop_front();
        }
        self.next += 1;
        let seal = Seal { send: SendId(self.next), items, bytes, events };
        let requests = self.requests_of(items);
        let cost_us = self.learnt.cost_us(requests, bytes) * self.policy.stretch();
        self.flight.push_back(Flight { seal, sent_us: now_us, charge, requests, cost_us });
        self.flight_cost_us += cost_us;
        self.done_us = self.done_us.max(now_us as f64) + cost_us;
        self.queued_bytes -= bytes;
        self.flight_bytes += bytes;
        self.last_send_us = Some(now_us);
        seal
    }

    /// Another policy and other caps from the next poll on. What waits and flies stays, and so does what was learnt.
    pub fn set_policy(&mut self, policy: Policy, caps: Caps) {
        (self.policy, self.caps) = (policy, caps);
    }

    /// The leader leads another number of our partitions.
    pub fn set_partitions(&mut self, partitions: u32) {
        self.partitions = partitions.max(1);
    }

    /// From the next poll on everything leaves at once: the process is ending, or the leader is gone.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// The policy in force.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// What the lane was doing at the last poll.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The size at which the last poll would have sealed, bytes.
    pub fn threshold_bytes(&self) -> u64 {
        self.threshold_bytes
    }

    /// Events per second over the last 5 s, as of the last offer or poll.
    pub fn rate(&self) -> f64 {
        self.rate.events_per_s()
    }

    /// The learnt fixed cost of a request, µs; 0 while no send has queued at the broker.
    pub fn fixed_cost_us(&self) -> f64 {
        self.learnt.fixed_us()
    }

    /// The shortest round trip of the last seconds, µs; 0 before the first answer.
    pub fn round_trip_us(&self) -> f64 {
        self.learnt.round_trip_us()
    }

    /// What the lane holds.
    pub fn depth(&self) -> Depth {
        Depth {
            queued_items: self.queue.len(),
            queued_bytes: self.queued_bytes,
            in_flight_sends: self.flight.len(),
            in_flight_bytes: self.flight_bytes,
        }
    }
}
