//! The first pass over a file: its digest and its format, and that it can be read to its end at all, before
//! anything of it is loaded.

use super::error::InputError;
use super::line::Format;
use super::lines::{LINE_BYTES_MAX, Line, Lines};
use super::source::{BytesRead, Source, remedy};
use evenkeel_codec::csv::{Cells, Columns, HeaderError, RowError};
use std::path::Path;

/// Rows that tell columns of numbers from columns of text.
const ROWS_LOOKED_AT: u64 = 1_000;

/// What the first pass found.
#[derive(Debug, Clone)]
pub struct Survey {
    /// BLAKE3 of the content (unpacked), hex: by this a file is known again.
    pub digest: String,
    /// How it is written.
    pub(super) format: Format,
}

impl Survey {
    /// Columns of text, which are left out.
    pub fn left_out(&self) -> Vec<String> {
        match &self.format {
            Format::Ndjson => Vec::new(),
            Format::Csv { columns, .. } => columns.left_out().map(str::to_owned).collect(),
        }
    }
}

/// Reads the file once. `read` counts its bytes.
pub fn survey(path: &Path, read: &BytesRead) -> Result<Survey, InputError> {
    let mut lines = Lines::new(Source::open(path, read)?);
    let format = find_format(path, &mut lines)?;
    let line = lines.number();
    // Whatever the line buffer has read ahead is in the digest already.
    let digest = lines.into_source().digest().map_err(|source| unreadable(path, line, source))?;
    Ok(Survey { digest, format })
}

/// A read error after line `line`.
pub fn unreadable(path: &Path, line: u64, source: std::io::Error) -> InputError {
    let remedy = remedy(&source);
    InputError::Read { path: path.to_owned(), line, source, remedy }
}

fn find_format(path: &Path, lines: &mut Lines<Source>) -> Result<Format, InputError> {
    loop {
        let before = lines.number();
        match lines.read().map_err(|source| unreadable(path, before, source))? {
            None => return Err(InputError::Empty { path: path.to_owned() }),
            Some(line) if line.is_blank() => continue,
            Some(Line::Whole(text) | Line::Cut(text, _)) if text.trim_ascii_start().starts_with(b"{") => {
                return Ok(Format::Ndjson);
            }
            Some(line) => {
                let columns = match line {
                    Line::Whole(text) => Columns::of_header(text),
                    Line::Cut(_, bytes) => Err(RowError::TooLong { bytes, max: LINE_BYTES_MAX }.into()),
                };
                return settle(path, lines, columns);
            }
        }
    }
}

fn settle(
    path: &Path,
    lines: &mut Lines<Source>,
    columns: Result<Columns, HeaderError>,
) -> Result<Format, InputError> {
    let header = lines.number();
    let refused = |source| InputError::Header { path: path.to_owned(), line: header, source };
    let mut columns = columns.map_err(refused)?;
    let mut cells = Cells::default();
    while lines.number() < header + ROWS_LOOKED_AT {
        let before = lines.number();
        match lines.read().map_err(|source| unreadable(path, before, source))? {
            None => break,
            Some(Line::Whole(text)) => columns.look_at(text, &mut cells),
            Some(Line::Cut(..)) => {}
        }
    }
    columns.settle().map_err(refused)?;
    Ok(Format::Csv { columns, header })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(content: &str) -> Result<Survey, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        survey(file.path(), &BytesRead::default())
            .map_err(|e| e.to_string().replace(&file.path().display().to_string(), "F"))
    }

    #[test]
    fn the_first_line_that_is_not_blank_tells_the_format() {
        assert_eq!(of("\n\n {\"stream_id\":1}\nx").unwrap().format, Format::Ndjson);
        let csv = of("\nstream_id,ts,room,x\na,1,kitchen,2\n").unwrap();
        assert!(matches!(csv.format, Format::Csv { header: 2, .. }));
        assert_eq!(csv.left_out(), ["room"]);
        assert_eq!(csv.digest, blake3::hash(b"\nstream_id,ts,room,x\na,1,kitchen,2\n").to_hex().to_string());
    }

    #[test]
    fn what_cannot_be_loaded_is_refused_with_file_and_line() {
        assert!(of("").unwrap_err().starts_with("F: is empty; it should hold"));
        assert!(of("\n \n").unwrap_err().starts_with("F: is empty"));
        assert!(of("\na,b\n").unwrap_err().starts_with("F:2: no column stream_id"));
        let missing = survey(Path::new("no/such/file"), &BytesRead::default()).unwrap_err().to_string();
        assert!(missing.starts_with("no/such/file: cannot be opened: ") && missing.ends_with("permissions"));
    }
}
