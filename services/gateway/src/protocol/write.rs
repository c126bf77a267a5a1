//! What the server sends.

use evenkeel_fanout::{Control, EndReason, Ended, Format, Fragment, Kind};
use serde::Serialize;

/// What every client is told of the server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) ping_ms: u64,
    pub(crate) batch_max: usize,
    pub(crate) subscriptions_max: usize,
    pub(crate) message_bytes_max: usize,
    pub(crate) tick_ms: u64,
}

/// A control message. `type` says which.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Out<'a> {
    ConnectionAck {
        session: &'a str,
        server_ms: i64,
        ping_ms: u64,
        batch_max: usize,
        subscriptions_max: usize,
        message_max: usize,
        #[serde(skip_serializing_if = "Option::is_none")]
        expires_in_ms: Option<u64>,
    },
    Complete {
        ended: Vec<End<'a>>,
    },
    Rate {
        step: u8,
        max_hz: f64,
        reason: &'a str,
    },
    Refresh {
        expires_in_ms: u64,
        wanted: bool,
    },
    Drain {
        retry_after_ms: u64,
    },
    Ping,
    Pong,
}

#[derive(Serialize)]
struct End<'a> {
    id: u64,
    reason: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
}

impl<'a> From<&'a Ended> for End<'a> {
    fn from(ended: &'a Ended) -> Self {
        let reason = match ended.reason {
            EndReason::Forbidden => "forbidden",
            EndReason::UnknownTopic => "unknown_topic",
            EndReason::Limit => "limit",
            EndReason::Overloaded => "overloaded",
        };
        Self { id: ended.id, reason, message: &ended.message, retry_after_ms: ended.retry_after_ms }
    }
}

/// Writes a control message.
pub(crate) fn control(
    format: Format,
    message: &Control,
    (session, server_ms): (&str, i64),
    terms: &Terms,
) -> Vec<u8> {
    let out = match message {
        Control::Ack { expires_in_ms } => Out::ConnectionAck {
            session,
            server_ms,
            ping_ms: terms.ping_ms,
            batch_max: terms.batch_max,
            subscriptions_max: terms.subscriptions_max,
            message_max: terms.message_bytes_max,
            expires_in_ms: *expires_in_ms,
        },
        Control::Complete(ended) => Out::Complete { ended: ended.iter().map(End::from).collect() },
        Control::Rate(notice) => {
            let max_hz = 1000.0 / (terms.tick_ms * u64::from(notice.period)) as f64;
            Out::Rate {
                step: notice.step,
                max_hz,
                reason: if notice.step == 0 { "full rate" } else { "slow reader" },
            }
        }
        Control::Refresh { expires_in_ms, wanted } => {
            Out::Refresh { expires_in_ms: *expires_in_ms, wanted: *wanted }
        }
        Control::Drain { retry_after_ms } => Out::Drain { retry_after_ms: *retry_after_ms },
        Control::Ping => Out::Ping,
        Control::Pong => Out::Pong,
    };
    let mut bytes = Vec::new();
    encode(format, &out, &mut bytes);
    bytes
}

/// Appends a value in a format. What cannot be written appends nothing; the types here can.
pub(crate) fn encode(format: Format, value: &impl Serialize, out: &mut Vec<u8>) {
    let before = out.len();
    let written = match format {
        Format::Json => serde_json::to_writer(&mut *out, value).is_ok(),
        Format::Cbor => match cbor4ii::serde::to_vec(std::mem::take(out), value) {
            Ok(bytes) => {
                *out = bytes;
                true
            }
            Err(_) => false,
        },
    };
    if !written {
        out.truncate(before);
    }
}

/// One `next` with these fragments, whose frames and events are in the format already.
pub(crate) fn next(format: Format, server_ms: i64, fragments: &[Fragment]) -> Vec<u8> {
    let room: usize = fragments.iter().map(|fragment| fragment.bytes.len() + 32).sum();
    let mut out = Vec::with_capacity(room + 64);
    match format {
        Format::Json => {
            out.extend_from_slice(
                format!(r#"{{"type":"next","server_ms":{server_ms},"fragments":["#).as_bytes(),
            );
            for (n, fragment) in fragments.iter().enumerate() {
                let comma = if n == 0 { "" } else { "," };
                let head = format!(r#"{comma}{{"id":{},"{}":"#, fragment.id, part(fragment.kind));
                out.extend_from_slice(head.as_bytes());
                out.extend_from_slice(&fragment.bytes);
                out.push(b'}');
            }
            out.extend_from_slice(b"]}");
        }
        Format::Cbor => {
            head(&mut out, MAP, 3);
            text(&mut out, "type");
            text(&mut out, "next");
            text(&mut out, "server_ms");
            head(&mut out, UNSIGNED, server_ms.unsigned_abs());
            text(&mut out, "fragments");
            head(&mut out, ARRAY, fragments.len() as u64);
            for fragment in fragments {
                head(&mut out, MAP, 2);
                text(&mut out, "id");
                head(&mut out, UNSIGNED, fragment.id.into());
                text(&mut out, part(fragment.kind));
                out.extend_from_slice(&fragment.bytes);
            }
        }
    }
    out
}

/// The member that holds it.
pub(crate) fn part(kind: Kind) -> &'static str {
    match kind {
        Kind::State => "frame",
        Kind::Event => "events",
    }
}

// Major types of RFC 8949, in the upper three bits.
const UNSIGNED: u8 = 0;
const TEXT: u8 = 3 << 5;
/// A list of so many items.
pub(crate) const ARRAY: u8 = 4 << 5;
/// A map of so many pairs.
pub(crate) const MAP: u8 = 5 << 5;

/// The head of an item, as short as its number allows.
pub(crate) fn head(out: &mut Vec<u8>, major: u8, n: u64) {
    match n {
        0..=23 => out.push(major | n as u8),
        24..=0xff => out.extend_from_slice(&[major | 24, n as u8]),
        0x100..=0xffff => {
            out.push(major | 25);
            out.extend_from_slice(&(n as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(major | 26);
            out.extend_from_slice(&(n as u32).to_be_bytes());
        }
        _ => {
            out.push(major | 27);
            out.extend_from_slice(&n.to_be_bytes());
        }
    }
}

/// A text.
pub(crate) fn text(out: &mut Vec<u8>, text: &str) {
    head(out, TEXT, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_fanout::Notice;
    use serde_json::{Value, json};

    const TERMS: Terms = Terms {
        ping_ms: 15_000,
        batch_max: 128,
        subscriptions_max: 256,
        message_bytes_max: 65_536,
        tick_ms: 100,
    };

    fn golden() -> Vec<Value> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas/ws/vectors/messages.json");
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }

    /// A golden value, written as our own types write it: what may be missing is null, and no empty list in CBOR, which
    /// is what serde_json's null would be.
    struct Typed<'a>(&'a Value);

    impl Serialize for Typed<'_> {
        fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
            match self.0 {
                Value::Null => to.serialize_none(),
                Value::Array(items) => to.collect_seq(items.iter().map(Typed)),
                Value::Object(members) => to.collect_map(members.iter().map(|(name, of)| (name, Typed(of)))),
                other => other.serialize(to),
            }
        }
    }

    /// The control of a golden message, by our own reading of it.
    fn control_of(message: &Value) -> Option<Control> {
        let ms = |name: &str| message[name].as_u64();
        Some(match message["type"].as_str()? {
            "connection_ack" => Control::Ack { expires_in_ms: ms("expires_in_ms") },
            "complete" => {
                let ended = |raw: &Value| Ended {
                    id: raw["id"].as_u64().unwrap(),
                    reason: match raw["reason"].as_str().unwrap() {
                        "forbidden" => EndReason::Forbidden,
                        "overloaded" => EndReason::Overloaded,
                        other => panic!("{other}"),
                    },
                    message: raw["message"].as_str().unwrap().to_owned(),
                    retry_after_ms: raw["retry_after_ms"].as_u64(),
                };
                Control::Complete(message["ended"].as_array()?.iter().map(ended).collect())
            }
            "rate" => Control::Rate(Notice { step: 1, period: 2 }),
            "refresh" => {
                Control::Refresh { expires_in_ms: ms("expires_in_ms")?, wanted: message["wanted"].as_bool()? }
            }
            "drain" => Control::Drain { retry_after_ms: ms("retry_after_ms")? },
            "ping" => Control::Ping,
            "pong" => Control::Pong,
            _ => return None,
        })
    }

    #[test]
    fn the_golden_messages_of_the_server_are_what_is_written() {
        let mut written = 0;
        for vector in golden().iter().filter(|vector| vector["from"] == "server") {
            let message = &vector["message"];
            let Some(of) = control_of(message).filter(|_| message.get("colour").is_none()) else { continue };
            let session = message["session"].as_str().unwrap_or_default();
            let at = (session, message["server_ms"].as_i64().unwrap_or_default());
            let json: Value = serde_json::from_slice(&control(Format::Json, &of, at, &TERMS)).unwrap();
            let cbor: Value = cbor4ii::serde::from_slice(&control(Format::Cbor, &of, at, &TERMS)).unwrap();
            // 5 and 5.0 are one number to a client.
            let same =
                |a: &Value, b: &Value| a.to_string().replace(".0", "") == b.to_string().replace(".0", "");
            assert!(same(&json, message) && same(&cbor, message), "{vector}: {json} {cbor}");
            written += 1;
        }
        assert!(written >= 9, "{written}");
    }

    #[test]
    fn a_golden_next_is_put_together_from_its_parts() {
        for vector in golden().iter().filter(|vector| vector["message"]["type"] == "next") {
            let message = &vector["message"];
            for format in [Format::Json, Format::Cbor] {
                let fragments: Vec<Fragment> = message["fragments"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|raw| {
                        let kind = if raw.get("frame").is_some() { Kind::State } else { Kind::Event };
                        let mut bytes = Vec::new();
                        encode(format, &Typed(&raw[part(kind)]), &mut bytes);
                        Fragment {
                            id: raw["id"].as_u64().unwrap() as u32,
                            kind,
                            bytes: bytes.into(),
                            age_ms: 0,
                        }
                    })
                    .collect();
                let bytes = next(format, message["server_ms"].as_i64().unwrap(), &fragments);
                let read: Value = match format {
                    Format::Json => serde_json::from_slice(&bytes).unwrap(),
                    Format::Cbor => cbor4ii::serde::from_slice(&bytes).unwrap(),
                };
                assert_eq!(&read, message, "{vector}");
            }
        }
    }

    #[test]
    fn heads_are_as_short_as_their_numbers_allow() {
        for n in [0, 23, 24, 255, 256, 65_535, 65_536, 4_294_967_295, 4_294_967_296, (1 << 53) - 1] {
            let mut ours = Vec::new();
            head(&mut ours, UNSIGNED, n);
            assert_eq!(ours, cbor4ii::serde::to_vec(Vec::new(), &n).unwrap(), "{n}");
        }
        assert_eq!(json!(1), 1);
    }
}
