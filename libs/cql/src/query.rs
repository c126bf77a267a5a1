//! Reading windows back: `evenkeel query --cql`.
//!
//! Owns: which partitions a question touches. Memory is bounded by two pages; rows are handed out as they
//! come. Never: writes.

use crate::class::{class_of_pager, class_of_row};
use crate::clock::now_ms;
use crate::config::CqlConfig;
use crate::connect::{Cluster, ConnectError};
use crate::row::{ReadColumns, RowError};
use crate::schema;
use crate::statements;
use crate::table::{BUCKET_WINDOWS, WindowTable, bucket_of, group_of, salt_of};
use evenkeel_model::{StoredRow, WindowSpan};
use futures::TryStreamExt;
use scylla::errors::{NextRowError, PagerExecutionError};
use scylla::serialize::row::SerializeRow;
use scylla::statement::prepared::PreparedStatement;
use scylla::value::CqlTimestamp;
use std::ops::ControlFlow;

/// Rows of one page.
const PAGE_ROWS: i32 = 500;
/// Most buckets that are asked one by one; wider ranges list the partitions instead.
const BUCKETS_MAX: i64 = 1_000;

/// Which windows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WindowQuery {
    /// Only this stream.
    pub stream_id: Option<String>,
    /// Only windows of this size, ms; unset = every configured size, smallest first.
    pub size_ms: Option<i64>,
    /// Only windows with `t_start ≥ from`, ms.
    pub from_ms: Option<i64>,
    /// Only windows with `t_start < to`, ms.
    pub to_ms: Option<i64>,
    /// Only the newest window of each stream and size (then `from_ms` and `to_ms` are not looked at).
    pub latest: bool,
}

/// Why a question has no (or no full) answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The store could not be opened.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// No table of that size.
    #[error("no table for windows of {size_ms} ms; configured are: {known}")]
    NoSuchSize {
        /// Asked for.
        size_ms: i64,
        /// Configured sizes.
        known: String,
    },
    /// A request failed on the way; ask again.
    #[error("the CQL server did not answer ({class}): {reason}; ask again, or ask for less")]
    Request {
        /// Its class.
        class: &'static str,
        /// What was said.
        reason: String,
    },
    /// A stored row cannot be read.
    #[error("a stored row of {stream_id} cannot be read: {source}")]
    Row {
        /// Its stream.
        stream_id: String,
        /// Why.
        source: RowError,
    },
}

/// An open reader.
pub struct CqlReader {
    pub(crate) runtime: tokio::runtime::Runtime,
    pub(crate) cluster: Cluster,
    pub(crate) config: CqlConfig,
}

impl CqlReader {
    /// Connects within `start-timeout` and checks the schema.
    pub fn open(config: &CqlConfig) -> Result<Self, ConnectError> {
        let runtime = crate::blocking::runtime()?;
        let cluster = runtime.block_on(async {
            let cluster = Cluster::connect(config).await?;
            schema::check(&cluster, &config.keyspace, &config.tables).await?;
            Ok::<_, ConnectError>(cluster)
        })?;
        Ok(Self { runtime, cluster, config: config.clone() })
    }

    /// Like [`Self::open`], but takes the sizes and life times that the keyspace says it has instead of
    /// `cql.tables`: for whoever knows no more than an address.
    pub fn open_as_found(config: &CqlConfig) -> Result<Self, ConnectError> {
        let runtime = crate::blocking::runtime()?;
        let (cluster, tables) = runtime.block_on(async {
            let cluster = Cluster::connect(config).await?;
            schema::check(&cluster, &config.keyspace, &[]).await?;
            let tables = schema::tables_found(&schema::applied(&cluster.session, &config.keyspace).await?);
            Ok::<_, ConnectError>((cluster, tables))
        })?;
        Ok(Self { runtime, cluster, config: CqlConfig { tables, ..config.clone() } })
    }

    /// Hands each window to `each`, until there is no more or it breaks; returns how many. Windows of one
    /// stream and size come in order of time when the stream is named; else partition by partition.
    pub fn windows(
        &mut self,
        query: &WindowQuery,
        each: &mut dyn FnMut(StoredRow) -> ControlFlow<()>,
    ) -> Result<u64, QueryError> {
        let tables = self.tables(query.size_ms)?;
        let question = Question { cluster: &self.cluster, keyspace: &self.config.keyspace, query };
        self.runtime.block_on(async {
            let mut rows = 0;
            for table in tables {
                let flow = match query.latest {
                    true => question.latest(&table, each, &mut rows).await?,
                    false => question.range(&table, each, &mut rows).await?,
                };
                if flow.is_break() {
                    break;
                }
            }
            Ok(rows)
        })
    }

    /// Sizes of windows there are tables for, rising, ms.
    pub fn sizes_ms(&self) -> Vec<i64> {
        let mut sizes: Vec<i64> = self.config.tables.iter().map(WindowTable::size_ms).collect();
        sizes.sort_unstable();
        sizes
    }

    pub(crate) fn tables(&self, size_ms: Option<i64>) -> Result<Vec<WindowTable>, QueryError> {
        let mut tables = self.config.tables.clone();
        tables.sort_by_key(|table| table.size);
        let Some(size_ms) = size_ms else { return Ok(tables) };
        match tables.iter().find(|table| table.size_ms() == size_ms) {
            Some(table) => Ok(vec![*table]),
            None => {
                let known: Vec<String> = tables.iter().map(|table| table.size.to_string()).collect();
                Err(QueryError::NoSuchSize { size_ms, known: known.join(", ") })
            }
        }
    }
}

type Each<'a> = &'a mut dyn FnMut(StoredRow) -> ControlFlow<()>;

pub(crate) struct Question<'a> {
    pub cluster: &'a Cluster,
    pub keyspace: &'a str,
    pub query: &'a WindowQuery,
}

impl Question<'_> {
    async fn range(
        &self,
        table: &WindowTable,
        each: Each<'_>,
        rows: &mut u64,
    ) -> Result<ControlFlow<()>, QueryError> {
        let statement = self.prepare(statements::select_range(self.keyspace, &table.name())).await?;
        let Some(stream_id) = &self.query.stream_id else {
            return self.every_partition(table, &statement, each, rows).await;
        };
        let buckets = match self.buckets(table, BUCKET_WINDOWS) {
            Some((first, last)) => (first..=last).collect(),
            None => self.buckets_of(table, stream_id).await?,
        };
        for bucket in buckets {
            if self.partition(table, &statement, stream_id, bucket, each, rows).await?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// First and last bucket, of so many windows, that can hold an answer; `None` = they have to be listed. Rows older than their
    /// life time are gone, and none is newer than a day from now.
    pub(crate) fn buckets(&self, table: &WindowTable, windows: i64) -> Option<(i64, i64)> {
        let oldest =
            table.ttl.map(|ttl| now_ms().saturating_sub(ttl.get() as i64).saturating_sub(table.size_ms()));
        let from = match (self.query.from_ms, oldest) {
            (Some(from), Some(oldest)) => from.max(oldest),
            (from, oldest) => from.or(oldest)?,
        };
        let to = self.query.to_ms.unwrap_or(i64::MAX).min(now_ms().saturating_add(86_400_000));
        let bucket = |t| WindowSpan::of(t, table.size_ms()).window_id.div_euclid(windows);
        let (first, last) = (bucket(from), bucket(to));
        (last.saturating_sub(first) < BUCKETS_MAX).then_some((first, last))
    }

    async fn buckets_of(&self, table: &WindowTable, stream_id: &str) -> Result<Vec<i64>, QueryError> {
        let statement = self.prepare(statements::select_partitions(self.keyspace, &table.name())).await?;
        let mut pages = self.iter(statement, ()).await?.rows_stream::<(String, i64)>().map_err(typed)?;
        let mut buckets = Vec::new(); // 8 bytes per 10 000 windows of one stream
        while let Some((id, bucket)) = pages.try_next().await.map_err(row_failed)? {
            if id == stream_id && self.may_hold(table.size_ms(), bucket, BUCKET_WINDOWS) {
                buckets.push(bucket);
            }
        }
        buckets.sort_unstable();
        Ok(buckets)
    }

    async fn every_partition(
        &self,
        table: &WindowTable,
        statement: &PreparedStatement,
        each: Each<'_>,
        rows: &mut u64,
    ) -> Result<ControlFlow<()>, QueryError> {
        let list = self.prepare(statements::select_partitions(self.keyspace, &table.name())).await?;
        let mut pages = self.iter(list, ()).await?.rows_stream::<(String, i64)>().map_err(typed)?;
        while let Some((stream_id, bucket)) = pages.try_next().await.map_err(row_failed)? {
            if self.may_hold(table.size_ms(), bucket, BUCKET_WINDOWS)
                && self.partition(table, statement, &stream_id, bucket, each, rows).await?.is_break()
            {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Whether a bucket of so many windows can hold an answer.
    pub(crate) fn may_hold(&self, size_ms: i64, bucket: i64, windows: i64) -> bool {
        let length_ms = windows.saturating_mul(size_ms);
        let start = bucket.saturating_mul(length_ms);
        let after = self.query.to_ms.is_some_and(|to| start >= to);
        let before = self.query.from_ms.is_some_and(|from| start.saturating_add(length_ms) <= from);
        !after && !before
    }

    async fn partition(
        &self,
        table: &WindowTable,
        statement: &PreparedStatement,
        stream_id: &str,
        bucket: i64,
        each: Each<'_>,
        rows: &mut u64,
    ) -> Result<ControlFlow<()>, QueryError> {
        // Within what a timestamp may be on both servers, far beyond the contract's years.
        let from = CqlTimestamp(self.query.from_ms.unwrap_or(i64::MIN / 2));
        let to = CqlTimestamp(self.query.to_ms.unwrap_or(i64::MAX / 2));
        let pager = self.iter(statement.clone(), (stream_id, bucket, from, to)).await?;
        let mut columns = pager.rows_stream::<ReadColumns>().map_err(typed)?;
        while let Some(columns) = columns.try_next().await.map_err(row_failed)? {
            let row = columns.into_stored(table.size_ms());
            let row = row.map_err(|source| QueryError::Row { stream_id: stream_id.to_owned(), source })?;
            *rows += 1;
            if each(row).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    async fn latest(
        &self,
        table: &WindowTable,
        each: Each<'_>,
        rows: &mut u64,
    ) -> Result<ControlFlow<()>, QueryError> {
        let window = self.prepare(statements::select_window(self.keyspace, &table.name())).await?;
        let pager = match &self.query.stream_id {
            Some(id) => {
                let one = self.prepare(statements::select_latest(self.keyspace)).await?;
                self.iter(one, (group_of(id), salt_of(id), id.as_str(), table.size_ms())).await?
            }
            None => self.iter(self.prepare(statements::select_all_latest(self.keyspace)).await?, ()).await?,
        };
        let mut newest = pager.rows_stream::<(String, i64, CqlTimestamp)>().map_err(typed)?;
        while let Some((stream_id, size_ms, t_start)) = newest.try_next().await.map_err(row_failed)? {
            if size_ms != table.size_ms() {
                continue;
            }
            let bucket = bucket_of(WindowSpan::of(t_start.0, size_ms));
            let pager = self.iter(window.clone(), (stream_id.as_str(), bucket, t_start)).await?;
            let mut columns = pager.rows_stream::<ReadColumns>().map_err(typed)?;
            while let Some(columns) = columns.try_next().await.map_err(row_failed)? {
                let row = columns.into_stored(size_ms);
                let row = row.map_err(|source| QueryError::Row { stream_id: stream_id.clone(), source })?;
                *rows += 1;
                if each(row).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    pub(crate) async fn prepare(&self, text: String) -> Result<PreparedStatement, QueryError> {
        let mut statement = self.cluster.session.prepare(text).await.map_err(ConnectError::from)?;
        statement.set_page_size(PAGE_ROWS);
        Ok(statement)
    }

    pub(crate) async fn iter(
        &self,
        statement: PreparedStatement,
        values: impl SerializeRow,
    ) -> Result<scylla::client::pager::QueryPager, QueryError> {
        self.cluster.session.execute_iter(statement, values).await.map_err(page_failed)
    }
}

fn page_failed(error: PagerExecutionError) -> QueryError {
    QueryError::Request { class: class_of_pager(&error).as_str(), reason: error.to_string() }
}

pub(crate) fn row_failed(error: NextRowError) -> QueryError {
    QueryError::Request { class: class_of_row(&error).as_str(), reason: error.to_string() }
}

pub(crate) fn typed(error: scylla::errors::TypeCheckError) -> QueryError {
    QueryError::Request { class: "schema", reason: format!("{error}; run `evenkeel doctor`") }
}
