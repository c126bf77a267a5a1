//! The headers of a record as one blob. One stored value = this file: format, both directions, round trip.
//!
//! Format (version 1): per header, name length (u32 LE), name, value length (u32 LE), value.

use evenkeel_seam::Header;

/// Appends the blob of some headers to `out`; nothing for none.
pub(crate) fn encode<'a>(headers: impl Iterator<Item = Header<'a>>, out: &mut Vec<u8>) {
    for header in headers {
        for part in [header.name.as_bytes(), header.value] {
            out.extend_from_slice(&(part.len() as u32).to_le_bytes());
            out.extend_from_slice(part);
        }
    }
}

/// Appends the headers of a blob to `out`. Stops at the first byte that makes no sense (the file's own
/// checks find damage; a header is never worth losing its record for).
pub(crate) fn decode<'a>(mut blob: &'a [u8], out: &mut Vec<Header<'a>>) {
    while let (Some(name), Some(value)) = (take(&mut blob), take(&mut blob)) {
        let Ok(name) = std::str::from_utf8(name) else { return };
        out.push(Header { name, value });
    }
}

fn take<'a>(blob: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, rest) = blob.split_first_chunk::<4>()?;
    let (part, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
    *blob = rest;
    Some(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_round_trip_and_damage_never_panics() {
        let headers = [Header { name: "reason", value: b"late" }, Header { name: "x", value: b"" }];
        let mut blob = Vec::new();
        encode(headers.iter().copied(), &mut blob);
        let mut back = Vec::new();
        decode(&blob, &mut back);
        assert_eq!(back, headers);
        for cut in 0..blob.len() {
            let mut some = Vec::new();
            decode(&blob[..cut], &mut some);
            assert!(some.len() < 2);
        }
    }
}
