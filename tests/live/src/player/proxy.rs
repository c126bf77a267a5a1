//! A door between the sinks and the CQL server, which a scenario shuts, makes slow, or cuts a write at.
//!
//! Owns: connections and their requests, frame by frame (header of 9 bytes, the length in the last four).
//! Never: looks into a request; EXECUTE and BATCH count as writes, though some are reads, which then have an
//! unknown outcome too.

use evenkeel_scenarios::Unknown;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Opcodes of requests that carry out a statement.
const EXECUTE: u8 = 10;
const BATCH: u8 = 13;
/// How much later a delayed write lands.
const LANDS_LATER: Duration = Duration::from_millis(1_500);
/// How long the server's side of a cut connection stays, so that the request is carried out.
const LINGER: Duration = Duration::from_millis(500);

/// The door. It is open until somebody says otherwise.
#[derive(Debug, Clone)]
pub struct Proxy {
    address: String,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Delayed writes that have not landed.
    late: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    down_until: Option<Instant>,
    slow_until: Option<Instant>,
    delay: Duration,
    /// The n-th write from now has an unknown outcome; and whether its sink dies of it.
    unknown: Option<(u32, Unknown, bool)>,
    doomed: bool,
    /// Writes of unknown outcome so far.
    unknowns: u32,
    connections: Vec<TcpStream>,
}

/// What becomes of a frame.
enum Fate {
    Pass(Duration),
    Cut(Option<Unknown>),
}

impl Proxy {
    /// A door to `server`, `host:port`.
    pub fn open(server: &str) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let proxy = Self { address: listener.local_addr()?.to_string(), shared: Arc::default() };
        let (shared, server) = (Arc::clone(&proxy.shared), server.to_owned());
        std::thread::Builder::new().name("cql-proxy".into()).spawn(move || {
            for client in listener.incoming().flatten() {
                let (shared, server) = (Arc::clone(&shared), server.clone());
                std::thread::spawn(move || {
                    if let Err(error) = shared.serve(client, &server) {
                        eprintln!("cql-proxy: {error}"); // the client sees it as a broken connection
                    }
                });
            }
        })?;
        Ok(proxy)
    }

    /// `host:port` of the door.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Every connection breaks, and none is accepted, for so long.
    pub fn down(&self, time: Duration) {
        let mut state = self.shared.state();
        state.down_until = Some(Instant::now() + time);
        state.connections.drain(..).for_each(|stream| {
            let _ = stream.shutdown(Shutdown::Both);
        });
    }

    /// Requests take `delay` longer, for so long.
    pub fn slow(&self, time: Duration, delay: Duration) {
        let mut state = self.shared.state();
        (state.slow_until, state.delay) = (Some(Instant::now() + time), delay);
    }

    /// The n-th write from now has an unknown outcome.
    pub fn unknown(&self, write: u32, outcome: Unknown, kills: bool) {
        self.shared.state().unknown = Some((write, outcome, kills));
    }

    /// Everything as it should be from here on.
    pub fn heal(&self) {
        let mut state = self.shared.state();
        (state.down_until, state.slow_until, state.unknown) = (None, None, None);
    }

    /// Whether sinks have to die now; told once.
    pub fn take_doom(&self) -> bool {
        std::mem::take(&mut self.shared.state().doomed)
    }

    /// Writes of unknown outcome so far.
    pub fn unknowns(&self) -> u32 {
        self.shared.state().unknowns
    }

    /// Whether no delayed write is still to land.
    pub fn is_quiet(&self) -> bool {
        self.shared.late.load(Ordering::Acquire) == 0
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(self: &Arc<Self>, mut client: TcpStream, server: &str) -> std::io::Result<()> {
        if self.state().is_down() {
            return Ok(()); // dropped: refused
        }
        let mut upstream = TcpStream::connect(server)?;
        client.set_nodelay(true)?;
        upstream.set_nodelay(true)?;
        {
            let mut state = self.state();
            state.connections.retain(|stream| stream.peer_addr().is_ok());
            state.connections.push(client.try_clone()?);
        }
        let (mut from_server, mut to_client) = (upstream.try_clone()?, client.try_clone()?);
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut from_server, &mut to_client);
            let _ = to_client.shutdown(Shutdown::Both);
        });
        let (frames, due) = channel();
        let to_server = upstream.try_clone()?;
        std::thread::spawn(move || write_when_due(to_server, &due));
        while let Some(frame) = read_frame(&mut client)? {
            match self.state().fate(frame[4]) {
                Fate::Pass(delay) => {
                    let _ = frames.send((Instant::now() + delay, frame));
                }
                Fate::Cut(outcome) => {
                    let _ = client.shutdown(Shutdown::Both);
                    self.end(&mut upstream, &frame, outcome)?;
                    break;
                }
            }
        }
        drop(frames);
        upstream.shutdown(Shutdown::Both)
    }

    /// What becomes of a request whose client is gone.
    fn end(&self, upstream: &mut TcpStream, frame: &[u8], outcome: Option<Unknown>) -> std::io::Result<()> {
        match outcome {
            Some(Unknown::Applied) => {
                upstream.write_all(frame)?;
                std::thread::sleep(LINGER);
            }
            Some(Unknown::Delayed) => {
                self.late.fetch_add(1, Ordering::AcqRel);
                std::thread::sleep(LANDS_LATER);
                let landed = upstream.write_all(frame);
                std::thread::sleep(LINGER);
                self.late.fetch_sub(1, Ordering::AcqRel);
                landed?;
            }
            Some(Unknown::Lost) | None => {}
        }
        Ok(())
    }
}

impl State {
    fn is_down(&self) -> bool {
        self.down_until.is_some_and(|until| Instant::now() < until)
    }

    fn fate(&mut self, opcode: u8) -> Fate {
        if self.is_down() {
            return Fate::Cut(None);
        }
        if matches!(opcode, EXECUTE | BATCH)
            && let Some((left, outcome, kills)) = self.unknown
        {
            match left.checked_sub(1) {
                Some(left) => self.unknown = Some((left, outcome, kills)),
                None => {
                    (self.unknown, self.doomed) = (None, kills);
                    self.unknowns += 1;
                    return Fate::Cut(Some(outcome));
                }
            }
        }
        let slow = self.slow_until.is_some_and(|until| Instant::now() < until);
        Fate::Pass(if slow { self.delay } else { Duration::ZERO })
    }
}

/// The next request; `None` = the client has left.
fn read_frame(client: &mut TcpStream) -> std::io::Result<Option<Vec<u8>>> {
    let mut frame = vec![0; 9];
    if client.read_exact(&mut frame).is_err() {
        return Ok(None);
    }
    let length = u32::from_be_bytes([frame[5], frame[6], frame[7], frame[8]]) as usize;
    frame.resize(9 + length, 0);
    match client.read_exact(&mut frame[9..]) {
        Ok(()) => Ok(Some(frame)),
        Err(_) => Ok(None),
    }
}

fn write_when_due(mut server: TcpStream, frames: &Receiver<(Instant, Vec<u8>)>) {
    for (at, frame) in frames {
        std::thread::sleep(at.saturating_duration_since(Instant::now()));
        if server.write_all(&frame).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that counts the frames it gets.
    fn server() -> (String, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, seen) = (listener.local_addr().unwrap().to_string(), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&seen);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let count = Arc::clone(&count);
                std::thread::spawn(move || {
                    while let Ok(Some(_)) = read_frame(&mut stream) {
                        count.fetch_add(1, Ordering::AcqRel);
                        let _ = stream.write_all(b"answered!");
                    }
                });
            }
        });
        (address, seen)
    }

    fn request(stream: &mut TcpStream) -> bool {
        let sent = stream.write_all(&[4, 0, 0, 0, EXECUTE, 0, 0, 0, 3, 1, 2, 3]);
        sent.is_ok() && stream.read_exact(&mut [0; 9]).is_ok()
    }

    fn wait_for(what: &str, done: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !done() {
            assert!(Instant::now() < deadline, "{what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn an_unknown_write_is_never_answered_and_lands_or_not_as_told() {
        for (outcome, lands) in [(Unknown::Applied, 1), (Unknown::Delayed, 1), (Unknown::Lost, 0)] {
            let (address, seen) = server();
            let proxy = Proxy::open(&address).unwrap();
            let mut client = TcpStream::connect(proxy.address()).unwrap();
            assert!(request(&mut client));
            proxy.unknown(1, outcome, true);
            assert!(request(&mut client) && !proxy.take_doom(), "the one after it is meant");
            assert!(!request(&mut client), "{outcome:?} was answered");
            assert!(proxy.take_doom() && !proxy.take_doom() && proxy.unknowns() == 1);
            wait_for("it lands", || proxy.is_quiet() && seen.load(Ordering::Acquire) == 2 + lands);
        }
    }

    #[test]
    fn a_shut_door_breaks_and_refuses_connections() {
        let (address, seen) = server();
        let proxy = Proxy::open(&address).unwrap();
        let mut client = TcpStream::connect(proxy.address()).unwrap();
        assert!(request(&mut client));
        proxy.down(Duration::from_secs(60));
        assert!(!request(&mut client));
        let mut other = TcpStream::connect(proxy.address()).unwrap();
        assert!(!request(&mut other));
        proxy.heal();
        let mut after = TcpStream::connect(proxy.address()).unwrap();
        assert!(request(&mut after));
        assert_eq!(seen.load(Ordering::Acquire), 2);
    }
}
