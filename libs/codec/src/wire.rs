//! Avro's primitive encodings: zigzag varints, doubles, text, array and map blocks.
//!
//! Owns: the position in one record and every check against its end. Never: a record's meaning. No
//! function allocates; `member` only names the place in an error.

use crate::DecodeError;

/// Appends a long (and an int): zigzag, then 7 bits per byte, low bits first.
#[inline]
pub(crate) fn put_long(out: &mut Vec<u8>, value: i64) {
    let mut bits = ((value << 1) ^ (value >> 63)) as u64;
    while bits >= 0x80 {
        out.push(bits as u8 | 0x80);
        bits >>= 7;
    }
    out.push(bits as u8);
}

/// Appends an unsigned 64-bit number as the long of the same bits.
#[inline]
pub(crate) fn put_u64(out: &mut Vec<u8>, value: u64) {
    put_long(out, value as i64);
}

/// Appends a double: 8 bytes, little endian.
#[inline]
pub(crate) fn put_double(out: &mut Vec<u8>, value: f64) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends bytes or text: its length, then it.
#[inline]
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_long(out, bytes.len() as i64);
    out.extend_from_slice(bytes);
}

/// Starts an array or map of `count` items: one block. Nothing for an empty one. End it with [`put_end`].
#[inline]
pub(crate) fn put_block(out: &mut Vec<u8>, count: usize) {
    if count > 0 {
        put_long(out, count as i64);
    }
}

/// Ends an array or map.
#[inline]
pub(crate) fn put_end(out: &mut Vec<u8>) {
    out.push(0);
}

/// Reads one record from its start to its end.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Longest bytes or text of any record; what is left of the record bounds them further.
    pub(crate) const LENGTH_MAX: usize = i32::MAX as usize;

    /// At the start of a record's body.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes left.
    #[inline]
    pub(crate) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Checks that the record ends here.
    #[inline]
    pub(crate) fn end(&self) -> Result<(), DecodeError> {
        match self.left() {
            0 => Ok(()),
            n => Err(DecodeError::Trailing(n)),
        }
    }

    /// The next `n` bytes.
    #[inline]
    pub(crate) fn take(&mut self, n: usize, member: &'static str) -> Result<&'a [u8], DecodeError> {
        match self.bytes[self.at..].split_at_checked(n) {
            Some((taken, _)) => {
                self.at += n;
                Ok(taken)
            }
            None => Err(self.truncated(member)),
        }
    }

    /// A long.
    #[inline]
    pub(crate) fn long(&mut self, member: &'static str) -> Result<i64, DecodeError> {
        let bits = match self.bytes.get(self.at) {
            Some(&byte) if byte < 0x80 => {
                self.at += 1;
                u64::from(byte)
            }
            _ => self.long_varint(member)?,
        };
        Ok(unzigzag(bits))
    }

    /// A long that often takes two bytes (steps of 64 to 8191 ms): the same, with these read in place.
    #[inline]
    pub(crate) fn step(&mut self, member: &'static str) -> Result<i64, DecodeError> {
        match self.bytes[self.at..] {
            [low, high, ..] if low >= 0x80 && high < 0x80 => {
                self.at += 2;
                Ok(unzigzag(u64::from(low & 0x7f) | u64::from(high) << 7))
            }
            _ => self.long(member),
        }
    }

    /// Eight longs at once, if each of the next eight takes one byte.
    #[inline]
    pub(crate) fn eight_short_longs(&mut self) -> Option<[i64; 8]> {
        let bytes = self.bytes[self.at..].first_chunk::<8>()?;
        if u64::from_le_bytes(*bytes) & 0x8080_8080_8080_8080 != 0 {
            return None;
        }
        self.at += 8;
        Some(bytes.map(|byte| unzigzag(u64::from(byte))))
    }

    /// A varint of two and more bytes. Padding (needless zero groups) is allowed, a 65th bit is not.
    fn long_varint(&mut self, member: &'static str) -> Result<u64, DecodeError> {
        let mut bits = 0u64;
        for (i, &byte) in self.bytes[self.at..].iter().take(10).enumerate() {
            if i == 9 && byte > 1 {
                return Err(DecodeError::Integer { member, bits: 64 });
            }
            bits |= u64::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                self.at += i + 1;
                return Ok(bits);
            }
        }
        Err(self.truncated(member))
    }

    /// An int, which must be one.
    #[inline]
    pub(crate) fn int(&mut self, member: &'static str) -> Result<i32, DecodeError> {
        i32::try_from(self.long(member)?).map_err(|_| DecodeError::Integer { member, bits: 32 })
    }

    /// An unsigned 64-bit number written as the long of the same bits.
    #[inline]
    pub(crate) fn u64(&mut self, member: &'static str) -> Result<u64, DecodeError> {
        Ok(self.long(member)? as u64)
    }

    /// A double.
    #[inline]
    pub(crate) fn double(&mut self, member: &'static str) -> Result<f64, DecodeError> {
        match self.bytes[self.at..].first_chunk::<8>() {
            Some(bytes) => {
                self.at += 8;
                Ok(f64::from_le_bytes(*bytes))
            }
            None => Err(self.truncated(member)),
        }
    }

    /// A boolean.
    #[inline]
    pub(crate) fn boolean(&mut self, member: &'static str) -> Result<bool, DecodeError> {
        match self.take(1, member)? {
            [0] => Ok(false),
            [1] => Ok(true),
            other => {
                Err(DecodeError::Choice { member, got: i64::from(other[0]), want: "a boolean is 0 or 1" })
            }
        }
    }

    /// Bytes: at most `bytes_max`.
    #[inline]
    pub(crate) fn bytes(&mut self, member: &'static str, bytes_max: usize) -> Result<&'a [u8], DecodeError> {
        let got = self.long(member)?;
        let Some(length) = usize::try_from(got).ok().filter(|&n| n <= bytes_max) else {
            return Err(DecodeError::Limit { member, got, max: bytes_max });
        };
        self.take(length, member)
    }

    /// Text, of any length the record holds: nothing is copied; its reader checks what the text may be.
    #[inline]
    pub(crate) fn text(&mut self, member: &'static str) -> Result<&'a str, DecodeError> {
        let bytes = self.bytes(member, Self::LENGTH_MAX)?;
        std::str::from_utf8(bytes).map_err(|_| DecodeError::Utf8 { member })
    }

    /// Whether the value of a union of null and one type is there (it follows), or null.
    #[inline]
    pub(crate) fn present(&mut self, member: &'static str) -> Result<bool, DecodeError> {
        match self.long(member)? {
            0 => Ok(false),
            1 => Ok(true),
            got => Err(DecodeError::Choice { member, got, want: "branch 0 is null, branch 1 the value" }),
        }
    }

    /// The number of items of the next block of an array or map, 0 at its end. `room` = how many more
    /// items it may have; more are refused before anything is read or allocated for them, and so are more
    /// than the bytes left can hold (no item of any schema here is empty). A block may state its
    /// size in bytes (negative count); the size must fit, and is not needed.
    #[inline(always)]
    pub(crate) fn block(&mut self, member: &'static str, room: usize) -> Result<usize, DecodeError> {
        match self.bytes.get(self.at) {
            Some(0) => {
                self.at += 1;
                Ok(0)
            }
            // Zigzag: a positive number of one byte is even. The byte itself is not an item.
            Some(&byte)
                if byte < 0x80 && byte & 1 == 0 && usize::from(byte >> 1) <= room.min(self.left() - 1) =>
            {
                self.at += 1;
                Ok(usize::from(byte >> 1))
            }
            _ => self.block_of_any_form(member, room),
        }
    }

    #[inline(never)]
    fn block_of_any_form(&mut self, member: &'static str, room: usize) -> Result<usize, DecodeError> {
        let mut count = self.long(member)?;
        if count < 0 {
            let size = self.long(member)?;
            let left = self.left();
            if usize::try_from(size).map_or(true, |s| s > left) {
                return Err(DecodeError::Limit { member, got: size, max: left });
            }
            count = count.checked_neg().unwrap_or(i64::MAX);
        }
        let max = room.min(self.left());
        match usize::try_from(count) {
            Ok(items) if items <= max => Ok(items),
            _ => Err(DecodeError::Limit { member, got: count, max }),
        }
    }

    #[cold]
    fn truncated(&self, member: &'static str) -> DecodeError {
        DecodeError::Truncated { member, at: self.bytes.len() }
    }
}

#[inline]
fn unzigzag(bits: u64) -> i64 {
    (bits >> 1) as i64 ^ -((bits & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn long_of(bytes: &[u8]) -> Result<i64, DecodeError> {
        Reader::new(bytes).long("n")
    }

    #[test]
    fn longs_as_the_avro_specification_lists_them() {
        for (value, bytes) in
            [(0, vec![0]), (-1, vec![1]), (1, vec![2]), (-64, vec![0x7f]), (64, vec![0x80, 1])]
        {
            let mut out = Vec::new();
            put_long(&mut out, value);
            assert_eq!((out.as_slice(), long_of(&out)), (bytes.as_slice(), Ok(value)));
        }
    }

    #[test]
    fn huge_and_truncated_varints_are_refused() {
        assert_eq!(long_of(&[0xff; 10]), Err(DecodeError::Integer { member: "n", bits: 64 }));
        assert_eq!(long_of(&[0xff; 5]), Err(DecodeError::Truncated { member: "n", at: 5 }));
        assert_eq!(long_of(&[]), Err(DecodeError::Truncated { member: "n", at: 0 }));
        assert_eq!(long_of(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]), Ok(i64::MIN));
        assert_eq!(
            long_of(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 2]),
            Err(DecodeError::Integer { member: "n", bits: 64 })
        );
    }

    #[test]
    fn a_block_of_more_than_there_is_room_or_bytes_for_is_refused() {
        let block = |bytes: &[u8], room| Reader::new(bytes).block("b", room);
        assert_eq!(block(&[4, 9, 9], 2), Ok(2));
        assert_eq!(block(&[4, 9, 9], 1), Err(DecodeError::Limit { member: "b", got: 2, max: 1 }));
        assert_eq!(block(&[4, 9], 2), Err(DecodeError::Limit { member: "b", got: 2, max: 1 }));
        assert_eq!(block(&[3, 4, 9, 9], 2), Ok(2)); // −2 items in 2 bytes
        assert_eq!(block(&[3, 6, 9, 9], 2), Err(DecodeError::Limit { member: "b", got: 3, max: 2 }));
        assert_eq!(block(&[3, 5, 9, 9], 2), Err(DecodeError::Limit { member: "b", got: -3, max: 2 }));
        let least = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0, 9];
        assert_eq!(block(&least, 9), Err(DecodeError::Limit { member: "b", got: i64::MAX, max: 1 }));
    }

    proptest! {
        #[test]
        fn every_long_round_trips(value in any::<i64>(), shift in 0u32..64) {
            let mut out = Vec::new();
            put_long(&mut out, value >> shift);
            prop_assert_eq!(long_of(&out), Ok(value >> shift));
        }
    }
}
