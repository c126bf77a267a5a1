//! The screens: sockets that subscribe, and count what comes and how old it is.
//!
//! Owns: reading either protocol as cheaply as it can: client and server share the machine.

use super::Outcome;
use futures::{SinkExt, StreamExt};
use hyper::Request;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

/// How old a delivery may be to be told apart, ms.
const AGE_MS_MAX: usize = 120_000;
/// A slow screen reads one message and then nothing for so long.
const SLOW: Duration = Duration::from_millis(500);

/// What has come, over all screens.
pub struct Tally {
    pub deliveries: AtomicU64,
    pub bytes: AtomicU64,
    pub counting: AtomicBool,
    pub begun: AtomicU64,
    pub ended: AtomicU64,
    ages: Vec<AtomicU32>,
}

impl Tally {
    pub fn new() -> Self {
        Self {
            deliveries: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            counting: AtomicBool::new(false),
            begun: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            ages: (0..=AGE_MS_MAX).map(|_| AtomicU32::new(0)).collect(),
        }
    }

    /// The age that so large a share of deliveries is not above, ms.
    pub fn age_ms(&self, share: f64) -> f64 {
        let counts: Vec<u64> = self.ages.iter().map(|age| age.load(Ordering::Relaxed).into()).collect();
        let wanted = (counts.iter().sum::<u64>() as f64 * share).ceil() as u64;
        let mut sum = 0;
        counts
            .iter()
            .position(|count| {
                sum += count;
                sum >= wanted
            })
            .unwrap_or(AGE_MS_MAX) as f64
    }

    fn delivered(&self, made_ms: i64, now_ms: i64, slow: bool) {
        if !self.counting.load(Ordering::Relaxed) {
            return;
        }
        self.deliveries.fetch_add(1, Ordering::Relaxed);
        if !slow {
            let age = usize::try_from(now_ms - made_ms).unwrap_or(0).min(AGE_MS_MAX);
            self.ages[age].fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// One screen.
#[derive(Debug, Clone)]
pub struct Screen {
    pub address: SocketAddr,
    /// What it looks at.
    pub topics: Vec<String>,
    pub slow: bool,
    /// Speaks NATS.
    pub nats: bool,
}

impl Screen {
    /// Looks until it is dropped.
    pub async fn look(self, tally: &Tally) -> Outcome<()> {
        let mut socket = self.open().await?;
        let mut buffer = Vec::new();
        tally.begun.fetch_add(1, Ordering::Relaxed);
        while let Some(Ok(message)) = socket.next().await {
            let now_ms = evenkeel_gateway::system_clock()();
            let bytes: &[u8] = match &message {
                Message::Text(text) => text.as_bytes(),
                Message::Binary(bytes) => bytes,
                _ => continue,
            };
            tally.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            if self.nats {
                buffer.extend_from_slice(bytes);
                let used = messages(&buffer, &mut |made_ms| tally.delivered(made_ms, now_ms, self.slow));
                buffer.drain(..used);
            } else if bytes.starts_with(b"{\"type\":\"ping\"") {
                socket.send(Message::text("{\"type\":\"pong\"}")).await?;
            } else {
                fragments(bytes, &mut |made_ms| tally.delivered(made_ms, now_ms, self.slow));
            }
            if self.slow {
                tokio::time::sleep(SLOW).await;
            }
        }
        tally.ended.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn open(&self) -> Outcome<WebSocketStream<TcpStream>> {
        let socket = TcpSocket::new_v4()?;
        if self.slow {
            socket.set_recv_buffer_size(8192)?; // what it does not read stays with the server
        }
        let stream = socket.connect(self.address).await?;
        let path = if self.nats { "/" } else { "/v1/live" };
        let mut request = Request::get(format!("ws://{}{path}", self.address))
            .header("host", self.address.to_string())
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        if !self.nats {
            request = request.header("sec-websocket-protocol", "evenkeel.v1.json");
        }
        let config = WebSocketConfig::default().read_buffer_size(4096).write_buffer_size(0);
        let (mut socket, _) = client_async_with_config(request.body(())?, stream, Some(config)).await?;
        if self.nats {
            let mut text = "CONNECT {\"verbose\":false,\"pedantic\":false}\r\n".to_owned();
            for (n, topic) in self.topics.iter().enumerate() {
                text.push_str(&format!("SUB {topic} {}\r\n", n + 1));
            }
            socket.send(Message::binary(text.into_bytes())).await?;
        } else {
            socket.send(Message::text("{\"type\":\"connection_init\"}")).await?;
            let wish = |(n, topic): (usize, &String)| {
                format!("{{\"id\":{},\"topic\":\"device/{topic}/telemetry\",\"max_hz\":10}}", n + 1)
            };
            let wishes: Vec<String> = self.topics.iter().enumerate().map(wish).collect();
            let text = format!("{{\"type\":\"subscribe\",\"subscriptions\":[{}]}}", wishes.join(","));
            socket.send(Message::text(text)).await?;
        }
        Ok(socket)
    }
}

/// The digits that follow.
fn number(text: &[u8]) -> i64 {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'))
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|of| of == what)
}

/// The time of each frame of a `next`.
fn fragments(mut text: &[u8], each: &mut dyn FnMut(i64)) {
    while let Some(at) = find(text, b"\"frame\":{") {
        text = &text[at..];
        let Some(at) = find(text, b"\"ts\":") else { return };
        text = &text[at + 5..];
        each(number(text));
    }
}

/// The time of each whole message of NATS; how many bytes they were.
fn messages(text: &[u8], each: &mut dyn FnMut(i64)) -> usize {
    let mut used = 0;
    while let Some(end) = find(&text[used..], b"\r\n") {
        let line = &text[used..used + end];
        let payload = used + end + 2;
        if !line.starts_with(b"MSG ") {
            used = payload;
            continue;
        }
        let length = line.rsplit(|byte| *byte == b' ').next().map_or(0, number) as usize;
        if text.len() < payload + length + 2 {
            break;
        }
        each(number(text[payload..].get(6..).unwrap_or_default()));
        used = payload + length + 2;
    }
    used
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(read: impl FnOnce(&mut dyn FnMut(i64))) -> Vec<i64> {
        let mut times = Vec::new();
        read(&mut |time| times.push(time));
        times
    }

    #[test]
    fn every_frame_of_a_message_counts_once_with_its_own_time() {
        let next = br#"{"type":"next","server_ms":9,"fragments":[{"id":1,"frame":{"epoch":"g","seq":1,"ts":17,"state":{"ts":[4]}}},{"id":2,"frame":{"epoch":"g","seq":1,"ts":23}}]}"#;
        assert_eq!(seen(|each| fragments(next, each)), [17, 23]);
        assert_eq!(seen(|each| fragments(br#"{"type":"ping"}"#, each)), [0i64; 0]);
    }

    #[test]
    fn messages_of_nats_may_end_anywhere() {
        let text = b"INFO {}\r\nMSG t0 1 10\r\n{\"ts\":123}\r\nPING\r\nMSG t1 2 9\r\n{\"ts\":45}\r\n";
        for cut in 0..=text.len() {
            let mut times = Vec::new();
            let used = messages(&text[..cut], &mut |time| times.push(time));
            messages(&text[used..], &mut |time| times.push(time));
            assert_eq!(times, [123, 45], "{cut}");
        }
    }
}
