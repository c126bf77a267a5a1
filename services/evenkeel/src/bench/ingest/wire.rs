//! The three protocols as a client speaks them, as little as the comparison needs.
//!
//! Owns: what a message is on the wire and where an answer ends. Never: a clock, a connection. A frame of ours is
//! written by hand so that the client costs little beside the server that is measured.

use super::payload::{self, Form};
use std::fmt::Write as _;

/// A protocol and what it carries.
#[derive(Debug, Clone)]
pub enum Wire {
    /// POST, one request at a time per connection.
    Http {
        /// Where to.
        path: &'static str,
        /// What the body is.
        content_type: &'static str,
        /// Its form.
        form: Form,
    },
    /// Text messages of `/v1/ws`.
    WebSocket,
    /// PUBLISH of version 3.1.1, quality of service 1.
    Mqtt,
}

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// Which message it is to, by its number on the connection; `None` = the oldest without one.
    pub to: Option<u64>,
    /// Whether every event was accepted.
    pub ok: bool,
}

/// Packet identifiers of MQTT are 1 to this.
const PACKETS: u64 = 65_535;

impl Wire {
    /// Messages of a connection that may wait for their answer.
    pub fn window(&self) -> usize {
        match self {
            Self::Http { .. } => 1,
            Self::WebSocket | Self::Mqtt => 16,
        }
    }

    /// The first bytes of a connection, which the server answers before anything else; `name` is the client's.
    pub fn greeting(&self, name: &str) -> Option<Vec<u8>> {
        match self {
            Self::Http { .. } => None,
            Self::WebSocket => Some(
                b"GET /v1/ws HTTP/1.1\r\nhost: bench\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
                  sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
                    .to_vec(),
            ),
            Self::Mqtt => {
                let mut packet = vec![0x10, 12 + name.len() as u8, 0, 4];
                packet.extend_from_slice(b"MQTT\x04\x02\x01\x2c"); // clean session, keep-alive 300 s
                packet.extend_from_slice(&[0, name.len() as u8]);
                packet.extend_from_slice(name.as_bytes());
                Some(packet)
            }
        }
    }

    /// Takes the answer to the greeting off the buffer, if it is whole.
    pub fn greeted(&self, buffer: &mut Vec<u8>) -> Result<bool, String> {
        match self {
            Self::Http { .. } => Ok(true),
            Self::WebSocket => {
                let Some(end) = find(buffer, b"\r\n\r\n") else { return Ok(false) };
                if !buffer.starts_with(b"HTTP/1.1 101") {
                    return Err(String::from_utf8_lossy(&buffer[..end]).into_owned());
                }
                let mut rest = buffer.split_off(end + 4);
                let hello = frame(&mut rest);
                match hello {
                    Some(_) => *buffer = rest,
                    None => buffer.append(&mut rest),
                }
                Ok(hello.is_some())
            }
            Self::Mqtt if buffer.len() < 4 => Ok(false),
            Self::Mqtt => {
                let answer: Vec<u8> = buffer.drain(..4).collect();
                if answer == [0x20, 2, 0, 0] { Ok(true) } else { Err(format!("CONNACK {answer:02x?}")) }
            }
        }
    }

    /// Appends the message with this number on the connection, the `n`-th of all.
    pub fn write(&self, number: u64, n: u64, events: u64, now_ms: i64, out: &mut Vec<u8>) {
        let mut body = Vec::new();
        match self {
            Self::Http { path, content_type, form } => {
                payload::write(*form, n, events, now_ms, &mut body);
                let mut head = String::new();
                let _ = write!(
                    head,
                    "POST {path} HTTP/1.1\r\nhost: bench\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                );
                out.extend_from_slice(head.as_bytes());
            }
            Self::WebSocket => {
                body.extend_from_slice(format!("{{\"id\":{number},\"events\":").as_bytes());
                payload::write(Form::Json, n, events, now_ms, &mut body);
                body.push(b'}');
                out.push(0x81);
                match body.len() {
                    short @ 0..126 => out.push(0x80 | short as u8),
                    length => {
                        out.push(0x80 | 126);
                        out.extend_from_slice(&(length as u16).to_be_bytes());
                    }
                }
                out.extend_from_slice(&[0; 4]); // a mask of zeros leaves the payload as it is
            }
            Self::Mqtt => {
                let form = if events == 1 { Form::JsonEvent } else { Form::Json };
                let topic = format!("streams/{}/events", payload::stream_of(n));
                let packet = (number % PACKETS + 1) as u16;
                payload::write(form, n, events, now_ms, &mut body);
                out.push(0x32);
                remaining(2 + topic.len() + 2 + body.len(), out);
                out.extend_from_slice(&(topic.len() as u16).to_be_bytes());
                out.extend_from_slice(topic.as_bytes());
                out.extend_from_slice(&packet.to_be_bytes());
            }
        }
        out.append(&mut body);
    }

    /// Takes the next answer off the buffer, if it is whole. `oldest` is the number of the oldest message without one.
    pub fn answer(&self, buffer: &mut Vec<u8>, oldest: u64, events: u64) -> Result<Option<Answer>, String> {
        match self {
            Self::Http { .. } => {
                let Some(end) = find(buffer, b"\r\n\r\n") else { return Ok(None) };
                let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
                let length =
                    head.lines().find_map(|l| l.strip_prefix("content-length:")?.trim().parse().ok());
                let whole = end + 4 + length.unwrap_or(0_usize);
                if buffer.len() < whole {
                    return Ok(None);
                }
                let answer: Vec<u8> = buffer.drain(..whole).collect();
                let ours = find(&answer, b"\"accepted\":").is_none();
                let all = format!("\"accepted\":{events},");
                let ok = head.starts_with("http/1.1 2") && (ours || find(&answer, all.as_bytes()).is_some());
                Ok(Some(Answer { to: None, ok }))
            }
            Self::WebSocket => {
                let Some(message) = frame(buffer) else { return Ok(None) };
                let told: serde_json::Value = serde_json::from_slice(&message).map_err(|e| e.to_string())?;
                let ok = told["type"] == "ack" && told["accepted"] == events;
                Ok(Some(Answer { to: told["id"].as_u64(), ok }))
            }
            Self::Mqtt if buffer.len() < 4 => Ok(None),
            Self::Mqtt => {
                let answer: Vec<u8> = buffer.drain(..4).collect();
                if answer[..2] != [0x40, 2] {
                    return Err(format!("instead of a PUBACK: {answer:02x?}"));
                }
                let packet = u64::from(u16::from_be_bytes([answer[2], answer[3]]));
                // The window is smaller than half of the identifiers.
                let ahead = (packet + PACKETS - 1 - oldest % PACKETS) % PACKETS;
                Ok(Some(Answer { to: Some(oldest + ahead), ok: true }))
            }
        }
    }
}

/// Takes a whole frame of a server off the buffer; its payload.
fn frame(buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    let (length, head) = match *buffer.get(1)? {
        126 => (usize::from(u16::from_be_bytes([*buffer.get(2)?, *buffer.get(3)?])), 4),
        short => (usize::from(short), 2),
    };
    if buffer.len() < head + length {
        return None;
    }
    let frame: Vec<u8> = buffer.drain(..head + length).collect();
    Some(frame[head..].to_vec())
}

/// MQTT's remaining length.
fn remaining(mut length: usize, out: &mut Vec<u8>) {
    loop {
        let more = length >= 0x80;
        out.push((length & 0x7f) as u8 | if more { 0x80 } else { 0 });
        length >>= 7;
        if !more {
            return;
        }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HTTP: Wire = Wire::Http { path: "/v1/events", content_type: "application/json", form: Form::Json };

    #[test]
    fn answers_are_taken_whole_and_one_by_one() {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n";
        let mut buffer = format!("{head}{{\"accepted\":2,{head}").into_bytes();
        assert_eq!(HTTP.answer(&mut buffer, 0, 2), Ok(Some(Answer { to: None, ok: true })));
        assert_eq!(HTTP.answer(&mut buffer, 0, 2), Ok(None));
        buffer.extend_from_slice(b"{\"accepted\":1,");
        assert_eq!(HTTP.answer(&mut buffer, 0, 2), Ok(Some(Answer { to: None, ok: false })));
        assert!(buffer.is_empty());

        let text = br#"{"type":"ack","id":9,"accepted":10}"#;
        let mut buffer = [&[0x81, text.len() as u8][..], text, &[0x81]].concat();
        assert_eq!(Wire::WebSocket.answer(&mut buffer, 0, 10), Ok(Some(Answer { to: Some(9), ok: true })));
        assert_eq!(buffer, [0x81]);
    }

    #[test]
    fn a_puback_names_the_message_also_past_the_last_identifier() {
        for (number, oldest) in [(0, 0), (65_534, 65_530), (65_535, 65_530), (131_070, 131_060)] {
            let mut out = Vec::new();
            Wire::Mqtt.write(number, 5, 1, 0, &mut out);
            let topic = find(&out, b"events").unwrap() + 6;
            let mut buffer = [&[0x40, 2][..], &out[topic..topic + 2]].concat();
            let answer = Wire::Mqtt.answer(&mut buffer, oldest, 1).unwrap().unwrap();
            assert_eq!(answer.to, Some(number));
        }
        assert!(Wire::Mqtt.greeted(&mut vec![0x20, 2, 0, 5]).is_err());
    }

    #[test]
    fn lengths_are_written_as_the_protocols_have_them() {
        let mut out = Vec::new();
        remaining(321, &mut out);
        assert_eq!(out, [0xc1, 0x02]);
        out.clear();
        Wire::WebSocket.write(1, 1, 10, 0, &mut out);
        let length = usize::from(u16::from_be_bytes([out[2], out[3]]));
        assert_eq!((out[0], out[1], out.len()), (0x81, 0xfe, 8 + length));
    }
}
