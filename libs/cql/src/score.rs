//! A stored score as columns, and back: what is read equals what was written.
//!
//! Owns: the mapping of every column of `scores`. Never: null or unset columns.

use crate::row::RowError;
use crate::table::{Life, bucket_of_scores, write_timestamp_us};
use evenkeel_model::{Score, ScoredEvent, StoredScore, WindowSpan};
use scylla::value::CqlTimestamp;
use scylla::{DeserializeRow, SerializeRow};
use std::collections::BTreeMap;

/// What a write of a score binds, by name.
#[derive(SerializeRow)]
pub(crate) struct ScoreValues<'a> {
    stream_id: &'a str,
    size_ms: i64,
    bucket: i64,
    t_start: CqlTimestamp,
    model: &'a str,
    model_version: &'a str,
    shadow: bool,
    place: i64,
    t_end: CqlTimestamp,
    event: BTreeMap<&'static str, i64>,
    score: f64,
    threshold: f64,
    prediction: bool,
    last_arrival: CqlTimestamp,
    written_us: i64,
    ttl_s: i32,
}

impl<'a> ScoreValues<'a> {
    /// The write of a score; `None` = its life is over.
    pub fn of(stored: &'a StoredScore, life: Life) -> Option<Self> {
        let (score, span) = (&stored.score, stored.score.span);
        let mut event = BTreeMap::new();
        if let Some(ScoredEvent { ts, seq }) = score.event {
            event.insert("ts", ts);
            event.extend(seq.map(|seq| ("seq", seq as i64)));
        }
        Some(Self {
            stream_id: &score.stream_id,
            size_ms: span.size_ms,
            bucket: bucket_of_scores(span),
            t_start: CqlTimestamp(span.t_start()),
            model: &score.model,
            model_version: &score.version,
            shadow: score.shadow,
            place: stored.place,
            t_end: CqlTimestamp(span.t_end()),
            event,
            score: score.score,
            threshold: score.threshold.unwrap_or(f64::NAN),
            prediction: score.prediction,
            last_arrival: CqlTimestamp(score.last_arrival),
            written_us: write_timestamp_us(span, 0),
            ttl_s: life.ttl_s()?,
        })
    }
}

/// What a read of a score returns, by name.
#[derive(Debug, DeserializeRow)]
pub(crate) struct ScoreColumns {
    stream_id: String,
    t_start: CqlTimestamp,
    model: String,
    model_version: String,
    shadow: bool,
    place: i64,
    event: BTreeMap<String, i64>,
    score: f64,
    threshold: f64,
    prediction: bool,
    last_arrival: CqlTimestamp,
}

impl ScoreColumns {
    /// The score; `size_ms` = that of its partition.
    pub fn into_stored(self, size_ms: i64) -> Result<StoredScore, RowError> {
        if let Some(name) = self.event.keys().find(|name| !["ts", "seq"].contains(&name.as_str())) {
            return Err(RowError::Name { column: "event", text: name.clone() });
        }
        let seq = self.event.get("seq").map(|seq| *seq as u64);
        let event = self.event.get("ts").map(|ts| ScoredEvent { ts: *ts, seq });
        let score = Score {
            stream_id: self.stream_id,
            span: WindowSpan::of(self.t_start.0, size_ms),
            event,
            model: self.model,
            version: self.model_version,
            shadow: self.shadow,
            score: self.score,
            threshold: Some(self.threshold).filter(|threshold| !threshold.is_nan()),
            prediction: self.prediction,
            last_arrival: self.last_arrival.0,
        };
        Ok(StoredScore { score, place: self.place })
    }
}
