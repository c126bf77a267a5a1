//! Avro container files: the blocks of a body, their compression, the records in them.
//!
//! Owns: where the header and each block end, the bounds of both. Never: more than one block per step (the caller asks
//! the budget between two); a record's meaning (codec has it for our schemas, `foreign` for others).
//! Format: Avro 1.11 specification, "Object Container Files". Codecs: null, deflate, zstandard.

mod foreign;

use crate::collect::Collector;
use crate::problem::{Kind, Problem};
use crate::unpack::{STEP_BYTES, Unpack};
use bytes::Bytes;
use evenkeel_codec::json::JsonEvent;
use evenkeel_codec::{DecodeError, Sequence, decode_sequence, schema};
use evenkeel_model::EventBatch;
use flate2::{Decompress, FlushDecompress, Status};
use foreign::Foreign;

/// Largest header, bytes: magic, schema, codec, sync marker.
const HEAD_MAX: usize = 256 * 1024;
const MAGIC: &[u8] = b"Obj\x01";
const SYNC_BYTES: usize = 16;

/// One container file on its way in.
pub(crate) struct Container {
    /// What came and is not consumed.
    buffer: Vec<u8>,
    /// The current block, inflated.
    block: Vec<u8>,
    head: Option<Head>,
    /// While the header is incomplete: how much must have come before it is read again. A client that sends it byte
    /// by byte must not have it read as often.
    enough: usize,
    limits: BlockLimits,
}

/// What bounds a block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlockLimits {
    /// Most bytes, as it came and inflated.
    pub(crate) bytes_max: usize,
    /// Most records; with those before it, most events of the request.
    pub(crate) events_max: u32,
}

struct Head {
    codec: Codec,
    sync: [u8; SYNC_BYTES],
    records: Records,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Codec {
    Null,
    Deflate,
    Zstandard,
}

enum Records {
    Ours(Sequence),
    Foreign(Box<Foreign>),
}

/// Why reading stops for now.
enum Stop {
    /// The rest has not come yet.
    Incomplete,
    Problem(Problem),
}

impl Container {
    pub(crate) fn new(limits: BlockLimits) -> Self {
        Self { buffer: Vec::new(), block: Vec::new(), head: None, enough: 0, limits }
    }

    /// Bytes it keeps between pieces.
    pub(crate) fn allocated(&self) -> usize {
        self.buffer.capacity() + self.block.capacity()
    }

    /// Takes the next piece; [`Self::step`] reads it.
    pub(crate) fn push(&mut self, part: &[u8]) {
        self.buffer.extend_from_slice(part);
    }

    /// Reads the header, or one block, whose records the collector gets. Answers the inflated bytes of it; `None` =
    /// nothing whole has come.
    pub(crate) fn step(&mut self, collector: &mut Collector<'_>) -> Result<Option<usize>, Problem> {
        if self.head.is_none() && self.buffer.len() < self.enough {
            return Ok(None);
        }
        let mut cursor = Cursor { bytes: &self.buffer, at: 0 };
        let read = match &self.head {
            None => read_head(&mut cursor).map(|head| {
                self.head = Some(head);
                0
            }),
            Some(head) => read_block(head, &mut cursor, self.limits, &mut self.block, collector),
        };
        let at = cursor.at;
        match read {
            Ok(bytes) => {
                self.buffer.drain(..at);
                Ok(Some(bytes))
            }
            Err(Stop::Problem(problem)) => Err(problem),
            Err(Stop::Incomplete) if self.head.is_none() && self.buffer.len() > HEAD_MAX => {
                Err(broken(format!("its header is longer than {HEAD_MAX} bytes")))
            }
            Err(Stop::Incomplete) => {
                self.enough = 2 * self.buffer.len();
                Ok(None)
            }
        }
    }

    /// Nothing more will come: what has come is to be read as it is.
    pub(crate) fn end(&mut self) {
        self.enough = 0;
    }

    /// Whether the body, read as far as it goes, is a whole file.
    pub(crate) fn finish(&self) -> Result<(), Problem> {
        match (&self.head, self.buffer.is_empty()) {
            (Some(_), true) => Ok(()),
            (None, _) => Err(broken("it ends within its header".into())),
            (Some(_), false) => Err(broken("it ends within a block".into())),
        }
    }
}

/// Where the header of a file that begins so ends; `None` = not in these bytes.
pub(crate) fn head_end(bytes: &[u8]) -> Result<Option<usize>, Problem> {
    let mut cursor = Cursor { bytes, at: 0 };
    match read_head(&mut cursor) {
        Ok(_) => Ok(Some(cursor.at)),
        Err(Stop::Incomplete) if bytes.len() > HEAD_MAX => {
            Err(broken(format!("its header is longer than {HEAD_MAX} bytes")))
        }
        Err(Stop::Incomplete) => Ok(None),
        Err(Stop::Problem(problem)) => Err(problem),
    }
}

/// How long the block is that begins so, at most `bytes_max` of data; `None` = these bytes do not tell.
pub(crate) fn block_len(bytes: &[u8], bytes_max: usize) -> Result<Option<usize>, Problem> {
    let mut cursor = Cursor { bytes, at: 0 };
    match cursor.long().and_then(|_records| cursor.long()) {
        Ok(data) => match usize::try_from(data).ok().filter(|data| *data <= bytes_max) {
            Some(data) => Ok(Some(cursor.at + data + SYNC_BYTES)),
            None => Err(too_large(bytes_max)),
        },
        Err(Stop::Incomplete) => Ok(None),
        Err(Stop::Problem(problem)) => Err(problem),
    }
}

fn read_head(cursor: &mut Cursor<'_>) -> Result<Head, Stop> {
    if cursor.take(MAGIC.len())? != MAGIC {
        return Err(broken("it does not begin with \"Obj\" and 1".into()).into());
    }
    let (mut codec, mut text) = (Codec::Null, None);
    loop {
        let mut items = cursor.long()?;
        if items == 0 {
            break;
        }
        if items < 0 {
            items = items.saturating_neg();
            cursor.long()?; // the block's size, for readers that skip it
        }
        if items > 1000 {
            return Err(broken("its header has more than 1000 entries".into()).into());
        }
        for _ in 0..items {
            let (name, value) = (cursor.bytes()?, cursor.bytes()?);
            match name {
                b"avro.schema" => text = Some(value),
                b"avro.codec" => codec = codec_of(value)?,
                _ => {}
            }
        }
    }
    let text = text.and_then(|text| std::str::from_utf8(text).ok());
    let text = text.ok_or_else(|| broken("its header has no avro.schema in UTF-8".into()))?;
    let sync = cursor.take(SYNC_BYTES)?.try_into().unwrap_or_default();
    Ok(Head { codec, sync, records: records_of(text)? })
}

fn codec_of(name: &[u8]) -> Result<Codec, Problem> {
    match name {
        b"null" | b"" => Ok(Codec::Null),
        b"deflate" => Ok(Codec::Deflate),
        b"zstandard" => Ok(Codec::Zstandard),
        other => {
            let name: String = String::from_utf8_lossy(other).chars().take(64).collect();
            let detail = format!("avro.codec is {name:?}; read are null, deflate and zstandard");
            Err(Problem::new(Kind::UnsupportedMediaType, detail))
        }
    }
}

/// Whose records they are: ours by the fingerprint, others by their members' names.
fn records_of(text: &str) -> Result<Records, Problem> {
    let parsed = foreign::parse(text).map_err(broken)?;
    let fingerprint = foreign::fingerprint(&parsed);
    Ok(match fingerprint {
        _ if fingerprint == schema::EVENT.fingerprint => Records::Ours(Sequence::Events),
        _ if fingerprint == schema::EVENT_BATCH.fingerprint => Records::Ours(Sequence::Batches),
        _ => Records::Foreign(Box::new(Foreign::of(parsed).map_err(broken)?)),
    })
}

fn read_block(
    head: &Head,
    cursor: &mut Cursor<'_>,
    limits: BlockLimits,
    block: &mut Vec<u8>,
    collector: &mut Collector<'_>,
) -> Result<usize, Stop> {
    let (records, bytes) = (cursor.long()?, cursor.long()?);
    let left = limits.events_max.saturating_sub(collector.events());
    let Some(records) = u32::try_from(records).ok().filter(|records| *records <= left) else {
        return Err(too_many(limits.events_max).into());
    };
    let Some(bytes) = usize::try_from(bytes).ok().filter(|bytes| *bytes <= limits.bytes_max) else {
        return Err(too_large(limits.bytes_max).into());
    };
    let data = cursor.take(bytes)?;
    if cursor.take(SYNC_BYTES)? != head.sync {
        return Err(broken("the sync marker after a block is not that of the header".into()).into());
    }
    block.clear();
    let data = match head.codec {
        Codec::Null => data,
        Codec::Deflate => inflate(data, limits.bytes_max, block)?,
        Codec::Zstandard => unzstd(data, limits.bytes_max, block)?,
    };
    match &head.records {
        Records::Ours(sequence) => ours(*sequence, data, records, limits.events_max, collector)?,
        Records::Foreign(foreign) => foreign.read(data, records, collector).map_err(broken)?,
    }
    Ok(data.len())
}

fn ours(
    sequence: Sequence,
    data: &[u8],
    records: u32,
    events_max: u32,
    collector: &mut Collector<'_>,
) -> Result<(), Problem> {
    let mut refused = None;
    decode_sequence(sequence, data, records, &mut |batch| {
        // A batch of a few bytes may stand for 65,536 events: counted before they are kept.
        let fits = batch.len() as u64 + u64::from(collector.events()) <= u64::from(events_max);
        let checked = if fits { collector.own_stream(&batch.stream_id) } else { Err(too_many(events_max)) };
        match checked {
            Err(problem) => {
                refused = Some(problem);
                return false;
            }
            // Single events are put together with their neighbours; a backfill is marked per batch and stays apart.
            Ok(()) if sequence == Sequence::Events && !batch.backfill => collector.parsed(event_of(batch)),
            Ok(()) => collector.batch(batch),
        }
        true
    })
    .map_err(|error: DecodeError| broken(error.to_string()))?;
    refused.map_or(Ok(()), Err)
}

/// The event of a batch of one.
fn event_of(batch: EventBatch) -> JsonEvent {
    let fields = batch.fields.into_iter();
    JsonEvent {
        stream_id: Some(batch.stream_id),
        ts: batch.ts.first().copied().unwrap_or_default(),
        seq: batch.seq.first().copied(),
        arrival: None,
        fields: fields.filter_map(|f| Some((f.name, f.values.first().copied()?))).collect(),
        payload: batch.payloads.into_iter().next().flatten(),
    }
}

/// Raw deflate, as Avro has it, into `out`.
fn inflate<'b>(data: &[u8], bytes_max: usize, out: &'b mut Vec<u8>) -> Result<&'b [u8], Problem> {
    let mut inflater = Decompress::new(false);
    loop {
        out.reserve(STEP_BYTES);
        let taken = usize::try_from(inflater.total_in()).unwrap_or(data.len()).min(data.len());
        let before = (inflater.total_in(), inflater.total_out());
        let status = inflater
            .decompress_vec(&data[taken..], out, FlushDecompress::None)
            .map_err(|error| broken(format!("deflate: {error}")))?;
        if out.len() > bytes_max {
            return Err(too_large(bytes_max));
        }
        match status {
            Status::StreamEnd => return Ok(out),
            _ if before == (inflater.total_in(), inflater.total_out()) => {
                return Err(broken("deflate: the data is cut short".into()));
            }
            Status::Ok | Status::BufError => {}
        }
    }
}

/// One or more zstd frames into `out`.
fn unzstd<'b>(data: &[u8], bytes_max: usize, out: &'b mut Vec<u8>) -> Result<&'b [u8], Problem> {
    let (mut unpack, mut data) = (Unpack::zstd(), Bytes::copy_from_slice(data));
    loop {
        let (part, again) = unpack.step(&mut data)?;
        out.extend_from_slice(&part);
        if out.len() > bytes_max {
            return Err(too_large(bytes_max));
        }
        unpack.give_back(part);
        if !again && data.is_empty() {
            unpack.finish()?;
            return Ok(out);
        }
    }
}

/// A place in what has come.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], Stop> {
        let taken = self.bytes.get(self.at..self.at.saturating_add(n)).ok_or(Stop::Incomplete)?;
        self.at += n;
        Ok(taken)
    }

    /// A zigzag varint.
    fn long(&mut self) -> Result<i64, Stop> {
        let mut bits = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = self.take(1)?[0];
            bits |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte & 0x80 == 0 {
                return Ok((bits >> 1) as i64 ^ -((bits & 1) as i64));
            }
        }
        Err(broken("a number of more than 64 bits".into()).into())
    }

    fn bytes(&mut self) -> Result<&'a [u8], Stop> {
        let length = self.long()?;
        match usize::try_from(length).ok().filter(|length| *length <= HEAD_MAX) {
            Some(length) => self.take(length),
            None => Err(broken(format!("an entry of its header has {length} bytes")).into()),
        }
    }
}

impl From<Problem> for Stop {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

fn broken(why: String) -> Problem {
    Problem::new(Kind::UnreadableBody, format!("the Avro container file: {why}"))
}

fn too_many(events_max: u32) -> Problem {
    Problem::new(Kind::TooLarge, format!("the request holds more than {events_max} events"))
}

fn too_large(bytes_max: usize) -> Problem {
    Problem::new(
        Kind::TooLarge,
        format!("a block of the Avro container file is larger than {bytes_max} bytes"),
    )
}
