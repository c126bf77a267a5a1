//! SIGTERM and SIGINT: the first begins the drain; the second, or the drain's deadline, ends the process at once.
//!
//! Owns: the signal handlers. Never: a drain that cannot be cut short by the person at the keyboard, or that
//! outlasts its grace because something it waits for is away.

use crate::drain::{Cause, Drain};
use crate::exit::Exit;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// The handlers could not be set.
#[derive(Debug, thiserror::Error)]
#[error("signal handlers cannot be set: {0}")]
pub struct SignalError(#[source] std::io::Error);

/// Stands for "no deadline" where the branch that waits for it is off.
const FAR: Duration = Duration::from_secs(3600);

/// Sets the handlers and watches them in a task. Inside a Tokio runtime.
pub fn watch(drain: Drain) -> Result<(), SignalError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(SignalError)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(SignalError)?;
    tokio::spawn(async move {
        let mut first = None;
        loop {
            let deadline = drain.deadline().filter(|_| first.is_some()).map(tokio::time::Instant::from_std);
            let far = tokio::time::Instant::now() + FAR;
            let cause = tokio::select! {
                _ = terminate.recv() => Cause::Terminate,
                _ = interrupt.recv() => Cause::Interrupt,
                () = tokio::time::sleep_until(deadline.unwrap_or(far)), if deadline.is_some() => {
                    let exit = at_once(first.unwrap_or(Cause::Terminate));
                    tracing::error!(
                        code = exit.code(),
                        "not done within process.drain-grace: ending at once; what was not committed is done \
                         again by the next owner"
                    );
                    std::process::exit(exit.code().into());
                }
            };
            if first.replace(cause).is_some() {
                let exit = at_once(cause);
                tracing::warn!(signal = %cause, code = exit.code(), "second signal: ending at once");
                std::process::exit(exit.code().into());
            }
            tracing::info!(signal = %cause, "finishing what is in hand; a second signal ends at once");
            drain.begin(cause);
        }
    });
    Ok(())
}

/// The exit of a process that a signal ended before its drain was done.
pub fn at_once(cause: Cause) -> Exit {
    match cause {
        Cause::Interrupt => Exit::Interrupted,
        Cause::Terminate => Exit::Terminated,
        Cause::Finished | Cause::Failed => Exit::Internal,
    }
}
