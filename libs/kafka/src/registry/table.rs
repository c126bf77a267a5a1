//! What the ids of a registry mean here, and records from its framing into ours.
//!
//! Owns: the ids met so far, at most [`KNOWN_MAX`]. Never: IO; reads by a schema that names itself (data could make the
//! reader recurse).

use apache_avro::Schema as Avro;
use apache_avro::rabin::Rabin;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::writer::datum::GenericDatumWriter;
use evenkeel_codec::schema::{self, Schema};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Most ids kept; at the bound all are forgotten, and asked for again as they come.
const KNOWN_MAX: usize = 4096;
/// An id that the registry did not know is asked for again after this.
const MISSING_FOR: Duration = Duration::from_secs(60);
/// Most that the library may reserve at once on a record's word: bytes of a text, items of an array.
const RESERVE_MAX: usize = 1 << 20;

/// What an id stands for.
#[derive(Debug)]
pub(super) enum Meaning {
    /// A schema of schemas/avro: the body needs our header, nothing else.
    Ours(&'static Schema),
    /// Another version of one of them, resolved record by record.
    Version(Box<Version>),
    /// Nothing that can be read here.
    Misfit,
    /// The registry had no such id then.
    Missing(Instant),
}

/// A writer's schema and the one of ours it is read as.
#[derive(Debug)]
pub(super) struct Version {
    writer: Avro,
    reader: Avro,
    ours: &'static Schema,
}

/// The ids met so far.
#[derive(Debug, Default)]
pub(super) struct Table {
    known: BTreeMap<u32, Meaning>,
}

impl Table {
    /// What an id stands for; `None` = the registry must be asked.
    pub fn get(&self, id: u32, now: Instant) -> Option<&Meaning> {
        self.known.get(&id).filter(
            |meaning| !matches!(meaning, Meaning::Missing(since) if now.saturating_duration_since(*since) >= MISSING_FOR),
        )
    }

    /// Notes what an id stands for.
    pub fn put(&mut self, id: u32, meaning: Meaning) {
        if self.known.len() == KNOWN_MAX {
            self.known.clear();
        }
        self.known.insert(id, meaning);
    }
}

impl Meaning {
    /// What a schema of the registry is here; the text says why it is nothing.
    pub fn of(kind: Option<&str>, text: &str) -> Result<Self, String> {
        match kind {
            None | Some("AVRO") => {}
            Some(other) => return Err(format!("it is of type {other}; Avro is read")),
        }
        apache_avro::util::max_allocation_bytes(RESERVE_MAX); // for the process; whoever is first decides, with this number
        let writer = Avro::parse_str(text).map_err(|e| e.to_string())?;
        let fingerprint = writer.fingerprint::<Rabin>().bytes;
        let fingerprint = u64::from_le_bytes(fingerprint.try_into().unwrap_or_default());
        if let Some(ours) = schema::ALL.iter().find(|s| s.fingerprint == fingerprint) {
            return Ok(Self::Ours(ours));
        }
        let Avro::Record(record) = &writer else { return Err("it is no record".into()) };
        let name = record.name.name().to_owned();
        let Some(ours) = schema::ALL.iter().find(|s| s.name == name) else {
            return Err(format!("a record {name} is none of schemas/avro"));
        };
        if names_itself(&writer, &mut Vec::new()) {
            return Err("it names itself".into());
        }
        let reader = Avro::parse_str(ours.text).map_err(|e| e.to_string())?;
        let fits = apache_avro::schema_compatibility::SchemaCompatibility::can_read(&writer, &reader);
        fits.map_err(|e| format!("it cannot be read as our {name}: {e}"))?;
        Ok(Self::Version(Box::new(Version { writer, reader, ours })))
    }
}

impl Version {
    /// Appends the record in our own framing, as our own schema has it.
    pub fn rewrite(&self, mut body: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        let reader = GenericDatumReader::builder(&self.writer).reader_schema(&self.reader).build();
        let value = reader.and_then(|reader| reader.read_value(&mut body)).map_err(|e| e.to_string())?;
        if !body.is_empty() {
            return Err(format!("{} bytes follow the record", body.len()));
        }
        let writer = GenericDatumWriter::builder(&self.reader).build();
        let bytes = writer.and_then(|writer| writer.write_value_to_vec(value)).map_err(|e| e.to_string())?;
        schema::write_header(self.ours, out);
        out.extend_from_slice(&bytes);
        Ok(())
    }
}

/// Whether a named type is used inside itself.
fn names_itself(schema: &Avro, inside: &mut Vec<String>) -> bool {
    match schema {
        Avro::Record(record) => {
            inside.push(record.name.fullname(None));
            let found = record.fields.iter().any(|field| names_itself(&field.schema, inside));
            inside.pop();
            found
        }
        Avro::Ref { name } => inside.contains(&name.fullname(None)),
        Avro::Array(array) => names_itself(&array.items, inside),
        Avro::Map(map) => names_itself(&map.types, inside),
        Avro::Union(union) => union.variants().iter().any(|variant| names_itself(variant, inside)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_codec::{decode_batch, encode_batch};
    use evenkeel_model::{EventBatch, FieldColumn};

    fn batch() -> EventBatch {
        let column = FieldColumn { name: "g".into(), rows: vec![], values: vec![1.5, -2.0] };
        EventBatch {
            stream_id: "bowl/7".into(),
            arrival_ms: 1_700_000_000_250,
            ts: vec![1_700_000_000_000, 1_700_000_000_100],
            seq: vec![41, 42],
            fields: vec![column],
            ..EventBatch::default()
        }
    }

    #[test]
    fn our_schemas_are_known_however_they_are_laid_out() {
        for ours in &schema::ALL {
            let tidy: serde_json::Value = serde_json::from_str(ours.text).unwrap();
            let meaning = Meaning::of(Some("AVRO"), &tidy.to_string()).unwrap();
            assert!(matches!(meaning, Meaning::Ours(found) if found == ours), "{}", ours.name);
        }
    }

    #[test]
    fn another_version_is_resolved_as_avro_has_it() {
        // A later version: one more member first, and the payloads gone (their default stands in).
        let mut later: serde_json::Value = serde_json::from_str(schema::EVENT_BATCH.text).unwrap();
        let members = later["fields"].as_array_mut().unwrap();
        members.retain(|member| member["name"] != "payloads");
        members.insert(0, serde_json::json!({ "name": "site", "type": "string" }));
        let meaning = Meaning::of(None, &later.to_string());
        let Ok(Meaning::Version(version)) = meaning else { panic!("{meaning:?}") };
        let mut ours = Vec::new();
        encode_batch(&batch(), &mut ours);
        let (without_payloads, _) = ours[10..].split_at(ours.len() - 11);
        let theirs = [b"\x06lab", without_payloads].concat();
        let mut rewritten = Vec::new();
        version.rewrite(&theirs, &mut rewritten).unwrap();
        let mut read = EventBatch::default();
        decode_batch(&rewritten, &mut read).unwrap();
        assert_eq!(read, batch());
        for cut in 0..theirs.len() {
            assert!(version.rewrite(&theirs[..cut], &mut Vec::new()).is_err(), "{cut}");
        }
        assert!(version.rewrite(&[theirs.as_slice(), &[0]].concat(), &mut Vec::new()).is_err());
    }

    #[test]
    fn what_is_not_ours_says_why() {
        let node = r#"{"type": "record", "name": "Event", "fields": [
            {"name": "next", "type": ["null", "Event"], "default": null}]}"#;
        let narrow = r#"{"type": "record", "name": "Event", "fields": [{"name": "x", "type": "int"}]}"#;
        for (kind, text, why) in [
            (Some("PROTOBUF"), "syntax = 'proto3';", "type PROTOBUF"),
            (None, "{", "parse schema"),
            (None, "\"string\"", "no record"),
            (None, &narrow.replace("Event", "Reading"), "none of schemas/avro"),
            (None, node, "names itself"),
            (None, narrow, "cannot be read as our Event"),
        ] {
            let error = Meaning::of(kind, text).map(|m| format!("{m:?}")).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn the_table_is_bounded_and_asks_again_for_what_was_missing() {
        let (mut table, now) = (Table::default(), Instant::now());
        table.put(7, Meaning::Missing(now));
        assert!(table.get(7, now + MISSING_FOR - Duration::from_millis(1)).is_some());
        assert!(table.get(7, now + MISSING_FOR).is_none());
        for id in 0..KNOWN_MAX as u32 + 10 {
            table.put(id, Meaning::Misfit);
            assert!(table.known.len() <= KNOWN_MAX);
        }
    }
}
