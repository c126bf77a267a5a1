//! A stored row as columns, and back: what is read equals what was written.
//!
//! Owns: the mapping of every column. Never: null or unset columns (a write names all of them, so a later
//! one leaves nothing of an earlier one behind). Numbers without sign travel as the same 64 bits.

use crate::seqs::{self, SeqsError};
use crate::table::{Life, bucket_of, group_of, latest_timestamp_us, salt_of, write_timestamp_us};
use evenkeel_codec::{decode_batch, encode_batch};
use evenkeel_model::{
    ClosedBy, DropReason, EventBatch, FieldStats, SeqRange, StoredRow, WindowRow, WindowSpan,
};
use scylla::value::CqlTimestamp;
use scylla::{DeserializeRow, DeserializeValue, SerializeRow, SerializeValue};
use std::collections::BTreeMap;

/// Why columns do not make a row.
#[derive(Debug, thiserror::Error)]
pub enum RowError {
    /// A name this program does not know: written by a newer one.
    #[error(
        "column {column} holds {text:?}, which this version does not know; run the version that wrote it"
    )]
    Name {
        /// The column.
        column: &'static str,
        /// What it holds.
        text: String,
    },
    /// A number out of its range.
    #[error("column {column} holds {value}, which is out of range")]
    Range {
        /// The column.
        column: &'static str,
        /// What it holds.
        value: i64,
    },
    /// The bytes of `seq_ranges`.
    #[error(transparent)]
    Seqs(#[from] SeqsErrorText),
    /// The bytes of `events`.
    #[error("column events cannot be read: {0}")]
    Events(String),
}

/// What is wrong with the bytes of `seq_ranges`.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct SeqsErrorText(SeqsError);

/// The type `field_stats`.
#[derive(Debug, Clone, PartialEq, SerializeValue, DeserializeValue)]
pub(crate) struct StatsColumns {
    count: i64,
    min: f64,
    max: f64,
    sum: f64,
    sum_lo: f64,
    mean: f64,
    m2: f64,
    first: f64,
    first_ts: i64,
    first_seq: i64,
    last: f64,
    last_ts: i64,
    last_seq: i64,
}

/// What a write of a window row binds, by name.
#[derive(SerializeRow)]
pub(crate) struct WriteValues<'a> {
    stream_id: &'a str,
    bucket: i64,
    t_start: CqlTimestamp,
    t_end: CqlTimestamp,
    revision: i32,
    closed_by: &'static str,
    count: i64,
    missing: i64,
    late_merged: i32,
    late_offset: i64,
    dropped: &'a BTreeMap<&'static str, i64>,
    seq_min: i64,
    seq_max: i64,
    seq_ranges: &'a [u8],
    max_ts: CqlTimestamp,
    first_arrival: CqlTimestamp,
    last_arrival: CqlTimestamp,
    stats: &'a BTreeMap<&'a str, StatsColumns>,
    events: &'a [u8],
    written_us: i64,
    ttl_s: i32,
}

/// What a write of `latest_window` binds, by name.
#[derive(SerializeRow)]
pub(crate) struct LatestValues<'a> {
    in_group: &'a str,
    salt: i32,
    stream_id: &'a str,
    size_ms: i64,
    t_start: CqlTimestamp,
    t_end: CqlTimestamp,
    revision: i32,
    closed_by: &'static str,
    count: i64,
    missing: i64,
    seq_min: i64,
    seq_max: i64,
    max_ts: CqlTimestamp,
    first_arrival: CqlTimestamp,
    last_arrival: CqlTimestamp,
    dropped: &'a BTreeMap<&'static str, i64>,
    stats: &'a BTreeMap<&'a str, StatsColumns>,
    written_us: i64,
    ttl_s: i32,
}

/// The computed columns of one row, shared by both writes.
pub(crate) struct Encoded<'a> {
    stored: &'a StoredRow,
    dropped: BTreeMap<&'static str, i64>,
    stats: BTreeMap<&'a str, StatsColumns>,
    seq_ranges: Vec<u8>,
    events: Vec<u8>,
}

impl<'a> Encoded<'a> {
    pub fn of(stored: &'a StoredRow) -> Self {
        let row = &stored.row;
        let mut events = Vec::new();
        // No batch is empty (EventBatch::check_shape), so no bytes = events are not included.
        if let Some(batch) = row.events.as_ref().filter(|batch| !batch.is_empty()) {
            encode_batch(batch, &mut events);
        }
        Self {
            stored,
            dropped: row.dropped.iter().map(|(reason, n)| (reason.as_str(), *n as i64)).collect(),
            stats: row.stats.iter().map(|s| (s.name.as_str(), StatsColumns::of(s))).collect(),
            seq_ranges: seqs::encode(&row.seqs),
            events,
        }
    }

    /// About how many bytes the write carries: blobs and texts exactly, fixed columns from above.
    pub fn bytes(&self) -> usize {
        let stats: usize = self.stats.keys().map(|name| name.len() + 180).sum();
        512 + self.stored.row.stream_id.len() + self.seq_ranges.len() + self.events.len() + stats
    }

    /// The write of the window row; `None` = its life is over.
    pub fn window(&self, life: Life) -> Option<WriteValues<'_>> {
        let (row, span) = (&self.stored.row, self.stored.row.span);
        let (seq_min, seq_max) = seq_bounds(row);
        Some(WriteValues {
            stream_id: &row.stream_id,
            bucket: bucket_of(span),
            t_start: CqlTimestamp(span.t_start()),
            t_end: CqlTimestamp(span.t_end()),
            revision: self.stored.revision as i32,
            closed_by: row.closed_by.as_str(),
            count: row.count as i64,
            missing: row.missing() as i64,
            late_merged: self.stored.revision as i32,
            late_offset: self.stored.late_offset,
            dropped: &self.dropped,
            seq_min,
            seq_max,
            seq_ranges: &self.seq_ranges,
            max_ts: CqlTimestamp(row.max_ts),
            first_arrival: CqlTimestamp(row.first_arrival),
            last_arrival: CqlTimestamp(row.last_arrival),
            stats: &self.stats,
            events: &self.events,
            written_us: write_timestamp_us(span, self.stored.revision),
            ttl_s: life.ttl_s()?,
        })
    }

    /// The write of `latest_window`; `None` = nothing to write there.
    pub fn latest(&self, life: Life) -> Option<LatestValues<'_>> {
        let (row, span) = (&self.stored.row, self.stored.row.span);
        let (seq_min, seq_max) = seq_bounds(row);
        Some(LatestValues {
            in_group: group_of(&row.stream_id),
            salt: salt_of(&row.stream_id),
            stream_id: &row.stream_id,
            size_ms: span.size_ms,
            t_start: CqlTimestamp(span.t_start()),
            t_end: CqlTimestamp(span.t_end()),
            revision: self.stored.revision as i32,
            closed_by: row.closed_by.as_str(),
            count: row.count as i64,
            missing: row.missing() as i64,
            seq_min,
            seq_max,
            max_ts: CqlTimestamp(row.max_ts),
            first_arrival: CqlTimestamp(row.first_arrival),
            last_arrival: CqlTimestamp(row.last_arrival),
            dropped: &self.dropped,
            stats: &self.stats,
            written_us: latest_timestamp_us(span, self.stored.revision)?,
            ttl_s: life.ttl_s()?,
        })
    }
}

fn seq_bounds(row: &WindowRow) -> (i64, i64) {
    row.seq_bounds().map_or((-1, -1), |(lo, hi)| (lo as i64, hi as i64))
}

impl StatsColumns {
    fn of(s: &FieldStats) -> Self {
        Self {
            count: s.count as i64,
            min: s.min,
            max: s.max,
            sum: s.sum,
            sum_lo: s.sum_lo,
            mean: s.mean,
            m2: s.m2,
            first: s.first,
            first_ts: s.first_ts,
            first_seq: s.first_seq as i64,
            last: s.last,
            last_ts: s.last_ts,
            last_seq: s.last_seq as i64,
        }
    }

    fn into_stats(self, name: String) -> FieldStats {
        FieldStats {
            name,
            count: self.count as u64,
            min: self.min,
            max: self.max,
            sum: self.sum,
            sum_lo: self.sum_lo,
            mean: self.mean,
            m2: self.m2,
            first: self.first,
            first_ts: self.first_ts,
            first_seq: self.first_seq as u64,
            last: self.last,
            last_ts: self.last_ts,
            last_seq: self.last_seq as u64,
        }
    }
}

/// What a read of a window row returns, by name.
#[derive(Debug, DeserializeRow)]
pub(crate) struct ReadColumns {
    stream_id: String,
    t_start: CqlTimestamp,
    revision: i32,
    closed_by: String,
    count: i64,
    late_offset: i64,
    dropped: BTreeMap<String, i64>,
    seq_ranges: Vec<u8>,
    max_ts: CqlTimestamp,
    first_arrival: CqlTimestamp,
    last_arrival: CqlTimestamp,
    stats: BTreeMap<String, StatsColumns>,
    events: Vec<u8>,
}

impl ReadColumns {
    /// The row; `size_ms` = that of the table.
    pub fn into_stored(self, size_ms: i64) -> Result<StoredRow, RowError> {
        let seqs: Vec<SeqRange> = seqs::decode(&self.seq_ranges).map_err(SeqsErrorText)?;
        let closed_by = ClosedBy::parse(&self.closed_by)
            .ok_or(RowError::Name { column: "closed_by", text: self.closed_by })?;
        let revision = u32::try_from(self.revision)
            .map_err(|_| RowError::Range { column: "revision", value: self.revision.into() })?;
        let mut dropped = Vec::with_capacity(self.dropped.len());
        for (name, n) in self.dropped {
            let reason = DropReason::parse(&name).ok_or(RowError::Name { column: "dropped", text: name })?;
            dropped.push((reason, n as u64));
        }
        dropped.sort_unstable(); // the map is in order of names, the row in order of reasons
        let events = match self.events.is_empty() {
            true => None,
            false => {
                let mut batch = EventBatch::default();
                decode_batch(&self.events, &mut batch).map_err(|e| RowError::Events(e.to_string()))?;
                Some(batch)
            }
        };
        let row = WindowRow {
            stream_id: self.stream_id,
            span: WindowSpan::of(self.t_start.0, size_ms),
            closed_by,
            max_ts: self.max_ts.0,
            first_arrival: self.first_arrival.0,
            last_arrival: self.last_arrival.0,
            count: self.count as u64,
            seqs,
            dropped,
            stats: self.stats.into_iter().map(|(name, s)| s.into_stats(name)).collect(),
            events,
        };
        Ok(StoredRow { row, revision, late_offset: self.late_offset })
    }
}
