//! The schema as files, and what a keyspace holds of it.
//!
//! Owns: the texts of schemas/cql, their order and versions, and the check at every start. Never: applies
//! anything (migrate.rs does).

use crate::connect::{Cluster, ConnectError, ServerKind};
use crate::span_text::Millis;
use crate::statements;
use crate::table::WindowTable;
use scylla::client::session::Session;
use scylla::value::CqlValue;
use std::collections::{BTreeMap, BTreeSet};

/// The table that says what was applied.
pub(crate) const SCHEMA_VERSION: &str = include_str!("../../../schemas/cql/000_schema_version.cql");
/// Migrations of the part `base`, in order: the first is version 1.
pub(crate) const BASE: &[&str] =
    &[include_str!("../../../schemas/cql/001_base.cql"), include_str!("../../../schemas/cql/002_scores.cql")];
/// A window table, version [`WINDOW_TABLE_VERSION`].
pub(crate) const WINDOW_TABLE: &str = include_str!("../../../schemas/cql/window_table.cql");
/// What may change of a window table later.
pub(crate) const WINDOW_TABLE_OPTIONS: &str = include_str!("../../../schemas/cql/window_table_options.cql");
/// Statements for ScyllaDB alone, per window table.
pub(crate) const SCYLLA_OVERLAY: &str = include_str!("../../../schemas/cql/scylla_overlay.cql");

/// Version of window tables and of the overlay.
pub(crate) const WINDOW_TABLE_VERSION: i32 = 1;

/// Why a keyspace cannot be used as it is.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// Something is not there yet.
    #[error("keyspace {keyspace} has no {missing}; run `evenkeel cql migrate` with this configuration")]
    Missing {
        /// The keyspace.
        keyspace: String,
        /// What is missing.
        missing: String,
    },
    /// The keyspace is not there, and may not be made.
    #[error(
        "keyspace {keyspace} does not exist, and cql.create-keyspace is false; create it, or set the key to true"
    )]
    NoKeyspace {
        /// The keyspace.
        keyspace: String,
    },
    /// Written by a newer program.
    #[error(
        "{part} of keyspace {keyspace} has version {found}, this program knows {known}; run the newer evenkeel that \
         migrated it, or point cql.keyspace to another keyspace"
    )]
    Newer {
        /// The keyspace.
        keyspace: String,
        /// The part.
        part: String,
        /// Version found.
        found: i32,
        /// Version known.
        known: i32,
    },
    /// Another replication strategy.
    #[error(
        "keyspace {keyspace} is replicated by {found}; only NetworkTopologyStrategy is used: \
         ALTER KEYSPACE {keyspace} WITH replication = {{'class': 'NetworkTopologyStrategy', 'DC': COPIES}}, then repair"
    )]
    Strategy {
        /// The keyspace.
        keyspace: String,
        /// Class found.
        found: String,
    },
    /// Copies that the cluster has no room for.
    #[error(
        "cql.replication asks for {copies} copies in {dc}, which has {nodes} nodes; set cql.replication.{dc} to at most {nodes} (0 = no such data centre: take it out)"
    )]
    Replication {
        /// Data centre.
        dc: String,
        /// Copies asked for.
        copies: u32,
        /// Nodes there are.
        nodes: u32,
    },
}

/// What `schema_version` says: part → (newest version, its options).
pub(crate) type Applied = BTreeMap<String, (i32, String)>;

/// Splits a .cql text into statements, without comments and without the `;`.
pub fn split_statements(text: &str) -> Vec<String> {
    let (mut statements, mut statement) = (Vec::new(), String::new());
    for line in text.lines() {
        let line = line.split_once("--").map_or(line, |(code, _)| code).trim_end();
        for (i, piece) in line.split(';').enumerate() {
            if i > 0 && !statement.trim().is_empty() {
                statements.push(std::mem::take(&mut statement).trim().to_owned());
            }
            statement.push_str(piece);
        }
        statement.push('\n');
    }
    if !statement.trim().is_empty() {
        statements.push(statement.trim().to_owned());
    }
    statements
}

/// Fills in the names of a template of schemas/cql.
pub(crate) fn fill(text: &str, keyspace: &str, table: Option<&WindowTable>) -> String {
    let text = text.replace("{keyspace}", keyspace);
    let Some(table) = table else { return text };
    let window = table.compaction_window();
    text.replace("{table}", &table.name())
        .replace("{size}", &table.size.to_string())
        .replace("{ttl_s}", &table.ttl_s().to_string())
        .replace("{unit}", window.unit)
        .replace("{amount}", &window.amount.to_string())
}

/// What `schema_version.options` holds for a window table: a change of it is applied.
pub(crate) fn options_text(table: &WindowTable) -> String {
    let window = table.compaction_window();
    format!("ttl_s={} compaction={}{}", table.ttl_s(), window.amount, window.unit)
}

/// `CREATE KEYSPACE`, from checked names.
pub(crate) fn create_keyspace(keyspace: &str, replication: &BTreeMap<String, u32>) -> String {
    let copies: Vec<String> = replication.iter().map(|(dc, n)| format!("'{dc}': {n}")).collect();
    format!(
        "CREATE KEYSPACE IF NOT EXISTS {keyspace} WITH replication = \
         {{'class': 'NetworkTopologyStrategy', {}}} AND durable_writes = true",
        copies.join(", ")
    )
}

/// Every schema text with example names, for the allow-list test: common subset, then the overlay.
pub fn all_texts() -> (Vec<String>, Vec<String>) {
    let table = WindowTable { size: Millis::from_s(5), ttl: Some(Millis::from_days(30)) };
    let mut common = vec![create_keyspace("evenkeel", &BTreeMap::from([("dc1".to_owned(), 3)]))];
    for text in [SCHEMA_VERSION, WINDOW_TABLE, WINDOW_TABLE_OPTIONS].iter().chain(BASE) {
        common.extend(split_statements(&fill(text, "evenkeel", Some(&table))));
    }
    (common, split_statements(&fill(SCYLLA_OVERLAY, "evenkeel", Some(&table))))
}

/// Names of the tables of a keyspace.
pub(crate) async fn tables_of(session: &Session, keyspace: &str) -> Result<BTreeSet<String>, ConnectError> {
    let result = session.query_unpaged(statements::SELECT_TABLES, (keyspace,)).await?;
    let rows = result.into_rows_result().map_err(|e| ConnectError::Request(e.to_string()))?;
    let names = rows.rows::<(String,)>().map_err(|e| ConnectError::Request(e.to_string()))?;
    Ok(names.flatten().map(|(name,)| name).collect())
}

/// Replication of a keyspace; `None` = there is no such keyspace. Fails unless it is NetworkTopologyStrategy.
pub(crate) async fn replication_of(
    session: &Session,
    keyspace: &str,
) -> Result<Option<BTreeMap<String, String>>, ConnectError> {
    let result = session.query_unpaged(statements::SELECT_KEYSPACE, (keyspace,)).await?;
    let rows = result.into_rows_result().map_err(|e| ConnectError::Request(e.to_string()))?;
    let found = rows
        .maybe_first_row::<(BTreeMap<String, String>,)>()
        .map_err(|e| ConnectError::Request(e.to_string()))?;
    let Some((replication,)) = found else { return Ok(None) };
    let class = replication.get("class").cloned().unwrap_or_default();
    match class.ends_with("NetworkTopologyStrategy") {
        true => Ok(Some(replication)),
        false => Err(SchemaError::Strategy { keyspace: keyspace.to_owned(), found: class }.into()),
    }
}

/// What was applied, checked against what this program knows.
pub(crate) async fn applied(session: &Session, keyspace: &str) -> Result<Applied, ConnectError> {
    let result = session.query_unpaged(statements::select_versions(keyspace), ()).await?;
    let rows = result.into_rows_result().map_err(|e| ConnectError::Request(e.to_string()))?;
    let mut applied = Applied::new();
    for row in
        rows.rows::<(String, i32, Option<String>)>().map_err(|e| ConnectError::Request(e.to_string()))?
    {
        let (part, found, options) = row.map_err(|e| ConnectError::Request(e.to_string()))?;
        let known = if part == "base" { BASE.len() as i32 } else { WINDOW_TABLE_VERSION };
        if found > known {
            return Err(SchemaError::Newer { keyspace: keyspace.to_owned(), part, found, known }.into());
        }
        let newest = applied.entry(part).or_insert((found, String::new()));
        if found >= newest.0 {
            *newest = (found, options.unwrap_or_default());
        }
    }
    Ok(applied)
}

/// Checks that the keyspace holds everything `tables` need, as this program knows it.
pub(crate) async fn check(
    cluster: &Cluster,
    keyspace: &str,
    tables: &[WindowTable],
) -> Result<(), ConnectError> {
    let missing = |missing: String| SchemaError::Missing { keyspace: keyspace.to_owned(), missing };
    if replication_of(&cluster.session, keyspace).await?.is_none() {
        return Err(missing("tables: it does not exist".to_owned()).into());
    }
    let there = tables_of(&cluster.session, keyspace).await?;
    if !there.contains("schema_version") {
        return Err(missing("table schema_version".to_owned()).into());
    }
    let applied = applied(&cluster.session, keyspace).await?;
    let base = applied.get("base").map_or(0, |(version, _)| *version);
    if base < BASE.len() as i32 || !there.contains("latest_window") {
        return Err(missing(format!("base schema of version {} (it has {base})", BASE.len())).into());
    }
    for table in tables {
        let name = table.name();
        let (version, options) = applied.get(&name).cloned().unwrap_or_default();
        if version < WINDOW_TABLE_VERSION || !there.contains(&name) {
            return Err(missing(format!("table {name}")).into());
        }
        if options != options_text(table) {
            tracing::warn!(
                table = name,
                options,
                "life time changed: run `evenkeel cql migrate` to apply it"
            );
        }
    }
    Ok(())
}

/// The window tables that were applied, with their life times: for readers without a full configuration.
pub(crate) fn tables_found(applied: &Applied) -> Vec<WindowTable> {
    let found = applied.iter().filter_map(|(part, (_, options))| {
        let size = Millis::parse(part.strip_prefix("windows_")?).ok()?;
        let ttl_s: u64 = options.strip_prefix("ttl_s=")?.split(' ').next()?.parse().ok()?;
        Some(WindowTable { size, ttl: (ttl_s > 0).then(|| Millis::from_s(ttl_s)) })
    });
    found.collect()
}

/// The part under which the overlay of a table is recorded; `None` = none is needed.
pub(crate) fn overlay_part(server: ServerKind, table: &WindowTable) -> Option<String> {
    (server == ServerKind::Scylla).then(|| format!("{}/scylla", table.name()))
}

/// A row of `schema_version`.
pub(crate) fn version_row(part: &str, version: i32, now_ms: i64, options: &str) -> Vec<CqlValue> {
    vec![
        CqlValue::Text(part.to_owned()),
        CqlValue::Int(version),
        CqlValue::Timestamp(scylla::value::CqlTimestamp(now_ms)),
        CqlValue::Text(options.to_owned()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_split_without_comments() {
        let text = "-- first; comment\nCREATE a ( -- why; so\n  b int\n);\n\nALTER c;DROP d";
        assert_eq!(split_statements(text), ["CREATE a (\n  b int\n)", "ALTER c", "DROP d"]);
    }

    #[test]
    fn what_was_applied_names_its_tables() {
        let table = |s, ttl| WindowTable { size: Millis::from_s(s), ttl };
        let tables = [table(5, Some(Millis::from_days(30))), table(60, None)];
        let mut applied: Applied = tables.iter().map(|t| (t.name(), (1, options_text(t)))).collect();
        applied.insert("base".to_owned(), (1, String::new()));
        applied.insert("windows_5s/scylla".to_owned(), (1, String::new()));
        let mut found = tables_found(&applied);
        found.sort_by_key(|table| table.size);
        assert_eq!(found, tables);
    }

    #[test]
    fn no_placeholder_is_left_over() {
        let (common, overlay) = all_texts();
        assert_eq!(common.len(), 1 + 1 + 1 + 1 + 3);
        for text in common.iter().chain(&overlay) {
            assert!(
                !text.contains("{keyspace}") && !text.contains("{table}") && !text.contains("{ttl"),
                "{text}"
            );
            assert!(!text.contains("--") && !text.ends_with(';'), "{text}");
        }
    }
}
