//! A server in a container, for as long as the test process lives.
//!
//! Owns: the container, and its end. Never: pulls an image (deploy/ci/live-docker does).

use anyhow::{Context as _, bail};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use testcontainers::runners::AsyncRunner as _;
use testcontainers::{ContainerAsync, ContainerRequest, GenericImage};
use tokio::runtime::{Builder, Runtime};

/// A running container. Removed when this is dropped, and also when the process ends without that (what a static
/// holds is never dropped): a shell waits for the end of a pipe that only this process holds.
pub(crate) struct Contained {
    /// Taken by the drop, which has to happen within the runtime.
    container: Option<ContainerAsync<GenericImage>>,
    runtime: Runtime,
    keeper: Child,
    /// It was stopped by a signal: the freezer of cgroups v1 gives up on a server that is busy with its disk.
    signalled: AtomicBool,
}

impl Contained {
    /// Starts `request` and waits until it is ready, if Docker has the image.
    pub(crate) fn start(
        image: (&str, &str),
        request: ContainerRequest<GenericImage>,
    ) -> anyhow::Result<Self> {
        let name = format!("{}:{}", image.0, image.1);
        let found = Command::new("docker").args(["image", "inspect", &name]).output();
        let found = found.context("no docker command")?;
        if !found.status.success() {
            bail!("{}", String::from_utf8_lossy(&found.stderr).trim());
        }
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let container = runtime.block_on(request.start())?;
        let script = "trap '' INT; cat >/dev/null; docker rm --force --volumes \"$0\"";
        let keeper = Command::new("sh")
            .args(["-c", script, container.id()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("starting the shell that removes the container")?;
        Ok(Self { container: Some(container), runtime, keeper, signalled: AtomicBool::new(false) })
    }

    /// The port of the host that a port of the container is mapped to.
    pub(crate) fn port(&self, port: u16) -> anyhow::Result<u16> {
        let container = self.container.as_ref().context("it runs")?;
        Ok(self.runtime.block_on(container.get_host_port_ipv4(port))?)
    }

    /// Stops every process of it, or at least its first one, the server; or lets them go on.
    pub(crate) fn freeze(&self, frozen: bool) -> anyhow::Result<()> {
        let container = self.container.as_ref().context("it runs")?;
        if !frozen {
            if self.signalled.swap(false, Ordering::Relaxed) {
                return self.signal("CONT");
            }
            return Ok(self.runtime.block_on(container.unpause())?);
        }
        let Err(error) = self.runtime.block_on(container.pause()) else { return Ok(()) };
        eprintln!("{error}; its first process is stopped instead");
        self.signalled.store(true, Ordering::Relaxed);
        self.signal("STOP")
    }

    fn signal(&self, signal: &str) -> anyhow::Result<()> {
        let id = self.container.as_ref().context("it runs")?.id();
        let sent = Command::new("docker").args(["kill", "--signal", signal, id]).output();
        let sent = sent.context("no docker command")?;
        if !sent.status.success() {
            bail!("docker kill --signal {signal}: {}", String::from_utf8_lossy(&sent.stderr).trim());
        }
        Ok(())
    }
}

impl Drop for Contained {
    fn drop(&mut self) {
        if let Some(container) = self.container.take()
            && let Err(error) = self.runtime.block_on(container.rm())
        {
            eprintln!("the container was not removed: {error}");
        }
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}
