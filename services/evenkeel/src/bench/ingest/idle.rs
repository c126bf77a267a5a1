//! What a connection that says nothing costs: resident memory before and after some thousand of them.

use super::Outcome;
use super::load::{connect, now_ms};
use super::payload::Form;
use super::servers::Servers;
use super::wire::Wire;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Connections that are open before the first look: what the server makes once is not counted.
const FIRST: usize = 100;
/// Longest wait for the server to have them all.
const PATIENCE: Duration = Duration::from_secs(60);

/// The protocols: name, wire, whether it is MQTT.
pub fn kinds() -> [(&'static str, Wire, bool); 3] {
    let http = Wire::Http { path: "/v1/events", content_type: "application/json", form: Form::Json };
    [("HTTP", http, false), ("WebSocket", Wire::WebSocket, false), ("MQTT", Wire::Mqtt, true)]
}

/// Resident bytes of the server per connection.
pub async fn bytes(wire: &Wire, servers: &Servers, connections: usize) -> Outcome<f64> {
    let mut open = Vec::new();
    more(wire, servers, FIRST, &mut open).await?;
    let before = servers.resident()?;
    more(wire, servers, FIRST + connections, &mut open).await?;
    let grown = servers.resident()?.saturating_sub(before);
    Ok(grown as f64 / connections as f64)
}

/// Opens connections until there are so many. Each has sent something and has its answer.
async fn more(wire: &Wire, servers: &Servers, to: usize, open: &mut Vec<TcpStream>) -> Outcome<()> {
    let began = Instant::now();
    while open.len() < to {
        let (mut stream, mut buffer) =
            connect(wire, &servers.address, &format!("idle-{}", open.len())).await?;
        let mut message = Vec::new();
        wire.write(0, open.len() as u64, 1, now_ms()?, &mut message);
        stream.write_all(&message).await?;
        while wire.answer(&mut buffer, 0, 1)?.is_none() {
            if stream.read_buf(&mut buffer).await? == 0 || began.elapsed() > PATIENCE {
                return Err(format!("connection {} had no answer", open.len()).into());
            }
        }
        open.push(stream);
    }
    Ok(())
}
