//! Sorts the events of one request into batches of one stream each, and says why others are refused.
//!
//! Owns: the batches of a request, which event of the request each row is, and what all of it costs in
//! memory. Never: admission beyond `malformed`; whether an event is late, too old or a duplicate needs the
//! stream's history, which the coalescer has.
//! An event goes to the newest batch of its (stream, has seq), so their order within a stream is kept; a
//! batch that would break a limit of the contract is followed by a new one.

use crate::problem::{Kind, Problem};
use crate::split::Item;
use crate::verdict::{Reason, Rejected};
use evenkeel_auth::Credential;
use evenkeel_codec::json::{JsonEvent, read_event};
use evenkeel_model::limits::{BATCH_EVENTS_MAX, FIELDS_MAX, TS_MAX_MS, TS_MIN_MS};
use evenkeel_model::{EventBatch, FieldColumn};
use std::collections::BTreeMap;
use std::fmt::Display;

// What things cost, bytes: columns at twice their length (a growing Vec doubles) plus their encoding.
const BATCH_COST: usize = 1024;
const COLUMN_COST: usize = 256;
const EVENT_COST: usize = 2 * (8 + 8 + 4 + 24) + 24;
const VALUE_COST: usize = 2 * (4 + 8) + 16;

/// Some events of one stream, and which events of the request they are.
#[derive(Debug, Default)]
pub(crate) struct Group {
    pub(crate) batch: EventBatch,
    pub(crate) indices: Vec<u32>,
    encoded_bytes: usize,
}

impl Group {
    /// What its events take in a record, bytes; an upper bound.
    pub(crate) fn encoded_bytes(&self) -> usize {
        self.encoded_bytes
    }
}

/// The events of one request so far.
pub(crate) struct Collector<'a> {
    credential: &'a Credential,
    /// The stream of the path; events may repeat it but not name another.
    stream_id: Option<&'a str>,
    record_bytes_max: usize,
    line_bytes_max: usize,
    /// Rows of a recording: they are backfill, and the first one without a seq would get this.
    seq_first: Option<u64>,
    groups: Vec<Group>,
    // The newest group of a stream without seq, and with.
    newest: BTreeMap<String, [Option<usize>; 2]>,
    rejected: Rejected,
    events: u32,
    cost_bytes: usize,
    /// The event being read: its memory is used again.
    scratch: JsonEvent,
}

/// Limits of one request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CollectLimits {
    /// Largest encoded record, bytes.
    pub(crate) record_bytes_max: usize,
    /// Longest item, bytes (for the message; the splitter enforces it).
    pub(crate) line_bytes_max: usize,
    /// Most refused events listed.
    pub(crate) listed_max: usize,
}

impl<'a> Collector<'a> {
    pub(crate) fn new(credential: &'a Credential, stream_id: Option<&'a str>, limits: CollectLimits) -> Self {
        Self {
            credential,
            stream_id,
            record_bytes_max: limits.record_bytes_max,
            line_bytes_max: limits.line_bytes_max,
            seq_first: None,
            groups: Vec::new(),
            newest: BTreeMap::new(),
            rejected: Rejected::new(limits.listed_max),
            events: 0,
            cost_bytes: 0,
            scratch: JsonEvent::default(),
        }
    }

    /// Takes rows of a recording: each is backfill, and one without a seq gets `seq_first` and its position.
    pub(crate) fn of_recording(self, seq_first: u64) -> Self {
        Self { seq_first: Some(seq_first), ..self }
    }

    /// Events seen, accepted or not.
    pub(crate) fn events(&self) -> u32 {
        self.events
    }

    /// What the batches and their coming encoding cost, bytes; an upper bound.
    pub(crate) fn cost_bytes(&self) -> usize {
        self.cost_bytes
    }

    /// The batches and the refused events.
    pub(crate) fn into_parts(self) -> (Vec<Group>, Rejected) {
        (self.groups, self.rejected)
    }

    /// One item of a JSON body.
    pub(crate) fn item(&mut self, item: Item<'_>) {
        let index = self.next_index();
        match item {
            Item::TooLong => {
                let max = self.line_bytes_max;
                self.rejected.push(index, Reason::Malformed, || {
                    format!("the event is longer than {max} bytes; send it in less")
                });
            }
            Item::Text(text) => self.read_as(index, |event| read_event(text, event)),
        }
    }

    /// An event that `read` reads over another one.
    pub(crate) fn read<E: Display>(&mut self, read: impl FnOnce(&mut JsonEvent) -> Result<(), E>) {
        let index = self.next_index();
        self.read_as(index, read);
    }

    fn read_as<E: Display>(&mut self, index: u32, read: impl FnOnce(&mut JsonEvent) -> Result<(), E>) {
        let mut event = std::mem::take(&mut self.scratch);
        match read(&mut event) {
            Ok(()) => self.event(index, &mut event),
            Err(error) => self.rejected.push(index, Reason::Malformed, || error.to_string()),
        }
        self.scratch = event;
    }

    /// An event that was read elsewhere.
    pub(crate) fn parsed(&mut self, mut event: JsonEvent) {
        let index = self.next_index();
        self.event(index, &mut event);
    }

    /// An event that could not be read; its neighbours can.
    pub(crate) fn malformed(&mut self, why: String) {
        let index = self.next_index();
        self.rejected.push(index, Reason::Malformed, || why);
    }

    /// Its payload is taken.
    fn event(&mut self, index: u32, event: &mut JsonEvent) {
        if let Some(first) = self.seq_first {
            event.seq.get_or_insert(first + u64::from(index));
        }
        let path = self.stream_id;
        let stream_id = match (path, event.stream_id.as_deref()) {
            (Some(path), None) => path,
            (Some(path), Some(own)) if path == own => path,
            (Some(path), Some(own)) => {
                return self.rejected.push(index, Reason::Malformed, || {
                    format!("stream_id is {own:?}, the path says {path:?}; send it to its own path or to /v1/events")
                });
            }
            (None, Some(own)) => own,
            (None, None) => {
                return self.rejected.push(index, Reason::Malformed, || {
                    "stream_id is missing; name the stream in the event or in the path".into()
                });
            }
        };
        if let Err(why) = check_ts(event.ts) {
            return self.rejected.push(index, Reason::Malformed, || why);
        }
        if path.is_none() && !self.credential.allows(stream_id) {
            return self.rejected.push(index, Reason::Forbidden, || forbidden(stream_id));
        }
        let at = self.group_for(stream_id, event);
        self.cost_bytes += self.groups[at].push(index, event);
    }

    /// Checks the stream of a whole batch against the path.
    pub(crate) fn own_stream(&self, stream_id: &str) -> Result<(), Problem> {
        match self.stream_id {
            Some(path) if path != stream_id => {
                let detail = format!("the batch is of stream {stream_id:?}, the path says {path:?}");
                Err(Problem::new(Kind::BadStreamId, detail))
            }
            _ => Ok(()),
        }
    }

    /// A whole batch, as the Avro content types carry it.
    pub(crate) fn batch(&mut self, mut batch: EventBatch) {
        let first = self.events;
        if let Some(seq_first) = self.seq_first {
            batch.backfill = true;
            if batch.seq.is_empty() {
                let seq = seq_first + u64::from(first);
                batch.seq.extend(seq..seq + batch.len() as u64);
            }
        }
        let allowed = self.stream_id.is_some() || self.credential.allows(&batch.stream_id);
        let mut group = Group { batch: empty_like(&batch), ..Group::default() };
        for row in 0..batch.len() {
            let index = self.next_index();
            match check_row(&batch, row) {
                Err(why) => self.rejected.push(index, Reason::Malformed, || why),
                Ok(()) if !allowed => {
                    self.rejected.push(index, Reason::Forbidden, || forbidden(&batch.stream_id));
                }
                Ok(()) => group.indices.push(index),
            }
        }
        if group.indices.len() == batch.len() {
            group.batch = batch;
        } else {
            for &index in &group.indices {
                group.batch.push_from(&batch, (index - first) as usize);
            }
        }
        if !group.indices.is_empty() {
            self.cost_bytes += BATCH_COST + allocated(&group.batch);
            group.encoded_bytes = encoded_whole(&group.batch);
            self.groups.push(group);
        }
    }

    fn next_index(&mut self) -> u32 {
        self.events += 1;
        self.events - 1
    }

    /// The group the event goes to, made if there is none or the newest is full.
    fn group_for(&mut self, stream_id: &str, event: &JsonEvent) -> usize {
        let with_seq = usize::from(event.seq.is_some());
        if let Some(newest) = self.newest.get(stream_id)
            && let Some(at) = newest[with_seq]
            && self.groups[at].has_room(event, self.record_bytes_max)
        {
            return at;
        }
        let at = self.groups.len();
        let backfill = self.seq_first.is_some();
        let batch = EventBatch { stream_id: stream_id.to_owned(), backfill, ..EventBatch::default() };
        self.groups.push(Group { batch, ..Group::default() });
        self.newest.entry(stream_id.to_owned()).or_default()[with_seq] = Some(at);
        self.cost_bytes += BATCH_COST + 3 * stream_id.len();
        at
    }
}

impl Group {
    /// Whether the event fits without breaking a limit of a batch or of a record.
    fn has_room(&self, event: &JsonEvent, record_bytes_max: usize) -> bool {
        let new_columns = event
            .fields
            .iter()
            .filter(|(name, _)| !self.batch.fields.iter().any(|f| f.name == *name))
            .count();
        self.batch.len() < BATCH_EVENTS_MAX
            && self.batch.fields.len() + new_columns <= FIELDS_MAX
            && self.encoded_bytes + encoded_bytes(event) <= record_bytes_max
    }

    /// Appends the event, takes its payload; answers what that costs, bytes.
    fn push(&mut self, index: u32, event: &mut JsonEvent) -> usize {
        let at = self.batch.len();
        self.encoded_bytes += encoded_bytes(event);
        let payload_bytes = event.payload.as_ref().map_or(0, Vec::len);
        let mut cost = EVENT_COST + event.fields.len() * VALUE_COST + 2 * payload_bytes;
        self.indices.push(index);
        self.batch.ts.push(event.ts);
        self.batch.seq.extend(event.seq);
        if event.payload.is_some() || !self.batch.payloads.is_empty() {
            self.batch.payloads.resize(at, None);
            self.batch.payloads.push(event.payload.take());
        }
        for (i, (name, value)) in event.fields.iter().enumerate() {
            cost += self.set(i, name, at, *value);
        }
        for column in &mut self.batch.fields {
            if column.rows.is_empty() && column.values.len() == at {
                column.rows.extend(0..at as u32); // the column was full, and this event lacks it
            }
        }
        cost
    }

    /// Sets one field of event `at`. Devices send their fields in one order: the `hint`th column first.
    fn set(&mut self, hint: usize, name: &str, at: usize, value: f64) -> usize {
        let fields = &mut self.batch.fields;
        let found = match fields.get(hint).is_some_and(|column| column.name == name) {
            true => Some(hint),
            false => fields.iter().position(|column| column.name == name),
        };
        let (column, cost) = match found {
            Some(i) => (&mut fields[i], 0),
            None => {
                let cost = COLUMN_COST + 2 * name.len();
                fields.push(FieldColumn { name: name.to_owned(), ..FieldColumn::default() });
                let last = fields.len() - 1;
                (&mut fields[last], cost)
            }
        };
        if !column.rows.is_empty() || column.values.len() < at {
            column.rows.push(at as u32);
        }
        column.values.push(value);
        cost
    }

    /// Keeps the first `events` events; answers which events of the request the others were.
    pub(crate) fn truncate(&mut self, events: usize) -> Vec<u32> {
        if events >= self.indices.len() {
            return Vec::new();
        }
        let batch = &mut self.batch;
        batch.ts.truncate(events);
        batch.seq.truncate(events);
        batch.payloads.truncate(events);
        for column in &mut batch.fields {
            if column.rows.is_empty() {
                column.values.truncate(events);
            } else {
                let kept = column.rows.partition_point(|&row| (row as usize) < events);
                column.rows.truncate(kept);
                column.values.truncate(kept);
            }
        }
        // A sparse column without a value left must go: no rows would mean "every event".
        batch.fields.retain(|column| !column.values.is_empty());
        self.indices.split_off(events)
    }
}

/// An upper bound of what one event adds to the encoded batch, bytes.
fn encoded_bytes(event: &JsonEvent) -> usize {
    let fields: usize = event.fields.iter().map(|(name, _)| name.len() + 16).sum();
    24 + fields + event.payload.as_ref().map_or(0, |payload| payload.len() + 8)
}

/// The same for the events of a whole batch.
fn encoded_whole(batch: &EventBatch) -> usize {
    let payloads: usize = batch.payloads.iter().flatten().map(|payload| payload.len() + 8).sum();
    let values: usize = batch.fields.iter().map(|field| field.values.len() * (field.name.len() + 16)).sum();
    batch.len() * 24 + payloads + values
}

/// What a decoded batch and its coming encoding cost, bytes.
fn allocated(batch: &EventBatch) -> usize {
    let payloads: usize = batch.payloads.iter().flatten().map(|payload| 2 * payload.capacity()).sum();
    let values: usize =
        batch.fields.iter().map(|f| f.values.len() * VALUE_COST + COLUMN_COST + f.name.len()).sum();
    batch.len() * EVENT_COST + payloads + values
}

fn empty_like(batch: &EventBatch) -> EventBatch {
    EventBatch {
        stream_id: batch.stream_id.clone(),
        arrival_ms: batch.arrival_ms,
        backfill: batch.backfill,
        ..EventBatch::default()
    }
}

fn check_row(batch: &EventBatch, row: usize) -> Result<(), String> {
    check_ts(batch.ts[row])?;
    let broken = batch.fields.iter().find(|f| f.value(row).is_some_and(|value| !value.is_finite()));
    match broken {
        Some(field) => Err(format!("fields.{} is not a finite number", field.name)),
        None => Ok(()),
    }
}

fn check_ts(ts: i64) -> Result<(), String> {
    match (TS_MIN_MS..=TS_MAX_MS).contains(&ts) {
        true => Ok(()),
        false => Err(format!("ts is {ts}; allowed is {TS_MIN_MS} to {TS_MAX_MS} (years 1970 to 9999, ms)")),
    }
}

fn forbidden(stream_id: &str) -> String {
    format!("the credential does not cover the stream {stream_id:?}")
}

#[cfg(test)]
mod tests;
