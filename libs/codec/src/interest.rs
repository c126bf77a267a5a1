//! The record Interest: what one gateway looks at of one stream.

use crate::batch::read_stream_id;
use crate::wire::{Reader, put_block, put_bytes, put_double, put_end, put_long};
use crate::{DecodeError, schema};
use evenkeel_model::frame::limits::{GATEWAY_BYTES_MAX, WANTS_MAX};
use evenkeel_model::{FrameKind, Interest, Want, check_stream_id};

/// Appends `interest` as one record.
pub fn encode_interest(interest: &Interest, out: &mut Vec<u8>) {
    schema::write_header(&schema::INTEREST, out);
    put_bytes(out, interest.stream_id.as_bytes());
    put_bytes(out, interest.gateway.as_bytes());
    put_long(out, i64::from(interest.partition));
    put_block(out, interest.wants.len());
    for want in &interest.wants {
        put_long(out, want.kind.index() as i64);
        put_long(out, want.size_ms);
        put_double(out, want.hz);
    }
    put_end(out);
    put_long(out, interest.expires_at_ms);
}

/// Reads a record of the topic interest. Every rate is finite and above 0.
pub fn decode_interest(bytes: &[u8]) -> Result<Interest, DecodeError> {
    let mut reader = Reader::new(schema::body_of(&schema::INTEREST, bytes)?);
    let mut interest = Interest::default();
    read_stream_id(&mut reader, &mut interest.stream_id)?;
    read_source(&mut reader, "gateway", &mut interest.gateway)?;
    let got = reader.int("partition")?;
    interest.partition = u32::try_from(got).map_err(|_| DecodeError::Limit {
        member: "partition",
        got: i64::from(got),
        max: i32::MAX as usize,
    })?;
    loop {
        let items = reader.block("wants", WANTS_MAX - interest.wants.len())?;
        if items == 0 {
            break;
        }
        for _ in 0..items {
            interest.wants.push(read_want(&mut reader)?);
        }
    }
    interest.expires_at_ms = reader.long("expires_at_ms")?;
    reader.end()?;
    Ok(interest)
}

fn read_want(reader: &mut Reader<'_>) -> Result<Want, DecodeError> {
    let want = Want { kind: read_kind(reader)?, size_ms: reader.long("size_ms")?, hz: reader.double("hz")? };
    match want.hz.is_finite() && want.hz > 0.0 {
        true => Ok(want),
        false => Err(DecodeError::Contradiction { member: "hz", why: "a rate is finite and above 0" }),
    }
}

/// The kind of a frame, in Interest and in Frame.
pub(crate) fn read_kind(reader: &mut Reader<'_>) -> Result<FrameKind, DecodeError> {
    let got = reader.long("kind")?;
    usize::try_from(got).ok().and_then(FrameKind::from_index).ok_or(DecodeError::Choice {
        member: "kind",
        got,
        want: "0 is telemetry, 1 is windows, 2 is status",
    })
}

/// The name of an instance: as short and as plain as a stream id.
pub(crate) fn read_source(
    reader: &mut Reader<'_>,
    member: &'static str,
    into: &mut String,
) -> Result<(), DecodeError> {
    const { assert!(GATEWAY_BYTES_MAX == evenkeel_model::limits::STREAM_ID_BYTES_MAX) };
    let text = reader.text(member)?;
    check_stream_id(text).map_err(|source| DecodeError::Text { member, source })?;
    into.push_str(text);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::hex;

    fn interest(hz: f64) -> Interest {
        Interest {
            stream_id: "bowl/7".into(),
            gateway: "g1".into(),
            partition: 3,
            wants: vec![
                Want { kind: FrameKind::Telemetry, size_ms: 0, hz },
                Want { kind: FrameKind::Windows, size_ms: 5_000, hz: 0.5 },
            ],
            expires_at_ms: 1_700_000_015_000,
        }
    }

    #[test]
    fn golden_bytes() {
        let mut out = Vec::new();
        encode_interest(&interest(10.0), &mut out);
        let want =
            "0c626f776c2f37 046731 06 04 00 00 0000000000002440 02 904e 000000000000e03f 00 b08aadfef962";
        assert_eq!(hex(&out[schema::HEADER_BYTES..]), want.replace(' ', ""));
        assert_eq!(decode_interest(&out), Ok(interest(10.0)));
    }

    #[test]
    fn a_rate_that_is_none_is_refused() {
        for hz in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let mut out = Vec::new();
            encode_interest(&interest(hz), &mut out);
            let refused = decode_interest(&out);
            assert!(matches!(refused, Err(DecodeError::Contradiction { member: "hz", .. })), "{hz}");
        }
    }

    #[test]
    fn a_gateway_without_a_name_is_refused() {
        let mut out = Vec::new();
        encode_interest(&Interest { gateway: String::new(), ..interest(1.0) }, &mut out);
        assert!(matches!(decode_interest(&out), Err(DecodeError::Text { member: "gateway", .. })));
    }
}
