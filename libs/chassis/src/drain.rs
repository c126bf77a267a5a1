//! The end of a process in good order: one token that says "finish", and a deadline.
//!
//! Owns: the token. Everything that runs holds a clone; whoever is told first that the process should end
//! begins the drain. Never: a wait without end once the drain has begun.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Why a drain began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// SIGTERM.
    Terminate,
    /// SIGINT.
    Interrupt,
    /// All input was worked off.
    Finished,
    /// Some part of the process failed.
    Failed,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Terminate => "SIGTERM",
            Self::Interrupt => "SIGINT",
            Self::Finished => "finished",
            Self::Failed => "failed",
        })
    }
}

/// The work was not done when the drain's deadline passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the drain did not end within {grace:?}")]
pub struct DeadlinePassed {
    /// The time there was.
    pub grace: Duration,
}

/// The token. Clones share it. Its methods without `async` may be called on any thread.
#[derive(Debug, Clone)]
pub struct Drain {
    state: Arc<watch::Sender<Option<Begun>>>,
    grace: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Begun {
    cause: Cause,
    deadline: Instant,
}

impl Drain {
    /// A drain that has `grace` from its begin to its deadline.
    pub fn new(grace: Duration) -> Self {
        Self { state: Arc::new(watch::Sender::new(None)), grace }
    }

    /// Begins the drain. `false` = it had begun before; the first cause and deadline stay.
    pub fn begin(&self, cause: Cause) -> bool {
        let begun = Begun { cause, deadline: Instant::now() + self.grace };
        self.state.send_if_modified(|state| {
            let first = state.is_none();
            if first {
                *state = Some(begun);
            }
            first
        })
    }

    /// Whether it has begun. Cheap: a driver asks at each turn of its loop.
    pub fn is_draining(&self) -> bool {
        self.state.borrow().is_some()
    }

    /// Why it began.
    pub fn cause(&self) -> Option<Cause> {
        self.state.borrow().map(|begun| begun.cause)
    }

    /// When everything must be done; `None` before it began.
    pub fn deadline(&self) -> Option<Instant> {
        self.state.borrow().map(|begun| begun.deadline)
    }

    /// Waits until it begins.
    pub async fn begun(&self) -> Cause {
        let mut state = self.state.subscribe();
        loop {
            if let Some(begun) = *state.borrow_and_update() {
                return begun.cause;
            }
            if state.changed().await.is_err() {
                // Not reached: `self` holds the sender.
                return Cause::Failed;
            }
        }
    }

    /// Runs `work` to its end; once the drain has begun, to its deadline at the latest.
    pub async fn bounded<T>(&self, work: impl Future<Output = T>) -> Result<T, DeadlinePassed> {
        let deadline_passed = async {
            self.begun().await;
            if let Some(deadline) = self.deadline() {
                tokio::time::sleep_until(deadline.into()).await;
            }
        };
        tokio::select! {
            biased;
            done = work => Ok(done),
            () = deadline_passed => Err(DeadlinePassed { grace: self.grace }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    #[test]
    fn the_first_cause_stays_and_everybody_hears_it() {
        let drain = Drain::new(Duration::from_secs(60));
        assert!(!drain.is_draining() && drain.deadline().is_none());
        let other = drain.clone();
        let heard = runtime().block_on(async {
            let waiting = tokio::spawn(async move { other.begun().await });
            assert!(drain.begin(Cause::Terminate));
            assert!(!drain.begin(Cause::Failed));
            waiting.await.unwrap()
        });
        assert_eq!(heard, Cause::Terminate);
        assert_eq!(drain.cause(), Some(Cause::Terminate));
        assert!(drain.deadline().is_some());
        assert_eq!(runtime().block_on(drain.begun()), Cause::Terminate);
    }

    #[test]
    fn work_ends_by_itself_or_at_the_deadline() {
        let drain = Drain::new(Duration::from_millis(1));
        runtime().block_on(async {
            assert_eq!(drain.bounded(async { 7 }).await, Ok(7));
            drain.begin(Cause::Finished);
            assert_eq!(drain.bounded(async { 8 }).await, Ok(8));
            let never = drain.bounded(std::future::pending::<()>()).await;
            assert_eq!(never.unwrap_err().to_string(), "the drain did not end within 1ms");
        });
    }
}
