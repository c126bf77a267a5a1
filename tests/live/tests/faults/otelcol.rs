//! The OpenTelemetry Collector itself, built once from the Go module proxy (tests/peers/otelcol): OTLP in, a topic out.

use crate::site::DEADLINE;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A running collector; it ends with this.
pub struct Otelcol {
    /// For `process.telemetry.otlp-endpoint`.
    pub endpoint: String,
    child: Child,
    _dir: TempDir,
}

impl Otelcol {
    /// Puts traces into `topic`; what comes of metrics is thrown away.
    pub fn start(brokers: &str, topic: &str) -> Self {
        let (program, dir) = (program(), tempfile::tempdir().unwrap());
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let config = format!(
            "receivers: {{otlp: {{protocols: {{grpc: {{endpoint: \"{address}\"}}}}}}}}\n\
             exporters: {{kafka: {{brokers: [\"{brokers}\"], protocol_version: 3.0.0, topic: {topic}, \
             encoding: otlp_proto, producer: {{required_acks: -1}}}}}}\n\
             service: {{pipelines: {{traces: {{receivers: [otlp], exporters: [kafka]}}}},\n\
             \x20 telemetry: {{logs: {{level: warn}}, metrics: {{level: none}}}}}}\n",
        );
        let file = dir.path().join("collector.yaml");
        std::fs::write(&file, config).unwrap();
        let child = Command::new(program).arg("--config").arg(&file).stdin(Stdio::null()).spawn().unwrap();
        let mut collector = Self { endpoint: format!("http://{address}"), child, _dir: dir };
        let began = Instant::now();
        while TcpStream::connect(&address).is_err() {
            let ended = collector.child.try_wait().unwrap();
            assert!(
                ended.is_none() && began.elapsed() < DEADLINE,
                "the collector does not listen: {ended:?}"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        collector
    }
}

impl Drop for Otelcol {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The first time it takes some minutes and needs Go.
fn program() -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../peers/otelcol/build.sh");
    let built = Command::new(script).stdin(Stdio::null()).stderr(Stdio::inherit()).output().unwrap();
    assert!(built.status.success(), "{script} cannot build the collector: it needs Go and the module proxy");
    String::from_utf8(built.stdout).unwrap().trim().to_owned()
}
