//! The journal of a recording: which blocks of the data file hold what they should.
//!
//! ```text
//! journal  [header][block][block][synced][block][finished]     24 bytes each, with a checksum of its own
//! data     [ bytes  ][bytes ]            [bytes ]              the content and nothing else
//! ```
//! A *segment* is what lies between two marks (`synced`, `finished`): the data before a mark was on stable
//! storage when the mark was written. Behind the last mark a tail may be torn; before it nothing may.
//!
//! Owns: the format and its reading. Never: IO.

/// Bytes of an entry.
pub(crate) const ENTRY_BYTES: usize = 24;
/// The most content that one checksum covers, bytes.
pub(crate) const BLOCK_BYTES_MAX: usize = 1 << 20;
/// Of the format; another one is refused.
const VERSION: u64 = 1;

/// What an entry says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    /// The first entry of every journal.
    Header,
    /// `len` bytes of content that end at `end`, with this checksum.
    Block { len: u32, end: u64, crc: u32 },
    /// Everything before `end` was on stable storage.
    Synced { end: u64 },
    /// The same, and it is the whole content.
    Finished { end: u64 },
}

impl Entry {
    /// The block that `bytes` are, when they end at `end`.
    pub(crate) fn block(bytes: &[u8], end: u64) -> Self {
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        Self::Block { len, end, crc: crc32fast::hash(bytes) }
    }

    /// The entry as it is stored, little-endian: kind, length, end, checksum of the data, checksum of these.
    pub(crate) fn encode(self) -> [u8; ENTRY_BYTES] {
        let (kind, len, end, crc) = match self {
            Self::Header => (*b"EKrh", 0, VERSION, 0),
            Self::Block { len, end, crc } => (*b"EKrb", len, end, crc),
            Self::Synced { end } => (*b"EKrs", 0, end, 0),
            Self::Finished { end } => (*b"EKrf", 0, end, 0),
        };
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..4].copy_from_slice(&kind);
        bytes[4..8].copy_from_slice(&len.to_le_bytes());
        bytes[8..16].copy_from_slice(&end.to_le_bytes());
        bytes[16..20].copy_from_slice(&crc.to_le_bytes());
        let own = crc32fast::hash(&bytes[..20]);
        bytes[20..].copy_from_slice(&own.to_le_bytes());
        bytes
    }

    /// The entry, if it is one and whole.
    pub(crate) fn decode(bytes: &[u8; ENTRY_BYTES]) -> Option<Self> {
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        if crc32fast::hash(&bytes[..20]) != word(20) {
            return None;
        }
        let (len, end, crc) = (word(4), u64::from(word(8)) | u64::from(word(12)) << 32, word(16));
        match &bytes[..4] {
            b"EKrh" if end == VERSION => Some(Self::Header),
            b"EKrb" => Some(Self::Block { len, end, crc }),
            b"EKrs" => Some(Self::Synced { end }),
            b"EKrf" => Some(Self::Finished { end }),
            _ => None,
        }
    }
}

/// A journal that is read entry by entry.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// Entries that are whole and follow one another.
    pub(crate) entries: u64,
    /// Where the last block ends, bytes of content.
    pub(crate) end: u64,
    /// What the last mark covers, bytes of content.
    pub(crate) synced: u64,
    /// The last mark says that this is all.
    pub(crate) finished: bool,
    /// An entry was not whole, or did not follow.
    pub(crate) torn: bool,
    /// A mark came after that: this is not a torn tail, but damage.
    pub(crate) damaged: bool,
}

impl Scan {
    /// The next entry.
    pub(crate) fn push(&mut self, bytes: &[u8; ENTRY_BYTES]) {
        let entry = Entry::decode(bytes);
        if self.torn {
            self.damaged |= matches!(entry, Some(Entry::Synced { .. } | Entry::Finished { .. }));
            return;
        }
        match entry {
            Some(Entry::Header) if self.entries == 0 => {}
            Some(Entry::Block { len, end, .. }) if self.follows(len, end) => self.end = end,
            Some(Entry::Synced { end }) if self.follows(0, end) => self.synced = end,
            Some(Entry::Finished { end }) if self.follows(0, end) => {
                self.synced = end;
                self.finished = true;
            }
            _ => {
                self.torn = true;
                return;
            }
        }
        self.entries += 1;
    }

    fn follows(&self, len: u32, end: u64) -> bool {
        self.entries > 0 && !self.finished && self.end.checked_add(u64::from(len)) == Some(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scan(entries: &[[u8; ENTRY_BYTES]]) -> Scan {
        let mut scan = Scan::default();
        entries.iter().for_each(|entry| scan.push(entry));
        scan
    }

    #[test]
    fn a_torn_tail_is_told_from_damage() {
        let mut journal = [
            Entry::Header,
            Entry::block(b"abc", 3),
            Entry::Synced { end: 3 },
            Entry::block(b"de", 5),
            Entry::block(b"f", 6),
        ]
        .map(Entry::encode);
        let whole = scan(&journal);
        assert_eq!((whole.entries, whole.end, whole.synced, whole.finished), (5, 6, 3, false));
        assert!(!whole.torn && !whole.damaged);
        journal[3][9] ^= 1;
        let torn = scan(&journal);
        assert_eq!((torn.entries, torn.end, torn.torn, torn.damaged), (3, 3, true, false));
        journal[3][9] ^= 1;
        journal[1][9] ^= 1;
        let damaged = scan(&journal);
        assert!(damaged.torn && damaged.damaged, "a mark stands behind the broken entry");
    }

    #[test]
    fn nothing_follows_the_end_and_nothing_precedes_the_header() {
        let after = [Entry::Header, Entry::Finished { end: 0 }, Entry::block(b"a", 1)].map(Entry::encode);
        let scanned = scan(&after);
        assert!(scanned.torn && scanned.finished && scanned.entries == 2);
        assert!(scan(&[Entry::block(b"a", 1).encode()]).torn);
        assert!(scan(&[Entry::Header, Entry::block(b"a", 2)].map(Entry::encode)).torn, "a gap");
    }

    proptest! {
        #[test]
        fn an_entry_comes_back_and_no_flipped_bit_passes(
            len in any::<u32>(), end in any::<u64>(), crc in any::<u32>(), bit in 0usize..ENTRY_BYTES * 8,
        ) {
            for entry in [Entry::Block { len, end, crc }, Entry::Synced { end }, Entry::Finished { end }] {
                let mut bytes = entry.encode();
                prop_assert_eq!(Entry::decode(&bytes), Some(entry));
                bytes[bit / 8] ^= 1 << (bit % 8);
                prop_assert_eq!(Entry::decode(&bytes), None);
            }
        }
    }
}
