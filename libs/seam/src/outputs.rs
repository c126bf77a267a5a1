//! Records to append, in one arena: nothing is allocated per record once the buffers have grown.

use crate::Header;
use evenkeel_model::Topic;
use std::ops::Range;

/// Records to append. Keys, values and headers lie in one arena.
#[derive(Debug, Default, Clone)]
pub struct Outputs {
    arena: Vec<u8>,
    records: Vec<OutRecord>,
    headers: Vec<(Range<u32>, Range<u32>)>,
    /// The largest recent fillings: bytes, records, headers.
    recent: [usize; 3],
}

/// One record of [`Outputs`]; read it through the accessors there.
#[derive(Debug, Clone)]
pub struct OutRecord {
    /// Where it goes.
    pub topic: Topic,
    /// Its partition.
    pub partition: u32,
    key: Option<Range<u32>>,
    value: Option<Range<u32>>,
    headers: Range<u32>,
}

impl Outputs {
    /// No record yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Bytes of keys, values and headers. The arena holds at most 4 GiB; callers bound it far below.
    pub fn bytes(&self) -> usize {
        self.arena.len()
    }

    /// Bytes allocated, for the memory account.
    pub fn allocated(&self) -> usize {
        self.arena.capacity()
            + self.records.capacity() * size_of::<OutRecord>()
            + self.headers.capacity() * size_of::<(Range<u32>, Range<u32>)>()
    }

    /// Forgets the records. Keeps the memory that recent fillings needed: what a burst took on top goes back
    /// over the next dozens of fillings.
    pub fn clear(&mut self) {
        let [bytes, records, headers] = &mut self.recent;
        recycle(&mut self.arena, bytes);
        recycle(&mut self.records, records);
        recycle(&mut self.headers, headers);
    }

    /// Appends a record. `write` appends the value to the buffer it gets (and must only append).
    pub fn push(
        &mut self,
        topic: Topic,
        partition: u32,
        key: Option<&[u8]>,
        headers: &[Header<'_>],
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let key = key.map(|k| self.store(k));
        let first = self.headers.len() as u32;
        for header in headers {
            let name = self.store(header.name.as_bytes());
            let value = self.store(header.value);
            self.headers.push((name, value));
        }
        let start = self.arena.len() as u32;
        write(&mut self.arena);
        let value = Some(start..self.arena.len() as u32);
        let headers = first..self.headers.len() as u32;
        self.records.push(OutRecord { topic, partition, key, value, headers });
    }

    /// Appends a record without a value: in a compacted topic, whatever the key had is gone.
    pub fn push_tombstone(&mut self, topic: Topic, partition: u32, key: &[u8]) {
        let (key, none) = (Some(self.store(key)), self.headers.len() as u32);
        self.records.push(OutRecord { topic, partition, key, value: None, headers: none..none });
    }

    /// Gives these headers to every record of `topic` that has none; they are stored once for all of them.
    pub fn head(&mut self, topic: Topic, headers: &[Header<'_>]) {
        let first = self.headers.len() as u32;
        for header in headers {
            let name = self.store(header.name.as_bytes());
            let value = self.store(header.value);
            self.headers.push((name, value));
        }
        let shared = first..self.headers.len() as u32;
        for record in self.records.iter_mut().filter(|r| r.topic == topic && r.headers.is_empty()) {
            record.headers = shared.clone();
        }
    }

    /// Drops the records of one partition (its bytes stay until the next `clear`).
    pub fn drop_partition(&mut self, partition: u32) {
        self.records.retain(|r| r.partition != partition);
    }

    /// Lets `cut` rewrite the front of each value in place and say how many of its first bytes go.
    pub fn shorten_values(&mut self, mut cut: impl FnMut(Topic, &mut [u8]) -> usize) {
        for record in &mut self.records {
            if let Some(span) = &mut record.value {
                let value = &mut self.arena[span.start as usize..span.end as usize];
                let bytes = cut(record.topic, value).min(value.len());
                span.start += bytes as u32;
            }
        }
    }

    /// The records, in order of appending.
    pub fn records(&self) -> &[OutRecord] {
        &self.records
    }

    /// The key of a record of this arena.
    pub fn key(&self, record: &OutRecord) -> Option<&[u8]> {
        record.key.as_ref().map(|span| self.bytes_of(span))
    }

    /// The value of a record of this arena.
    pub fn value(&self, record: &OutRecord) -> Option<&[u8]> {
        record.value.as_ref().map(|span| self.bytes_of(span))
    }

    /// Whether a record has headers.
    pub fn has_headers(&self, record: &OutRecord) -> bool {
        !record.headers.is_empty()
    }

    /// The headers of a record of this arena.
    pub fn headers<'a>(&'a self, record: &OutRecord) -> impl Iterator<Item = Header<'a>> + use<'a> {
        let range = record.headers.start as usize..record.headers.end as usize;
        self.headers[range].iter().map(|(name, value)| Header {
            name: std::str::from_utf8(self.bytes_of(name)).unwrap_or("?"),
            value: self.bytes_of(value),
        })
    }

    fn store(&mut self, bytes: &[u8]) -> Range<u32> {
        let start = self.arena.len() as u32;
        self.arena.extend_from_slice(bytes);
        start..self.arena.len() as u32
    }

    fn bytes_of(&self, span: &Range<u32>) -> &[u8] {
        &self.arena[span.start as usize..span.end as usize]
    }
}

/// Empties a buffer; one more than four times as large as recent fillings (an eighth less of them counts with
/// each) shrinks to twice their size.
fn recycle<T>(buffer: &mut Vec<T>, recent: &mut usize) {
    const KEPT_BYTES: usize = 64 * 1024;
    *recent = buffer.len().max(*recent - *recent / 8);
    buffer.clear();
    let kept = (*recent).max(KEPT_BYTES / size_of::<T>());
    if buffer.capacity() > 4 * kept {
        buffer.shrink_to(2 * kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shortened_in_place() {
        let mut outputs = Outputs::new();
        let header = Header { name: "h", value: b"x" };
        outputs.push(Topic::Events, 1, Some(b"k"), &[header], |buf| buf.extend_from_slice(b"abcdef"));
        outputs.push_tombstone(Topic::Marks, 1, b"gone");
        outputs.push(Topic::Dlq, 1, None, &[], |buf| buf.extend_from_slice(b"whole"));
        outputs.shorten_values(|topic, value| match topic {
            Topic::Dlq => 0,
            _ => {
                value[2] = b'C';
                2
            }
        });
        let values: Vec<_> = outputs.records().iter().map(|r| outputs.value(r)).collect();
        assert_eq!(values, [Some(&b"Cdef"[..]), None, Some(b"whole")]);
        let first = &outputs.records()[0];
        assert_eq!((outputs.key(first), outputs.headers(first).next()), (Some(&b"k"[..]), Some(header)));
    }

    #[test]
    fn a_burst_gives_its_memory_back_and_a_rhythm_keeps_it() {
        let mut outputs = Outputs::new();
        let mut fill = |records: usize| {
            for _ in 0..records {
                outputs.push(Topic::Windows, 0, None, &[], |buf| buf.extend_from_slice(&[7; 300]));
            }
            outputs.clear();
            outputs.allocated()
        };
        let burst = fill(20_000);
        // Windows close every fifth tick: the memory stays for them.
        for tick in 0..50 {
            assert_eq!(fill(if tick % 5 == 0 { 20_000 } else { 10 }), burst, "tick {tick}");
        }
        let after = (0..60).map(|_| fill(10)).last().unwrap();
        assert!(after < burst / 10 && after < 512 * 1024, "{after} of {burst} bytes");
    }

    #[test]
    fn what_is_pushed_comes_back() {
        let mut out = Outputs::new();
        let header = Header { name: "reason", value: b"late" };
        out.push(Topic::Dlq, 3, Some(b"k"), &[header], |buf| buf.extend_from_slice(b"value"));
        out.push(Topic::Windows, 1, None, &[], |_| {});
        out.push_tombstone(Topic::Marks, 2, b"gone");
        let [a, b, c] = out.records() else { panic!("three records") };
        assert_eq!((out.key(a), out.value(a)), (Some(&b"k"[..]), Some(&b"value"[..])));
        assert_eq!(out.headers(a).collect::<Vec<_>>(), vec![header]);
        assert_eq!((out.key(b), out.value(b), out.headers(b).count()), (None, Some(&b""[..]), 0));
        assert_eq!((out.key(c), out.value(c), out.headers(c).count()), (Some(&b"gone"[..]), None, 0));
        out.clear();
        assert!(out.is_empty());
    }

    #[test]
    fn headers_given_later_go_to_the_records_of_a_topic_that_have_none() {
        let mut out = Outputs::new();
        let (own, given) =
            (Header { name: "reason", value: b"late" }, Header { name: "traceparent", value: b"00" });
        out.push(Topic::Windows, 0, None, &[], |buf| buf.push(1));
        out.push(Topic::Windows, 0, None, &[own], |buf| buf.push(2));
        out.push(Topic::Marks, 0, None, &[], |buf| buf.push(3));
        out.push(Topic::Windows, 1, None, &[], |buf| buf.push(4));
        let before = out.bytes();
        out.head(Topic::Windows, &[given]);
        assert_eq!(out.bytes(), before + "traceparent00".len());
        let of = |n: usize| out.headers(&out.records()[n]).collect::<Vec<_>>();
        assert_eq!((of(0), of(1), of(2), of(3)), (vec![given], vec![own], vec![], vec![given]));
        assert_eq!(out.value(&out.records()[3]), Some(&[4][..]));
    }
}
