//! Window rows and scores as text: a table for people, CSV for spreadsheets, JSON for programs.
//!
//! Owns: what the columns are. Never: more rows in memory than one page of the table.

mod aligned;
mod csv;
mod json;
mod score;
mod table;

pub use score::ScorePrinter;

use clap::ValueEnum;
use evenkeel_model::StoredRow;
use std::io::{Result, Write};

/// How rows are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Aligned columns, times as dates, one line per window and field
    Table,
    /// One line per window and field; times in ms since the epoch
    Csv,
    /// One object per line; times in ms since the epoch
    Json,
}

/// Prints rows as they come.
pub enum Printer<'a> {
    /// See [`Format::Table`].
    Table(table::Table<'a>),
    /// See [`Format::Csv`].
    Csv(csv::Csv<'a>),
    /// See [`Format::Json`].
    Json(json::Json<'a>),
}

impl<'a> Printer<'a> {
    /// Prints to `out`.
    pub fn new(format: Format, out: &'a mut dyn Write) -> Self {
        match format {
            Format::Table => Self::Table(table::Table::new(out)),
            Format::Csv => Self::Csv(csv::Csv::new(out)),
            Format::Json => Self::Json(json::Json::new(out)),
        }
    }

    /// One row.
    pub fn row(&mut self, row: &StoredRow) -> Result<()> {
        match self {
            Self::Table(table) => table.row(row),
            Self::Csv(csv) => csv.row(row),
            Self::Json(json) => json.row(row),
        }
    }

    /// After the last row: what is still held.
    pub fn end(self) -> Result<()> {
        match self {
            Self::Table(table) => table.end(),
            Self::Csv(csv) => csv.end(),
            Self::Json(json) => json.end(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_model::{ClosedBy, FieldStats, SeqRange, WindowRow, WindowSpan};

    pub(super) fn stored(stream_id: &str, fields: &[(&str, f64)]) -> StoredRow {
        let stats = fields.iter().map(|(name, x)| FieldStats {
            name: (*name).to_owned(),
            count: 2,
            min: *x,
            max: x + 1.0,
            sum: 2.0 * x,
            sum_lo: 1.0,
            mean: x + 0.5,
            m2: 0.5,
            first: *x,
            first_ts: 1_700_000_000_000,
            first_seq: 1,
            last: x + 1.0,
            last_ts: 1_700_000_001_000,
            last_seq: 3,
        });
        let row = WindowRow {
            stream_id: stream_id.to_owned(),
            span: WindowSpan::of(1_700_000_000_000, 5_000),
            closed_by: ClosedBy::Watermark,
            max_ts: 1_700_000_007_000,
            first_arrival: 1_700_000_000_001,
            last_arrival: 1_700_000_001_001,
            count: 2,
            seqs: vec![SeqRange { lo: 1, hi: 1, count: 1 }, SeqRange { lo: 3, hi: 3, count: 1 }],
            dropped: vec![],
            stats: stats.collect(),
            events: None,
        };
        StoredRow { row, revision: 1, late_offset: 4 }
    }

    pub(super) fn shown(format: Format, rows: &[StoredRow]) -> String {
        let mut out = Vec::new();
        let mut printer = Printer::new(format, &mut out);
        rows.iter().for_each(|row| printer.row(row).unwrap());
        printer.end().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn json_is_one_object_per_line() {
        let text = shown(Format::Json, &[stored("a", &[]), stored("b", &[("x", 1.0)])]);
        let lines: Vec<serde_json::Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!((lines.len(), &lines[1]["stats"]["x"]["min"]), (2, &serde_json::json!(1.0)));
    }
}
