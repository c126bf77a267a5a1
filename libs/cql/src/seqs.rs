//! The column `seq_ranges`: the counted seqs of a window as bytes. One stored value = this file.
//!
//! Format: byte 1 (version), then per interval three LEB128 numbers: distance of `lo` from the last `hi`
//! (from 0 for the first), `hi − lo`, and how many seqs inside are not counted (0 = exact, else fuzzy).
//! No interval = no byte.

use evenkeel_model::SeqRange;

const VERSION: u8 = 1;

/// Why stored bytes cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SeqsError {
    /// Another format.
    #[error("seq_ranges has format {0}, this program reads format {VERSION}; run the version that wrote it")]
    Version(u8),
    /// Cut short, or a number past 64 bits.
    #[error("seq_ranges is broken at byte {0}")]
    Broken(usize),
}

pub(crate) fn encode(seqs: &[SeqRange]) -> Vec<u8> {
    let mut out = Vec::with_capacity(if seqs.is_empty() { 0 } else { 1 + seqs.len() * 4 });
    let mut last_hi = 0u64;
    for range in seqs {
        if out.is_empty() {
            out.push(VERSION);
        }
        let length_less_one = range.hi.wrapping_sub(range.lo);
        put(&mut out, range.lo.wrapping_sub(last_hi));
        put(&mut out, length_less_one);
        put(&mut out, length_less_one.wrapping_sub(range.count.wrapping_sub(1)));
        last_hi = range.hi;
    }
    out
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Vec<SeqRange>, SeqsError> {
    let mut seqs = Vec::new();
    let Some(version) = bytes.first() else { return Ok(seqs) };
    if *version != VERSION {
        return Err(SeqsError::Version(*version));
    }
    let (mut at, mut last_hi) = (1, 0u64);
    while at < bytes.len() {
        let mut next = || take(bytes, &mut at).ok_or(SeqsError::Broken(at));
        let (distance, length_less_one, holes) = (next()?, next()?, next()?);
        let lo = last_hi.wrapping_add(distance);
        let hi = lo.wrapping_add(length_less_one);
        seqs.push(SeqRange { lo, hi, count: length_less_one.wrapping_sub(holes).wrapping_add(1) });
        last_hi = hi;
    }
    Ok(seqs)
}

fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn take(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        if shift == 63 && byte > 1 {
            return None;
        }
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn golden_bytes_of_format_1() {
        let seqs = [SeqRange { lo: 300, hi: 309, count: 10 }, SeqRange { lo: 320, hi: 329, count: 7 }];
        assert_eq!(encode(&seqs), [1, 0xac, 0x02, 9, 0, 11, 9, 3]);
        assert_eq!(encode(&[]), Vec::<u8>::new());
    }

    #[test]
    fn the_largest_intervals_survive() {
        let seqs =
            [SeqRange { lo: 0, hi: 4, count: 1 }, SeqRange { lo: 6, hi: u64::MAX, count: u64::MAX - 5 }];
        assert_eq!(decode(&encode(&seqs)).unwrap(), seqs);
    }

    #[test]
    fn other_formats_and_cut_bytes_are_refused() {
        assert_eq!(decode(&[2, 0, 0, 0]), Err(SeqsError::Version(2)));
        assert!(matches!(decode(&[1, 5]), Err(SeqsError::Broken(_))));
        assert!(matches!(decode(&[1, 0xff]), Err(SeqsError::Broken(_))));
    }

    proptest! {
        #[test]
        fn round_trip(steps in proptest::collection::vec((1u64..1 << 40, 0u64..1 << 20, any::<u64>()), 0..40)) {
            let mut at = 0u64;
            let seqs: Vec<SeqRange> = steps.into_iter().map(|(gap, length, pick)| {
                let (lo, hi) = (at + gap, at + gap + length);
                at = hi;
                SeqRange { lo, hi, count: 1 + pick % (length + 1) }
            }).collect();
            prop_assert_eq!(decode(&encode(&seqs)), Ok(seqs));
        }

        #[test]
        fn decode_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode(&bytes);
        }
    }
}
