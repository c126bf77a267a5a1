//! The schemas on the wire: their texts, their fingerprints, the header that names them.
//!
//! Owns: single-object framing. A fingerprint is a constant so that reading compares one number; a test
//! recomputes each from its file (a changed schema is another schema, never the same constant).

use crate::DecodeError;

/// One record schema, as a file of schemas/avro states it.
#[derive(Debug, PartialEq, Eq)]
pub struct Schema {
    /// Name of the record.
    pub name: &'static str,
    /// The schema, Avro JSON, self-contained.
    pub text: &'static str,
    /// CRC-64-AVRO of its parsing canonical form.
    pub fingerprint: u64,
}

/// Events of one stream in columns: topic events, and refused events in dlq.
pub const EVENT_BATCH: Schema = Schema {
    name: "EventBatch",
    text: include_str!("../../../schemas/avro/EventBatch.avsc"),
    fingerprint: 0xb0f4_962a_221a_8f55,
};
/// One event, for producers that do not batch: topic events.
pub const EVENT: Schema = Schema {
    name: "Event",
    text: include_str!("../../../schemas/avro/Event.avsc"),
    fingerprint: 0x6317_937e_9adf_1339,
};
/// Rows and late records: topic windows.
pub const WINDOW_ROW: Schema = Schema {
    name: "WindowRow",
    text: include_str!("../../../schemas/avro/WindowRow.avsc"),
    fingerprint: 0x595d_c15f_c91e_1f8a,
};
/// How far the rows of a quiet stream have left: topic marks.
pub const MARK: Schema = Schema {
    name: "Mark",
    text: include_str!("../../../schemas/avro/Mark.avsc"),
    fingerprint: 0xe268_52e4_ab24_ad22,
};
/// A row in the embedded store.
pub const STORED_ROW: Schema = Schema {
    name: "StoredRow",
    text: include_str!("../../../schemas/avro/StoredRow.avsc"),
    fingerprint: 0xf06c_ca7e_177e_35b6,
};
/// What a model said of a window: topic scores.
pub const SCORE: Schema = Schema {
    name: "Score",
    text: include_str!("../../../schemas/avro/Score.avsc"),
    fingerprint: 0x7dd2_9259_67e1_773a,
};
/// A rule began or ceased to hold: topic alerts.
pub const ALERT: Schema = Schema {
    name: "Alert",
    text: include_str!("../../../schemas/avro/Alert.avsc"),
    fingerprint: 0x8a6d_727b_80c2_68c2,
};

/// Every schema this program writes or reads.
pub const ALL: [Schema; 7] = [EVENT_BATCH, EVENT, WINDOW_ROW, MARK, STORED_ROW, SCORE, ALERT];

const MAGIC: [u8; 2] = [0xc3, 0x01];
/// Bytes of the header: the magic number and the fingerprint.
pub const HEADER_BYTES: usize = 10;

/// Appends the header that names `schema`.
pub fn write_header(schema: &Schema, out: &mut Vec<u8>) {
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&schema.fingerprint.to_le_bytes());
}

/// The fingerprint and the body of a record.
#[inline]
pub fn split_header(bytes: &[u8]) -> Result<(u64, &[u8]), DecodeError> {
    match bytes.split_first_chunk::<HEADER_BYTES>() {
        Some(([a, b, fingerprint @ ..], body)) if [*a, *b] == MAGIC => {
            Ok((u64::from_le_bytes(*fingerprint), body))
        }
        _ => Err(misframed(bytes)),
    }
}

/// The body of a record that must be a `schema`.
pub(crate) fn body_of<'a>(schema: &'static Schema, bytes: &'a [u8]) -> Result<&'a [u8], DecodeError> {
    let (fingerprint, body) = split_header(bytes)?;
    match fingerprint == schema.fingerprint {
        true => Ok(body),
        false => Err(unknown(fingerprint, schema.name)),
    }
}

/// The error for a fingerprint that does not belong where it was found.
#[cold]
pub(crate) fn unknown(fingerprint: u64, reads: &'static str) -> DecodeError {
    let named = ALL.iter().find(|s| s.fingerprint == fingerprint).map_or("", |s| match s.name {
        "EventBatch" => " (EventBatch)",
        "Event" => " (Event)",
        "WindowRow" => " (WindowRow)",
        "Mark" => " (Mark)",
        "Score" => " (Score)",
        "Alert" => " (Alert)",
        _ => " (StoredRow)",
    });
    DecodeError::UnknownSchema { fingerprint, named, reads }
}

#[cold]
fn misframed(bytes: &[u8]) -> DecodeError {
    match bytes {
        [0, a, b, c, d, ..] => {
            DecodeError::RegistryFraming { schema_id: u32::from_be_bytes([*a, *b, *c, *d]) }
        }
        [0xc3] | [0xc3, 0x01, ..] => DecodeError::Truncated { member: "header", at: 0 },
        [] => DecodeError::UnknownFraming { found: "nothing (it is empty)".into() },
        _ => {
            let hex: Vec<String> = bytes.iter().take(4).map(|b| format!("{b:02X}")).collect();
            DecodeError::UnknownFraming { found: hex.join(" ") }
        }
    }
}

#[cfg(test)]
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CRC-64-AVRO as the Avro specification states it, bit by bit.
    fn crc_64_avro(bytes: &[u8]) -> u64 {
        const EMPTY: u64 = 0xc15d_213a_a4d7_a795;
        bytes.iter().fold(EMPTY, |fingerprint, byte| {
            let mut low = (fingerprint ^ u64::from(*byte)) & 0xff;
            for _ in 0..8 {
                low = (low >> 1) ^ (EMPTY & (low & 1).wrapping_neg());
            }
            (fingerprint >> 8) ^ low
        })
    }

    #[test]
    fn every_fingerprint_is_that_of_its_file() {
        let mut computed = Vec::new();
        for schema in &ALL {
            let parsed = apache_avro::Schema::parse_str(schema.text).unwrap();
            let fingerprint = crc_64_avro(parsed.canonical_form().as_bytes());
            let oracle = parsed.fingerprint::<apache_avro::rabin::Rabin>();
            assert_eq!(oracle.bytes, fingerprint.to_le_bytes(), "{}", schema.name);
            computed.push((schema.name, format!("{fingerprint:016x}")));
        }
        // A changed schema is a new version with a constant of its own (schemas/avro/README.md).
        let constants: Vec<_> = ALL.iter().map(|s| (s.name, format!("{:016x}", s.fingerprint))).collect();
        assert_eq!(constants, computed);
    }

    /// What schemas/avro/README.md allows in place: words, defaults, logical types.
    #[test]
    fn words_and_defaults_do_not_make_a_version() {
        let words =
            WINDOW_ROW.text.replace("First ms of the window", "Start").replace(", \"default\": null", "");
        assert!(words.len() < WINDOW_ROW.text.len());
        let canonical = |text: &str| apache_avro::Schema::parse_str(text).unwrap().canonical_form();
        assert_eq!(canonical(&words), canonical(WINDOW_ROW.text));
        let renamed = WINDOW_ROW.text.replace("\"count\"", "\"events_counted\"");
        assert_ne!(canonical(&renamed), canonical(WINDOW_ROW.text));
    }

    #[test]
    fn the_batch_inside_a_row_is_the_batch() {
        let field = |schema: &str, path: &[&str]| {
            let mut value: serde_json::Value = serde_json::from_str(schema).unwrap();
            for name in path {
                let fields = value["fields"].as_array().unwrap();
                value = fields.iter().find(|f| f["name"] == *name).unwrap()["type"][1].clone();
            }
            value
        };
        let mut inside = field(WINDOW_ROW.text, &["events"]);
        let mut alone = field(EVENT_BATCH.text, &[]);
        inside.as_object_mut().unwrap().remove("namespace");
        alone.as_object_mut().unwrap().remove("namespace");
        assert_eq!(inside, alone);
    }

    #[test]
    fn every_member_of_every_schema_is_documented() {
        fn walk(value: &serde_json::Value) {
            match value {
                serde_json::Value::Array(items) => items.iter().for_each(walk),
                serde_json::Value::Object(members) => {
                    let named = members.contains_key("name") && members["type"] != "enum";
                    assert!(!named || members["doc"].as_str().is_some_and(|d| !d.is_empty()), "{value}");
                    members.values().for_each(walk);
                }
                _ => {}
            }
        }
        ALL.iter().for_each(|schema| walk(&serde_json::from_str(schema.text).unwrap()));
    }

    #[test]
    fn other_frames_are_named_with_what_to_do() {
        let of = |bytes: &[u8]| body_of(&MARK, bytes).unwrap_err().to_string();
        assert!(of(&[0, 0, 0, 0, 7, 1]).contains("schema id 7"));
        assert!(of(b"{\"ts\":1}").contains("starts with 7B 22 74 73"));
        assert!(of(&[0xc3, 1, 2]).contains("header"));
        assert!(of(&[]).contains("empty"));
        let mut other = Vec::new();
        write_header(&EVENT, &mut other);
        let message = of(&other);
        assert!(message.contains(&format!("{:016x} (Event)", EVENT.fingerprint)), "{message}");
        assert!(of(&[0xc3, 1, 1, 2, 3, 4, 5, 6, 7, 8]).contains("0807060504030201 is not one"));
    }
}
