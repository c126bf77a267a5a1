//! The servers that are measured, each a process of its own: ours, and the peers.
//!
//! Owns: how each is started on the bench's topics, and the CPU time it takes. A peer acknowledges, as ours does, after
//! the broker has; where it cannot (Mosquitto), ours behind it is counted too.

use super::super::cpu;
use super::Outcome;
use evenkeel_kafka::KafkaConfig;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Longest wait for a server's port.
const READY: Duration = Duration::from_secs(30);

/// Running servers; killed when dropped.
pub struct Servers {
    children: Vec<Child>,
    /// Where the load goes.
    pub address: String,
    /// Where our metrics are.
    pub admin: String,
    _dir: TempDir,
}

/// An address nobody listens on.
fn free() -> Outcome<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

impl Servers {
    /// Our ingest, with further settings. `mqtt`: the load goes to its MQTT server.
    pub fn ours(config: &KafkaConfig, mqtt: bool, sets: &[String]) -> Outcome<Self> {
        let (http, mqtt_address, admin) = (free()?, free()?, free()?);
        let mut child = ingest(config, &http, &admin);
        child.args(["--set", &format!("ingest.mqtt.listen={mqtt_address}")]);
        child.args(sets.iter().flat_map(|set| ["--set", set]));
        let address = if mqtt { mqtt_address } else { http };
        let mut servers = Self { children: vec![child.spawn()?], address, admin, _dir: tempfile::tempdir()? };
        servers.wait()?;
        Ok(servers)
    }

    /// The OpenTelemetry Collector: OTLP over HTTP in, the same topic out, no queue between.
    pub fn collector(program: &Path, config: &KafkaConfig, topic: &str) -> Outcome<Self> {
        let (dir, address) = (tempfile::tempdir()?, free()?);
        let text = format!(
            "receivers: {{otlp: {{protocols: {{http: {{endpoint: \"{address}\"}}}}}}}}\n\
             exporters: {{kafka: {{brokers: [\"{}\"], protocol_version: 3.0.0, topic: {topic}, encoding: otlp_proto,\n\
             \x20 producer: {{required_acks: -1}}, sending_queue: {{enabled: false}}, retry_on_failure: {{enabled: false}}}}}}\n\
             service: {{pipelines: {{logs: {{receivers: [otlp], exporters: [kafka]}}}},\n\
             \x20 telemetry: {{logs: {{level: error}}, metrics: {{level: none}}}}}}\n",
            config.brokers
        );
        let file = dir.path().join("collector.yaml");
        std::fs::write(&file, text)?;
        let mut command = Command::new(program);
        command.arg("--config").arg(&file).stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn().map_err(|e| format!("{}: {e}", program.display()))?;
        let mut servers = Self { children: vec![child], address, admin: String::new(), _dir: dir };
        servers.wait()?;
        Ok(servers)
    }

    /// Mosquitto, and our ingest as the bridge behind it.
    pub fn mosquitto(program: &Path, config: &KafkaConfig) -> Outcome<Self> {
        let (dir, address, http, admin) = (tempfile::tempdir()?, free()?, free()?, free()?);
        let (host, port) = address.rsplit_once(':').ok_or("an address has a port")?;
        let file = dir.path().join("mosquitto.conf");
        // Its defaults would drop what the bridge has not acknowledged yet.
        let limits = "max_queued_messages 0\nmax_inflight_messages 0\nallow_anonymous true\nlog_type error\n";
        std::fs::write(&file, format!("listener {port} {host}\n{limits}"))?;
        let mut broker = Command::new(program);
        broker.arg("-c").arg(&file).stdin(Stdio::null()).stdout(Stdio::null());
        let broker = broker.spawn().map_err(|e| format!("{}: {e}", program.display()))?;
        let mut servers = Self { children: vec![broker], address, admin, _dir: dir };
        servers.wait()?;
        let mut bridge = ingest(config, &http, &servers.admin);
        bridge.args(["--set", &format!("ingest.bridge.broker={}", servers.address)]);
        bridge.args(["--set", "ingest.bridge.client-id=bench"]);
        servers.children.push(bridge.spawn()?);
        servers.until("the bridge subscribes", "evenkeel_ingest_connections{protocol=\"bridge\"}", 1.0)?;
        Ok(servers)
    }

    /// CPU seconds of all of them so far.
    pub fn cpu_seconds(&self) -> f64 {
        self.children.iter().filter_map(|child| cpu::seconds(&child.id().to_string())).sum()
    }

    /// Resident bytes of all of them.
    pub fn resident(&self) -> Outcome<u64> {
        let of = |child: &Child| cpu::resident(&child.id().to_string());
        Ok(self.children.iter().map(of).sum::<Option<u64>>().ok_or("no VmRSS")?)
    }

    /// A metric of ours by the beginning of its line, labels included.
    pub fn metric(&self, line: &str) -> Option<f64> {
        scrape(&self.admin).ok()?.lines().find_map(|l| l.strip_prefix(line)?.trim().parse().ok())
    }

    /// Waits until a metric of ours is at least so large.
    pub fn until(&mut self, what: &str, line: &str, least: f64) -> Outcome<()> {
        let began = Instant::now();
        while self.metric(line).is_none_or(|value| value < least) {
            self.hope(began, what)?;
        }
        Ok(())
    }

    fn wait(&mut self) -> Outcome<()> {
        let began = Instant::now();
        while TcpStream::connect(&self.address).is_err() {
            self.hope(began, "its port")?;
        }
        Ok(())
    }

    fn hope(&mut self, began: Instant, what: &str) -> Outcome<()> {
        for child in &mut self.children {
            if let Some(status) = child.try_wait()? {
                return Err(format!("a server ended before {what}: {status}").into());
            }
        }
        if began.elapsed() > READY {
            return Err(format!("not within {READY:?}: {what}").into());
        }
        std::thread::sleep(Duration::from_millis(20));
        Ok(())
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Our ingest on the bench's topics.
fn ingest(config: &KafkaConfig, http: &str, admin: &str) -> Command {
    let program = std::env::current_exe().unwrap_or_else(|_| "evenkeel".into());
    let mut command = Command::new(program);
    command.arg("ingest").stdin(Stdio::null()).stdout(Stdio::null());
    for set in [
        &format!("kafka.brokers={}", config.brokers),
        &format!("kafka.prefix={}", config.prefix),
        &format!("ingest.listen={http}"),
        &format!("process.admin.listen={admin}"),
        "ingest.connections-max=20000",
        "ingest.mqtt.connections-max=20000",
        "process.log.filter=warn",
    ] {
        command.args(["--set", set]);
    }
    command
}

fn scrape(admin: &str) -> Outcome<String> {
    use std::io::{Read as _, Write as _};
    let mut stream = TcpStream::connect(admin)?;
    stream.set_read_timeout(Some(READY))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
