//! The record WindowRow: a window's row (kind row), or late events for the stored row (kind late).
//!
//! Owns: the order of the record's members, and its head, which recovery reads alone. The derived members
//! (t_start, t_end, seq_min, seq_max, missing) are written for generic readers and never trusted here.

use crate::row_parts::{
    put_dropped, put_seqs, put_stats, read_arrivals, read_dropped, read_seqs, read_stats,
};
use crate::wire::{Reader, put_bytes, put_end, put_long, put_u64};
use crate::{DecodeError, batch, schema};
use evenkeel_model::{ClosedBy, EventBatch, LateRecord, WindowRow, WindowSpan, check_stream_id};

/// A record of the topic windows.
#[derive(Debug, Clone, PartialEq)]
pub enum WindowRecord {
    /// The window's one row.
    Row(Box<WindowRow>),
    /// Events to merge into the stored row.
    Late(Box<LateRecord>),
}

/// What recovery needs of a row: whose it is, which window it vouches for, and how far the clocks were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowHead<'a> {
    /// The stream.
    pub stream_id: &'a str,
    /// Size and id of the window.
    pub span: WindowSpan,
    /// Largest event time of the stream when the row was sent, ms.
    pub max_ts: i64,
    /// Arrival of the last counted event, ms.
    pub last_arrival: i64,
}

const KIND_ROW: i64 = 0;
const KIND_LATE: i64 = 1;

/// The members every record begins with, in the schema's order.
struct Head<'a> {
    late: bool,
    stream_id: &'a str,
    span: WindowSpan,
    closed_by: ClosedBy,
    max_ts: i64,
    first_arrival: i64,
    last_arrival: i64,
}

/// Appends `row` as one record of kind row. Equal rows give equal bytes.
pub fn encode_row(row: &WindowRow, out: &mut Vec<u8>) {
    let head = Head {
        late: false,
        stream_id: &row.stream_id,
        span: row.span,
        closed_by: row.closed_by,
        max_ts: row.max_ts,
        first_arrival: row.first_arrival,
        last_arrival: row.last_arrival,
    };
    put_head(&head, out);
    put_u64(out, row.count);
    let bounds = row.seq_bounds();
    put_optional(out, bounds.map(|(lo, _)| lo));
    put_optional(out, bounds.map(|(_, hi)| hi));
    put_seqs(&row.seqs, out);
    put_u64(out, row.missing());
    put_dropped(&row.dropped, out);
    put_stats(&row.stats, out);
    put_long(out, i64::from(row.events.is_some()));
    if let Some(events) = &row.events {
        batch::write_body(events, out);
    }
    put_end(out);
}

/// Appends `late` as one record of kind late. It holds at least one event, and one arrival per event.
pub fn encode_late(late: &LateRecord, out: &mut Vec<u8>) {
    let first_arrival = late.arrivals.iter().copied().min().unwrap_or(late.events.arrival_ms);
    let head = Head {
        late: true,
        stream_id: &late.events.stream_id,
        span: WindowSpan { size_ms: late.size_ms, window_id: late.window_id },
        closed_by: ClosedBy::Late,
        max_ts: late.events.ts.iter().copied().max().unwrap_or(0),
        first_arrival,
        last_arrival: late.arrivals.iter().copied().max().unwrap_or(first_arrival),
    };
    put_head(&head, out);
    put_long(out, late.events.len() as i64);
    put_optional(out, None);
    put_optional(out, None);
    put_end(out); // seq_ranges
    put_u64(out, 0); // missing
    put_end(out); // dropped
    put_end(out); // stats
    put_long(out, 1);
    batch::write_body(&late.events, out);
    if late.arrivals.iter().any(|arrival| *arrival != first_arrival) {
        put_long(out, late.arrivals.len() as i64);
        late.arrivals.iter().for_each(|arrival| put_long(out, arrival.wrapping_sub(first_arrival)));
    }
    put_end(out);
}

/// Reads a record of the topic windows.
pub fn decode_window_record(bytes: &[u8]) -> Result<WindowRecord, DecodeError> {
    let mut reader = Reader::new(schema::body_of(&schema::WINDOW_ROW, bytes)?);
    let head = read_head(&mut reader)?;
    let count = reader.u64("count")?;
    skip_optional(&mut reader, "seq_min")?;
    skip_optional(&mut reader, "seq_max")?;
    let seqs = read_seqs(&mut reader)?;
    reader.long("missing")?;
    let dropped = read_dropped(&mut reader)?;
    let stats = read_stats(&mut reader)?;
    let events = read_events(&mut reader, head.stream_id)?;
    let offsets_max = if head.late { events.as_ref().map_or(0, EventBatch::len) } else { 0 };
    let arrivals = read_arrivals(&mut reader, head.first_arrival, offsets_max)?;
    reader.end()?;
    if !head.late {
        return Ok(WindowRecord::Row(Box::new(WindowRow {
            stream_id: head.stream_id.to_owned(),
            span: head.span,
            closed_by: head.closed_by,
            max_ts: head.max_ts,
            first_arrival: head.first_arrival,
            last_arrival: head.last_arrival,
            count,
            seqs,
            dropped,
            stats,
            events,
        })));
    }
    let Some(events) = events.filter(|events| !events.is_empty()) else {
        return Err(DecodeError::Contradiction { member: "events", why: "a late record without events" });
    };
    let WindowSpan { size_ms, window_id } = head.span;
    Ok(WindowRecord::Late(Box::new(LateRecord { size_ms, window_id, arrivals, events })))
}

/// Reads the head of a record of the topic windows and leaves the rest unread and unchecked; `None` for a
/// late record. Allocates nothing.
pub fn decode_row_head(bytes: &[u8]) -> Result<Option<RowHead<'_>>, DecodeError> {
    let mut reader = Reader::new(schema::body_of(&schema::WINDOW_ROW, bytes)?);
    let head = read_head(&mut reader)?;
    let Head { late, stream_id, span, max_ts, last_arrival, .. } = head;
    Ok((!late).then_some(RowHead { stream_id, span, max_ts, last_arrival }))
}

fn put_head(head: &Head<'_>, out: &mut Vec<u8>) {
    schema::write_header(&schema::WINDOW_ROW, out);
    put_long(out, if head.late { KIND_LATE } else { KIND_ROW });
    put_bytes(out, head.stream_id.as_bytes());
    put_long(out, head.span.size_ms);
    put_long(out, head.span.window_id);
    put_long(out, head.span.t_start());
    put_long(out, head.span.t_end());
    put_long(out, head.closed_by.index() as i64);
    put_long(out, head.max_ts);
    put_long(out, head.first_arrival);
    put_long(out, head.last_arrival);
}

fn read_head<'a>(reader: &mut Reader<'a>) -> Result<Head<'a>, DecodeError> {
    let late = match reader.long("kind")? {
        KIND_ROW => false,
        KIND_LATE => true,
        got => return Err(DecodeError::Choice { member: "kind", got, want: "0 is row, 1 is late" }),
    };
    let stream_id = reader.text("stream_id")?;
    check_stream_id(stream_id).map_err(|source| DecodeError::Text { member: "stream_id", source })?;
    let span = WindowSpan { size_ms: reader.long("size_ms")?, window_id: reader.long("window_id")? };
    // Later arithmetic on the span (its end, in µs) must not overflow.
    let t_end = span.window_id.checked_add(1).and_then(|id| id.checked_mul(span.size_ms));
    let t_start = span.window_id.checked_mul(span.size_ms);
    if span.size_ms < 1 || t_start.is_none() || t_end.and_then(|t| t.checked_mul(1_000)).is_none() {
        return Err(DecodeError::Contradiction {
            member: "window_id",
            why: "no window of this size is there",
        });
    }
    reader.long("t_start")?;
    reader.long("t_end")?;
    let got = reader.long("closed_by")?;
    let closed_by = usize::try_from(got).ok().and_then(ClosedBy::from_index).ok_or(DecodeError::Choice {
        member: "closed_by",
        got,
        want: "0 to 6, in the order of the schema",
    })?;
    Ok(Head {
        late,
        stream_id,
        span,
        closed_by,
        max_ts: reader.long("max_ts")?,
        first_arrival: reader.long("first_arrival")?,
        last_arrival: reader.long("last_arrival")?,
    })
}

fn read_events(reader: &mut Reader<'_>, stream_id: &str) -> Result<Option<EventBatch>, DecodeError> {
    if !reader.present("events")? {
        return Ok(None);
    }
    let mut events = EventBatch::default();
    batch::read_body(reader, &mut events)?;
    if events.stream_id != stream_id {
        return Err(DecodeError::Contradiction {
            member: "events",
            why: "of another stream than the record",
        });
    }
    // A row may hold no raw event any more (its ring had room for others); then there is no shape.
    if !events.is_empty() {
        events.check_shape()?;
    }
    Ok(Some(events))
}

fn put_optional(out: &mut Vec<u8>, value: Option<u64>) {
    put_long(out, i64::from(value.is_some()));
    if let Some(value) = value {
        put_u64(out, value);
    }
}

fn skip_optional(reader: &mut Reader<'_>, member: &'static str) -> Result<(), DecodeError> {
    if reader.present(member)? {
        reader.long(member)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::hex;
    use evenkeel_model::{DropReason, FieldStats, SeqRange};

    /// Two events in [10 s, 15 s), another one refused.
    pub(crate) fn example() -> WindowRow {
        WindowRow {
            stream_id: "s".into(),
            span: WindowSpan { size_ms: 5_000, window_id: 2 },
            closed_by: ClosedBy::Idle,
            max_ts: 14_000,
            first_arrival: 12_001,
            last_arrival: 14_001,
            count: 3,
            seqs: vec![SeqRange { lo: 7, hi: 8, count: 2 }, SeqRange { lo: 11, hi: 13, count: 1 }],
            dropped: vec![(DropReason::Duplicate, 1)],
            stats: vec![FieldStats {
                name: "g".into(),
                count: 2,
                min: 1.0,
                max: 3.0,
                sum: 4.0,
                sum_lo: 0.0,
                mean: 2.0,
                m2: 2.0,
                first: 1.0,
                first_ts: 12_000,
                first_seq: 7,
                last: 3.0,
                last_ts: 14_000,
                last_seq: 11,
            }],
            events: None,
        }
    }

    const HEADER: &str = "c3018a1f1ec95fc15d59";

    #[test]
    fn golden_bytes_of_a_row() {
        let mut record = Vec::new();
        encode_row(&example(), &mut record);
        let body = "00 02 73 904e 04 a09c01 b0ea01 04 e0da01 c2bb01 e2da01 | 06 02 0e 02 1a | 04 0e 02 00 06 04 04 00 \
                    | 08 | 02 12 6475706c6963617465 02 00 | 02 02 67 04 000000000000f03f 0000000000000840 \
                    0000000000001040 0000000000000000 0000000000000040 0000000000000040 000000000000f03f c0bb01 0e \
                    0000000000000840 e0da01 16 00 | 00 00";
        assert_eq!(hex(&record), format!("{HEADER}{}", body.replace([' ', '|'], "")));
        assert_eq!(decode_window_record(&record), Ok(WindowRecord::Row(Box::new(example()))));
    }

    #[test]
    fn golden_bytes_of_a_late_record() {
        let events =
            EventBatch { stream_id: "s".into(), arrival_ms: 90, ts: vec![12, 11], ..EventBatch::default() };
        let late = LateRecord { size_ms: 5, window_id: 2, arrivals: vec![91, 90], events };
        let mut record = Vec::new();
        encode_late(&late, &mut record);
        let body = "02 02 73 0a 04 14 1e 0c 18 b401 b601 | 04 00 00 00 00 00 00 \
                    | 02 02 73 b401 00 04 18 02 01 00 00 00 00 00 | 04 02 00 00";
        assert_eq!(hex(&record), format!("{HEADER}{}", body.replace([' ', '|'], "")));
        assert_eq!(decode_window_record(&record), Ok(WindowRecord::Late(Box::new(late))));
        assert_eq!(decode_row_head(&record), Ok(None));
    }

    /// A ring may have given the row's events away before it closed.
    #[test]
    fn a_row_whose_events_are_gone_is_a_row() {
        let events = EventBatch { stream_id: "s".into(), ..EventBatch::default() };
        let row = WindowRow { events: Some(events), ..example() };
        let mut record = Vec::new();
        encode_row(&row, &mut record);
        assert_eq!(decode_window_record(&record), Ok(WindowRecord::Row(Box::new(row))));
    }

    #[test]
    fn contradictions_are_refused() {
        let member_of = |record: &[u8]| match decode_window_record(record) {
            Err(DecodeError::Contradiction { member, .. }) => member,
            other => panic!("{other:?}"),
        };
        let written = |row: WindowRow| {
            let mut record = Vec::new();
            encode_row(&row, &mut record);
            record
        };
        let seqs =
            |pairs: &[(u64, u64)]| pairs.iter().map(|&(lo, hi)| SeqRange { lo, hi, count: 1 }).collect();
        assert_eq!(
            member_of(&written(WindowRow { seqs: seqs(&[(5, 6), (6, 7)]), ..example() })),
            "seq_ranges"
        );
        assert_eq!(
            member_of(&written(WindowRow { seqs: seqs(&[(5, 6), (1, 9)]), ..example() })),
            "seq_ranges"
        );
        let none = vec![SeqRange { lo: 5, hi: 6, count: 0 }];
        assert_eq!(member_of(&written(WindowRow { seqs: none, ..example() })), "seq_ranges");
        let dropped = vec![(DropReason::Late, 1), (DropReason::Late, 2)];
        assert_eq!(member_of(&written(WindowRow { dropped, ..example() })), "dropped");
        let stats = [example().stats, example().stats].concat();
        assert_eq!(member_of(&written(WindowRow { stats, ..example() })), "stats");
        let span = WindowSpan { size_ms: 0, window_id: 2 };
        assert_eq!(member_of(&written(WindowRow { span, ..example() })), "window_id");
        let events = Some(EventBatch { stream_id: "t".into(), ts: vec![1], ..EventBatch::default() });
        assert_eq!(member_of(&written(WindowRow { events, ..example() })), "events");
        let mut late = Vec::new();
        encode_late(
            &LateRecord {
                size_ms: 5,
                events: EventBatch { stream_id: "s".into(), ..EventBatch::default() },
                ..LateRecord::default()
            },
            &mut late,
        );
        assert_eq!(member_of(&late), "events");
    }
}
