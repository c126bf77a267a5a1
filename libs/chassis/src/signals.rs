//! SIGTERM and SIGINT: the first begins the drain, the second ends the process at once.
//!
//! Owns: the signal handlers. Never: a drain that cannot be cut short by the person at the keyboard.

use crate::drain::{Cause, Drain};
use crate::exit::Exit;
use tokio::signal::unix::{SignalKind, signal};

/// The handlers could not be set.
#[derive(Debug, thiserror::Error)]
#[error("signal handlers cannot be set: {0}")]
pub struct SignalError(#[source] std::io::Error);

/// Sets the handlers and watches them in a task. Inside a Tokio runtime.
pub fn watch(drain: Drain) -> Result<(), SignalError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(SignalError)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(SignalError)?;
    tokio::spawn(async move {
        let mut signals_seen = 0u32;
        loop {
            let cause = tokio::select! {
                _ = terminate.recv() => Cause::Terminate,
                _ = interrupt.recv() => Cause::Interrupt,
            };
            signals_seen += 1;
            if signals_seen > 1 {
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
