//! A real CQL server for tests: given, in Docker, or a local process from published jars.
//!
//! Owns: finding or starting it, its ports and directory, and its end. A started server dies with the test
//! process, also by kill -9: it lives as long as a pipe that only the test process holds (run.sh). Never:
//! keyspaces and tables (each test binary makes its own).

use super::container::Contained;
use super::{Way, ways};
use anyhow::{anyhow, bail};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use testcontainers::core::{ContainerPort, WaitFor};
use testcontainers::{GenericImage, ImageExt as _};

/// How long a server may take from start to its first answer.
const READY_DEADLINE: Duration = Duration::from_secs(180);
/// The image that is used if Docker already has it.
const IMAGE: (&str, &str) = ("cassandra", "5.0.9");
/// `host:port` of a server that is up already.
const GIVEN: &str = "EVENKEEL_CQL";

/// Whether the server asks for a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Login {
    /// Anybody may do everything.
    Open,
    /// Role and password: `cassandra`, `cassandra` is the superuser.
    Password,
}

/// A running CQL server.
pub struct Cassandra {
    address: String,
    kind: Kind,
    /// Which ways were not taken, and why.
    pub skipped: Vec<String>,
}

enum Kind {
    Given,
    Container(#[expect(dead_code, reason = "kept alive")] Box<Contained>),
    Local(LocalServer),
}

impl Cassandra {
    /// Finds a server without login: a given address, else Docker, else a local process.
    pub fn find() -> anyhow::Result<Self> {
        let mut skipped = Vec::new();
        for way in ways()? {
            match Self::by(way) {
                Ok((address, kind)) => return Ok(Self { address, kind, skipped }),
                // Given and not there is an error, not a reason to look elsewhere.
                Err(error) if way == Way::Given && std::env::var_os(GIVEN).is_some() => return Err(error),
                Err(error) => skipped.push(format!("{way:?}: {error:#}")),
            }
        }
        bail!("no way to a CQL server; {}", skipped.join("; "))
    }

    fn by(way: Way) -> anyhow::Result<(String, Kind)> {
        match way {
            Way::Given => {
                let address = std::env::var(GIVEN).map_err(|_| anyhow!("{GIVEN} is not set"))?;
                wait_for_cql(&address, || Ok(()))?;
                Ok((address, Kind::Given))
            }
            Way::Docker => container(),
            Way::Local => {
                let local = LocalServer::start(Login::Open)?;
                Ok((local.address(), Kind::Local(local)))
            }
        }
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Which way was taken.
    pub fn how(&self) -> &'static str {
        match self.kind {
            Kind::Given => "given address",
            Kind::Container(_) => "Docker",
            Kind::Local(_) => "local process",
        }
    }
}

impl Drop for Cassandra {
    fn drop(&mut self) {
        if let Kind::Local(local) = &mut self.kind {
            local.end();
        }
    }
}

/// Docker, if it has the image: nothing is pulled.
fn container() -> anyhow::Result<(String, Kind)> {
    let image = GenericImage::new(IMAGE.0, IMAGE.1)
        .with_exposed_port(ContainerPort::Tcp(9042))
        .with_wait_for(WaitFor::message_on_stdout("Starting listening for CQL clients"));
    let contained = Contained::start(IMAGE, image.with_startup_timeout(READY_DEADLINE))?;
    let address = format!("127.0.0.1:{}", contained.port(9042)?);
    wait_for_cql(&address, || Ok(()))?;
    Ok((address, Kind::Container(Box::new(contained))))
}

/// A Cassandra of our own on loopback, which a test may stop, continue, kill and start again.
pub struct LocalServer {
    dir: PathBuf,
    jars: PathBuf,
    cql_port: u16,
    keeper: Option<Child>,
}

impl LocalServer {
    /// Fetches the jars if need be, starts, and waits until it answers.
    pub fn start(login: Login) -> anyhow::Result<Self> {
        let parts = Path::new(env!("CARGO_MANIFEST_DIR")).join("parts/cassandra");
        let fetched = Command::new(parts.join("fetch.sh")).stderr(Stdio::inherit()).output()?;
        if !fetched.status.success() {
            bail!("parts/cassandra/fetch.sh failed: {}", fetched.status);
        }
        let jars = PathBuf::from(String::from_utf8(fetched.stdout)?.trim());
        let dir = tempfile::Builder::new().prefix("evenkeel-cassandra-").tempdir()?.keep();
        let [cql_port, storage_port] = free_ports()?;
        let conf = dir.join("conf");
        fs::create_dir_all(&conf)?;
        fs::create_dir_all(dir.join("triggers"))?;
        fs::copy(parts.join("logback.xml"), conf.join("logback.xml"))?;
        let (authenticator, authorizer) = match login {
            Login::Open => ("AllowAllAuthenticator", "AllowAllAuthorizer"),
            Login::Password => ("PasswordAuthenticator", "CassandraAuthorizer"),
        };
        let yaml = fs::read_to_string(parts.join("cassandra.yaml.in"))?
            .replace("@DIR@", &dir.display().to_string())
            .replace("@CQL_PORT@", &cql_port.to_string())
            .replace("@STORAGE_PORT@", &storage_port.to_string())
            .replace("@AUTHENTICATOR@", authenticator)
            .replace("@AUTHORIZER@", authorizer);
        fs::write(conf.join("cassandra.yaml"), yaml)?;
        let mut server = Self { dir, jars, cql_port, keeper: None };
        server.launch()?;
        if login == Login::Password {
            server.wait_for_log("Created default superuser role")?;
        }
        Ok(server)
    }

    /// `host:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.cql_port)
    }

    /// Stops every thread of it (SIGSTOP): connections stay open and nothing answers.
    pub fn freeze(&self) -> anyhow::Result<()> {
        self.signal("-STOP")
    }

    /// Lets it go on (SIGCONT).
    pub fn thaw(&self) -> anyhow::Result<()> {
        self.signal("-CONT")
    }

    /// kill -9; its directory stays.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        fs::write(self.dir.join("keep"), "")?;
        self.end();
        fs::remove_file(self.dir.join("keep"))?;
        Ok(())
    }

    /// Starts it (again) on the same directory and port, and waits until it answers.
    pub fn launch(&mut self) -> anyhow::Result<()> {
        let _ = fs::remove_file(self.dir.join("pid"));
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("parts/cassandra/run.sh");
        let keeper = Command::new(script).arg(&self.jars).arg(&self.dir).stdin(Stdio::piped()).spawn()?;
        self.keeper = Some(keeper);
        wait_for_cql(&self.address(), || match self.is_alive() {
            true => Ok(()),
            false => bail!("Cassandra ended at its start:\n{}", self.log_tail()),
        })
    }

    fn signal(&self, signal: &str) -> anyhow::Result<()> {
        let pid = fs::read_to_string(self.dir.join("pid"))?;
        let status = Command::new("kill").args([signal, pid.trim()]).status()?;
        anyhow::ensure!(status.success(), "kill {signal} {pid}: {status}");
        Ok(())
    }

    /// Not yet started counts as alive.
    fn is_alive(&self) -> bool {
        match fs::read_to_string(self.dir.join("pid")) {
            Ok(pid) => Path::new("/proc").join(pid.trim()).join("cmdline").exists(),
            Err(_) => true,
        }
    }

    fn wait_for_log(&self, text: &str) -> anyhow::Result<()> {
        let deadline = Instant::now() + READY_DEADLINE;
        while !fs::read_to_string(self.dir.join("server.log")).unwrap_or_default().contains(text) {
            anyhow::ensure!(Instant::now() < deadline, "no {text:?} in the log:\n{}", self.log_tail());
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn log_tail(&self) -> String {
        let log = fs::read_to_string(self.dir.join("server.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// Closes the pipe; the keeper kills the server and removes its directory.
    fn end(&mut self) {
        if let Some(mut keeper) = self.keeper.take() {
            drop(keeper.stdin.take());
            let _ = keeper.wait();
        }
    }
}

impl Drop for LocalServer {
    fn drop(&mut self) {
        self.end();
    }
}

/// Two ports nobody listens on. Somebody else may take them before the server does; then its start fails
/// with a clear log.
fn free_ports() -> anyhow::Result<[u16; 2]> {
    let (a, b) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
    Ok([a.local_addr()?.port(), b.local_addr()?.port()])
}

/// Asks OPTIONS until SUPPORTED comes back.
fn wait_for_cql(address: &str, still_hopeful: impl Fn() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let deadline = Instant::now() + READY_DEADLINE;
    loop {
        let error = match ask_options(address) {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        still_hopeful()?;
        anyhow::ensure!(Instant::now() < deadline, "no CQL server at {address} in time: {error:#}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn ask_options(address: &str) -> anyhow::Result<()> {
    const OPTIONS: [u8; 9] = [4, 0, 0, 0, 5, 0, 0, 0, 0];
    const SUPPORTED: u8 = 6;
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.write_all(&OPTIONS)?;
    let mut header = [0; 9];
    stream.read_exact(&mut header)?;
    anyhow::ensure!(header[4] == SUPPORTED, "opcode {} instead of SUPPORTED", header[4]);
    Ok(())
}
