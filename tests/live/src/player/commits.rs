//! Committed offsets as the broker keeps them: records of its topic `__consumer_offsets`. Every commit of a
//! group is there, in order, with its metadata.
//!
//! Owns: the form of these records (keys of versions 0 and 1, values of versions 0 to 4; Kafka's
//! OffsetCommitKey.json and OffsetCommitValue.json). Never: compacted away while a test runs: the cleaner
//! leaves the newest segment alone.

/// One committed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetCommit {
    /// The consumer group.
    pub group: String,
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// The offset.
    pub offset: u64,
    /// The metadata; empty = none.
    pub metadata: String,
}

/// Reads a record; `None` = it is of another kind (a group's members), or a version nobody here knows.
pub fn parse(key: &[u8], value: &[u8]) -> Option<OffsetCommit> {
    let mut key = Bytes(key);
    if !matches!(key.i16()?, 0 | 1) {
        return None;
    }
    let (group, topic, partition) = (key.text()?, key.text()?, u32::try_from(key.i32()?).ok()?);
    let mut value = Bytes(value);
    let version = value.i16()?;
    let offset = u64::try_from(value.i64()?).ok()?;
    if version >= 3 {
        value.i32()?; // the leader's epoch
    }
    let metadata = match version {
        0..=3 => value.text()?,
        4 => value.compact_text()?,
        _ => return None,
    };
    Some(OffsetCommit { group, topic, partition, offset, metadata })
}

struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn take(&mut self, n: usize) -> Option<&[u8]> {
        let (head, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(head)
    }

    fn i16(&mut self) -> Option<i16> {
        Some(i16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn i32(&mut self) -> Option<i32> {
        Some(i32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    fn i64(&mut self) -> Option<i64> {
        Some(i64::from_be_bytes(self.take(8)?.try_into().ok()?))
    }

    fn text(&mut self) -> Option<String> {
        let length = usize::try_from(self.i16()?).ok()?;
        String::from_utf8(self.take(length)?.to_vec()).ok()
    }

    /// Length plus one as a varint, then the text.
    fn compact_text(&mut self) -> Option<String> {
        let (mut length, mut shift) = (0usize, 0);
        loop {
            let byte = self.take(1)?[0];
            length |= usize::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                break;
            }
            shift += 7;
        }
        String::from_utf8(self.take(length.checked_sub(1)?)?.to_vec()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"\x00\x01\x00\x02g1\x00\x02t1\x00\x00\x00\x07";

    fn want(metadata: &str) -> Option<OffsetCommit> {
        let (group, topic, metadata) = ("g1".to_owned(), "t1".to_owned(), metadata.to_owned());
        Some(OffsetCommit { group, topic, partition: 7, offset: 258, metadata })
    }

    #[test]
    fn every_version_of_a_value_reads_the_same() {
        let offset = b"\x00\x00\x00\x00\x00\x00\x01\x02";
        let (epoch, time) = (b"\x00\x00\x00\x05", b"\x00\x00\x01\x8b\xcf\xe5\x68\x00");
        let v2 = [b"\x00\x02", &offset[..], b"\x00\x03way", time].concat();
        let v3 = [b"\x00\x03", &offset[..], epoch, b"\x00\x03way", time].concat();
        let v4 = [b"\x00\x04", &offset[..], epoch, b"\x04way", time, b"\x00"].concat();
        for value in [v2, v3, v4] {
            assert_eq!(parse(KEY, &value), want("way"));
        }
        let long = "x".repeat(300);
        let v4 = [b"\x00\x04", &offset[..], epoch, b"\xad\x02", long.as_bytes(), time, b"\x00"].concat();
        assert_eq!(parse(KEY, &v4), want(&long));
    }

    #[test]
    fn other_records_are_passed_over() {
        assert_eq!(parse(b"\x00\x02\x00\x02g1", b""), None, "a group's members");
        assert_eq!(parse(KEY, b""), None);
        assert_eq!(parse(&KEY[..9], b"\x00\x03"), None);
        assert_eq!(parse(KEY, b"\x00\x09\x00\x00\x00\x00\x00\x00\x01\x02\x00\x00\x00\x05\x00\x00"), None);
    }
}
