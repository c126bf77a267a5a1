//! Runs one piece of asynchronous work for a caller without a runtime.

use crate::connect::ConnectError;
use std::future::Future;

/// Runs `work` on a runtime of its own in this thread.
pub(crate) fn run<T>(work: impl Future<Output = Result<T, ConnectError>>) -> Result<T, ConnectError> {
    runtime()?.block_on(work)
}

pub(crate) fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
