//! The record Frame: a snapshot of one stream for a gateway.
//!
//! Owns: its form and its bounds. Never: what a frame should hold (window), or its shape in a browser (gateway).

use crate::batch::{read_field_name, read_stream_id};
use crate::interest::{read_kind, read_source};
use crate::wire::{Reader, put_block, put_bytes, put_double, put_end, put_long, put_u64};
use crate::{DecodeError, schema};
use evenkeel_model::frame::limits::{FRAME_POINTS_MAX, FRAME_WINDOWS_MAX};
use evenkeel_model::limits::FIELDS_MAX;
use evenkeel_model::{ClosedBy, Frame, FrameFlag, FrameStats, FrameWindow, Series};

/// Appends `frame` as one record. Each series has as many times as values.
pub fn encode_frame(frame: &Frame, out: &mut Vec<u8>) {
    schema::write_header(&schema::FRAME, out);
    put_bytes(out, frame.stream_id.as_bytes());
    put_long(out, frame.kind.index() as i64);
    put_long(out, frame.size_ms);
    put_u64(out, frame.epoch);
    put_u64(out, frame.seq);
    put_long(out, frame.ts_ms);
    put_bytes(out, frame.source.as_bytes());
    put_optional(out, frame.watermark);
    put_block(out, frame.flags.len());
    frame.flags.iter().for_each(|flag| put_long(out, flag.index() as i64));
    put_end(out);
    put_optional(out, frame.last_ts);
    put_optional(out, frame.last_arrival_ms);
    put_double(out, frame.events_per_s);
    put_u64(out, frame.missing);
    put_long(out, frame.from_ms);
    put_long(out, frame.to_ms);
    put_block(out, frame.series.len());
    frame.series.iter().for_each(|series| put_series(series, out));
    put_end(out);
    put_block(out, frame.windows.len());
    frame.windows.iter().for_each(|window| put_window(window, out));
    put_end(out);
}

fn put_optional(out: &mut Vec<u8>, value: Option<i64>) {
    put_long(out, i64::from(value.is_some()));
    if let Some(value) = value {
        put_long(out, value);
    }
}

fn put_series(series: &Series, out: &mut Vec<u8>) {
    put_bytes(out, series.name.as_bytes());
    put_long(out, series.ts.first().copied().unwrap_or(0));
    put_block(out, series.ts.len().saturating_sub(1));
    series.ts.windows(2).for_each(|pair| put_long(out, pair[1].wrapping_sub(pair[0])));
    put_end(out);
    put_block(out, series.values.len());
    series.values.iter().for_each(|value| put_double(out, *value));
    put_end(out);
}

fn put_window(window: &FrameWindow, out: &mut Vec<u8>) {
    put_long(out, window.size_ms);
    put_long(out, window.t_start);
    put_optional(out, window.closed_by.map(|by| by.index() as i64));
    put_u64(out, window.count);
    put_u64(out, window.missing);
    put_block(out, window.stats.len());
    for stats in &window.stats {
        put_bytes(out, stats.name.as_bytes());
        put_u64(out, stats.count);
        [stats.min, stats.max, stats.mean, stats.last].iter().for_each(|value| put_double(out, *value));
    }
    put_end(out);
}

/// Reads a record of the topic frames.
pub fn decode_frame(bytes: &[u8]) -> Result<Frame, DecodeError> {
    let mut reader = Reader::new(schema::body_of(&schema::FRAME, bytes)?);
    let mut stream_id = String::new();
    read_stream_id(&mut reader, &mut stream_id)?;
    let mut frame = Frame::empty(read_kind(&mut reader)?, reader.long("size_ms")?);
    frame.stream_id = stream_id;
    frame.epoch = reader.u64("epoch")?;
    frame.seq = reader.u64("seq")?;
    frame.ts_ms = reader.long("ts_ms")?;
    read_source(&mut reader, "source", &mut frame.source)?;
    frame.watermark = read_optional(&mut reader, "watermark")?;
    frame.flags = read_flags(&mut reader)?;
    frame.last_ts = read_optional(&mut reader, "last_ts")?;
    frame.last_arrival_ms = read_optional(&mut reader, "last_arrival_ms")?;
    frame.events_per_s = reader.double("events_per_s")?;
    frame.missing = reader.u64("missing")?;
    frame.from_ms = reader.long("from_ms")?;
    frame.to_ms = reader.long("to_ms")?;
    let mut points = 0;
    read_items(&mut reader, "series", FIELDS_MAX, &mut frame.series, |reader| {
        let series = read_series(reader, FRAME_POINTS_MAX - points)?;
        points += series.values.len();
        Ok(series)
    })?;
    read_items(&mut reader, "windows", FRAME_WINDOWS_MAX, &mut frame.windows, read_window)?;
    reader.end()?;
    rising(frame.series.is_sorted_by(|a, b| a.name < b.name), "series")?;
    Ok(frame)
}

/// Reads an array of at most `most` items.
fn read_items<T>(
    reader: &mut Reader<'_>,
    member: &'static str,
    most: usize,
    into: &mut Vec<T>,
    mut read: impl FnMut(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<(), DecodeError> {
    loop {
        let items = reader.block(member, most - into.len())?;
        if items == 0 {
            return Ok(());
        }
        for _ in 0..items {
            into.push(read(reader)?);
        }
    }
}

fn read_optional(reader: &mut Reader<'_>, member: &'static str) -> Result<Option<i64>, DecodeError> {
    Ok(if reader.present(member)? { Some(reader.long(member)?) } else { None })
}

fn read_flags(reader: &mut Reader<'_>) -> Result<Vec<FrameFlag>, DecodeError> {
    let mut flags = Vec::new();
    read_items(reader, "flags", FrameFlag::ALL.len(), &mut flags, |reader| {
        let got = reader.long("flags")?;
        usize::try_from(got).ok().and_then(FrameFlag::from_index).ok_or(DecodeError::Choice {
            member: "flags",
            got,
            want: "0 to 5, in the order of the schema",
        })
    })?;
    rising(flags.is_sorted_by(|a, b| a < b), "flags")?;
    Ok(flags)
}

fn read_series(reader: &mut Reader<'_>, points_max: usize) -> Result<Series, DecodeError> {
    let mut series = Series::default();
    read_field_name(reader, &mut series.name)?;
    let first = reader.long("ts_first")?;
    let mut steps = Vec::new();
    read_items(reader, "ts_steps", points_max, &mut steps, |reader| reader.long("ts_steps"))?;
    read_items(reader, "values", points_max, &mut series.values, |reader| reader.double("values"))?;
    if steps.len() != series.values.len().saturating_sub(1) {
        return Err(DecodeError::Contradiction { member: "ts_steps", why: "are one fewer than values" });
    }
    if !series.values.is_empty() {
        series.ts.push(first);
        for step in steps {
            let last = series.ts[series.ts.len() - 1];
            let Some(ts) = last.checked_add(step).filter(|ts| *ts >= last) else {
                return Err(DecodeError::Contradiction { member: "ts_steps", why: "times do not fall" });
            };
            series.ts.push(ts);
        }
    }
    Ok(series)
}

fn read_window(reader: &mut Reader<'_>) -> Result<FrameWindow, DecodeError> {
    let (size_ms, t_start) = (reader.long("size_ms")?, reader.long("t_start")?);
    let closed_by = match read_optional(reader, "closed_by")? {
        None => None,
        Some(got) => {
            Some(usize::try_from(got).ok().and_then(ClosedBy::from_index).ok_or(DecodeError::Choice {
                member: "closed_by",
                got,
                want: "0 to 6, in the order of the schema",
            })?)
        }
    };
    let (count, missing) = (reader.u64("count")?, reader.u64("missing")?);
    let mut stats = Vec::new();
    read_items(reader, "stats", FIELDS_MAX, &mut stats, |reader| {
        let mut stats = FrameStats::default();
        read_field_name(reader, &mut stats.name)?;
        stats.count = reader.u64("count")?;
        stats.min = reader.double("min")?;
        stats.max = reader.double("max")?;
        stats.mean = reader.double("mean")?;
        stats.last = reader.double("last")?;
        Ok(stats)
    })?;
    rising(stats.is_sorted_by(|a, b| a.name < b.name), "stats")?;
    Ok(FrameWindow { size_ms, t_start, closed_by, count, missing, stats })
}

fn rising(holds: bool, member: &'static str) -> Result<(), DecodeError> {
    match holds {
        true => Ok(()),
        false => Err(DecodeError::Contradiction { member, why: "must rise, without repetition" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::hex;
    use evenkeel_model::FrameKind;

    fn frame() -> Frame {
        let stats = FrameStats { name: "g".into(), count: 2, min: 1.0, max: 2.0, mean: 1.5, last: 2.0 };
        Frame {
            stream_id: "s".into(),
            epoch: 2,
            seq: 9,
            ts_ms: 30,
            source: "w".into(),
            watermark: Some(10),
            flags: vec![FrameFlag::Live, FrameFlag::Partial],
            last_ts: Some(12),
            events_per_s: 0.5,
            missing: 1,
            from_ms: 10,
            to_ms: 12,
            series: vec![Series { name: "g".into(), ts: vec![10, 12], values: vec![1.0, 2.0] }],
            windows: vec![FrameWindow {
                size_ms: 5,
                t_start: 10,
                closed_by: Some(ClosedBy::Idle),
                count: 2,
                missing: 1,
                stats: vec![stats],
            }],
            ..Frame::empty(FrameKind::Telemetry, 0)
        }
    }

    #[test]
    fn golden_bytes() {
        let mut out = Vec::new();
        encode_frame(&frame(), &mut out);
        // stream, kind, size, epoch, seq, ts, source | watermark, flags, last ts, no arrival | rate, missing, from, to
        // | series | windows
        let want = "0273 00 00 04 12 3c 0277 | 02 14 04 00 0a 00 | 02 18 00 | 000000000000e03f 02 14 18 \
             | 02 02 67 14 02 04 00 04 000000000000f03f 0000000000000040 00 00 \
             | 02 0a 14 02 04 04 02 02 02 67 04 000000000000f03f 0000000000000040 000000000000f83f 0000000000000040 00 00";
        assert_eq!(hex(&out[schema::HEADER_BYTES..]), want.replace([' ', '|'], ""));
        assert_eq!(decode_frame(&out), Ok(frame()));
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let refused = |change: fn(&mut Frame)| {
            let (mut frame, mut out) = (frame(), Vec::new());
            change(&mut frame);
            encode_frame(&frame, &mut out);
            match decode_frame(&out) {
                Err(DecodeError::Contradiction { member, .. } | DecodeError::Limit { member, .. }) => member,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(refused(|f| f.flags = vec![FrameFlag::Recent, FrameFlag::Live]), "flags");
        assert_eq!(refused(|f| f.series[0].ts = vec![12, 10]), "ts_steps");
        assert_eq!(refused(|f| f.series[0].ts = vec![12]), "ts_steps");
        assert_eq!(refused(|f| f.series = vec![f.series[0].clone(); 2]), "series");
        assert_eq!(refused(|f| f.windows = vec![f.windows[0].clone(); FRAME_WINDOWS_MAX + 1]), "windows");
        assert_eq!(
            refused(|f| {
                f.series[0].ts = vec![0; FRAME_POINTS_MAX + 1];
                f.series[0].values = vec![0.0; FRAME_POINTS_MAX + 1];
            }),
            "values"
        );
    }
}
