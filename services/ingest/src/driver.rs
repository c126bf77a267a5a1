//! What happens to each request, as a state machine without clock, socket or thread.
//!
//! ```text
//! Started ─▶ Receiving ─Submitted─▶ Waiting ─Acked─▶ (answered, gone)
//!               │ Gone, body-timeout    │ Gone, ack-timeout, drain-timeout
//!               ▼                       ▼
//!            (gone)                 Abandoned ─Acked─▶ (gone)
//! ```
//! Owns: the byte budget, the quotas of devices and tenants, every deadline, the drain. Never: acknowledges what the log
//! has not acknowledged; returns bytes to the budget that the log's queue still holds (that is what
//! `Abandoned` is for). Total: an input about a request it no longer knows changes nothing.
//! The price of this shape: an upload's steps are messages instead of a straight line of code.
//! Keeps: docs/semantics.md "bounded before fast"; recovery.md "Ingest" (ack after the log's ack).

mod quotas;

use evenkeel_limits::{ByteBudget, Hold, Rates, RetryHint, TenantBytes, TenantHold};
use evenkeel_seam::{AppendError, Outputs};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use quotas::{Admitted, Limit, Quotas};

/// Everything that can happen. `request` numbers are never used twice.
#[derive(Debug)]
pub enum Input {
    /// A request's head was read and its credential is good.
    Started {
        /// Its number.
        request: u64,
        /// What it will need at first, bytes.
        bytes: u64,
        /// Drawn for this client: spreads its retry hints.
        random: u64,
        /// Whose it is.
        tenant: Arc<str>,
    },
    /// The request needs `bytes` in all from now on.
    Grew {
        /// Its number.
        request: u64,
        /// What it needs now, bytes.
        bytes: u64,
    },
    /// The body is read: may these many events of these streams pass?
    Parsed {
        /// Its number.
        request: u64,
        /// One entry per batch, in the order of the request.
        asks: Vec<DeviceAsk>,
    },
    /// The records are encoded and are to be appended.
    Submitted {
        /// Its number.
        request: u64,
        /// What to append.
        records: Outputs,
        /// How many events they hold.
        events: u32,
    },
    /// The request ended without submitting, or its client went away.
    Gone {
        /// Its number.
        request: u64,
    },
    /// The log's answer, exactly one per `Append`.
    Acked {
        /// The request it answers.
        request: u64,
        /// The outcome.
        result: Result<(), AppendError>,
    },
    /// Other limits from now on; what is held stays.
    Limits(Box<Limits>),
    /// Time passed.
    Tick,
    /// Take nothing new, finish what is there.
    Drain {
        /// Longest time for it, ms.
        within_ms: u64,
    },
}

/// The limits that may change.
#[derive(Debug)]
pub struct Limits {
    /// The byte budget, bytes.
    pub budget_bytes: u64,
    /// The rates begin anew, with their bursts; the bytes of tenants stay as they were.
    pub quotas: Quotas,
}

/// How many events of one stream want to pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceAsk {
    /// The stream.
    pub stream_id: String,
    /// Number of events.
    pub events: u32,
    /// All of them, or none: for protocols whose acknowledgement is for all of a message. A message larger than a
    /// whole burst passes when the burst is full, and what it takes beyond is owed.
    pub whole: bool,
    /// What they take in a record, bytes.
    pub bytes: u64,
}

/// Everything the service can do about it.
#[derive(Debug)]
pub enum Action {
    /// The request may go on.
    Proceed {
        /// Its number.
        request: u64,
    },
    /// So many events of each ask may pass.
    Allow {
        /// Its number.
        request: u64,
        /// One entry per ask.
        admitted: Vec<Admitted>,
        /// When the first refused event would pass, ms; 0 if none was refused.
        retry_after_ms: u64,
    },
    /// The request ends with a refusal.
    Refuse {
        /// Its number.
        request: u64,
        /// Why.
        refusal: Refusal,
        /// When to come back, ms.
        retry_after_ms: u64,
    },
    /// Append the records; answer with [`Input::Acked`].
    Append {
        /// The request, and the ticket.
        request: u64,
        /// What to append.
        records: Outputs,
        /// How many events they hold.
        events: u32,
        /// Past this time nobody waits for it: do not begin, ms on the driver's clock.
        give_up_ms: u64,
    },
    /// Every record of the request is durable: tell the client.
    Acknowledge {
        /// Its number.
        request: u64,
    },
    /// Nothing is left to finish; close.
    Stop,
}

/// Why a request is refused as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The byte budget cannot take it.
    OverBudget,
    /// The tenant has too much in flight.
    TenantFull,
    /// The body took longer than `body-timeout`.
    SlowBody,
    /// The log did not answer within `ack-timeout`; the events may or may not be in it.
    LogSilent,
    /// The log said no.
    LogFailed(String),
    /// The service is shutting down.
    Draining,
}

/// The driver's settings.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// Longest time from head to the end of the body, ms.
    pub body_timeout_ms: u64,
    /// Longest time from submission to the log's answer, ms.
    pub ack_timeout_ms: u64,
}

/// What the gauges show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Bytes held by requests and by records the log has not answered for.
    pub used_bytes: u64,
    /// The budget, bytes.
    pub limit_bytes: u64,
    /// Times the budget refused.
    pub refused_total: u64,
    /// Requests somebody waits for.
    pub active: usize,
    /// Requests nobody waits for, whose records the log still holds.
    pub abandoned: usize,
    /// Devices in the tables of rates.
    pub limited_devices: usize,
    /// Tenants in the tables of rates and bytes.
    pub limited_tenants: usize,
}

/// The state machine.
#[derive(Debug)]
pub struct Driver {
    budget: ByteBudget,
    quotas: Quotas,
    retry: RetryHint,
    deadlines: Deadlines,
    requests: BTreeMap<u64, Request>,
    due: BTreeSet<(u64, u64)>,
    abandoned: usize,
    drain: Drain,
}

#[derive(Debug)]
struct Request {
    stage: Stage,
    hold: Hold,
    tenant: Arc<str>,
    tenant_hold: Option<TenantHold>,
    deadline_ms: u64,
    random: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Receiving,
    Waiting,
    Abandoned,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Drain {
    No,
    Until { deadline_ms: u64 },
    Done,
}

impl Driver {
    /// No request yet.
    pub fn new(budget_bytes: u64, quotas: Quotas, retry: RetryHint, deadlines: Deadlines) -> Self {
        Self {
            budget: ByteBudget::new(budget_bytes),
            quotas,
            retry,
            deadlines,
            requests: BTreeMap::new(),
            due: BTreeSet::new(),
            abandoned: 0,
            drain: Drain::No,
        }
    }

    /// Applies one input at `now_ms` (monotonic) and appends what is to be done to `out`.
    pub fn apply(&mut self, now_ms: u64, input: Input, out: &mut Vec<Action>) {
        match input {
            Input::Started { request, bytes, random, tenant } => {
                let refused = match self.drain {
                    Drain::No => self.started(now_ms, request, bytes, random, tenant),
                    Drain::Until { .. } | Drain::Done => Err(Refusal::Draining),
                };
                out.push(match refused {
                    Ok(()) => Action::Proceed { request },
                    Err(refusal) => {
                        Action::Refuse { request, refusal, retry_after_ms: self.retry.after_ms(random) }
                    }
                });
            }
            Input::Grew { request, bytes } => self.grew(request, bytes, out),
            Input::Parsed { request, asks } => self.parsed(now_ms, request, &asks, out),
            Input::Submitted { request, records, events } => {
                self.submitted(now_ms, request, records, events, out);
            }
            Input::Gone { request } => self.gone(request),
            Input::Acked { request, result } => self.acked(request, result, out),
            Input::Limits(limits) => self.set_limits(*limits),
            Input::Tick => self.tick(now_ms, out),
            Input::Drain { within_ms } => self.begin_drain(now_ms, within_ms),
        }
        self.stop_if_done(out);
    }

    /// When [`Input::Tick`] is due at the latest, ms; `None` while nothing waits for time.
    pub fn next_due_ms(&self) -> Option<u64> {
        let request = self.due.first().map(|&(deadline_ms, _)| deadline_ms);
        match self.drain {
            Drain::Until { deadline_ms } => Some(request.map_or(deadline_ms, |r| r.min(deadline_ms))),
            Drain::No | Drain::Done => request,
        }
    }

    /// What the gauges show.
    pub fn usage(&self) -> Usage {
        Usage {
            used_bytes: self.budget.used_bytes(),
            limit_bytes: self.budget.limit_bytes(),
            refused_total: self.budget.refused_total(),
            active: self.requests.len() - self.abandoned,
            abandoned: self.abandoned,
            limited_devices: most(&self.quotas.device_events, &self.quotas.device_bytes),
            limited_tenants: most(&self.quotas.tenant_events, &None)
                .max(self.quotas.tenant_bytes.as_ref().map_or(0, TenantBytes::tenants)),
        }
    }

    fn started(
        &mut self,
        now_ms: u64,
        request: u64,
        bytes: u64,
        random: u64,
        tenant: Arc<str>,
    ) -> Result<(), Refusal> {
        let tenant_hold = match &mut self.quotas.tenant_bytes {
            Some(tenants) => Some(tenants.take(&tenant, bytes).map_err(|_| Refusal::TenantFull)?),
            None => None,
        };
        let Ok(hold) = self.budget.take(bytes) else {
            self.give_tenant(tenant_hold);
            return Err(Refusal::OverBudget);
        };
        let deadline_ms = now_ms.saturating_add(self.deadlines.body_timeout_ms);
        self.due.insert((deadline_ms, request));
        let stage = Stage::Receiving;
        self.requests.insert(request, Request { stage, hold, tenant, tenant_hold, deadline_ms, random });
        Ok(())
    }

    fn grew(&mut self, request: u64, bytes: u64, out: &mut Vec<Action>) {
        if self.receiving(request).is_none() {
            return;
        }
        match self.resize(request, bytes) {
            Ok(()) => out.push(Action::Proceed { request }),
            Err(refusal) => self.refuse(request, refusal, out),
        }
    }

    /// Makes a request hold `bytes` in all, in the budget and of its tenant's. Who is refused by one keeps what it
    /// has of the other until it is forgotten, which is at once.
    fn resize(&mut self, request: u64, bytes: u64) -> Result<(), Refusal> {
        let Some(state) = self.requests.get_mut(&request) else { return Ok(()) };
        if let (Some(tenants), Some(hold)) = (&mut self.quotas.tenant_bytes, &mut state.tenant_hold) {
            tenants.resize(hold, bytes).map_err(|_| Refusal::TenantFull)?;
        }
        self.budget.resize(state.hold, bytes).map_err(|_| Refusal::OverBudget)
    }

    fn parsed(&mut self, now_ms: u64, request: u64, asks: &[DeviceAsk], out: &mut Vec<Action>) {
        let Some(state) = self.receiving(request) else { return };
        let (random, tenant) = (state.random, Arc::clone(&state.tenant));
        let mut admitted = Vec::with_capacity(asks.len());
        let mut wait_ms = 0;
        for ask in asks {
            let (verdict, ask_wait_ms) = self.quotas.admit(&tenant, ask, now_ms.saturating_mul(1_000_000));
            admitted.push(verdict);
            wait_ms = wait_ms.max(ask_wait_ms);
        }
        let retry_after_ms = if wait_ms == 0 { 0 } else { self.retry.at_least_ms(wait_ms, random) };
        out.push(Action::Allow { request, admitted, retry_after_ms });
    }

    fn submitted(&mut self, now_ms: u64, request: u64, records: Outputs, events: u32, out: &mut Vec<Action>) {
        if self.receiving(request).is_none() {
            return;
        }
        // From here on the request costs what its records cost; the parsed events are gone.
        if let Err(refusal) = self.resize(request, records.allocated() as u64) {
            return self.refuse(request, refusal, out);
        }
        let give_up_ms = now_ms.saturating_add(self.deadlines.ack_timeout_ms);
        if let Some(state) = self.requests.get_mut(&request) {
            self.due.remove(&(state.deadline_ms, request));
            self.due.insert((give_up_ms, request));
            state.stage = Stage::Waiting;
            state.deadline_ms = give_up_ms;
        }
        out.push(Action::Append { request, records, events, give_up_ms });
    }

    fn gone(&mut self, request: u64) {
        match self.requests.get(&request).map(|state| state.stage) {
            Some(Stage::Receiving) => self.forget(request),
            Some(Stage::Waiting) => self.abandon(request),
            Some(Stage::Abandoned) | None => {}
        }
    }

    fn acked(&mut self, request: u64, result: Result<(), AppendError>, out: &mut Vec<Action>) {
        match self.requests.get(&request).map(|state| state.stage) {
            Some(Stage::Waiting) => match result {
                Ok(()) => {
                    self.forget(request);
                    out.push(Action::Acknowledge { request });
                }
                Err(AppendError::Full) => self.refuse(request, Refusal::OverBudget, out),
                Err(AppendError::Failed(why) | AppendError::Partly { why, .. }) => {
                    self.refuse(request, Refusal::LogFailed(why), out);
                }
            },
            Some(Stage::Abandoned) => self.forget(request),
            Some(Stage::Receiving) | None => {} // the log answers for what it was not given: not ours
        }
    }

    fn tick(&mut self, now_ms: u64, out: &mut Vec<Action>) {
        while let Some(&(deadline_ms, request)) = self.due.first() {
            if deadline_ms > now_ms {
                break;
            }
            self.due.remove(&(deadline_ms, request));
            self.expire(request, None, out);
        }
        if let Drain::Until { deadline_ms } = self.drain
            && deadline_ms <= now_ms
        {
            let left: Vec<u64> = self.requests.keys().copied().collect();
            for request in left {
                self.expire(request, Some(Refusal::Draining), out);
            }
        }
    }

    /// A deadline of the request, or of the whole drain, has passed.
    fn expire(&mut self, request: u64, instead: Option<Refusal>, out: &mut Vec<Action>) {
        let Some(state) = self.requests.get(&request) else { return };
        let (stage, random) = (state.stage, state.random);
        let refusal = match stage {
            Stage::Receiving => {
                return self.refuse(request, instead.unwrap_or(Refusal::SlowBody), out);
            }
            Stage::Waiting => instead.unwrap_or(Refusal::LogSilent),
            Stage::Abandoned => return,
        };
        self.abandon(request);
        out.push(Action::Refuse { request, refusal, retry_after_ms: self.retry.after_ms(random) });
    }

    fn set_limits(&mut self, Limits { budget_bytes, quotas }: Limits) {
        self.budget.set_limit(budget_bytes);
        // Requests hold bytes of their tenants, so that table stays as it is.
        self.quotas = Quotas { tenant_bytes: self.quotas.tenant_bytes.take(), ..quotas };
    }

    fn begin_drain(&mut self, now_ms: u64, within_ms: u64) {
        if self.drain == Drain::No {
            self.drain = Drain::Until { deadline_ms: now_ms.saturating_add(within_ms) };
        }
    }

    fn stop_if_done(&mut self, out: &mut Vec<Action>) {
        if matches!(self.drain, Drain::Until { .. }) && self.requests.len() == self.abandoned {
            self.drain = Drain::Done;
            out.push(Action::Stop);
        }
    }

    fn receiving(&self, request: u64) -> Option<&Request> {
        self.requests.get(&request).filter(|state| state.stage == Stage::Receiving)
    }

    /// Ends a request whose bytes nobody holds any more.
    fn refuse(&mut self, request: u64, refusal: Refusal, out: &mut Vec<Action>) {
        let random = self.requests.get(&request).map_or(0, |state| state.random);
        self.forget(request);
        out.push(Action::Refuse { request, refusal, retry_after_ms: self.retry.after_ms(random) });
    }

    fn forget(&mut self, request: u64) {
        if let Some(state) = self.requests.remove(&request) {
            self.due.remove(&(state.deadline_ms, request));
            self.abandoned -= usize::from(state.stage == Stage::Abandoned);
            self.budget.give(state.hold);
            self.give_tenant(state.tenant_hold);
        }
    }

    fn give_tenant(&mut self, hold: Option<TenantHold>) {
        if let (Some(tenants), Some(hold)) = (&mut self.quotas.tenant_bytes, hold) {
            tenants.give(hold);
        }
    }

    fn abandon(&mut self, request: u64) {
        if let Some(state) = self.requests.get_mut(&request) {
            self.due.remove(&(state.deadline_ms, request));
            state.stage = Stage::Abandoned;
            self.abandoned += 1;
        }
    }
}

/// Two limits of the same keys have mostly the same entries.
fn most(one: &Option<Rates>, other: &Option<Rates>) -> usize {
    [one, other].into_iter().flatten().map(Rates::keys).max().unwrap_or(0)
}

#[cfg(test)]
mod tests;
