//! Every CQL statement of the data path, as text. All of it is in the subset that ScyllaDB and Cassandra share
//! (tests/allow_list.rs reads it).
//!
//! Never: deletes, lightweight transactions, counters, null or unset columns.

use scylla::client::session::Session;
use scylla::errors::PrepareError;
use scylla::statement::prepared::PreparedStatement;

const READ_COLUMNS: &str = "stream_id, t_start, revision, closed_by, count, late_offset, dropped, seq_ranges, \
                            max_ts, first_arrival, last_arrival, stats, events";

pub(crate) fn insert_window(keyspace: &str, table: &str) -> String {
    format!(
        "INSERT INTO {keyspace}.{table} (stream_id, bucket, t_start, t_end, revision, closed_by, count, missing, \
         late_merged, late_offset, dropped, seq_min, seq_max, seq_ranges, max_ts, first_arrival, last_arrival, \
         stats, events) VALUES (:stream_id, :bucket, :t_start, :t_end, :revision, :closed_by, :count, :missing, \
         :late_merged, :late_offset, :dropped, :seq_min, :seq_max, :seq_ranges, :max_ts, :first_arrival, \
         :last_arrival, :stats, :events) USING TIMESTAMP :written_us AND TTL :ttl_s"
    )
}

pub(crate) fn insert_latest(keyspace: &str) -> String {
    format!(
        "INSERT INTO {keyspace}.latest_window (\"group\", salt, stream_id, size_ms, t_start, t_end, revision, \
         closed_by, count, missing, seq_min, seq_max, max_ts, first_arrival, last_arrival, dropped, stats) VALUES \
         (:in_group, :salt, :stream_id, :size_ms, :t_start, :t_end, :revision, :closed_by, :count, :missing, \
         :seq_min, :seq_max, :max_ts, :first_arrival, :last_arrival, :dropped, :stats) \
         USING TIMESTAMP :written_us AND TTL :ttl_s"
    )
}

pub(crate) fn select_window(keyspace: &str, table: &str) -> String {
    format!(
        "SELECT {READ_COLUMNS} FROM {keyspace}.{table} WHERE stream_id = :stream_id AND bucket = :bucket AND t_start = :t_start"
    )
}

pub(crate) fn select_range(keyspace: &str, table: &str) -> String {
    format!(
        "SELECT {READ_COLUMNS} FROM {keyspace}.{table} WHERE stream_id = :stream_id AND bucket = :bucket \
         AND t_start >= :t_from AND t_start < :t_to ORDER BY t_start ASC"
    )
}

pub(crate) fn select_partitions(keyspace: &str, table: &str) -> String {
    format!("SELECT DISTINCT stream_id, bucket FROM {keyspace}.{table}")
}

pub(crate) fn select_latest(keyspace: &str) -> String {
    format!(
        "SELECT stream_id, size_ms, t_start FROM {keyspace}.latest_window \
         WHERE \"group\" = :in_group AND salt = :salt AND stream_id = :stream_id AND size_ms = :size_ms"
    )
}

pub(crate) fn select_all_latest(keyspace: &str) -> String {
    format!("SELECT stream_id, size_ms, t_start FROM {keyspace}.latest_window")
}

pub(crate) fn insert_score(keyspace: &str) -> String {
    format!(
        "INSERT INTO {keyspace}.scores (stream_id, size_ms, bucket, t_start, model, model_version, shadow, place, t_end, \
         event, score, threshold, prediction, last_arrival) VALUES (:stream_id, :size_ms, :bucket, :t_start, \
         :model, :model_version, :shadow, :place, :t_end, :event, :score, :threshold, :prediction, :last_arrival) \
         USING TIMESTAMP :written_us AND TTL :ttl_s"
    )
}

pub(crate) fn select_scores(keyspace: &str) -> String {
    format!(
        "SELECT stream_id, t_start, model, model_version, shadow, place, event, score, threshold, prediction, \
         last_arrival FROM {keyspace}.scores WHERE stream_id = :stream_id AND size_ms = :size_ms AND \
         bucket = :bucket AND t_start >= :t_from AND t_start < :t_to ORDER BY t_start ASC"
    )
}

pub(crate) fn select_score_partitions(keyspace: &str) -> String {
    format!("SELECT DISTINCT stream_id, size_ms, bucket FROM {keyspace}.scores")
}

pub(crate) fn insert_version(keyspace: &str) -> String {
    format!("INSERT INTO {keyspace}.schema_version (part, version, applied_at, options) VALUES (?, ?, ?, ?)")
}

pub(crate) fn select_versions(keyspace: &str) -> String {
    format!("SELECT part, version, options FROM {keyspace}.schema_version")
}

pub(crate) const SELECT_KEYSPACE: &str =
    "SELECT replication FROM system_schema.keyspaces WHERE keyspace_name = ?";
pub(crate) const SELECT_TABLES: &str = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = ?";
pub(crate) const SELECT_RELEASE: &str = "SELECT release_version FROM system.local WHERE key = 'local'";

/// The clock of the node that answers.
pub(crate) const SELECT_NOW: &str = "SELECT now() FROM system.local WHERE key = 'local'";

/// A write that no server carries out, because nothing may live so long: asked to hear whether it would be allowed.
pub(crate) fn write_probe(keyspace: &str) -> String {
    format!(
        "INSERT INTO {keyspace}.latest_window (\"group\", salt, stream_id, size_ms) VALUES ('0', 0, '0', 0) \
         USING TTL 2147483647"
    )
}

/// Texts that only the survey asks, for the allow-list test.
pub fn survey_texts() -> Vec<String> {
    vec![SELECT_NOW.to_owned(), write_probe("evenkeel")]
}

/// Every statement text of the data path and the migrations, for the allow-list test.
pub fn all_texts() -> Vec<String> {
    let (ks, table) = ("evenkeel", "windows_5s");
    vec![
        insert_window(ks, table),
        insert_latest(ks),
        select_window(ks, table),
        select_range(ks, table),
        select_partitions(ks, table),
        select_latest(ks),
        select_all_latest(ks),
        insert_score(ks),
        select_scores(ks),
        select_score_partitions(ks),
        insert_version(ks),
        select_versions(ks),
        SELECT_KEYSPACE.to_owned(),
        SELECT_TABLES.to_owned(),
        SELECT_RELEASE.to_owned(),
    ]
}

/// The statements of one window table, prepared.
pub(crate) struct TableStatements {
    pub insert: PreparedStatement,
    pub select: PreparedStatement,
}

impl TableStatements {
    pub async fn prepare(session: &Session, keyspace: &str, table: &str) -> Result<Self, PrepareError> {
        Ok(Self {
            insert: session.prepare(insert_window(keyspace, table)).await?,
            select: session.prepare(select_window(keyspace, table)).await?,
        })
    }
}
