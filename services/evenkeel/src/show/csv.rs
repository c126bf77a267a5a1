//! CSV in long form: one line per (window, field), so that the columns are known before the first row is
//! read. A window without fields has one line with empty field columns.

use evenkeel_model::{FieldStats, StoredRow};
use std::fmt::Write as _;
use std::io::{Result, Write};

const HEADER: &str = "stream_id,size_ms,window_id,t_start,t_end,closed_by,count,missing,late_merged,\
                      first_arrival,last_arrival,field,field_count,min,max,mean,sum,m2,first,first_ts,last,last_ts\n";
/// Columns of a field.
const FIELD_COLUMNS: usize = 11;

/// Prints lines.
pub struct Csv<'a> {
    out: &'a mut dyn Write,
    line: String,
    began: bool,
}

impl<'a> Csv<'a> {
    /// Prints to `out`.
    pub fn new(out: &'a mut dyn Write) -> Self {
        Self { out, line: String::new(), began: false }
    }

    /// One row.
    pub fn row(&mut self, stored: &StoredRow) -> Result<()> {
        self.header()?;
        let row = &stored.row;
        let mut window = quoted(&row.stream_id);
        let _ = write!(window, ",{},{}", row.span.size_ms, row.span.window_id);
        let _ = write!(window, ",{},{}", row.span.t_start(), row.span.t_end());
        let _ = write!(window, ",{},{},{}", row.closed_by, row.count, row.missing());
        let _ = write!(window, ",{},{},{}", stored.revision, row.first_arrival, row.last_arrival);
        if row.stats.is_empty() {
            return writeln!(self.out, "{window}{}", ",".repeat(FIELD_COLUMNS));
        }
        for field in &row.stats {
            self.line.clear();
            write_field(field, &mut self.line);
            writeln!(self.out, "{window}{}", self.line)?;
        }
        Ok(())
    }

    /// After the last row.
    pub fn end(mut self) -> Result<()> {
        self.header()?;
        self.out.flush()
    }

    fn header(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.began, true) { Ok(()) } else { self.out.write_all(HEADER.as_bytes()) }
    }
}

/// Numbers are the shortest that read back as the same number.
fn write_field(field: &FieldStats, line: &mut String) {
    let _ = write!(line, ",{},{}", quoted(&field.name), field.count);
    for x in [field.min, field.max, field.mean, field.sum + field.sum_lo, field.m2, field.first] {
        let _ = write!(line, ",{x:?}");
    }
    let _ = write!(line, ",{},{:?},{}", field.first_ts, field.last, field.last_ts);
}

/// RFC 4180.
pub(super) fn quoted(text: &str) -> String {
    match text.contains([',', '"']) || text.starts_with(' ') || text.ends_with(' ') {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Format;
    use super::super::tests::{shown, stored};

    #[test]
    fn one_line_per_window_and_field() {
        let rows = [stored("a,\"b", &[("x", 1.0), ("y", 1e300)]), stored("bare", &[])];
        let text = shown(Format::Csv, &rows);
        let lines: Vec<&str> = text.lines().collect();
        let window = "5000,340000000,1700000000000,1700000005000,watermark,2,1,1,1700000000001,1700000001001";
        assert_eq!(
            lines[1],
            format!("\"a,\"\"b\",{window},x,2,1.0,2.0,1.5,3.0,0.5,1.0,1700000000000,2.0,1700000001000")
        );
        assert!(lines[2].contains(",y,2,1e300,1e300,1e300,2e300,"), "{}", lines[2]);
        assert_eq!(lines[3], format!("bare,{window},,,,,,,,,,,"));
        let columns = |line: &str| line.split(',').count();
        assert_eq!((columns(lines[0]), columns(lines[3])), (22, 22));
        assert_eq!(shown(Format::Csv, &[]).lines().count(), 1);
    }
}
