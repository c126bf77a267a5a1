//! Names of topics (schemas/ws/topics.json).

use evenkeel_auth::{Credential, Pattern};
use evenkeel_codec::percent_decode;

/// What a topic is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Name {
    Telemetry {
        device: String,
    },
    Windows {
        device: String,
        size_ms: i64,
    },
    Status {
        device: String,
    },
    Alerts {
        device: String,
    },
    Fleet,
    Devices,
    /// `streams`: those it tells of, which whoever opens it may see. Two of one user who may see different ones look at
    /// different topics.
    Notifications {
        user: String,
        streams: Vec<Pattern>,
    },
}

impl Name {
    /// Reads a name; `None` = there is no such topic.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let mut parts = name.split('/');
        let (kind, id) = (parts.next()?, parts.next()?);
        let rest: Vec<&str> = parts.collect();
        let decoded = decode(id)?;
        match (kind, rest.as_slice()) {
            ("fleet", []) if id == "summary" => Some(Self::Fleet),
            ("fleet", []) if id == "devices" => Some(Self::Devices),
            ("device", ["telemetry"]) => Some(Self::Telemetry { device: decoded }),
            ("device", ["status"]) => Some(Self::Status { device: decoded }),
            ("device", ["alerts"]) => Some(Self::Alerts { device: decoded }),
            ("device", ["windows", size]) => Some(Self::Windows { device: decoded, size_ms: size_ms(size)? }),
            ("user", ["notifications"]) => Some(Self::Notifications { user: decoded, streams: Vec::new() }),
            _ => None,
        }
    }

    /// What this credential means by the name.
    pub(crate) fn of(self, credential: &Credential) -> Self {
        match self {
            Self::Notifications { user, .. } => {
                Self::Notifications { user, streams: credential.streams.clone() }
            }
            name => name,
        }
    }

    /// The stream it is about, if it is about one.
    pub(crate) fn device(&self) -> Option<&str> {
        match self {
            Self::Telemetry { device }
            | Self::Windows { device, .. }
            | Self::Status { device }
            | Self::Alerts { device } => Some(device),
            Self::Fleet | Self::Devices | Self::Notifications { .. } => None,
        }
    }

    /// Whether it has a log.
    pub(crate) fn is_event(&self) -> bool {
        matches!(self, Self::Alerts { .. } | Self::Notifications { .. })
    }
}

/// A parameter of a name; empty or broken = `None`.
fn decode(text: &str) -> Option<String> {
    percent_decode(text).filter(|text| !text.is_empty())
}

/// `5s`, `1m`, `250ms`, `1h` as the configuration writes them.
fn size_ms(text: &str) -> Option<i64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit_ms = match &text[digits.len()..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    let count: i64 = digits.parse().ok().filter(|count| *count > 0)?;
    count.checked_mul(unit_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn the_golden_names_are_read() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas/ws/vectors/names.json");
        let vectors: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert!(vectors.len() >= 6);
        for vector in vectors {
            let id = vector["params"]["id"].as_str().unwrap_or_default().to_owned();
            let want = match vector["topic"].as_str().unwrap() {
                "deviceTelemetry" => Name::Telemetry { device: id },
                "deviceWindows" => Name::Windows { device: id, size_ms: 5000 },
                "deviceStatus" => Name::Status { device: id },
                "deviceAlerts" => Name::Alerts { device: id },
                "fleetSummary" => Name::Fleet,
                "fleetDevices" => Name::Devices,
                "userNotifications" => Name::Notifications { user: id, streams: Vec::new() },
                other => panic!("{other} is new"),
            };
            assert_eq!(Name::parse(vector["name"].as_str().unwrap()), Some(want), "{vector}");
        }
    }

    #[test]
    fn anything_else_is_no_topic() {
        for name in [
            "",
            "device",
            "device//telemetry",
            "device/a/b/telemetry",
            "device/a%2/status",
            "device/a%+1/status",
            "device/%ff/status",
            "fleet/other",
            "fleet/summary/x",
            "device/a/windows/",
            "device/a/windows/0s",
            "device/a/windows/5",
            "device/a/windows/99999999999999999999d",
            "device/a/windows/é",
            "user/a",
        ] {
            assert_eq!(Name::parse(name), None, "{name}");
        }
    }
}
