//! `[coalescer.mapping]`: where an event is in the records of another system's topic.
//!
//! Owns: the keys. Never: reads a record (libs/codec does).

use crate::feed::Records;
use evenkeel_codec::json::{Fields, Mapping, Path, TimeUnit};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `records`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordsName {
    /// Of schemas/avro.
    Evenkeel,
    /// JSON, by the mapping.
    Json,
}

/// Section `[coalescer.mapping]`; see `default.toml`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct MappingConfig {
    /// Path of the stream's id; empty = the record's key.
    pub stream_id: String,
    /// Path of the event's time; empty = the record's timestamp.
    pub ts: String,
    /// What a number there counts.
    pub ts_unit: UnitName,
    /// Path of the sequence number; empty = none.
    pub seq: String,
    /// Where the fields begin; empty = at the record itself.
    pub fields_below: String,
    /// The fields by name; empty = every number below `fields-below`.
    pub fields: BTreeMap<String, String>,
    /// Whether the producers' partitioning is checked.
    pub routing: Routing,
}

/// `ts-unit`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnitName {
    /// Seconds.
    S,
    /// Milliseconds.
    Ms,
    /// Microseconds.
    Us,
    /// Nanoseconds.
    Ns,
}

/// `routing`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Routing {
    /// The key is the id, its murmur2 the partition; what is elsewhere goes to dlq.
    Checked,
    /// The producers keep a stream in one partition by whatever rule.
    Trusted,
}

impl MappingConfig {
    /// What the worker reads.
    pub(crate) fn records(&self, name: RecordsName) -> Records {
        let path = |text: &str| (!text.is_empty()).then(|| Path::of(text));
        let unit = match self.ts_unit {
            UnitName::S => TimeUnit::S,
            UnitName::Ms => TimeUnit::Ms,
            UnitName::Us => TimeUnit::Us,
            UnitName::Ns => TimeUnit::Ns,
        };
        let named = || self.fields.iter().map(|(name, path)| (name.clone(), Path::of(path))).collect();
        let fields = match self.fields.is_empty() {
            true => Fields::Below(Path::of(&self.fields_below)),
            false => Fields::Named(named()),
        };
        match name {
            RecordsName::Evenkeel => Records::Evenkeel,
            RecordsName::Json => {
                let (stream_id, ts, seq) = (path(&self.stream_id), path(&self.ts), path(&self.seq));
                Records::Json(Mapping { stream_id, ts, unit, seq, fields })
            }
        }
    }
}
