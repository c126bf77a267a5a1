//! Confluent framing: a zero byte, the id of a schema in a registry (4 bytes, big endian), the Avro body.
//!
//! Owns: the ids of the schemas we write, what every other id means here, and both directions between that framing and
//! ours, so that nothing beyond this crate knows of a registry. Never: touches `dlq` (it keeps what it was given),
//! skips a record because the registry is silent: without an answer the worker stops and starts again.

mod client;
mod table;

pub use client::RegistryError;

use crate::KafkaConfig;
use client::Client;
use evenkeel_codec::schema::{self, EVENT_BATCH, MARK, Schema, WINDOW_ROW};
use evenkeel_model::Topic;
use evenkeel_seam::Outputs;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use table::{Meaning, Table};

/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(100);
const HEADER_BYTES: usize = 5;

/// `[kafka.schema-registry]`: without a `url`, records carry the schema's own fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct SchemaRegistry {
    /// Where it is, with the path of its Confluent interface; empty = none.
    pub url: String,
    /// Whether our schemas are registered by us, under `<topic>-value`; else they must be there.
    pub register: bool,
    /// Basic authentication, with `password-file`.
    pub username: Option<String>,
    /// File that holds the password; trailing line ends are cut.
    pub password_file: Option<PathBuf>,
    /// File with the certificate authorities to trust (PEM); without it the system's.
    pub ca_file: Option<PathBuf>,
}

impl Default for SchemaRegistry {
    fn default() -> Self {
        Self { url: String::new(), register: true, username: None, password_file: None, ca_file: None }
    }
}

/// A registry in use.
pub(crate) struct Registry {
    client: Client,
    /// The id of each schema that we write.
    ours: Vec<(&'static Schema, u32)>,
    table: Mutex<Table>,
    patience: Duration,
}

impl Registry {
    /// Finds the ids of our schemas, if a registry is configured. Blocks for a bounded time.
    pub fn connect(config: &KafkaConfig) -> Result<Option<Arc<Self>>, RegistryError> {
        let settings = &config.schema_registry;
        if settings.url.is_empty() {
            return Ok(None);
        }
        let client = Client::new(settings, config.timeouts.call.duration())?;
        let mut registry = Self {
            client,
            ours: Vec::new(),
            table: Mutex::default(),
            patience: config.timeouts.connect.duration(),
        };
        let written = [(Topic::Events, &EVENT_BATCH), (Topic::Windows, &WINDOW_ROW), (Topic::Marks, &MARK)];
        for (topic, schema) in written {
            let subject = format!("{}-value", config.topic(topic));
            let id = registry.insist(|client| match settings.register {
                true => client.register(&subject, schema.text),
                false => client.find(&subject, schema.text)?.ok_or_else(|| RegistryError::NotRegistered {
                    url: client.url().to_owned(),
                    subject: subject.clone(),
                    schema: schema.name,
                }),
            })?;
            tracing::info!(subject, id, schema = schema.name, "schema of the registry");
            registry.ours.push((schema, id));
            registry.table().put(id, Meaning::Ours(schema));
        }
        Ok(Some(Arc::new(registry)))
    }

    fn table(&self) -> std::sync::MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tries until it works, is refused for good, or the patience ends.
    fn insist<T>(&self, request: impl Fn(&Client) -> Result<T, RegistryError>) -> Result<T, RegistryError> {
        let until = Instant::now() + self.patience;
        loop {
            match request(&self.client) {
                Err(error) if error.passes() && Instant::now() + PAUSE < until => std::thread::sleep(PAUSE),
                done => return done,
            }
        }
    }

    /// Puts the records into the registry's framing, in place; those of `dlq`, and those without a schema of ours, stay
    /// as they are.
    pub fn frame(&self, records: &mut Outputs) {
        records.shorten_values(|topic, value| {
            let Some(id) = self.id_of(value).filter(|_| topic != Topic::Dlq) else { return 0 };
            let cut = schema::HEADER_BYTES - HEADER_BYTES;
            value[cut] = 0;
            value[cut + 1..schema::HEADER_BYTES].copy_from_slice(&id.to_be_bytes());
            cut
        });
    }

    /// The id of a record's schema.
    fn id_of(&self, value: &[u8]) -> Option<u32> {
        let (fingerprint, _) = schema::split_header(value).ok()?;
        self.ours.iter().find(|(schema, _)| schema.fingerprint == fingerprint).map(|(_, id)| *id)
    }

    /// The record in our framing, appended to `arena`; `None` = it is to be taken as it is, because it has another
    /// framing or none that can be read. Asks the registry about an id it meets for the first time, which blocks.
    pub fn unframe(&self, value: &[u8], arena: &mut Vec<u8>) -> Result<Option<Range<usize>>, RegistryError> {
        let Some(([0, id @ ..], body)) = value.split_first_chunk::<HEADER_BYTES>() else { return Ok(None) };
        let id = u32::from_be_bytes(*id);
        let now = Instant::now();
        let mut table = self.table();
        if table.get(id, now).is_none() {
            let meaning = self.insist(|client| client.schema(id))?;
            table.put(id, meaning_of(id, meaning, now));
        }
        let from = arena.len();
        let taken = match table.get(id, now) {
            Some(Meaning::Ours(schema)) => {
                schema::write_header(schema, arena);
                arena.extend_from_slice(body);
                true
            }
            Some(Meaning::Version(version)) => match version.rewrite(body, arena) {
                Ok(()) => true,
                Err(error) => {
                    arena.truncate(from);
                    tracing::debug!(id, error, "a record does not fit its schema");
                    false
                }
            },
            Some(Meaning::Misfit | Meaning::Missing(_)) | None => false,
        };
        Ok(taken.then_some(from..arena.len()))
    }
}

fn meaning_of(id: u32, told: Option<client::Told>, now: Instant) -> Meaning {
    let Some(told) = told else {
        tracing::warn!(id, "the schema registry has no schema of this id; its records go to dlq");
        return Meaning::Missing(now);
    };
    Meaning::of(told.kind.as_deref(), &told.schema).unwrap_or_else(|error| {
        tracing::warn!(id, error, "a schema of the registry cannot be read here; its records go to dlq");
        Meaning::Misfit
    })
}

#[cfg(test)]
mod tests;
