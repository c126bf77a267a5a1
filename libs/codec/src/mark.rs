//! The record Mark: how far the rows of a quiet stream have left.

use crate::batch::read_stream_id;
use crate::wire::{Reader, put_block, put_bytes, put_end, put_long};
use crate::{DecodeError, schema};
use evenkeel_model::Mark;

/// Most window sizes of one stream in a record; far above what a configuration may have.
const SIZES_MAX: usize = 256;

/// Appends `mark` as one record.
pub fn encode_mark(mark: &Mark, out: &mut Vec<u8>) {
    schema::write_header(&schema::MARK, out);
    put_bytes(out, mark.stream_id.as_bytes());
    put_block(out, mark.emitted.len());
    for (size_ms, t_end_ms) in &mark.emitted {
        put_long(out, *size_ms);
        put_long(out, *t_end_ms);
    }
    put_end(out);
    put_long(out, mark.max_ts);
}

/// Reads a record of the topic marks.
pub fn decode_mark(bytes: &[u8]) -> Result<Mark, DecodeError> {
    let mut reader = Reader::new(schema::body_of(&schema::MARK, bytes)?);
    let mut mark = Mark::default();
    read_stream_id(&mut reader, &mut mark.stream_id)?;
    loop {
        let items = reader.block("emitted", SIZES_MAX - mark.emitted.len())?;
        if items == 0 {
            break;
        }
        for _ in 0..items {
            mark.emitted.push((reader.long("size_ms")?, reader.long("t_end_ms")?));
        }
    }
    if !mark.emitted.is_sorted_by(|a, b| a.0 < b.0) {
        return Err(DecodeError::Contradiction { member: "emitted", why: "sizes must rise" });
    }
    mark.max_ts = reader.long("max_ts")?;
    reader.end()?;
    Ok(mark)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::hex;

    #[test]
    fn golden_bytes() {
        let mark =
            Mark { stream_id: "bowl/7".into(), emitted: vec![(5_000, 15_000), (60_000, 0)], max_ts: 17_250 };
        let mut out = Vec::new();
        encode_mark(&mark, &mut out);
        assert_eq!(hex(&out), "c30122ad24abe45268e20c626f776c2f3704904eb0ea01c0a9070000c48d02");
        assert_eq!(decode_mark(&out), Ok(mark));
    }

    #[test]
    fn sizes_that_do_not_rise_are_refused() {
        let mark = Mark { stream_id: "s".into(), emitted: vec![(5, 0), (5, 0)], max_ts: 0 };
        let mut out = Vec::new();
        encode_mark(&mark, &mut out);
        assert!(matches!(decode_mark(&out), Err(DecodeError::Contradiction { member: "emitted", .. })));
    }
}
