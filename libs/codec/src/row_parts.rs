//! The repeated parts of the record WindowRow: seq ranges, reasons, statistics, arrivals.
//!
//! Owns: their bounds and their order. Maps may come in any order and leave in rising order.

use crate::DecodeError;
use crate::batch::read_field_name;
use crate::wire::{Reader, put_block, put_bytes, put_double, put_end, put_long, put_u64};
use evenkeel_model::limits::{BATCH_EVENTS_MAX, FIELDS_MAX};
use evenkeel_model::{DropReason, FieldStats, SeqRange};

/// Most seq intervals of one row: no window keeps more (`seq-intervals-max` is far below), and a row of
/// singles cannot have more than it could have in a batch.
const SEQ_RANGES_MAX: usize = BATCH_EVENTS_MAX;

/// Appends the intervals as (gap, span, holes): small numbers, whatever the seqs are.
pub(crate) fn put_seqs(seqs: &[SeqRange], out: &mut Vec<u8>) {
    put_block(out, seqs.len());
    let mut before = 0u64;
    for range in seqs {
        put_u64(out, range.lo.wrapping_sub(before));
        let span = range.hi.wrapping_sub(range.lo);
        put_u64(out, span);
        put_u64(out, span.wrapping_sub(range.count.wrapping_sub(1)));
        before = range.hi;
    }
    put_end(out);
}

pub(crate) fn read_seqs(reader: &mut Reader<'_>) -> Result<Vec<SeqRange>, DecodeError> {
    const MEMBER: &str = "seq_ranges";
    let mut seqs: Vec<SeqRange> = Vec::new();
    loop {
        let items = reader.block(MEMBER, SEQ_RANGES_MAX - seqs.len())?;
        if items == 0 {
            return Ok(seqs);
        }
        for _ in 0..items {
            let (gap, span, holes) = (reader.u64(MEMBER)?, reader.u64(MEMBER)?, reader.u64(MEMBER)?);
            let lo = match seqs.last() {
                Some(before) => before.hi.checked_add(gap).filter(|lo| *lo > before.hi),
                None => Some(gap),
            };
            let bounds = lo.and_then(|lo| Some((lo, lo.checked_add(span)?)));
            // span − holes + 1 ≥ 1; all 2⁶⁴ numbers at once do not fit a count.
            let count = span.checked_sub(holes).and_then(|n| n.checked_add(1));
            let (Some((lo, hi)), Some(count)) = (bounds, count) else {
                return Err(DecodeError::Contradiction {
                    member: MEMBER,
                    why: "must rise, be disjoint and hold a number",
                });
            };
            seqs.push(SeqRange { lo, hi, count });
        }
    }
}

/// Appends the reasons by name.
pub(crate) fn put_dropped(dropped: &[(DropReason, u64)], out: &mut Vec<u8>) {
    put_block(out, dropped.len());
    for (reason, count) in dropped {
        put_bytes(out, reason.as_str().as_bytes());
        put_u64(out, *count);
    }
    put_end(out);
}

pub(crate) fn read_dropped(reader: &mut Reader<'_>) -> Result<Vec<(DropReason, u64)>, DecodeError> {
    const MEMBER: &str = "dropped";
    let mut dropped = Vec::new();
    loop {
        let items = reader.block(MEMBER, DropReason::ALL.len() - dropped.len())?;
        if items == 0 {
            break;
        }
        for _ in 0..items {
            let Some(reason) = DropReason::parse(reader.text(MEMBER)?) else {
                return Err(DecodeError::Contradiction { member: MEMBER, why: "names an unknown reason" });
            };
            dropped.push((reason, reader.u64(MEMBER)?));
        }
    }
    dropped.sort_unstable();
    match dropped.is_sorted_by(|a, b| a.0 < b.0) {
        true => Ok(dropped),
        false => Err(DecodeError::Contradiction { member: MEMBER, why: "names a reason twice" }),
    }
}

/// Appends the statistics by field name.
pub(crate) fn put_stats(stats: &[FieldStats], out: &mut Vec<u8>) {
    put_block(out, stats.len());
    for field in stats {
        put_bytes(out, field.name.as_bytes());
        put_u64(out, field.count);
        for value in [field.min, field.max, field.sum, field.sum_lo, field.mean, field.m2, field.first] {
            put_double(out, value);
        }
        put_long(out, field.first_ts);
        put_u64(out, field.first_seq);
        put_double(out, field.last);
        put_long(out, field.last_ts);
        put_u64(out, field.last_seq);
    }
    put_end(out);
}

pub(crate) fn read_stats(reader: &mut Reader<'_>) -> Result<Vec<FieldStats>, DecodeError> {
    const MEMBER: &str = "stats";
    let mut stats: Vec<FieldStats> = Vec::new();
    loop {
        let items = reader.block(MEMBER, FIELDS_MAX - stats.len())?;
        if items == 0 {
            break;
        }
        stats.reserve(items);
        for _ in 0..items {
            stats.push(read_field_stats(reader)?);
        }
    }
    stats.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    match stats.is_sorted_by(|a, b| a.name < b.name) {
        true => Ok(stats),
        false => Err(DecodeError::Contradiction { member: MEMBER, why: "names a field twice" }),
    }
}

fn read_field_stats(reader: &mut Reader<'_>) -> Result<FieldStats, DecodeError> {
    let mut field = FieldStats::default();
    read_field_name(reader, &mut field.name)?;
    field.count = reader.u64("count")?;
    field.min = reader.double("min")?;
    field.max = reader.double("max")?;
    field.sum = reader.double("sum")?;
    field.sum_lo = reader.double("sum_lo")?;
    field.mean = reader.double("mean")?;
    field.m2 = reader.double("m2")?;
    field.first = reader.double("first")?;
    field.first_ts = reader.long("first_ts")?;
    field.first_seq = reader.u64("first_seq")?;
    field.last = reader.double("last")?;
    field.last_ts = reader.long("last_ts")?;
    field.last_seq = reader.u64("last_seq")?;
    Ok(field)
}

/// Reads the offsets from `first`: `events` of them, or none at all, which means that all are `first`.
pub(crate) fn read_arrivals(
    reader: &mut Reader<'_>,
    first: i64,
    events: usize,
) -> Result<Vec<i64>, DecodeError> {
    const MEMBER: &str = "arrival_offsets";
    let mut arrivals = Vec::new();
    loop {
        let items = reader.block(MEMBER, events - arrivals.len())?;
        if items == 0 {
            break;
        }
        for _ in 0..items {
            arrivals.push(first.wrapping_add(reader.long(MEMBER)?));
        }
    }
    if arrivals.is_empty() {
        arrivals.resize(events, first);
    }
    match arrivals.len() == events {
        true => Ok(arrivals),
        false => Err(DecodeError::Contradiction { member: MEMBER, why: "has fewer entries than events" }),
    }
}
