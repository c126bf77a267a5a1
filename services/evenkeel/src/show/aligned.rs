//! Lines of cells under a header, aligned. Widths are those of a page of lines; they only grow from page to page, so
//! memory is bounded.

use std::io::{Result, Write};

/// Lines whose widths are looked at together.
const PAGE_LINES: usize = 500;

/// A column: its name, and whether its cells stand to the right, as numbers do.
pub type Column = (&'static str, bool);

/// Prints pages.
pub struct Aligned<'a> {
    out: &'a mut dyn Write,
    columns: &'static [Column],
    page: Vec<Vec<String>>,
    widths: Vec<usize>,
}

impl<'a> Aligned<'a> {
    /// Prints to `out`.
    pub fn new(columns: &'static [Column], out: &'a mut dyn Write) -> Self {
        let header = columns.iter().map(|(name, _)| (*name).to_owned()).collect();
        Self { out, columns, page: vec![header], widths: vec![0; columns.len()] }
    }

    /// One line: a cell per column.
    pub fn line(&mut self, cells: Vec<String>) {
        self.page.push(cells);
    }

    /// After the lines of a row: prints a full page.
    pub fn turn(&mut self) -> Result<()> {
        if self.page.len() >= PAGE_LINES { self.print() } else { Ok(()) }
    }

    /// After the last row.
    pub fn end(mut self) -> Result<()> {
        self.print()?;
        self.out.flush()
    }

    fn print(&mut self) -> Result<()> {
        for line in &self.page {
            for (width, cell) in self.widths.iter_mut().zip(line) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for line in self.page.drain(..) {
            let mut text = String::new();
            for ((cell, width), (_, right)) in line.iter().zip(&self.widths).zip(self.columns) {
                let padded = if *right { format!("{cell:>width$}") } else { format!("{cell:<width$}") };
                text.push_str(&padded);
                text.push_str("  ");
            }
            writeln!(self.out, "{}", text.trim_end())?;
        }
        Ok(())
    }
}
