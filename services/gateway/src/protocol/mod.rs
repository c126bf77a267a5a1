//! Messages of schemas/ws/gateway.md: what a client says, and what it is told.
//!
//! Owns: their text. Never: what they lead to. `name` is the names of topics, `write` what the server sends.

pub(crate) mod name;
pub(crate) mod write;

use evenkeel_fanout::{Format, Position};
use serde::Deserialize;
use serde_json::Number;

/// Largest number on the wire: what every language's numbers hold exactly.
const INTEGER_MAX: u64 = (1 << 53) - 1;
/// Longest name, epoch or token, bytes. (A message has a bound of its own.)
const TEXT_BYTES_MAX: usize = 8192;

/// What a client says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Message {
    Init {
        token: Option<String>,
        client: Option<String>,
    },
    Subscribe(Vec<Wish>),
    Complete(Vec<u64>),
    Rate(Vec<(u64, f64)>),
    Refresh {
        token: String,
    },
    Ping,
    Pong,
    /// Of a type that this version does not know: passed over.
    Unknown,
}

/// One subscription as asked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Wish {
    pub(crate) id: u32,
    pub(crate) topic: String,
    pub(crate) max_hz: Option<f64>,
    pub(crate) position: Option<Position>,
}

/// Why a message cannot be taken: the reason of the close.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Broken(pub(crate) String);

/// Every member of every message; what does not belong to the type is not looked at.
#[derive(Deserialize)]
struct Raw {
    r#type: String,
    token: Option<String>,
    client: Option<String>,
    subscriptions: Option<Vec<RawWish>>,
    ids: Option<Vec<u64>>,
    rates: Option<Vec<RawRate>>,
}

#[derive(Deserialize)]
struct RawWish {
    id: u64,
    topic: String,
    // Of either kind: 10 and 10.0 are one number.
    max_hz: Option<Number>,
    position: Option<RawPosition>,
}

#[derive(Deserialize)]
struct RawPosition {
    epoch: String,
    seq: Option<i64>,
    offset: Option<i64>,
}

#[derive(Deserialize)]
struct RawRate {
    id: u64,
    max_hz: Number,
}

/// Reads one message.
pub(crate) fn read(format: Format, bytes: &[u8]) -> Result<Message, Broken> {
    let raw: Raw = match format {
        Format::Json => serde_json::from_slice(bytes).map_err(|error| Broken(error.to_string()))?,
        Format::Cbor => cbor4ii::serde::from_slice(bytes).map_err(|error| Broken(error.to_string()))?,
    };
    let missing = |what: &str| Broken(format!("{} without {what}", raw.r#type));
    match raw.r#type.as_str() {
        "connection_init" => Ok(Message::Init { token: raw.token, client: raw.client }),
        "subscribe" => {
            let wishes = raw.subscriptions.ok_or_else(|| missing("subscriptions"))?;
            wishes.into_iter().map(wish).collect::<Result<_, _>>().map(Message::Subscribe)
        }
        "complete" => Ok(Message::Complete(raw.ids.ok_or_else(|| missing("ids"))?)),
        "rate" => {
            let rates = raw.rates.ok_or_else(|| missing("rates"))?;
            let pair = |rate: RawRate| Ok((id(rate.id)?.into(), hz(&rate.max_hz)?));
            rates.into_iter().map(pair).collect::<Result<_, _>>().map(Message::Rate)
        }
        "refresh" => Ok(Message::Refresh { token: raw.token.ok_or_else(|| missing("token"))? }),
        "ping" => Ok(Message::Ping),
        "pong" => Ok(Message::Pong),
        _ => Ok(Message::Unknown),
    }
}

fn wish(raw: RawWish) -> Result<Wish, Broken> {
    if raw.topic.len() > TEXT_BYTES_MAX {
        return Err(Broken("a topic's name is too long".into()));
    }
    let position = match raw.position {
        None => None,
        Some(RawPosition { epoch, seq, offset }) => match seq.or(offset) {
            Some(at) if at >= -1 && at <= INTEGER_MAX as i64 => Some(Position { epoch, at }),
            _ => return Err(Broken(format!("the position of {} has no seq or offset", raw.id))),
        },
    };
    Ok(Wish { id: id(raw.id)?, topic: raw.topic, max_hz: raw.max_hz.as_ref().map(hz).transpose()?, position })
}

fn id(id: u64) -> Result<u32, Broken> {
    u32::try_from(id)
        .ok()
        .filter(|id| *id > 0)
        .ok_or_else(|| Broken(format!("id {id} is not 1 to {}", u32::MAX)))
}

fn hz(number: &Number) -> Result<f64, Broken> {
    let hz = number.as_f64().filter(|hz| hz.is_finite() && *hz >= 0.0);
    hz.ok_or_else(|| Broken("max_hz is below 0".into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn vectors(name: &str) -> Vec<Value> {
        let path = format!("{}/../../schemas/ws/vectors/{name}", env!("CARGO_MANIFEST_DIR"));
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }

    fn cbor(value: &Value) -> Vec<u8> {
        cbor4ii::serde::to_vec(Vec::new(), value).unwrap()
    }

    #[test]
    fn the_golden_messages_of_a_client_are_read_in_both_formats() {
        let mut read_types = Vec::new();
        for vector in vectors("messages.json").iter().filter(|vector| vector["from"] == "client") {
            let message = &vector["message"];
            let json = read(Format::Json, message.to_string().as_bytes()).unwrap();
            assert_eq!(read(Format::Cbor, &cbor(message)).unwrap(), json, "{vector}");
            let name = message["type"].as_str().unwrap();
            let right = match &json {
                Message::Init { token, client } => {
                    message["token"].as_str() == token.as_deref()
                        && message["client"].as_str() == client.as_deref()
                }
                Message::Subscribe(wishes) => {
                    wishes.iter().zip(message["subscriptions"].as_array().unwrap()).all(|(wish, raw)| {
                        let position = wish.position.as_ref().map(|position| position.at);
                        let raw_at = raw["position"]["seq"].as_i64().or(raw["position"]["offset"].as_i64());
                        raw["id"] == wish.id
                            && raw["topic"] == *wish.topic
                            && raw_at == position
                            && raw["max_hz"].as_f64() == wish.max_hz
                    })
                }
                Message::Complete(ids) => message["ids"] == Value::from(ids.clone()),
                Message::Rate(rates) => rates.len() == message["rates"].as_array().unwrap().len(),
                Message::Refresh { token } => message["token"] == **token,
                Message::Ping => name == "ping",
                Message::Pong => name == "pong",
                Message::Unknown => false,
            };
            assert!(right, "{vector} is {json:?}");
            read_types.push(name.to_owned());
        }
        assert!(read_types.len() >= 9, "{read_types:?}");
    }

    #[test]
    fn golden_texts_that_must_not_be_taken_are_not() {
        let refused = vectors("refused.json");
        for vector in refused.iter().filter(|vector| vector["to"] == "server") {
            assert!(read(Format::Json, vector["text"].as_str().unwrap().as_bytes()).is_err(), "{vector}");
        }
        let any = refused
            .iter()
            .filter(|vector| vector["reads"] == "broken" && vector["name"].as_str().unwrap().contains("not"));
        for vector in any.take(2) {
            assert!(read(Format::Json, vector["text"].as_str().unwrap().as_bytes()).is_err(), "{vector}");
        }
        assert_eq!(read(Format::Json, br#"{"type":"weather","rain":true}"#), Ok(Message::Unknown));
        assert!(read(Format::Cbor, b"\xff").is_err() && read(Format::Cbor, &[0x9f; 4000]).is_err());
    }
}
