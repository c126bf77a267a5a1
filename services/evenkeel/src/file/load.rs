//! A file into the log: line by line, in transactions that hold records, progress and numbering together.
//!
//! Keeps: a crash resumes at the recorded line and doubles nothing; a file that was loaded changes nothing.

use super::batcher::Batcher;
use super::error::{InputError, LineError};
use super::line::EventReader;
use super::lines::{Line, Lines};
use super::place::{Arrival, place};
use super::source::{BytesRead, Source};
use super::survey::{Survey, unreadable};
use evenkeel_codec::json::JsonEvent;
use evenkeel_local::{LoadError, LoadProgress, Loader};
use evenkeel_model::{DropReason, Topic};
use evenkeel_seam::{Header, Outputs};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Lines of one append: what a crash reads again.
const LINES_MAX: u64 = 8_192;
/// Bytes of records of one append.
const BYTES_MAX: usize = 1 << 20;

/// A line that is no event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedLine {
    /// Its number, from 1.
    pub line: u64,
    /// Why.
    pub error: LineError,
}

/// Why a load ended early. What was appended stays; the same load goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum LoadFailure {
    /// The file.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The log.
    #[error(transparent)]
    Log(#[from] LoadError),
}

/// What a load did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadReport {
    /// How far the file is, over all attempts.
    pub progress: LoadProgress,
    /// Events appended now.
    pub events_now: u64,
    /// Lines refused now.
    pub bad_lines_now: u64,
}

/// One load at work.
pub struct Load<'a> {
    /// The file.
    pub path: &'a Path,
    /// What messages and `dlq` call it.
    pub name: &'a str,
    /// Its first pass.
    pub survey: &'a Survey,
    /// Whether events without an arrival arrive now.
    pub arrival_now: bool,
    /// Partitions of the events topic.
    pub partitions: u32,
    /// Bytes read, for whoever shows progress.
    pub read: &'a BytesRead,
    /// Set to end at the next append.
    pub stop: &'a AtomicBool,
    /// Hears of each line that is refused.
    pub refused: &'a mut (dyn FnMut(RefusedLine) + Send),
}

impl Load<'_> {
    /// Loads what is not in the log yet. `finished` stays unset in the report if it was told to stop.
    pub fn run(mut self, mut loader: Loader) -> Result<LoadReport, LoadFailure> {
        let before = loader.progress();
        let mut lines = Lines::new(Source::open(self.path, self.read)?);
        let mut reader = EventReader::default();
        let mut append =
            Append { batcher: Batcher::new(self.partitions), outputs: Outputs::new(), progress: before };
        let mut arrival = self.arrival();
        loop {
            let number = lines.number();
            let line = lines.read().map_err(|source| unreadable(self.path, number, source))?;
            let Some(line) = line else { break };
            if number < before.next_line {
                continue; // a crash ago this line went into the log
            }
            self.take(number + 1, line, arrival, &mut reader, &mut append, &mut loader)?;
            append.progress.next_line = number + 1;
            if append.is_full() {
                append.write(&mut loader)?;
                arrival = self.arrival();
                if self.stop.load(Ordering::Acquire) {
                    return Ok(report(before, append.progress));
                }
            }
        }
        let line = lines.number();
        let digest = lines.into_source().digest().map_err(|source| unreadable(self.path, line, source))?;
        if digest != self.survey.digest {
            return Err(InputError::Changed { path: self.path.to_owned() }.into());
        }
        append.batcher.seal(&mut append.outputs);
        let progress = loader.finish(&mut append.outputs, append.progress)?;
        Ok(report(before, progress))
    }

    fn take(
        &mut self,
        number: u64,
        line: Line<'_>,
        arrival: Arrival,
        reader: &mut EventReader,
        append: &mut Append,
        loader: &mut Loader,
    ) -> Result<(), LoadFailure> {
        let Some(event) = reader.read(&self.survey.format, number, line) else { return Ok(()) };
        let placed = match event {
            Ok(event) => append.event(event, arrival, loader)?,
            Err(error) => Err(error),
        };
        if let Err(error) = placed {
            append.refuse(self.name, number, line, &error);
            (self.refused)(RefusedLine { line: number, error });
        }
        Ok(())
    }

    fn arrival(&self) -> Arrival {
        match self.arrival_now {
            false => Arrival::File,
            true => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH);
                Arrival::Now(since.map_or(0, |d| d.as_millis() as i64))
            }
        }
    }
}

/// The next append as it fills.
struct Append {
    batcher: Batcher,
    outputs: Outputs,
    progress: LoadProgress,
}

impl Append {
    fn event(
        &mut self,
        event: &mut JsonEvent,
        arrival: Arrival,
        loader: &mut Loader,
    ) -> Result<Result<(), LineError>, LoadFailure> {
        let Some(stream_id) = event.stream_id.take() else { return Ok(Err(LineError::NoStream)) };
        let mut state = loader.stream(&stream_id)?;
        let placed = place(event, &mut state, arrival);
        if let Ok(arrival_ms) = placed {
            loader.set_stream(&stream_id, state);
            self.batcher.push(&stream_id, event, arrival_ms, &mut self.outputs);
            self.progress.events += 1;
        }
        event.stream_id = Some(stream_id); // its memory is used again
        Ok(placed.map(|_| ()))
    }

    /// Keeps a line that is no event.
    fn refuse(&mut self, file: &str, number: u64, line: Line<'_>, error: &LineError) {
        let (Line::Whole(text) | Line::Cut(text, _)) = line;
        let (error, number) = (error.to_string(), number.to_string());
        let texts = [
            ("reason", DropReason::Malformed.as_str()),
            ("error", &error),
            ("source-file", file),
            ("source-line", &number),
            ("service", concat!("evenkeel-run/", env!("CARGO_PKG_VERSION"))),
        ];
        let headers = texts.map(|(name, value)| Header { name, value: value.as_bytes() });
        self.outputs.push(Topic::Dlq, 0, None, &headers, |buf| buf.extend_from_slice(text));
        self.progress.bad_lines += 1;
    }

    fn is_full(&self) -> bool {
        self.outputs.bytes() >= BYTES_MAX || self.progress.next_line.is_multiple_of(LINES_MAX)
    }

    fn write(&mut self, loader: &mut Loader) -> Result<(), LoadFailure> {
        self.batcher.seal(&mut self.outputs);
        loader.append(&mut self.outputs, self.progress)?;
        self.outputs.clear();
        Ok(())
    }
}

fn report(before: LoadProgress, progress: LoadProgress) -> LoadReport {
    LoadReport {
        progress,
        events_now: progress.events - before.events,
        bad_lines_now: progress.bad_lines - before.bad_lines,
    }
}
