//! How a request's task and the driver's loop talk.
//!
//! Owns: the numbers of requests, one reply channel per request. Never: a reply a task does not take; a
//! task that ends in any way (also when its client goes away) says so, so that its bytes come back.
//! Bounds: the way to the driver has no limit of its own because its senders have: a request has at most
//! one question and one `Gone` on the way, and there are at most `connections-max` requests.

use crate::driver::{Admitted, DeviceAsk, Input, Refusal};
use crate::problem::{Kind, Problem};
use evenkeel_seam::Outputs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;

/// What tasks tell the loop.
#[derive(Debug)]
pub(crate) enum Message {
    /// A new request, and where its replies go.
    Open { request: u64, bytes: u64, tenant: Arc<str>, replies: mpsc::Sender<Reply> },
    /// Anything else about a request.
    Input(Input),
}

/// What the loop tells a task.
#[derive(Debug)]
pub(crate) enum Reply {
    Proceed,
    Allow { admitted: Vec<Admitted>, retry_after_ms: u64 },
    Acknowledged,
    Refused { refusal: Refusal, retry_after_ms: u64 },
}

/// At most one answer to a question and one refusal are on the way to a task.
const REPLIES_MAX: usize = 2;

/// The tasks' end.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    to_driver: mpsc::UnboundedSender<Message>,
    next: Arc<AtomicU64>,
}

/// One request in the driver's hands.
#[derive(Debug)]
pub(crate) struct Ticket {
    request: u64,
    replies: mpsc::Receiver<Reply>,
    to_driver: mpsc::UnboundedSender<Message>,
    over: bool,
}

impl Link {
    pub(crate) fn new(to_driver: mpsc::UnboundedSender<Message>) -> Self {
        Self { to_driver, next: Arc::new(AtomicU64::new(1)) }
    }

    /// Something about no request.
    pub(crate) fn tell(&self, input: Input) {
        let _ = self.to_driver.send(Message::Input(input)); // nobody is left to hear it
    }

    /// A number that spreads the retry hints of clients refused before the driver knows them.
    pub(crate) fn draw(&self) -> u64 {
        let drawn = self.next.fetch_add(1, Ordering::Relaxed);
        // Neighbours must not return together: the golden ratio scatters them.
        drawn.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32
    }

    /// Announces a request of a tenant that needs `bytes` at first.
    pub(crate) async fn open(&self, tenant: Arc<str>, bytes: u64) -> Result<Ticket, Problem> {
        let request = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, replies) = mpsc::channel(REPLIES_MAX);
        let mut ticket = Ticket { request, replies, to_driver: self.to_driver.clone(), over: false };
        let open = Message::Open { request, bytes, tenant, replies: sender };
        if self.to_driver.send(open).is_err() {
            return Err(ticket.closed());
        }
        ticket.proceed().await.map(|()| ticket)
    }
}

impl Ticket {
    /// Asks for `bytes` in all.
    pub(crate) async fn grow(&mut self, bytes: u64) -> Result<(), Problem> {
        self.say(Input::Grew { request: self.request, bytes });
        self.proceed().await
    }

    /// Asks how many events may pass; answers how many of each, and when to come back with the rest, ms.
    pub(crate) async fn allow(&mut self, asks: Vec<DeviceAsk>) -> Result<(Vec<Admitted>, u64), Problem> {
        self.say(Input::Parsed { request: self.request, asks });
        loop {
            match self.replies.recv().await {
                Some(Reply::Allow { admitted, retry_after_ms }) => return Ok((admitted, retry_after_ms)),
                Some(Reply::Proceed | Reply::Acknowledged) => {}
                Some(Reply::Refused { refusal, retry_after_ms }) => {
                    return Err(self.refused(refusal, retry_after_ms));
                }
                None => return Err(self.closed()),
            }
        }
    }

    /// Hands the records over and waits until every one is durable, or the request is refused.
    pub(crate) async fn submit(mut self, records: Outputs, events: u32) -> Result<(), Problem> {
        self.say(Input::Submitted { request: self.request, records, events });
        loop {
            match self.replies.recv().await {
                Some(Reply::Acknowledged) => {
                    self.over = true;
                    return Ok(());
                }
                Some(Reply::Proceed | Reply::Allow { .. }) => {}
                Some(Reply::Refused { refusal, retry_after_ms }) => {
                    return Err(self.refused(refusal, retry_after_ms));
                }
                None => return Err(self.closed()),
            }
        }
    }

    /// Waits for a refusal while the task does something else. Cancel-safe.
    pub(crate) async fn refusal(&mut self) -> Problem {
        loop {
            match self.replies.recv().await {
                Some(Reply::Refused { refusal, retry_after_ms }) => {
                    return self.refused(refusal, retry_after_ms);
                }
                Some(Reply::Proceed | Reply::Allow { .. } | Reply::Acknowledged) => {}
                None => return self.closed(),
            }
        }
    }

    async fn proceed(&mut self) -> Result<(), Problem> {
        loop {
            match self.replies.recv().await {
                Some(Reply::Proceed) => return Ok(()),
                Some(Reply::Allow { .. } | Reply::Acknowledged) => {}
                Some(Reply::Refused { refusal, retry_after_ms }) => {
                    return Err(self.refused(refusal, retry_after_ms));
                }
                None => return Err(self.closed()),
            }
        }
    }

    fn say(&self, input: Input) {
        // A driver that is gone has dropped the replies too: the wait that follows ends with `closed`.
        let _ = self.to_driver.send(Message::Input(input));
    }

    fn refused(&mut self, refusal: Refusal, retry_after_ms: u64) -> Problem {
        self.over = true;
        let (kind, detail) = match refusal {
            Refusal::OverBudget => {
                (Kind::Busy, "the byte budget of requests in flight is used up".to_owned())
            }
            Refusal::TenantFull => {
                (Kind::TenantBusy, "the credential has as many bytes in flight as a tenant may".to_owned())
            }
            Refusal::SlowBody => (Kind::SlowBody, "the body was not complete within body-timeout".to_owned()),
            Refusal::LogSilent => {
                (Kind::LogUnavailable, "the log did not acknowledge within ack-timeout".to_owned())
            }
            Refusal::LogFailed(why) => (Kind::LogUnavailable, why),
            Refusal::Draining => (Kind::Draining, "the server is shutting down".to_owned()),
        };
        let waits = kind != Kind::SlowBody;
        Problem { retry_after_ms: waits.then_some(retry_after_ms), ..Problem::new(kind, detail) }
    }

    fn closed(&mut self) -> Problem {
        self.over = true;
        let problem = Problem::new(Kind::Draining, "the server has shut down");
        Problem { retry_after_ms: Some(1000), ..problem }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.over {
            self.say(Input::Gone { request: self.request });
        }
    }
}
