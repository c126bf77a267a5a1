//! Configuration of a service: default < file < environment < `--set`.
//!
//! Owns: the order of the layers, the names of keys in each, the messages. Never: the process environment
//! (it is handed in), a global, a secret's value in a message or in the effective configuration.
//!
//! * default: the service's embedded `default.toml`, its keys at the top; it should hold every key, so that
//!   an override knows whether text or a number is meant.
//! * file: TOML with one table per service: `[coalescer]`, `[[coalescer.class]]`.
//! * environment: `EVENKEEL_COALESCER__OPEN_AGE_MAX=5m`; `__` separates levels, `_` stands for `-`.
//! * `--set coalescer.open-age-max=5m`.
//!
//! Tables are merged, everything else (lists too) is replaced.

mod error;
mod file;
mod origin;
mod redact;

pub use error::ConfigError;
pub use origin::Origin;
pub use redact::redact;

use file::Document;
use origin::Origins;
use serde::de::DeserializeOwned;
use std::io::Read;
use std::path::Path;
use toml::{Table, Value};

/// Largest configuration file, bytes.
pub const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The start of every environment variable of ours.
const ENV_PREFIX: &str = "EVENKEEL_";

/// Everything that overrides the defaults.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    document: Option<Document>,
    env: Vec<Override>,
    sets: Vec<Override>,
}

#[derive(Debug, Clone)]
struct Override {
    service: String,
    key: Vec<String>,
    text: String,
    origin: Origin,
}

/// A configuration that was read, and what it was read from.
#[derive(Debug, Clone)]
pub struct Loaded<T> {
    /// The configuration.
    pub config: T,
    service: String,
    effective: Table,
    origins: Origins,
}

impl Sources {
    /// Takes a configuration file.
    pub fn file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let read = |source| ConfigError::Read { path: path.to_owned(), source };
        let file = std::fs::File::open(path).map_err(read)?;
        let mut text = String::new();
        file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(read)?;
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(ConfigError::TooLarge { path: path.to_owned(), max_bytes: FILE_BYTES_MAX });
        }
        self.text(&path.display().to_string(), &text)
    }

    /// Takes the text of a configuration file; `name` is for messages. The last file given counts.
    pub fn text(&mut self, name: &str, text: &str) -> Result<(), ConfigError> {
        self.document = Some(file::parse(name, text)?);
        Ok(())
    }

    /// Takes the environment, e.g. `std::env::vars()` in the main. Variables without `EVENKEEL_` in front or
    /// without `__` are not ours.
    pub fn env(&mut self, variables: impl IntoIterator<Item = (String, String)>) -> Result<(), ConfigError> {
        for (variable, text) in variables {
            let Some((service, key)) = variable.strip_prefix(ENV_PREFIX).and_then(|v| v.split_once("__"))
            else {
                continue;
            };
            let key: Vec<String> = key.split("__").map(kebab).collect();
            let well_formed = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
            if service.is_empty() || key.iter().any(String::is_empty) || !variable.chars().all(well_formed) {
                let prefix = format!("{ENV_PREFIX}{}__", service.to_ascii_uppercase());
                return Err(ConfigError::Env { variable, prefix });
            }
            self.env.push(Override { service: kebab(service), key, text, origin: Origin::Env { variable } });
        }
        // The order of an environment means nothing; the outcome should not depend on it.
        self.env.sort_by(|a, b| (&a.service, &a.key).cmp(&(&b.service, &b.key)));
        Ok(())
    }

    /// Takes one `--set service.key=value`. A later one wins.
    pub fn set(&mut self, given: &str) -> Result<(), ConfigError> {
        let name = given.split('=').next().unwrap_or_default();
        let wrong = || ConfigError::Set { given: name.to_owned() };
        let (path, text) = given.split_once('=').ok_or_else(wrong)?;
        let mut parts = path.trim().split('.').map(str::to_owned);
        let service = parts.next().filter(|s| !s.is_empty()).ok_or_else(wrong)?;
        let key: Vec<String> = parts.collect();
        if key.is_empty() || key.iter().any(String::is_empty) {
            return Err(wrong());
        }
        self.sets.push(Override { service, key, text: text.trim().to_owned(), origin: Origin::Set });
        Ok(())
    }

    /// Refuses sections and overrides of services that do not exist. Call it once with all there are.
    pub fn check_services(&self, known: &[&str]) -> Result<(), ConfigError> {
        let refuse = |name: &str, origin: Origin| ConfigError::Service {
            name: name.to_owned(),
            origin,
            allowed: known.join(", "),
        };
        if let Some(document) = &self.document
            && let Some(name) = document.table.keys().find(|name| !known.contains(&name.as_str()))
        {
            return Err(refuse(name, document.origins.of(name)));
        }
        match self.env.iter().chain(&self.sets).find(|o| !known.contains(&o.service.as_str())) {
            Some(unknown) => Err(refuse(&unknown.service, unknown.origin.clone())),
            None => Ok(()),
        }
    }

    /// Reads the configuration of one service over its embedded default.
    pub fn load<T: DeserializeOwned>(
        &self,
        service: &str,
        default_toml: &str,
    ) -> Result<Loaded<T>, ConfigError> {
        let broken = |message: String| ConfigError::Default { service: service.to_owned(), message };
        let mut effective = default_toml.parse::<Table>().map_err(|e| broken(e.to_string()))?;
        let mut origins = Origins::default();
        if let Some(document) = &self.document
            && let Some(section) = document.table.get(service)
        {
            let Value::Table(over) = section else {
                let origin = document.origins.of(service);
                return Err(ConfigError::NoSection { service: service.to_owned(), origin });
            };
            merge(&mut effective, over, "", service, document, &mut origins);
        }
        for over in self.env.iter().chain(&self.sets).filter(|o| o.service == service) {
            put(&mut effective, over, &mut origins)?;
        }
        let loaded = Loaded { config: (), service: service.to_owned(), effective, origins };
        let config = serde_path_to_error::deserialize(Value::Table(loaded.effective.clone()))
            .map_err(|error| loaded.explain(&error.path().to_string(), error.inner().message()))?;
        let Loaded { service, effective, origins, .. } = loaded;
        Ok(Loaded { config, service, effective, origins })
    }
}

impl<T> Loaded<T> {
    /// An error about a value that reads well but makes no sense, with its place. `key` as in the file.
    pub fn refuse(&self, key: &str, message: impl Into<String>) -> ConfigError {
        let (service, origin) = (self.service.clone(), self.origins.of(key));
        ConfigError::Value { service, key: key.to_owned(), origin, message: message.into() }
    }

    /// Where a value came from.
    pub fn origin(&self, key: &str) -> Origin {
        self.origins.of(key)
    }

    /// The effective configuration as a section of a configuration file, secrets left out.
    pub fn render(&self) -> String {
        let section = Table::from_iter([(self.service.clone(), Value::Table(redact(&self.effective)))]);
        // A table of plain values always has a text form.
        toml::to_string_pretty(&section).unwrap_or_else(|error| format!("# cannot be shown: {error}\n"))
    }

    fn explain(&self, path: &str, message: &str) -> ConfigError {
        let path = if path == "." { "" } else { path };
        if let Some(rest) = message.strip_prefix("unknown field `")
            && let Some((field, allowed)) = rest.split_once("`, ")
        {
            let known_path = path == field || path.ends_with(&format!(".{field}"));
            let dot = if path.is_empty() { "" } else { "." };
            let key = if known_path { path.to_owned() } else { format!("{path}{dot}{field}") };
            let (service, origin) = (self.service.clone(), self.origins.of(&key));
            return ConfigError::UnknownKey { service, key, origin, allowed: allowed.to_owned() };
        }
        let shown =
            if redact::is_secret(path) { "the value does not fit (not shown)" } else { message.trim() };
        self.refuse(if path.is_empty() { "*" } else { path }, shown)
    }
}

fn kebab(name: &str) -> String {
    name.to_ascii_lowercase().replace('_', "-")
}

fn merge(into: &mut Table, over: &Table, path: &str, service: &str, from: &Document, origins: &mut Origins) {
    for (key, value) in over {
        let dot = if path.is_empty() { "" } else { "." };
        let path = format!("{path}{dot}{key}");
        if let (Some(Value::Table(into)), Value::Table(over)) = (into.get_mut(key), value) {
            merge(into, over, &path, service, from, origins);
            continue;
        }
        origins.clear_under(&path);
        copy_origins(value, &path, service, from, origins);
        into.insert(key.clone(), value.clone());
    }
}

fn copy_origins(value: &Value, path: &str, service: &str, from: &Document, origins: &mut Origins) {
    origins.put(path.to_owned(), from.origins.of(&format!("{service}.{path}")));
    match value {
        Value::Table(table) => {
            for (key, value) in table {
                copy_origins(value, &format!("{path}.{key}"), service, from, origins);
            }
        }
        Value::Array(items) => {
            for (i, value) in items.iter().enumerate() {
                copy_origins(value, &format!("{path}[{i}]"), service, from, origins);
            }
        }
        _ => {}
    }
}

fn put(into: &mut Table, over: &Override, origins: &mut Origins) -> Result<(), ConfigError> {
    let Some((last, parents)) = over.key.split_last() else { return Ok(()) };
    let mut table = into;
    for (depth, part) in parents.iter().enumerate() {
        let entry = table.entry(part.clone()).or_insert_with(|| Value::Table(Table::new()));
        let Value::Table(inner) = entry else {
            return Err(ConfigError::NotASection {
                service: over.service.clone(),
                key: over.key.join("."),
                parent: over.key[..=depth].join("."),
                origin: over.origin.clone(),
            });
        };
        table = inner;
    }
    let path = over.key.join(".");
    let value = file::value_of(&over.text, table.get(last));
    table.insert(last.clone(), value);
    origins.clear_under(&path);
    origins.put(path, over.origin.clone());
    Ok(())
}
