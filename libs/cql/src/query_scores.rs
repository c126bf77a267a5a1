//! Reading scores back: `evenkeel query scores --cql`. As query.rs: bounded by pages, handed out as they come.

use crate::query::{CqlReader, QueryError, Question, WindowQuery, row_failed, typed};
use crate::score::ScoreColumns;
use crate::statements;
use crate::table::{BUCKET_SCORED_WINDOWS, WindowTable};
use evenkeel_model::StoredScore;
use futures::TryStreamExt;
use scylla::statement::prepared::PreparedStatement;
use scylla::value::CqlTimestamp;
use std::ops::ControlFlow;

type Each<'a> = &'a mut dyn FnMut(StoredScore) -> ControlFlow<()>;

impl CqlReader {
    /// Hands each score to `each`, until there is no more or it breaks; returns how many. `latest` is not looked
    /// at. Scores of one stream and size come in order of time when the stream is named; else partition by partition.
    pub fn scores(
        &mut self,
        query: &WindowQuery,
        each: &mut dyn FnMut(StoredScore) -> ControlFlow<()>,
    ) -> Result<u64, QueryError> {
        let tables = self.tables(query.size_ms)?;
        let question = Question { cluster: &self.cluster, keyspace: &self.config.keyspace, query };
        self.runtime.block_on(async {
            let statement = question.prepare(statements::select_scores(question.keyspace)).await?;
            let mut rows = 0;
            for table in tables {
                let flow = match &query.stream_id {
                    Some(stream) => question.scores_of(&statement, &table, stream, each, &mut rows).await?,
                    None => question.all_scores(&statement, &table, each, &mut rows).await?,
                };
                if flow.is_break() {
                    break;
                }
            }
            Ok(rows)
        })
    }
}

impl Question<'_> {
    async fn scores_of(
        &self,
        statement: &PreparedStatement,
        table: &WindowTable,
        stream_id: &str,
        each: Each<'_>,
        rows: &mut u64,
    ) -> Result<ControlFlow<()>, QueryError> {
        let mut buckets: Vec<i64> = match self.buckets(table, BUCKET_SCORED_WINDOWS) {
            Some((first, last)) => (first..=last).collect(),
            None => {
                let listed = self.score_partitions(table).await?.into_iter();
                listed.filter(|(id, _)| id == stream_id).map(|(_, bucket)| bucket).collect()
            }
        };
        buckets.sort_unstable();
        for bucket in buckets {
            if self.scores_in(statement, table, (stream_id, bucket), each, rows).await?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    async fn all_scores(
        &self,
        statement: &PreparedStatement,
        table: &WindowTable,
        each: Each<'_>,
        rows: &mut u64,
    ) -> Result<ControlFlow<()>, QueryError> {
        for (stream_id, bucket) in self.score_partitions(table).await? {
            if self.scores_in(statement, table, (&stream_id, bucket), each, rows).await?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Stream and bucket of every partition that can hold an answer: some 50 bytes per 1 000 windows of a stream.
    async fn score_partitions(&self, table: &WindowTable) -> Result<Vec<(String, i64)>, QueryError> {
        let list = self.prepare(statements::select_score_partitions(self.keyspace)).await?;
        let mut pages = self.iter(list, ()).await?.rows_stream::<(String, i64, i64)>().map_err(typed)?;
        let mut found = Vec::new();
        while let Some((stream_id, size_ms, bucket)) = pages.try_next().await.map_err(row_failed)? {
            if size_ms == table.size_ms() && self.may_hold(size_ms, bucket, BUCKET_SCORED_WINDOWS) {
                found.push((stream_id, bucket));
            }
        }
        Ok(found)
    }

    async fn scores_in(
        &self,
        statement: &PreparedStatement,
        table: &WindowTable,
        (stream_id, bucket): (&str, i64),
        each: Each<'_>,
        rows: &mut u64,
    ) -> Result<ControlFlow<()>, QueryError> {
        let from = CqlTimestamp(self.query.from_ms.unwrap_or(i64::MIN / 2));
        let to = CqlTimestamp(self.query.to_ms.unwrap_or(i64::MAX / 2));
        let key = (stream_id, table.size_ms(), bucket, from, to);
        let pager = self.iter(statement.clone(), key).await?;
        let mut columns = pager.rows_stream::<ScoreColumns>().map_err(typed)?;
        while let Some(columns) = columns.try_next().await.map_err(row_failed)? {
            let stored = columns.into_stored(table.size_ms());
            let stored =
                stored.map_err(|source| QueryError::Row { stream_id: stream_id.to_owned(), source })?;
            *rows += 1;
            if each(stored).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}
