//! A configuration file as text: one table per service, each value with its line.

use super::error::ConfigError;
use super::origin::{Origin, Origins};
use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

/// A parsed document.
#[derive(Debug, Clone)]
pub(super) struct Document {
    pub(super) table: Table,
    /// Origins under the document's full paths (`coalescer.lateness`).
    pub(super) origins: Origins,
}

/// Parses a document. `name` is for messages.
pub(super) fn parse(name: &str, text: &str) -> Result<Document, ConfigError> {
    let syntax = |error: toml::de::Error| {
        let (line, column) = place(text, error.span().map_or(0, |span| span.start));
        let message = error.message().to_owned();
        ConfigError::Syntax { file: name.to_owned(), line, column, message }
    };
    let spans = DeTable::parse(text).map_err(syntax)?;
    let table = text.parse::<Table>().map_err(syntax)?;
    let mut origins = Origins::default();
    let lines = Lines { name, text };
    lines.table(&mut origins, "", spans.get_ref());
    Ok(Document { table, origins })
}

/// Reads an override's value: as TOML where it is TOML, else as plain text. Where the value it replaces is
/// text, plain text is meant.
pub(super) fn value_of(text: &str, replaced: Option<&Value>) -> Value {
    if matches!(replaced, Some(Value::String(_))) {
        return Value::String(text.to_owned());
    }
    // As a document of one line: a value that breaks the line is text.
    let parsed = format!("value = {text}").parse::<Table>().ok().filter(|table| table.len() == 1);
    parsed.and_then(|mut table| table.remove("value")).unwrap_or_else(|| Value::String(text.to_owned()))
}

struct Lines<'a> {
    name: &'a str,
    text: &'a str,
}

impl Lines<'_> {
    fn table(&self, origins: &mut Origins, path: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            let dot = if path.is_empty() { "" } else { "." };
            let path = format!("{path}{dot}{}", key.get_ref());
            let (line, _) = place(self.text, key.span().start);
            origins.put(path.clone(), Origin::File { file: self.name.to_owned(), line });
            self.value(origins, &path, value);
        }
    }

    fn value(&self, origins: &mut Origins, path: &str, value: &Spanned<DeValue<'_>>) {
        match value.get_ref() {
            DeValue::Table(table) => self.table(origins, path, table),
            DeValue::Array(array) => {
                for (i, item) in array.iter().enumerate() {
                    let path = format!("{path}[{i}]");
                    let (line, _) = place(self.text, item.span().start);
                    origins.put(path.clone(), Origin::File { file: self.name.to_owned(), line });
                    self.value(origins, &path, item);
                }
            }
            _ => {}
        }
    }
}

/// Line and column, from 1, of a byte position.
fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
    (line, column)
}
