//! One line of either format as an event.

use super::error::LineError;
use super::lines::{LINE_BYTES_MAX, Line};
use super::ndjson;
use evenkeel_codec::csv::{Cells, Columns, RowError};
use evenkeel_codec::json::JsonEvent;

/// How a file is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// One JSON object per line.
    Ndjson,
    /// Cells; the line with this number (from 1) names the columns.
    Csv {
        /// What they are.
        columns: Columns,
        /// The header's line number.
        header: u64,
    },
}

/// Reads events, in memory that is used again.
#[derive(Debug, Default)]
pub struct EventReader {
    cells: Cells,
    event: JsonEvent,
}

impl EventReader {
    /// Reads line `number` (from 1); `None` = it holds no event by its nature (blank, or the header).
    pub fn read(
        &mut self,
        format: &Format,
        number: u64,
        line: Line<'_>,
    ) -> Option<Result<&mut JsonEvent, LineError>> {
        if line.is_blank() || matches!(format, Format::Csv { header, .. } if *header >= number) {
            return None;
        }
        let read = match (line, format) {
            (Line::Cut(_, bytes), _) => Err(RowError::TooLong { bytes, max: LINE_BYTES_MAX }.into()),
            (Line::Whole(text), Format::Ndjson) => ndjson::read(text).map(|event| self.event = event),
            (Line::Whole(text), Format::Csv { columns, .. }) => {
                columns.read(text, &mut self.cells, &mut self.event).map_err(LineError::from)
            }
        };
        Some(read.map(|()| &mut self.event))
    }
}
