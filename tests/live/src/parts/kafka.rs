//! A real Kafka broker for tests: given, in Docker, or a local process from published jars.
//!
//! Owns: finding or starting it, its ports and directory, and its end. A started broker dies with the test
//! process, also by kill -9: it lives as long as a pipe that only the test process holds (run.sh). Never:
//! topics (each test makes its own under a fresh prefix).

use super::container::Contained;
use super::{Way, ways};
use anyhow::{Context as _, anyhow, bail};
use std::fs;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use testcontainers::core::{IntoContainerPort as _, WaitFor};
use testcontainers::{GenericImage, ImageExt as _};

/// How long a broker may take from start to its first open port (a cold start also fetches the jars).
const READY_DEADLINE: Duration = Duration::from_secs(180);
/// The image that is used if Docker already has it.
const IMAGE: (&str, &str) = ("apache/kafka", "4.3.1");
/// `host:port` of a broker that is up already.
const GIVEN: &str = "EVENKEEL_KAFKA";

/// A running broker, shared by all tests of a process.
pub struct KafkaPart {
    address: String,
    how: &'static str,
    /// Which ways were not taken, and why.
    pub skipped: Vec<String>,
    kind: Kind,
}

enum Kind {
    Given,
    Container(Box<Contained>),
    Local(LocalBroker),
}

impl KafkaPart {
    /// The one broker of this test process, found or started on first use.
    pub fn shared() -> anyhow::Result<&'static Self> {
        static SHARED: OnceLock<Result<KafkaPart, String>> = OnceLock::new();
        let part = SHARED.get_or_init(|| Self::find().map_err(|e| format!("{e:#}")));
        part.as_ref().map_err(|e| anyhow::anyhow!("no Kafka broker: {e}"))
    }

    /// Finds a broker: a given address, else Docker, else a local process.
    pub fn find() -> anyhow::Result<Self> {
        let mut skipped = Vec::new();
        for way in ways()? {
            match Self::by(way) {
                Ok((address, how, kind)) => return Ok(Self { address, how, skipped, kind }),
                // Given and not there is an error, not a reason to look elsewhere.
                Err(error) if way == Way::Given && std::env::var_os(GIVEN).is_some() => return Err(error),
                Err(error) => skipped.push(format!("{way:?}: {error:#}")),
            }
        }
        bail!("no way to a broker; {}", skipped.join("; "))
    }

    fn by(way: Way) -> anyhow::Result<(String, &'static str, Kind)> {
        match way {
            Way::Given => {
                let address = std::env::var(GIVEN).map_err(|_| anyhow!("{GIVEN} is not set"))?;
                wait_for_port(&address, || Ok(()))?;
                Ok((address, "given address", Kind::Given))
            }
            Way::Docker => container().map(|(address, kind)| (address, "Docker", kind)),
            Way::Local => {
                let local = LocalBroker::start()?;
                Ok((local.address(), "local process", Kind::Local(local)))
            }
        }
    }

    /// Stops every thread of it: connections stay open and nothing answers. A given broker is not ours.
    pub fn freeze(&self) -> anyhow::Result<()> {
        match &self.kind {
            Kind::Given => bail!("a given broker is not ours to freeze"),
            Kind::Container(kept) => kept.freeze(true),
            Kind::Local(local) => local.freeze(),
        }
    }

    /// Lets it go on.
    pub fn thaw(&self) -> anyhow::Result<()> {
        match &self.kind {
            Kind::Given => Ok(()),
            Kind::Container(kept) => kept.freeze(false),
            Kind::Local(local) => local.thaw(),
        }
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Which way was taken.
    pub fn how(&self) -> &'static str {
        self.how
    }
}

/// A topic prefix nobody has used, also not on a broker that outlives test runs.
pub fn fresh_prefix(test: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{test}-{:x}-{}-{count}", since.as_millis(), std::process::id())
}

/// Docker, if it has the image: nothing is pulled.
fn container() -> anyhow::Result<(String, Kind)> {
    // The broker tells clients its address, so the mapped port must be known before it starts.
    let [port, ..] = free_ports()?;
    let image = GenericImage::new(IMAGE.0, IMAGE.1)
        .with_wait_for(WaitFor::message_on_stdout("Kafka Server started"))
        .with_mapped_port(port, 9092.tcp());
    let inside = "INSIDE://127.0.0.1:9094";
    let image = [
        ("KAFKA_NODE_ID", "1".to_owned()),
        ("KAFKA_PROCESS_ROLES", "broker,controller".to_owned()),
        ("KAFKA_CONTROLLER_QUORUM_VOTERS", "1@127.0.0.1:9093".to_owned()),
        ("KAFKA_CONTROLLER_LISTENER_NAMES", "CONTROLLER".to_owned()),
        // The broker talks to itself too (commit markers of transactions), and inside the container nobody
        // listens at the mapped port.
        ("KAFKA_LISTENERS", format!("PLAINTEXT://0.0.0.0:9092,{inside},CONTROLLER://127.0.0.1:9093")),
        ("KAFKA_ADVERTISED_LISTENERS", format!("PLAINTEXT://127.0.0.1:{port},{inside}")),
        ("KAFKA_INTER_BROKER_LISTENER_NAME", "INSIDE".to_owned()),
        (
            "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP",
            "PLAINTEXT:PLAINTEXT,INSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT".to_owned(),
        ),
        ("KAFKA_AUTO_CREATE_TOPICS_ENABLE", "false".to_owned()),
        ("KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR", "1".to_owned()),
        ("KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR", "1".to_owned()),
        ("KAFKA_TRANSACTION_STATE_LOG_MIN_ISR", "1".to_owned()),
        ("KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS", "0".to_owned()),
        ("KAFKA_GROUP_MIN_SESSION_TIMEOUT_MS", "1000".to_owned()),
        ("KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS", "4".to_owned()),
        ("KAFKA_TRANSACTION_STATE_LOG_NUM_PARTITIONS", "4".to_owned()),
        ("KAFKA_TRANSACTION_ABORT_TIMED_OUT_TRANSACTION_CLEANUP_INTERVAL_MS", "1000".to_owned()),
        ("KAFKA_LOG_RETENTION_CHECK_INTERVAL_MS", "1000".to_owned()),
        ("KAFKA_LOG_CLEANER_BACKOFF_MS", "500".to_owned()),
        ("KAFKA_LOG_SEGMENT_DELETE_DELAY_MS", "500".to_owned()),
    ]
    .into_iter()
    .fold(image, |image, (key, value)| image.with_env_var(key, value));
    let contained = Contained::start(IMAGE, image)?;
    let address = format!("127.0.0.1:{port}");
    wait_for_port(&address, || Ok(()))?;
    Ok((address, Kind::Container(Box::new(contained))))
}

/// A broker of our own on loopback, which a test may freeze, kill and start again.
pub struct LocalBroker {
    dir: PathBuf,
    /// Plain, controller, with a login, with TLS.
    ports: [u16; 4],
    secure: Option<Secure>,
    keeper: Option<Child>,
}

/// Listeners beside the plain one.
#[derive(Debug, Clone)]
pub struct Secure {
    /// The only user, SASL PLAIN.
    pub user: String,
    /// The password.
    pub password: String,
    /// Private key (PKCS #8) and certificate of the TLS listener, PEM.
    pub key_and_certificate: String,
    /// Whether that user may do nothing at all; who comes without a login may do everything.
    pub forbids: bool,
}

impl LocalBroker {
    /// Fetches the jars if need be, starts, and waits until it answers.
    pub fn start() -> anyhow::Result<Self> {
        Self::start_with(None)
    }

    /// The same with two more listeners: one wants a login, one speaks TLS.
    pub fn start_secure(secure: Secure) -> anyhow::Result<Self> {
        Self::start_with(Some(secure))
    }

    fn start_with(secure: Option<Secure>) -> anyhow::Result<Self> {
        let mut tries = 3;
        loop {
            let dir = tempfile::Builder::new().prefix("evenkeel-kafka-").tempdir()?.keep();
            let mut broker = Self { dir, ports: free_ports()?, secure: secure.clone(), keeper: None };
            match broker.launch() {
                Ok(()) => return Ok(broker),
                // Somebody else took a port between the look and the start.
                Err(error) if tries > 1 && format!("{error:#}").contains("Address already in use") => {
                    tries -= 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// `host:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.ports[0])
    }

    /// `host:port` of the listener that wants a login.
    pub fn login_address(&self) -> String {
        format!("127.0.0.1:{}", self.ports[2])
    }

    /// `host:port` of the listener that speaks TLS.
    pub fn tls_address(&self) -> String {
        format!("127.0.0.1:{}", self.ports[3])
    }

    fn write_listeners(&self, secure: &Secure) -> anyhow::Result<()> {
        let [plain, controller, login, tls] = self.ports;
        let keystore = self.dir.join("keystore.pem");
        fs::write(&keystore, &secure.key_and_certificate)?;
        let clients =
            format!("PLAINTEXT://127.0.0.1:{plain},LOGIN://127.0.0.1:{login},TLS://127.0.0.1:{tls}");
        let properties = format!(
            "listeners={clients},CONTROLLER://127.0.0.1:{controller}\n\
             advertised.listeners={clients}\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,LOGIN:SASL_PLAINTEXT,TLS:SSL\n\
             sasl.enabled.mechanisms=PLAIN\n\
             listener.name.login.plain.sasl.jaas.config=\
             org.apache.kafka.common.security.plain.PlainLoginModule required user_{}=\"{}\";\n\
             listener.name.tls.ssl.keystore.type=PEM\n\
             listener.name.tls.ssl.keystore.location={}\n",
            secure.user,
            secure.password,
            keystore.display()
        );
        let authorizer = "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
                          super.users=User:ANONYMOUS\n";
        let authorizer = if secure.forbids { authorizer } else { "" };
        Ok(fs::write(self.dir.join("extra.properties"), properties + authorizer)?)
    }

    /// Stops every thread of it (SIGSTOP): connections stay open and nothing answers.
    pub fn freeze(&self) -> anyhow::Result<()> {
        self.signal("-STOP")
    }

    /// Lets it go on (SIGCONT).
    pub fn thaw(&self) -> anyhow::Result<()> {
        self.signal("-CONT")
    }

    fn signal(&self, signal: &str) -> anyhow::Result<()> {
        let pid = fs::read_to_string(self.dir.join("pid"))?;
        let status = Command::new("kill").args([signal, pid.trim()]).status()?;
        anyhow::ensure!(status.success(), "kill {signal} {pid}: {status}");
        Ok(())
    }

    /// kill -9; its directory stays for [`LocalBroker::launch`].
    pub fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(mut keeper) = self.keeper.take() {
            if let Some(mut stdin) = keeper.stdin.take() {
                stdin.write_all(b"keep\n")?;
            }
            keeper.wait()?;
        }
        Ok(())
    }

    /// Starts it (again) on the same directory and ports, and waits until it answers.
    pub fn launch(&mut self) -> anyhow::Result<()> {
        if let Some(secure) = &self.secure {
            self.write_listeners(secure)?;
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("parts/kafka/run.sh");
        let keeper = Command::new(script)
            .arg(&self.dir)
            .args(self.ports[..2].iter().map(u16::to_string))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()?;
        let keeper = self.keeper.insert(keeper);
        let (address, dir) = (format!("127.0.0.1:{}", self.ports[0]), self.dir.clone());
        wait_for_port(&address, || match keeper.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("the broker ended at its start ({status}):\n{}", log_tail(&dir)),
        })
        .with_context(|| log_tail(&self.dir))
    }
}

impl Drop for LocalBroker {
    fn drop(&mut self) {
        // Closes the pipe; the script kills the broker and removes its directory.
        if let Some(mut keeper) = self.keeper.take() {
            drop(keeper.stdin.take());
            let _ = keeper.wait();
        }
    }
}

fn log_tail(dir: &Path) -> String {
    let log = fs::read_to_string(dir.join("broker.log")).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

/// Four ports nobody listens on.
fn free_ports() -> anyhow::Result<[u16; 4]> {
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(TcpListener::bind("127.0.0.1:0")?);
    }
    let mut ports = [0; 4];
    for (port, listener) in ports.iter_mut().zip(&held) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}

/// Waits until somebody accepts connections. That the broker also answers is waited for by every client.
fn wait_for_port(address: &str, mut still_hopeful: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let deadline = Instant::now() + READY_DEADLINE;
    loop {
        let Err(error) = TcpStream::connect(address) else { return Ok(()) };
        still_hopeful()?;
        anyhow::ensure!(Instant::now() < deadline, "no broker at {address} in time: {error}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
