//! The servers that are measured, each a process of its own: our gateway, and nats-server with somebody who publishes.

use super::super::cpu;
use super::Outcome;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Longest wait for a server's port.
const READY: Duration = Duration::from_secs(30);

/// A running server; killed when dropped.
pub struct Server {
    child: Child,
    /// Where WebSockets are taken.
    pub address: SocketAddr,
    publisher: Option<(Arc<AtomicBool>, JoinHandle<()>)>,
    _dir: Option<tempfile::TempDir>,
}

/// What is published: topics, times a second, bytes of a message.
#[derive(Debug, Clone, Copy)]
pub struct Beat {
    /// Topics.
    pub topics: usize,
    /// 0 = silence.
    pub hz: u64,
    /// Of the peer's messages.
    pub bytes: usize,
    /// Each topic at a time of its own, as devices send; else all at the same time.
    pub spread: bool,
}

impl Server {
    /// Our gateway: this program again.
    pub fn ours(beat: Beat) -> Outcome<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["bench", "gateway", "--serve", &beat.hz.to_string()])
            .args(["--topics", &beat.topics.to_string()])
            .args(beat.spread.then_some("--spread"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or("no output")?).read_line(&mut line)?;
        let address = line.trim().parse().map_err(|e| format!("{line:?} is no address: {e}"))?;
        Ok(Self { child, address, publisher: None, _dir: None })
    }

    /// nats-server with its WebSocket, and a publisher of its own protocol in this process.
    pub fn nats(program: &Path, beat: Beat) -> Outcome<Self> {
        let dir = tempfile::tempdir()?;
        let (client, socket) = (free()?, free()?);
        let file = dir.path().join("nats.conf");
        let text = format!(
            "listen: \"{client}\"\nmax_connections: 20000\nwebsocket {{ listen: \"{socket}\", no_tls: true }}\n"
        );
        std::fs::write(&file, text)?;
        let child = Command::new(program)
            .arg("-c")
            .arg(&file)
            .args(["-l", "/dev/null"])
            .stdin(Stdio::null())
            .spawn()
            .map_err(|e| format!("{}: {e}", program.display()))?;
        let mut server = Self { child, address: socket, publisher: None, _dir: Some(dir) };
        let began = Instant::now();
        while TcpStream::connect(socket).is_err() || TcpStream::connect(client).is_err() {
            if began.elapsed() > READY {
                return Err("nats-server does not listen".into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        if beat.hz > 0 {
            let stop = Arc::new(AtomicBool::new(false));
            let (told, stream) = (Arc::clone(&stop), TcpStream::connect(client)?);
            stream.set_nodelay(true)?;
            let publishing = std::thread::spawn(move || {
                if let Err(error) = publish(stream, beat, &told) {
                    eprintln!("the publisher ended: {error}");
                }
            });
            server.publisher = Some((stop, publishing));
        }
        Ok(server)
    }

    /// CPU seconds of all its threads so far.
    pub fn cpu_seconds(&self) -> f64 {
        cpu::seconds_exact(&self.child.id().to_string())
    }

    /// Resident bytes.
    pub fn resident(&self) -> Outcome<u64> {
        Ok(cpu::resident(&self.child.id().to_string()).ok_or("no VmRSS")?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some((stop, publishing)) = self.publisher.take() {
            stop.store(true, Ordering::Release);
            let _ = publishing.join();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address nobody listens on.
fn free() -> Outcome<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Publishes to `t0` and on, each message with its own time first, until told to stop. A server that does not take
/// them in time delays the next ones, as a slow log would.
fn publish(mut stream: TcpStream, beat: Beat, stop: &AtomicBool) -> std::io::Result<()> {
    stream.write_all(b"CONNECT {\"verbose\":false,\"pedantic\":false}\r\n")?;
    let mut answers = stream.try_clone()?;
    // What it says is read and thrown away: a full socket would stop it.
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while answers.read(&mut bytes).is_ok_and(|read| read > 0) {}
    });
    let at_once = if beat.spread { 1 } else { beat.topics };
    let every = Duration::from_micros(1_000_000 * at_once as u64 / (beat.hz.max(1) * beat.topics as u64));
    let mut topics = (0..beat.topics).cycle();
    let mut due = Instant::now();
    let mut out = Vec::new();
    while !stop.load(Ordering::Acquire) {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        due += every;
        out.clear();
        let head = format!("{{\"ts\":{},\"pad\":\"", evenkeel_gateway::system_clock()());
        let pad = "x".repeat(beat.bytes.saturating_sub(head.len() + 2));
        for topic in topics.by_ref().take(at_once) {
            let payload = format!("{head}{pad}\"}}");
            out.extend_from_slice(format!("PUB t{topic} {}\r\n{payload}\r\n", payload.len()).as_bytes());
        }
        out.extend_from_slice(b"PONG\r\n"); // it asks now and then
        stream.write_all(&out)?;
    }
    stream.shutdown(std::net::Shutdown::Both)
}
