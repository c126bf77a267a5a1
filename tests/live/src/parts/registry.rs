//! A real schema registry (Apicurio, its Confluent interface) for tests: given, or a local process from published jars.
//!
//! Owns: its port and directory, and its end: it lives as long as a pipe that only the test process holds.

use anyhow::{Context as _, bail, ensure};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long it may take to answer (a cold start also fetches it).
const READY_DEADLINE: Duration = Duration::from_secs(240);
/// URL of a registry that is up already, with the path of its Confluent interface.
const GIVEN: &str = "EVENKEEL_REGISTRY";

/// A running registry.
pub struct RegistryPart {
    url: String,
    /// The process, and where its log is.
    local: Option<(Child, tempfile::TempDir)>,
}

impl RegistryPart {
    /// A given one, else a process of our own.
    pub fn find() -> anyhow::Result<Self> {
        if let Ok(url) = std::env::var(GIVEN) {
            return Ok(Self { url, local: None });
        }
        let dir = tempfile::Builder::new().prefix("evenkeel-registry-").tempdir()?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("parts/apicurio/run.sh");
        let mut child = Command::new(script)
            .arg(dir.path())
            .arg(port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()?;
        let began = Instant::now();
        let log = || std::fs::read_to_string(dir.path().join("registry.log")).unwrap_or_default();
        while !answers(port) {
            if let Some(status) = child.try_wait()? {
                bail!("the registry ended at its start ({status}):\n{}", log());
            }
            ensure!(began.elapsed() < READY_DEADLINE, "no registry at port {port} in time:\n{}", log());
            std::thread::sleep(Duration::from_millis(100));
        }
        let url = format!("http://127.0.0.1:{port}/apis/ccompat/v7");
        Ok(Self { url, local: Some((child, dir)) })
    }

    /// Its URL, with the path of its Confluent interface.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Puts a schema under a subject; its id.
    pub fn register(&self, subject: &str, schema: &str) -> anyhow::Result<u32> {
        let (host, path) =
            self.url.trim_start_matches("http://").split_once('/').context("a URL with a path")?;
        let body = serde_json::json!({ "schema": schema }).to_string();
        let request = format!(
            "POST /{path}/subjects/{subject}/versions HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\
             content-type: application/vnd.schemaregistry.v1+json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = exchange(host, &request)?;
        let id = answer
            .split_once("{\"id\":")
            .and_then(|(_, rest)| rest.split(['}', ',']).next()?.trim().parse().ok());
        id.with_context(|| format!("the registry answered {answer}"))
    }
}

impl Drop for RegistryPart {
    fn drop(&mut self) {
        if let Some((child, _)) = &mut self.local {
            drop(child.stdin.take());
            let _ = child.wait();
        }
    }
}

fn answers(port: u16) -> bool {
    let request = "GET /apis/ccompat/v7/subjects HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    exchange(&format!("127.0.0.1:{port}"), request).is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

fn exchange(host: &str, request: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
