//! One JSON object per line, named as the row in docs/semantics.md.

use evenkeel_codec::json::write_row;
use evenkeel_model::StoredRow;
use std::io::{Result, Write};

/// Prints objects.
pub struct Json<'a> {
    out: &'a mut dyn Write,
    line: Vec<u8>,
}

impl<'a> Json<'a> {
    /// Prints to `out`.
    pub fn new(out: &'a mut dyn Write) -> Self {
        Self { out, line: Vec::new() }
    }

    /// One row.
    pub fn row(&mut self, row: &StoredRow) -> Result<()> {
        self.line.clear();
        write_row(row, &mut self.line);
        self.line.push(b'\n');
        self.out.write_all(&self.line)
    }

    /// After the last row.
    pub fn end(self) -> Result<()> {
        self.out.flush()
    }
}
