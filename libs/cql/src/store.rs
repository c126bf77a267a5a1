//! One action on the store, to its outcome: prepared statements, own retries, TTL from the absolute expiry.
//!
//! Owns: attempts of one action. Never: how many run at once (writer.rs), order per key (the caller).
//! Keeps: EK-LATE-1 with row.rs (a write of unknown outcome may be repeated, because (key, revision) names
//! one content and an older revision loses).

use crate::class::{ErrorClass, class_of};
use crate::clock::now_ms;
use crate::config::CqlConfig;
use crate::connect::{Cluster, ConnectError};
use crate::inflight::Signal;
use crate::row::{Encoded, ReadColumns};
use crate::schema;
use crate::score::ScoreValues;
use crate::statements::{self, TableStatements};
use crate::table::{WindowTable, bucket_of};
use evenkeel_model::{StoredRow, StoredScore};
use evenkeel_seam::{RowAction, RowKey, RowResult};
use scylla::errors::ExecutionError;
use scylla::response::query_result::QueryResult;
use scylla::serialize::row::SerializeRow;
use scylla::statement::prepared::PreparedStatement;
use scylla::value::CqlTimestamp;
use std::collections::BTreeMap;
use std::time::Duration;

/// An open store: the session and its statements.
pub(crate) struct Store {
    pub cluster: Cluster,
    tables: BTreeMap<i64, (WindowTable, TableStatements)>,
    insert_latest: PreparedStatement,
    insert_score: PreparedStatement,
    attempts_max: u32,
    row_bytes_max: usize,
}

/// The outcome of one action, and what it says about load.
pub(crate) struct Outcome {
    pub result: RowResult,
    pub signal: Signal,
}

/// First pause before a repetition; doubles each time.
const REPEAT_PAUSE: Duration = Duration::from_millis(50);

impl Store {
    /// Connects, checks the schema, prepares; all within `start-timeout`.
    pub async fn open(config: &CqlConfig) -> Result<Self, ConnectError> {
        let waited_ms = config.start_timeout.get();
        match tokio::time::timeout(config.start_timeout.duration(), Self::open_unbounded(config)).await {
            Ok(result) => result,
            Err(_) => {
                Err(ConnectError::TooSlow { contact_points: config.contact_points.join(", "), waited_ms })
            }
        }
    }

    async fn open_unbounded(config: &CqlConfig) -> Result<Self, ConnectError> {
        let cluster = Cluster::connect(config).await?;
        schema::check(&cluster, &config.keyspace, &config.tables).await?;
        let session = &cluster.session;
        let mut tables = BTreeMap::new();
        for table in &config.tables {
            let prepared = TableStatements::prepare(session, &config.keyspace, &table.name()).await?;
            tables.insert(table.size_ms(), (*table, prepared));
        }
        let insert_latest = session.prepare(statements::insert_latest(&config.keyspace)).await?;
        let insert_score = session.prepare(statements::insert_score(&config.keyspace)).await?;
        Ok(Self {
            tables,
            insert_latest,
            insert_score,
            attempts_max: config.attempts_max,
            row_bytes_max: config.row_bytes_max as usize,
            cluster,
        })
    }

    /// Carries out one action. Bounded by `attempts-max` × `request-timeout` and the pauses between.
    pub async fn perform(&self, action: &RowAction) -> Outcome {
        match action {
            RowAction::Read(key) => self.read(key).await,
            RowAction::Write(row) => self.write(row).await,
            RowAction::Score(stored) => self.score(stored).await,
        }
    }

    async fn read(&self, key: &RowKey) -> Outcome {
        let Some((_, table)) = self.tables.get(&key.span.size_ms) else {
            return no_table(key.span.size_ms);
        };
        let values = (key.stream_id.as_str(), bucket_of(key.span), CqlTimestamp(key.span.t_start()));
        let rows = match self.execute(&table.select, values).await {
            Ok(result) => result.into_rows_result().map_err(|e| e.to_string()),
            Err(error) => return outcome_of(&error),
        };
        let row = rows.and_then(|rows| rows.maybe_first_row::<ReadColumns>().map_err(|e| e.to_string()));
        let row = row.and_then(|row| {
            row.map(|row| row.into_stored(key.span.size_ms)).transpose().map_err(|e| e.to_string())
        });
        match row {
            Ok(row) => good(RowResult::Read(row.map(Box::new))),
            Err(reason) => neutral(RowResult::Refused(format!("the stored row cannot be read: {reason}"))),
        }
    }

    async fn write(&self, row: &StoredRow) -> Outcome {
        let span = row.row.span;
        let Some((table, prepared)) = self.tables.get(&span.size_ms) else { return no_table(span.size_ms) };
        let encoded = Encoded::of(row);
        if encoded.bytes() > self.row_bytes_max {
            let (bytes, max) = (encoded.bytes(), self.row_bytes_max);
            return neutral(RowResult::Refused(format!(
                "the row has {bytes} bytes, cql.row-bytes-max is {max}"
            )));
        }
        let life = table.life_at(span, now_ms());
        let Some(values) = encoded.window(life) else { return neutral(RowResult::Expired) };
        let window = self.execute(&prepared.insert, values);
        let latest = async {
            match encoded.latest(life) {
                Some(values) => self.execute(&self.insert_latest, values).await.map(|_| ()),
                None => Ok(()),
            }
        };
        // Both name their timestamps, so their order does not matter; the row counts as written with both.
        match tokio::join!(window, latest) {
            (Ok(_), Ok(())) => good(RowResult::Written),
            (Err(error), _) | (_, Err(error)) => outcome_of(&error),
        }
    }

    /// A score lives as long as the row of its window.
    async fn score(&self, stored: &StoredScore) -> Outcome {
        let span = stored.score.span;
        let Some((table, _)) = self.tables.get(&span.size_ms) else { return no_table(span.size_ms) };
        let Some(values) = ScoreValues::of(stored, table.life_at(span, now_ms())) else {
            return neutral(RowResult::Expired);
        };
        match self.execute(&self.insert_score, values).await {
            Ok(_) => good(RowResult::Written),
            Err(error) => outcome_of(&error),
        }
    }

    /// Executes a statement, again while its outcome is unknown and attempts are left.
    async fn execute(
        &self,
        statement: &PreparedStatement,
        values: impl SerializeRow,
    ) -> Result<QueryResult, ExecutionError> {
        let mut pause = REPEAT_PAUSE;
        let mut attempt = 1;
        loop {
            match self.cluster.session.execute_unpaged(statement, &values).await {
                Err(error) if class_of(&error) == ErrorClass::Repeat && attempt < self.attempts_max => {
                    tracing::debug!(%error, attempt, "repeated");
                    tokio::time::sleep(pause).await;
                    (pause, attempt) = (pause * 2, attempt + 1);
                }
                result => return result,
            }
        }
    }
}

fn good(result: RowResult) -> Outcome {
    Outcome { result, signal: Signal::Good }
}

fn neutral(result: RowResult) -> Outcome {
    Outcome { result, signal: Signal::Neutral }
}

fn no_table(size_ms: i64) -> Outcome {
    neutral(RowResult::Refused(format!(
        "there is no table for windows of {size_ms} ms; add the size to cql.tables and run `evenkeel cql migrate`"
    )))
}

fn outcome_of(error: &ExecutionError) -> Outcome {
    let reason = error.to_string();
    match class_of(error) {
        ErrorClass::Refused => neutral(RowResult::Refused(reason)),
        ErrorClass::Repeat | ErrorClass::Away => {
            Outcome { result: RowResult::Unavailable(reason), signal: Signal::Strained }
        }
        ErrorClass::Setup => {
            tracing::error!(reason, "the store needs an operator: check the schema, the role and its rights");
            Outcome { result: RowResult::Unavailable(reason), signal: Signal::Strained }
        }
    }
}
