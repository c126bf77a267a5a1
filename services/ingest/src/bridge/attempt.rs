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
    let (mut failures, mut most) = (0, 0);
    loop {
        let Some(wait) = attempt(&shared, message.clone(), &mut most).await else { return Settled::Yes };
        let wait = wait.max(shared.settings.backoff.wait(failures, shared.jitter.next()));
        failures += 1;
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = phases.wait_for(|phase| *phase >= Phase::Draining) => return Settled::No,
        }
    }
}

/// One attempt; `Some` = it is to be tried again, not before so long. `most` is the most events of the message that
/// an attempt has brought in.
async fn attempt(shared: &Shared, message: Message, most: &mut u64) -> Option<Duration> {
    let settings = &shared.settings;
    let carrier =
        Carrier { protocol: Protocol::Bridge, credential: &settings.credential, shape: &settings.shape };
    let meters = &shared.edge.meters;
    match deliver(&shared.edge, carrier, None, message).await {
        Ok(accepted) => {
            meters.answered(Protocol::Bridge, StatusCode::OK);
            // The rest was over its device's rate: later more of it passes, unless that is all the rate ever takes
            // at once. What is sent twice is single by its seq.
            let more = accepted.answered.counts.accepted > *most;
            *most = (*most).max(accepted.answered.counts.accepted);
            (accepted.retry_after_ms > 0 && more).then(|| Duration::from_millis(accepted.retry_after_ms))
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
