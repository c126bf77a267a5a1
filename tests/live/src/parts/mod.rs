//! The real parts a live test needs, each found as: given address, Docker, local process.

pub mod cassandra;
mod container;
pub mod kafka;
pub mod registry;

use anyhow::bail;

/// Only this way of finding a server: `given`, `docker` or `local`. Unset: the first of them that works.
const ONLY: &str = "EVENKEEL_PARTS";

/// A way of finding a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Its address is in the environment.
    Given,
    /// A container.
    Docker,
    /// A process from published jars.
    Local,
}

/// The ways to try, in order.
pub(crate) fn ways() -> anyhow::Result<Vec<Way>> {
    match std::env::var(ONLY).as_deref() {
        Err(_) => Ok(vec![Way::Given, Way::Docker, Way::Local]),
        Ok("given") => Ok(vec![Way::Given]),
        Ok("docker") => Ok(vec![Way::Docker]),
        Ok("local") => Ok(vec![Way::Local]),
        Ok(other) => bail!("{ONLY}={other}: allowed are given, docker, local"),
    }
}
