//! One message of the broker until it is settled: in the log, or refused for good.

use super::{MessageRefused, Shared};
use crate::accept::Phase;
use crate::meters::Protocol;
use crate::mqtt::message::{Carrier, Message, deliver, passes_later};
use hyper::StatusCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Whether a message may be acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settled {
    /// It is in the log, or the same message would be refused again for ever.
    Yes,
    /// The service leaves; the broker keeps it.
    No,
}

/// Tries until the message is settled or the service leaves.
pub(super) async fn settle(
    shared: Arc<Shared>,
    message: Message,
    mut phases: watch::Receiver<Phase>,
) -> Settled {
    let mut failures = 0;
    loop {
        let Some(wait) = attempt(&shared, message.clone()).await else { return Settled::Yes };
        let wait = wait.max(shared.settings.backoff.wait(failures, shared.jitter.next()));
        failures += 1;
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = phases.wait_for(|phase| *phase >= Phase::Draining) => return Settled::No,
        }
    }
}

/// One attempt; `Some` = it is to be tried again, not before so long. Rates take all of a message or nothing.
async fn attempt(shared: &Shared, message: Message) -> Option<Duration> {
    let settings = &shared.settings;
    let carrier =
        Carrier { protocol: Protocol::Bridge, credential: &settings.credential, shape: &settings.shape };
    let meters = &shared.edge.meters;
    match deliver(&shared.edge, carrier, None, message).await {
        Ok(_) => {
            meters.answered(Protocol::Bridge, StatusCode::OK);
            None
        }
        Err(problem) => {
            meters.answered(Protocol::Bridge, problem.kind.status());
            if passes_later(problem.kind) {
                return Some(Duration::from_millis(problem.retry_after_ms.unwrap_or(0)));
            }
            meters.message_refused(Protocol::Bridge, problem.kind);
            let first = problem.verdicts.as_ref().and_then(|(_, rejected)| rejected.first());
            let why = first.map_or(&problem.detail, |first| &first.message);
            MessageRefused { reason: problem.kind.slug(), why }.emit(&shared.emitter);
            None
        }
    }
}
