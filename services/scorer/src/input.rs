//! Rows of a CSV or Parquet file as a frame.
//!
//! The whole file is read; `max_bytes` bounds the bytes of its cells.

use crate::error::InputError;
use evenkeel_scoring::{Frame, FrameColumn};
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::Field;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

/// The first bytes of a Parquet file.
const PARQUET: &[u8] = b"PAR1";
/// Columns that pandas adds to keep its row labels. They are no data.
const PANDAS_INDEX: &str = "__index_level_";

/// Reads a file.
pub fn read_rows(path: &Path, max_bytes: u64) -> Result<Frame, InputError> {
    let failed = |source| InputError::Open { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(failed)?;
    let mut magic = Vec::new();
    file.by_ref().take(4).read_to_end(&mut magic).map_err(failed)?;
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    let mut table = Table { path, columns: Vec::new(), rows: 0, bytes: 0, max_bytes };
    if magic == PARQUET {
        table.parquet(file)?
    } else {
        table.csv(file)?
    }
    table.frame()
}

/// A frame that is being read.
struct Table<'a> {
    path: &'a Path,
    columns: Vec<(String, Vec<String>)>,
    rows: usize,
    bytes: u64,
    max_bytes: u64,
}

impl Table<'_> {
    fn wrong(&self, message: impl ToString) -> InputError {
        InputError::Table { path: self.path.to_owned(), message: message.to_string() }
    }

    fn name(&mut self, name: &str) -> Result<(), InputError> {
        if self.columns.iter().any(|(known, _)| known == name) {
            return Err(InputError::Twice { path: self.path.to_owned(), name: name.to_owned() });
        }
        self.columns.push((name.to_owned(), Vec::new()));
        Ok(())
    }

    fn put(&mut self, column: usize, cell: String) -> Result<(), InputError> {
        // A cell costs its text and the places it is kept in, as text and as a number.
        const CELL_BYTES: u64 = 32;
        self.bytes += cell.len() as u64 + CELL_BYTES;
        if self.bytes > self.max_bytes {
            return Err(InputError::TooLarge { path: self.path.to_owned(), max_bytes: self.max_bytes });
        }
        self.columns[column].1.push(cell);
        Ok(())
    }

    fn csv(&mut self, file: File) -> Result<(), InputError> {
        let mut reader = csv::Reader::from_reader(BufReader::new(file));
        let header = reader.headers().map_err(|e| self.wrong(e))?.clone();
        for (i, name) in header.iter().enumerate() {
            // Spreadsheets put a byte order mark in front of the first name.
            self.name(if i == 0 { name.trim_start_matches('\u{feff}') } else { name })?;
        }
        let mut record = csv::StringRecord::new();
        while reader.read_record(&mut record).map_err(|e| self.wrong(e))? {
            for (column, cell) in record.iter().enumerate() {
                self.put(column, cell.to_owned())?;
            }
            self.rows += 1;
        }
        Ok(())
    }

    fn parquet(&mut self, file: File) -> Result<(), InputError> {
        let reader = SerializedFileReader::new(file).map_err(|e| self.wrong(e))?;
        let schema = reader.metadata().file_metadata().schema();
        let mut kept = Vec::new();
        for field in schema.get_fields() {
            let keep = !field.name().starts_with(PANDAS_INDEX);
            kept.push(keep);
            if keep {
                self.name(field.name())?;
            }
        }
        for row in reader.get_row_iter(None).map_err(|e| self.wrong(e))? {
            let row = row.map_err(|e| self.wrong(e))?;
            let fields = row.get_column_iter().zip(&kept).filter(|(_, keep)| **keep);
            for (column, ((name, field), _)) in fields.enumerate() {
                let cell = text_of(field).ok_or_else(|| {
                    self.wrong(format!("column {name:?} holds lists, maps or raw bytes; flatten it first"))
                })?;
                self.put(column, cell)?;
            }
            self.rows += 1;
        }
        Ok(())
    }

    fn frame(self) -> Result<Frame, InputError> {
        if self.rows == 0 || self.columns.is_empty() {
            return Err(InputError::Empty { path: self.path.to_owned() });
        }
        let of = |(name, cells)| FrameColumn::of_cells(name, cells);
        Ok(Frame { columns: self.columns.into_iter().map(of).collect(), rows: self.rows })
    }
}

/// A cell as a CSV file would hold it; nothing = empty.
fn text_of(field: &Field) -> Option<String> {
    Some(match field {
        Field::Null => String::new(),
        Field::Str(text) => text.clone(),
        Field::Float(x) => x.to_string(),
        Field::Double(x) => x.to_string(),
        Field::Group(_) | Field::ListInternal(_) | Field::MapInternal(_) | Field::Bytes(_) => return None,
        other => other.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, max_bytes: u64) -> Result<Frame, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let name = file.path().display().to_string();
        read_rows(file.path(), max_bytes).map_err(|e| e.to_string().replace(&name, "FILE"))
    }

    #[test]
    fn cells_are_kept_as_they_are_written() {
        let frame = read("\u{feff}a,room,b\n0.10,\"hall, east\",1e3\n,NA,2\n", 10_000).unwrap();
        let names: Vec<&str> = frame.columns.iter().map(|c| c.name.as_str()).collect();
        assert_eq!((names, frame.rows), (vec!["a", "room", "b"], 2));
        assert_eq!(frame.columns[0].cells, ["0.10", ""]);
        assert_eq!(frame.columns[1].cells, ["hall, east", "NA"]);
        assert_eq!(frame.columns[2].numbers, Some(vec![1000.0, 2.0]));
    }

    #[test]
    fn files_that_are_no_table_say_so() {
        assert!(read("", 10_000).unwrap_err().starts_with("FILE: holds no rows"));
        assert!(read("a,b\n", 10_000).unwrap_err().starts_with("FILE: holds no rows"));
        assert_eq!(
            read("a,a\n1,2\n", 10_000).unwrap_err(),
            "FILE: column \"a\" appears twice; each column needs a name of its own"
        );
        let ragged = read("a,b\n1,2\n3\n", 10_000).unwrap_err();
        assert!(ragged.contains("line: 3"), "{ragged}");
        assert!(read("PAR1 is no Parquet file\n", 10_000).unwrap_err().starts_with("FILE: "));
        assert!(read("a\n1\n2\n3\n", 80).unwrap_err().starts_with("FILE: is larger than 80 bytes"));
    }
}
