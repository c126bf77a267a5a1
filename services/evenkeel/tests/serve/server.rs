//! The binary as a server: started, asked over HTTP, ended.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub const DEADLINE: Duration = Duration::from_secs(60);
pub const NDJSON: &str = "application/x-ndjson";

const SETS: [&str; 7] = [
    "ingest.listen=127.0.0.1:0",
    "gateway.listen=127.0.0.1:0",
    "process.admin.listen=127.0.0.1:0",
    "process.log.filter=error",
    "coalescer.interval=100ms",
    "sink.interval=100ms",
    "local.partitions=2",
];

/// `evenkeel run` that listens nowhere in particular.
pub fn run_anywhere() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
    command.arg("run");
    for set in &SETS[..3] {
        command.args(["--set", set]);
    }
    command
}

/// A running `evenkeel run`.
pub struct Server {
    child: Child,
    pub ingest: String,
    pub live: String,
    pub admin: String,
}

impl Server {
    pub fn start(data_dir: &Path, more: &[&str]) -> Self {
        Self::start_as(Command::new(env!("CARGO_BIN_EXE_evenkeel")), data_dir, more)
    }

    /// The same with a command that ends in the binary, and the rest of the command line after it.
    pub fn start_as(mut command: Command, data_dir: &Path, more: &[&str]) -> Self {
        command.arg("run").arg("--data-dir").arg(data_dir);
        for set in SETS.iter().chain(more) {
            command.args(["--set", set]);
        }
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut address = |name: &str| {
            let line = lines.next().expect("the server prints its addresses").unwrap();
            assert!(line.starts_with(name), "{line}");
            let rest = line.split_once("http://").unwrap().1;
            rest.split_once('/').unwrap().0.to_owned()
        };
        let (ingest, live, admin) = (address("ingest"), address("live"), address("metrics"));
        Self { child, ingest, live, admin }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// It has not given up by itself.
    #[track_caller]
    pub fn still_runs(&mut self) {
        assert_eq!(self.child.try_wait().unwrap(), None, "the server ended by itself");
    }

    /// SIGTERM; the exit code.
    pub fn terminate(mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let began = Instant::now();
        while began.elapsed() < DEADLINE {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.child.kill().unwrap();
        panic!("the server did not end after SIGTERM");
    }
}

impl Drop for Server {
    /// A failed test leaves no server behind.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Reply {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// The last part of the problem's type.
    pub fn slug(&self) -> String {
        let value: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        value["type"].as_str().unwrap_or_default().rsplit(':').next().unwrap_or_default().to_owned()
    }
}

/// One request on a connection of its own, or nothing if the server died under it.
pub fn exchange(address: &str, request: &[u8]) -> Option<Reply> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(DEADLINE)).ok()?;
    // A server that refuses early answers without reading the rest.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).ok()?;
    let status = answer.split_whitespace().nth(1).and_then(|status| status.parse().ok());
    let (Some(status), Some((head, body))) = (status, answer.split_once("\r\n\r\n")) else {
        read.ok()?;
        return None;
    };
    Some(Reply { status, head: head.to_owned(), body: body.to_owned() })
}

/// Posts to `/v1/events`. `headers`: whole lines.
pub fn post_as(address: &str, content_type: &str, headers: &str, body: &[u8]) -> Option<Reply> {
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-type: {content_type}\r\nconnection: close\r\n\
         {headers}content-length: {}\r\n\r\n",
        body.len()
    );
    exchange(address, &[head.as_bytes(), body].concat())
}

pub fn post(address: &str, body: &str) -> Option<(u16, String)> {
    post_as(address, NDJSON, "", body.as_bytes()).map(|reply| (reply.status, reply.body))
}

pub fn get(address: &str, path: &str) -> (u16, String) {
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let reply = exchange(address, request.as_bytes()).unwrap();
    (reply.status, reply.body)
}

/// The value of a metric, by the beginning of its line.
pub fn metric(admin: &str, line: &str) -> Option<f64> {
    let text = get(admin, "/metrics").1;
    text.lines().find_map(|l| l.strip_prefix(line)?.trim().parse().ok())
}

/// Waits for a condition, with a deadline.
#[track_caller]
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
