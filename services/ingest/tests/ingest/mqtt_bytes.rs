//! MQTT packets written and read by hand, so that they can also be the wrong ones.

use crate::client::DEADLINE;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Protocol levels.
pub const V3: u8 = 4;
pub const V5: u8 = 5;
pub const BOTH: [u8; 2] = [V3, V5];

/// First bytes of packets.
pub const CONNACK: u8 = 0x20;
pub const PUBACK: u8 = 0x40;
pub const SUBACK: u8 = 0x90;
pub const UNSUBACK: u8 = 0xB0;
pub const PINGRESP: u8 = 0xD0;
pub const DISCONNECT: u8 = 0xE0;
pub const PINGREQ: [u8; 2] = [0xC0, 0];

/// One packet as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    pub first: u8,
    pub body: Vec<u8>,
}

impl Read {
    /// The packet id of an acknowledgement.
    pub fn id(&self) -> u16 {
        u16::from_be_bytes([self.body[0], self.body[1]])
    }

    /// The reason code of a PUBACK; 0 if it has none.
    pub fn ack_code(&self) -> u8 {
        assert_eq!(self.first, PUBACK, "{self:?}");
        self.body.get(2).copied().unwrap_or(0)
    }

    /// Everything readable in it.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A packet around its body.
pub fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut length = body.len();
    loop {
        let low = (length & 0x7F) as u8;
        length >>= 7;
        bytes.push(if length > 0 { low | 0x80 } else { low });
        if length == 0 {
            break;
        }
    }
    bytes.extend_from_slice(body);
    bytes
}

/// A string as packets hold it.
pub fn text(text: &str) -> Vec<u8> {
    let mut bytes = (text.len() as u16).to_be_bytes().to_vec();
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

/// What a CONNECT says.
#[derive(Debug, Clone, Copy)]
pub struct Connect<'a> {
    pub level: u8,
    pub id: &'a str,
    pub user: Option<&'a str>,
    pub password: Option<&'a str>,
    pub keep_alive_s: u16,
    pub will: bool,
    /// A session that outlives the connection is resumed.
    pub resume: bool,
}

impl<'a> Connect<'a> {
    pub fn new(level: u8, id: &'a str) -> Self {
        Self { level, id, user: None, password: None, keep_alive_s: 60, will: false, resume: false }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut flags = if self.resume { 0 } else { 0x02 };
        let mut body = text("MQTT");
        flags |= if self.will { 0x04 } else { 0 };
        flags |= if self.password.is_some() { 0x40 } else { 0 };
        flags |= if self.user.is_some() { 0x80 } else { 0 };
        body.extend_from_slice(&[self.level, flags]);
        body.extend_from_slice(&self.keep_alive_s.to_be_bytes());
        let no_properties: &[u8] = if self.level == V5 { &[0] } else { &[] };
        let an_hour = [5, 17, 0, 0, 14, 16];
        body.extend_from_slice(if self.level == V5 && self.resume { &an_hour } else { no_properties });
        body.extend(text(self.id));
        if self.will {
            body.extend_from_slice(no_properties);
            body.extend(text("gone"));
            body.extend(text("device 7"));
        }
        body.extend(self.user.map(text).unwrap_or_default());
        body.extend(self.password.map(text).unwrap_or_default());
        packet(0x10, &body)
    }
}

/// A PUBLISH; `flags` are the low bits of its first byte: 2 is QoS 1.
pub fn publish(level: u8, flags: u8, id: u16, topic: &str, payload: &[u8]) -> Vec<u8> {
    publish_with(level, flags, id, topic, &[], payload)
}

/// As [`publish`], with properties of version 5.
pub fn publish_with(
    level: u8,
    flags: u8,
    id: u16,
    topic: &str,
    properties: &[u8],
    payload: &[u8],
) -> Vec<u8> {
    let mut body = text(topic);
    if flags & 0x06 != 0 {
        body.extend_from_slice(&id.to_be_bytes());
    }
    if level == V5 {
        body.push(properties.len() as u8);
        body.extend_from_slice(properties);
    }
    body.extend_from_slice(payload);
    packet(0x30 | flags, &body)
}

/// One end of a connection.
pub struct Raw {
    pub stream: TcpStream,
    buffer: Vec<u8>,
}

impl Raw {
    pub fn new(stream: TcpStream) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    pub async fn open(address: SocketAddr) -> Self {
        Self::new(TcpStream::connect(address).await.unwrap())
    }

    /// A client that has been let in.
    pub async fn enter(address: SocketAddr, level: u8, id: &str) -> Self {
        let mut client = Self::open(address).await;
        client.send(&Connect::new(level, id).bytes()).await;
        let answer = client.read().await.expect("a CONNACK");
        assert_eq!((answer.first, answer.body[1]), (CONNACK, 0), "{answer:?}");
        client
    }

    /// Writes; an end that is closed already is not an error here, its last words may still be readable.
    pub async fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    /// The next packet; `None` = the end.
    pub async fn read(&mut self) -> Option<Read> {
        tokio::time::timeout(DEADLINE, self.read_on()).await.expect("no packet before the deadline")
    }

    async fn read_on(&mut self) -> Option<Read> {
        loop {
            if let Some(read) = self.cut() {
                return Some(read);
            }
            let mut piece = [0; 4096];
            match self.stream.read(&mut piece).await {
                Ok(0) | Err(_) => return None,
                Ok(n) => self.buffer.extend_from_slice(&piece[..n]),
            }
        }
    }

    fn cut(&mut self) -> Option<Read> {
        let (mut length, mut at) = (0, 1);
        loop {
            let byte = *self.buffer.get(at)?;
            length |= usize::from(byte & 0x7F) << (7 * (at - 1));
            at += 1;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let body = self.buffer.get(at..at + length)?.to_vec();
        let first = self.buffer[0];
        self.buffer.drain(..at + length);
        Some(Read { first, body })
    }

    /// The end: of version 5 with this reason, of version 3.1.1 without a word.
    pub async fn ends(&mut self, level: u8, code: u8) {
        if level == V5 {
            let read = self.read().await.expect("an end without DISCONNECT");
            assert_eq!((read.first, read.body.first().copied().unwrap_or(0)), (DISCONNECT, code), "{read:?}");
        }
        assert_eq!(self.read().await, None, "the connection goes on");
    }
}
