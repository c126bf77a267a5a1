//! What of a configuration may be shown.
//!
//! Secrets belong in files (`*-file` keys), but somebody will write one into the configuration or into an
//! address all the same.

use toml::{Table, Value};

const HIDDEN: &str = "***";

/// Words that make a key's value a secret, unless the key names a file.
const WORDS: &[&str] =
    &["password", "passwd", "secret", "token", "tokens", "credential", "credentials", "api-key"];

/// Whether the value of this key (a path) is a secret.
pub(super) fn is_secret(path: &str) -> bool {
    let last = path.rsplit('.').next().unwrap_or(path);
    let last = last.split('[').next().unwrap_or(last);
    let named = WORDS.iter().any(|word| last == *word || last.ends_with(&format!("-{word}")));
    named && !last.ends_with("-file")
}

/// A copy with secrets, and credentials in addresses, replaced by `***`.
pub fn redact(table: &Table) -> Table {
    table
        .iter()
        .map(|(key, value)| {
            let shown = if is_secret(key) { hide(value) } else { show(value) };
            (key.clone(), shown)
        })
        .collect()
}

fn hide(value: &Value) -> Value {
    match value {
        Value::String(text) if text.is_empty() => value.clone(),
        Value::Table(table) => Value::Table(table.iter().map(|(k, v)| (k.clone(), hide(v))).collect()),
        Value::Array(items) => Value::Array(items.iter().map(hide).collect()),
        _ => Value::String(HIDDEN.to_owned()),
    }
}

fn show(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(address(text)),
        Value::Table(table) => Value::Table(redact(table)),
        Value::Array(items) => Value::Array(items.iter().map(show).collect()),
        _ => value.clone(),
    }
}

/// `scheme://user:password@host` without its middle.
fn address(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}://{HIDDEN}{}", &rest[at..]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_and_the_rest_is_shown() {
        let table: Table = r#"
            lateness = "2s"
            password = "hunter2"
            auth-tokens = ["hunter2", "hunter3"]
            token-file = "/run/secrets/token"
            secret = { a = "hunter2" }
            empty-password = ""
            url = "http://user:hunter2@host:1/x@y"
            plain = "http://host/path@x"
            [[class]]
            api-key = 7
        "#
        .parse()
        .unwrap();
        let shown = toml::to_string(&redact(&table)).unwrap();
        assert!(!shown.contains("hunter"), "{shown}");
        for line in [
            r#"lateness = "2s""#,
            r#"password = "***""#,
            r#"token-file = "/run/secrets/token""#,
            r#"url = "http://***@host:1/x@y""#,
            r#"plain = "http://host/path@x""#,
            r#"api-key = "***""#,
            r#"empty-password = """#,
        ] {
            assert!(shown.contains(line), "missing {line} in\n{shown}");
        }
    }
}
