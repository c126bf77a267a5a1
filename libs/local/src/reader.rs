//! Records out of the log, a bounded chunk at a time.
//! Owns: a reading connection and the buffers of one chunk, used again and again. Never: waits.

use crate::address::Address;
use crate::headers;
use evenkeel_model::Topic;
use evenkeel_seam::RecordRef;
use rusqlite::{Connection, params};
use std::ops::Range;

/// Bounds of a chunk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FetchLimits {
    pub bytes_max: usize,
    pub records_max: usize,
    pub headers: bool,
}

/// Reads chunks of one log.
pub(crate) struct LogReader {
    pub conn: Connection,
    pub limits: FetchLimits,
    arena: Vec<u8>,
    spans: Vec<Span>,
}

/// Where a record of the chunk lies in the arena.
struct Span {
    offset: u64,
    timestamp_ms: i64,
    key: Option<Range<usize>>,
    value: Option<Range<usize>>,
    headers: Range<usize>,
}

impl LogReader {
    pub fn new(conn: Connection, limits: FetchLimits) -> Self {
        Self { conn, limits, arena: Vec::new(), spans: Vec::new() }
    }

    /// Reads records of `[offsets)` up to the limits, at least one if there is one. Returns the offset
    /// after the last one read, or the end of the range if no more is there.
    pub fn read(&mut self, topic: Topic, partition: u32, offsets: Range<u64>) -> rusqlite::Result<u64> {
        self.spans.clear();
        self.arena.clear();
        self.arena.shrink_to(self.limits.bytes_max.saturating_mul(2));
        let ids = Address::range(topic, partition, offsets.clone());
        let mut stmt = self.conn.prepare_cached(
            "SELECT id, at_ms, key, value, headers FROM record WHERE id >= ?1 AND id < ?2 ORDER BY id",
        )?;
        let mut rows = stmt.query(params![ids.start, ids.end])?;
        while let Some(row) = rows.next()? {
            let offset = Address::offset_of(row.get(0)?);
            let [key, value, headers] =
                [2, 3, 4].map(|i| row.get_ref(i).and_then(|v| Ok(v.as_blob_or_null()?)));
            let (key, value, headers) = (key?, value?, headers?.filter(|_| self.limits.headers));
            let bytes = [key, value, headers].into_iter().flatten().map(<[u8]>::len).sum::<usize>();
            let full = self.arena.len() + bytes > self.limits.bytes_max
                || self.spans.len() >= self.limits.records_max;
            if full && !self.spans.is_empty() {
                return Ok(offset);
            }
            let arena = &mut self.arena;
            self.spans.push(Span {
                offset,
                timestamp_ms: row.get(1)?,
                key: key.map(|bytes| store(arena, bytes)),
                value: value.map(|bytes| store(arena, bytes)),
                headers: store(arena, headers.unwrap_or_default()),
            });
        }
        Ok(offsets.end)
    }

    /// Whether the last chunk holds no record.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Hands the last chunk over as records.
    pub fn with_records(&self, act: impl FnOnce(&[RecordRef<'_>])) {
        let mut all = Vec::new();
        let mut ends = Vec::with_capacity(self.spans.len());
        for span in &self.spans {
            headers::decode(&self.arena[span.headers.clone()], &mut all);
            ends.push(all.len());
        }
        let mut from = 0;
        let record = |(span, end): (&Span, usize)| {
            let headers = &all[std::mem::replace(&mut from, end)..end];
            RecordRef {
                offset: span.offset,
                timestamp_ms: span.timestamp_ms,
                key: span.key.clone().map(|r| &self.arena[r]),
                value: span.value.clone().map(|r| &self.arena[r]),
                headers,
                original: None,
            }
        };
        let records: Vec<RecordRef<'_>> = self.spans.iter().zip(ends).map(record).collect();
        act(&records);
    }
}

fn store(arena: &mut Vec<u8>, bytes: &[u8]) -> Range<usize> {
    let start = arena.len();
    arena.extend_from_slice(bytes);
    start..arena.len()
}
