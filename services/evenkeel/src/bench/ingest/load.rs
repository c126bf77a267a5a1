//! The client: an open loop over some connections.
//!
//! Owns: when each message is due, and what its answer took, counted from that moment whatever the client or the
//! server did meanwhile (a slow answer delays the messages after it, and they say so). Never: retries.

use super::Outcome;
use super::wire::Wire;
use hdrhistogram::Histogram;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

/// How much is sent.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Messages per second, over all connections.
    pub rate: f64,
    /// Events of a message.
    pub events: u64,
    /// For how long.
    pub time: Duration,
    /// Connections.
    pub connections: u64,
}

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(30);
const READ_BYTES: usize = 16 * 1024;

/// What came of it.
#[derive(Debug)]
pub struct Tally {
    /// Events whose message was accepted whole.
    pub accepted: u64,
    /// Events of the other messages.
    pub refused: u64,
    /// From due to answered, µs.
    pub took_us: Histogram<u64>,
}

impl Tally {
    fn new() -> Outcome<Self> {
        Ok(Self { accepted: 0, refused: 0, took_us: Histogram::new_with_bounds(1, 60_000_000, 3)? })
    }
}

/// Opens a connection and greets.
pub async fn connect(wire: &Wire, address: &str, name: &str) -> Outcome<(TcpStream, Vec<u8>)> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    if let Some(greeting) = wire.greeting(name) {
        stream.write_all(&greeting).await?;
        while !wire.greeted(&mut buffer)? {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Err(format!("{address} hung up at the greeting").into());
            }
        }
    }
    Ok((stream, buffer))
}

/// Milliseconds since the epoch.
pub fn now_ms() -> Outcome<i64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as i64)
}

/// Plays a load against a server.
pub async fn play(wire: &Wire, address: &str, load: Load) -> Outcome<Tally> {
    let mut open = Vec::new();
    for n in 0..load.connections {
        open.push(connect(wire, address, &format!("bench-{n}")).await?);
    }
    let (began, mut connections) = (Instant::now() + Duration::from_millis(100), JoinSet::new());
    for (n, (stream, buffer)) in (0..).zip(open) {
        let talk = Talk { wire: wire.clone(), load, began, place: n };
        connections.spawn(talk.through(stream, buffer));
    }
    let mut all = Tally::new()?;
    while let Some(done) = connections.join_next().await {
        let one = done??;
        all.accepted += one.accepted;
        all.refused += one.refused;
        all.took_us.add(&one.took_us)?;
    }
    Ok(all)
}

/// One connection's part of the load.
#[derive(Debug, Clone)]
struct Talk {
    wire: Wire,
    load: Load,
    began: Instant,
    /// Which connection.
    place: u64,
}

impl Talk {
    /// When the message with this number on this connection is due; `None` = the load is over.
    fn due(&self, number: u64) -> Option<Instant> {
        let n = self.nth(number);
        let at = Duration::from_secs_f64(n as f64 / self.load.rate);
        (at < self.load.time).then(|| self.began + at)
    }

    /// Its place among all messages.
    fn nth(&self, number: u64) -> u64 {
        number * self.load.connections + self.place
    }

    async fn through(self, stream: TcpStream, buffer: Vec<u8>) -> Outcome<Tally> {
        let window = Arc::new(Semaphore::new(self.wire.window()));
        let (sent, waiting) = mpsc::unbounded_channel();
        let (reader, writer) = stream.into_split();
        let answers = self.clone().read(reader, buffer, waiting, Arc::clone(&window));
        let messages = self.write(writer, sent, window);
        let (messages, answers) = tokio::join!(messages, answers);
        let _writer = messages?;
        answers
    }

    /// Returns the half that writes: dropped earlier, it would end the connection under the last answers.
    async fn write(
        self,
        mut writer: OwnedWriteHalf,
        sent: mpsc::UnboundedSender<u64>,
        window: Arc<Semaphore>,
    ) -> Outcome<OwnedWriteHalf> {
        let mut message = Vec::new();
        for number in 0.. {
            let Some(due) = self.due(number) else { break };
            tokio::time::sleep_until(due.into()).await;
            window.acquire().await?.forget();
            message.clear();
            self.wire.write(number, self.nth(number), self.load.events, now_ms()?, &mut message);
            if sent.send(number).is_err() {
                break;
            }
            writer.write_all(&message).await?;
        }
        Ok(writer)
    }

    async fn read(
        self,
        mut reader: OwnedReadHalf,
        mut buffer: Vec<u8>,
        mut sent: mpsc::UnboundedReceiver<u64>,
        window: Arc<Semaphore>,
    ) -> Outcome<Tally> {
        let (mut tally, mut waiting) = (Tally::new()?, BTreeSet::new());
        buffer.reserve(READ_BYTES);
        loop {
            if waiting.is_empty() {
                let Some(number) = sent.recv().await else { return Ok(tally) };
                waiting.insert(number);
            }
            // Numbers are told before their messages leave, so whatever is answered is known.
            waiting.extend(std::iter::from_fn(|| sent.try_recv().ok()));
            let oldest = *waiting.first().ok_or("nothing waits")?;
            let Some(answer) = self.wire.answer(&mut buffer, oldest, self.load.events)? else {
                let read = tokio::time::timeout(PATIENCE, reader.read_buf(&mut buffer));
                if read.await.map_err(|_| "no answer in time")?? == 0 {
                    return Err(
                        format!("the server hung up; {} messages had no answer", waiting.len()).into()
                    );
                }
                continue;
            };
            let number = answer.to.unwrap_or(oldest);
            if !waiting.remove(&number) {
                return Err(format!("an answer to {number}, which was not asked").into());
            }
            window.add_permits(1);
            let took = self.due(number).map_or(Duration::ZERO, |due| due.elapsed());
            tally.took_us.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
            match answer.ok {
                true => tally.accepted += self.load.events,
                false => tally.refused += self.load.events,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::ingest::payload::Form;
    use tokio::net::TcpListener;

    /// A server that answers every request after this time.
    async fn server(answer_after: Duration) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut buffer = vec![0; 64 * 1024];
                    while stream.read(&mut buffer).await.is_ok_and(|n| n > 0) {
                        tokio::time::sleep(answer_after).await;
                        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 14\r\n\r\n{\"accepted\":1,";
                        let _ = stream.write_all(answer).await;
                    }
                });
            }
        });
        address
    }

    #[tokio::test]
    async fn a_slow_server_shows_in_what_was_due_meanwhile() {
        let address = server(Duration::from_millis(50)).await;
        let wire = Wire::Http { path: "/", content_type: "application/json", form: Form::JsonEvent };
        let load = Load { rate: 100.0, events: 1, time: Duration::from_millis(400), connections: 2 };
        let tally = play(&wire, &address, load).await.unwrap();
        assert_eq!((tally.accepted, tally.refused, tally.took_us.len()), (40, 0, 40));
        // 20 messages of 50 ms each through a connection that has 400 ms for them.
        assert!(tally.took_us.max() >= 600_000, "{}", tally.took_us.max());
        assert!(tally.took_us.min() >= 50_000);
    }
}
