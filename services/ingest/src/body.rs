//! Reads a body piece by piece: decompress, cut into events, sort into batches.
//!
//! Owns: the two caps (received, inflated) and the event cap of one request. Never: more than one step's
//! output in memory beyond what [`Intake::cost_bytes`] says; a step inflates about 64 KiB at most, so a
//! compression bomb meets its cap, and the budget, long before memory does.

use crate::collect::{CollectLimits, Collector, Group};
use crate::container::{BlockLimits, Container};
use crate::problem::{Kind, Problem};
use crate::split::{Item, Shape, SplitError, Splitter};
pub(crate) use crate::unpack::Encoding;
use crate::unpack::Unpack;
use crate::verdict::Rejected;
use bytes::Bytes;
use evenkeel_auth::Credential;
use evenkeel_codec::csv::{Cells, Columns};
use evenkeel_codec::decode_batch;
use evenkeel_model::EventBatch;

/// Most bytes of a plain body taken in one step.
const STEP_BYTES: usize = 64 * 1024;

/// What the content type says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// `application/json`: an array of events, or one event.
    Json,
    /// `application/x-ndjson`: one event per line.
    Ndjson,
    /// `application/vnd.evenkeel.batch+avro`: one batch of one stream.
    Batch,
    /// `application/avro`: a container file.
    Container,
    /// `text/csv`: one event per line; only of recordings, whose first line was read before.
    Csv,
}

/// What of a content type tells the format: without its parameters, in small letters.
pub(crate) fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase()
}

/// What is known of the rows of a recording beside the rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows<'a> {
    /// What the first of them would get as seq.
    pub(crate) seq_first: u64,
    /// The columns of CSV.
    pub(crate) columns: Option<&'a Columns>,
}

/// Limits of one request; the keys of `[body]` in the configuration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyLimits {
    /// Most bytes received.
    pub(crate) body_bytes_max: u64,
    /// Most bytes after gunzip.
    pub(crate) inflated_bytes_max: u64,
    /// Most events.
    pub(crate) events_max: u32,
    pub(crate) collect: CollectLimits,
}

/// One body on its way in.
pub(crate) struct Intake<'a> {
    limits: BodyLimits,
    unpack: Option<Unpack>,
    sort: Sort<'a>,
    collector: Collector<'a>,
    received_bytes: u64,
    inflated_bytes: u64,
    /// Blocks of a container that came may wait for a step of their own.
    blocks_wait: bool,
    /// The decompressor may have more to give.
    unpack_again: bool,
}

enum Sort<'a> {
    /// Events as JSON, or as lines of CSV.
    Items(Splitter, Option<Csv<'a>>),
    // A batch is one record: it is read whole, up to the limit of a record.
    Whole(Vec<u8>),
    Blocks(Box<Container>),
}

/// How lines of CSV are read.
struct Csv<'a> {
    columns: &'a Columns,
    cells: Cells,
}

impl<'a> Intake<'a> {
    pub(crate) fn new(
        format: Format,
        encoding: Encoding,
        limits: BodyLimits,
        credential: &'a Credential,
        stream_id: Option<&'a str>,
        rows: Option<Rows<'a>>,
    ) -> Self {
        let line_bytes_max = limits.collect.line_bytes_max;
        let sort = match format {
            Format::Json => Sort::Items(Splitter::new(Shape::Array, line_bytes_max), None),
            Format::Ndjson => Sort::Items(Splitter::new(Shape::Lines, line_bytes_max), None),
            Format::Csv => {
                let columns = rows.and_then(|rows| rows.columns);
                let csv = columns.map(|columns| Csv { columns, cells: Cells::default() });
                Sort::Items(Splitter::new(Shape::Lines, line_bytes_max), csv)
            }
            Format::Batch => Sort::Whole(Vec::new()),
            Format::Container => {
                let bytes_max = limits.collect.record_bytes_max;
                let limits = BlockLimits { bytes_max, events_max: limits.events_max };
                Sort::Blocks(Box::new(Container::new(limits)))
            }
        };
        let collector = Collector::new(credential, stream_id, limits.collect);
        Self {
            limits,
            unpack: Unpack::new(encoding),
            sort,
            collector: match rows {
                Some(rows) => collector.of_recording(rows.seq_first),
                None => collector,
            },
            received_bytes: 0,
            inflated_bytes: 0,
            blocks_wait: false,
            unpack_again: false,
        }
    }

    /// What the request holds in memory, bytes; the piece being read excepted.
    pub(crate) fn cost_bytes(&self) -> u64 {
        let sort = match &self.sort {
            Sort::Items(splitter, _) => splitter.allocated(),
            Sort::Whole(body) => body.capacity(),
            Sort::Blocks(container) => container.allocated(),
        };
        let unpack = self.unpack.as_ref().map_or(0, Unpack::cost_bytes);
        (sort + unpack + self.collector.cost_bytes()) as u64
    }

    /// Counts a piece just received against the cap.
    pub(crate) fn received(&mut self, bytes: usize) -> Result<(), Problem> {
        self.received_bytes += bytes as u64;
        over("the body", self.received_bytes, self.limits.body_bytes_max)
    }

    /// Takes the next step's worth of `piece`. The caller repeats until the piece is empty and this says
    /// that nothing is left, and looks at [`Self::cost_bytes`] in between.
    pub(crate) fn step(&mut self, piece: &mut Bytes) -> Result<bool, Problem> {
        if self.blocks_wait {
            self.block()?;
            return Ok(self.blocks_wait || self.unpack_again);
        }
        let Some(unpack) = &mut self.unpack else {
            let part = piece.split_to(piece.len().min(STEP_BYTES));
            self.plain(&part)?;
            return Ok(self.blocks_wait);
        };
        let (part, again) = unpack.step(piece)?;
        self.unpack_again = again;
        self.plain(&part)?;
        if let Some(unpack) = &mut self.unpack {
            unpack.give_back(part);
        }
        Ok(again || self.blocks_wait)
    }

    /// The body is complete: its batches, what was refused, and what it costs in the end, bytes.
    pub(crate) fn finish(mut self) -> Result<(Vec<Group>, Rejected, u64), Problem> {
        if let Some(unpack) = &mut self.unpack {
            let rest = unpack.finish()?;
            self.plain(&rest)?;
        }
        if let Sort::Blocks(container) = &mut self.sort {
            container.end();
            self.blocks_wait = true;
        }
        while self.blocks_wait {
            self.block()?;
        }
        let mut collector = self.collector;
        match self.sort {
            Sort::Items(splitter, mut csv) => {
                let each = &mut |item: Item<'_>| sort_item(item, csv.as_mut(), &mut collector);
                splitter.finish(each).map_err(|error| broken(&error))?;
                too_many(collector.events(), self.limits.events_max)?;
            }
            Sort::Whole(body) => {
                let mut batch = EventBatch::default();
                decode_batch(&body, &mut batch)
                    .map_err(|error| Problem::new(Kind::UnreadableBody, format!("not a batch: {error}")))?;
                collector.own_stream(&batch.stream_id)?;
                too_many(batch.len() as u32, self.limits.events_max)?;
                collector.batch(batch);
            }
            Sort::Blocks(container) => container.finish()?,
        }
        let cost_bytes = collector.cost_bytes() as u64;
        let (groups, rejected) = collector.into_parts();
        Ok((groups, rejected, cost_bytes))
    }

    /// One block of a container, or its header. What it inflates to counts as the body's inflated bytes do.
    fn block(&mut self) -> Result<(), Problem> {
        let Sort::Blocks(container) = &mut self.sort else {
            self.blocks_wait = false;
            return Ok(());
        };
        let read = container.step(&mut self.collector)?;
        self.blocks_wait = read.is_some();
        self.inflated_bytes += read.unwrap_or(0) as u64;
        over("the decompressed body", self.inflated_bytes, self.limits.inflated_bytes_max)
    }

    fn plain(&mut self, part: &[u8]) -> Result<(), Problem> {
        self.inflated_bytes += part.len() as u64;
        over("the decompressed body", self.inflated_bytes, self.limits.inflated_bytes_max)?;
        match &mut self.sort {
            Sort::Items(splitter, csv) => {
                let collector = &mut self.collector;
                let each = &mut |item: Item<'_>| sort_item(item, csv.as_mut(), collector);
                splitter.push(part, each).map_err(|error| broken(&error))?;
                too_many(self.collector.events(), self.limits.events_max)
            }
            Sort::Whole(body) => {
                let bytes = (body.len() + part.len()) as u64;
                over("the batch", bytes, self.limits.collect.record_bytes_max as u64)?;
                body.extend_from_slice(part);
                Ok(())
            }
            Sort::Blocks(container) => {
                container.push(part);
                self.blocks_wait = true;
                Ok(())
            }
        }
    }
}

/// One item: a line of CSV, or an event as JSON.
fn sort_item(item: Item<'_>, csv: Option<&mut Csv<'_>>, collector: &mut Collector<'_>) {
    match (item, csv) {
        (Item::Text(line), Some(Csv { columns, cells })) => {
            collector.read(|event| columns.read(line, cells, event));
        }
        (item, _) => collector.item(item),
    }
}

fn over(what: &str, bytes: u64, bytes_max: u64) -> Result<(), Problem> {
    match bytes > bytes_max {
        true => Err(Problem::new(Kind::TooLarge, format!("{what} is larger than {bytes_max} bytes"))),
        false => Ok(()),
    }
}

fn too_many(events: u32, events_max: u32) -> Result<(), Problem> {
    match events > events_max {
        true => Err(Problem::new(Kind::TooLarge, format!("the request holds more than {events_max} events"))),
        false => Ok(()),
    }
}

fn broken(error: &SplitError) -> Problem {
    Problem::new(Kind::UnreadableBody, error.to_string())
}
