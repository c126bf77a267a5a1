//! A table for people: one line per (window, field), the window's own columns on its first line only.

use super::aligned::{Aligned, Column};
use crate::summary::size_name;
use evenkeel_model::{FieldStats, StoredRow};
use jiff::Timestamp;
use std::io::{Result, Write};

const COLUMNS: [Column; 13] = [
    ("STREAM", false),
    ("WINDOW (UTC)", false),
    ("SIZE", true),
    ("COUNT", true),
    ("MISSING", true),
    ("LATE", true),
    ("CLOSED BY", false),
    ("FIELD", false),
    ("N", true),
    ("MIN", true),
    ("MEAN", true),
    ("MAX", true),
    ("LAST", true),
];

/// Prints pages.
pub struct Table<'a>(Aligned<'a>);

impl<'a> Table<'a> {
    /// Prints to `out`.
    pub fn new(out: &'a mut dyn Write) -> Self {
        Self(Aligned::new(&COLUMNS, out))
    }

    /// One row.
    pub fn row(&mut self, stored: &StoredRow) -> Result<()> {
        let row = &stored.row;
        let mut window = [
            row.stream_id.clone(),
            date(row.span.t_start()),
            size_name(row.span.size_ms),
            row.count.to_string(),
            row.missing().to_string(),
            stored.revision.to_string(),
            row.closed_by.to_string(),
        ];
        let none = [const { String::new() }; 6];
        let mut fields = row.stats.iter().map(of_field);
        let mut first = Some(fields.next().unwrap_or(none));
        while let Some(field) = first.take().or_else(|| fields.next()) {
            self.0.line(window.iter_mut().map(std::mem::take).chain(field).collect());
        }
        self.0.turn()
    }

    /// After the last row.
    pub fn end(self) -> Result<()> {
        self.0.end()
    }
}

fn of_field(field: &FieldStats) -> [String; 6] {
    let [min, mean, max, last] = [field.min, field.mean, field.max, field.last].map(short);
    [field.name.clone(), field.count.to_string(), min, mean, max, last]
}

/// `2023-11-14 22:13:20`, with ms where there are any.
pub(super) fn date(ms: i64) -> String {
    let Ok(time) = Timestamp::from_millisecond(ms) else { return ms.to_string() };
    let form = if ms % 1000 == 0 { "%Y-%m-%d %H:%M:%S" } else { "%Y-%m-%d %H:%M:%S.%3f" };
    time.strftime(form).to_string()
}

/// Six digits that count, no zeros behind the point.
pub(super) fn short(x: f64) -> String {
    let size = x.abs();
    if size != 0.0 && !(1e-4..1e12).contains(&size) {
        return format!("{x:.5e}");
    }
    let before_point = if size < 1.0 { 1 } else { size.log10() as usize + 1 };
    let text = format!("{x:.*}", 6usize.saturating_sub(before_point));
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Format;
    use super::super::tests::{shown, stored};
    use super::*;

    #[test]
    fn columns_stand_under_their_names() {
        let text =
            shown(Format::Table, &[stored("bowl/7", &[("x", 1.0), ("weight", -12.25)]), stored("b", &[])]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4);
        let at =
            |line: usize, what: &str| lines[line].find(what).unwrap_or_else(|| panic!("{what} in {text}"));
        assert_eq!(at(0, "FIELD"), at(2, "weight"));
        assert_eq!(at(0, "WINDOW"), at(1, "2023-11-14 22:13:20"));
        assert_eq!(at(1, "5s") + 2, at(0, "SIZE") + 4);
        assert!(!lines[2].contains("bowl") && lines[3].starts_with("b "));
        assert_eq!(shown(Format::Table, &[]).lines().count(), 1);
    }

    #[test]
    fn a_long_answer_is_printed_page_by_page() {
        let rows: Vec<_> = (0..2_000).map(|n| stored(&format!("s{n}"), &[("x", 1.0)])).collect();
        assert_eq!(shown(Format::Table, &rows).lines().count(), 2_001);
    }

    #[test]
    fn numbers_are_short() {
        let text =
            [0.0, 1.0, -2.5, 1234.5678, 123_456_789.0, 0.000_123_4, 1e-9, 1e300, 99.999_999].map(short);
        let want = ["0", "1", "-2.5", "1234.57", "123456789", "0.00012", "1.00000e-9", "1.00000e300", "100"];
        assert_eq!(text, want);
    }
}
