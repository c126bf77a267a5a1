//! One line of CSV into its cells (RFC 4180; a cell does not go on in the next line).

use super::error::RowError;
use std::str::Utf8Error;

/// The cells of one line, in memory that is used again.
#[derive(Debug, Default)]
pub struct Cells {
    text: String,
    ends: Vec<usize>,
}

impl Cells {
    /// Splits a line, without its line end. Blanks around a cell do not count.
    ///
    /// # Errors
    /// [`RowError::Utf8`], [`RowError::Quotes`]
    pub(super) fn split(&mut self, line: &[u8]) -> Result<(), RowError> {
        self.text.clear();
        self.ends.clear();
        let line = std::str::from_utf8(line).map_err(|e: Utf8Error| RowError::Utf8(e.valid_up_to()))?;
        let mut rest = Some(line);
        while let Some(text) = rest {
            rest = match text.trim_start().strip_prefix('"') {
                Some(quoted) => self.quoted(quoted)?,
                None => self.plain(text)?,
            };
            self.ends.push(self.text.len());
        }
        Ok(())
    }

    /// Number of cells.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// A cell; empty past the end.
    fn get(&self, cell: usize) -> &str {
        let start = cell.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        self.ends.get(cell).and_then(|end| self.text.get(start..*end)).unwrap_or("")
    }

    /// All cells.
    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|cell| self.get(cell))
    }

    fn plain<'t>(&mut self, text: &'t str) -> Result<Option<&'t str>, RowError> {
        let (cell, rest) = match text.split_once(',') {
            Some((cell, rest)) => (cell, Some(rest)),
            None => (text, None),
        };
        if cell.contains('"') {
            return Err(RowError::Quotes(self.len() + 1));
        }
        self.text.push_str(cell.trim());
        Ok(rest)
    }

    /// The cell whose opening quote was just taken; a doubled quote stands for one.
    fn quoted<'t>(&mut self, mut text: &'t str) -> Result<Option<&'t str>, RowError> {
        let wrong = RowError::Quotes(self.len() + 1);
        loop {
            let Some((part, rest)) = text.split_once('"') else { return Err(wrong) };
            self.text.push_str(part);
            if let Some(more) = rest.strip_prefix('"') {
                self.text.push('"');
                text = more;
                continue;
            }
            let rest = rest.trim_start();
            return match (rest.strip_prefix(','), rest.is_empty()) {
                (Some(next), _) => Ok(Some(next)),
                (None, true) => Ok(None),
                (None, false) => Err(wrong),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(line: &str) -> Result<Vec<String>, RowError> {
        let mut cells = Cells::default();
        cells.split(line.as_bytes())?;
        Ok(cells.iter().map(str::to_owned).collect())
    }

    #[test]
    fn cells_blanks_and_quotes() {
        for (line, want) in [
            ("a,b,c", vec!["a", "b", "c"]),
            (" a , b\t,", vec!["a", "b", ""]),
            ("", vec![""]),
            (",,", vec!["", "", ""]),
            (r#""a,b", "say ""hi""" ,"""#, vec!["a,b", r#"say "hi""#, ""]),
            ("é,\u{1f600}", vec!["é", "\u{1f600}"]),
        ] {
            assert_eq!(
                split(line).as_deref(),
                Ok(want.iter().map(|s| s.to_string()).collect::<Vec<_>>().as_slice()),
                "{line}"
            );
        }
    }

    #[test]
    fn quotes_that_do_not_fit_and_bytes_that_are_no_text() {
        for (line, cell) in [(r#"a,"b"#, 2), (r#"a"b,c"#, 1), (r#""a"b,c"#, 1), (r#"a,b,c""#, 3)] {
            assert_eq!(split(line), Err(RowError::Quotes(cell)), "{line}");
        }
        assert_eq!(Cells::default().split(b"ab\xff,c"), Err(RowError::Utf8(2)));
    }
}
