//! Files that are whole or not there: written beside their name, renamed at the end.

use crate::error::OutputError;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// A file on its way. Dropped without [`Staged::finish`] it leaves nothing.
#[derive(Debug)]
pub struct Staged {
    writer: Option<BufWriter<File>>,
    part: PathBuf,
    name: PathBuf,
}

impl Staged {
    /// Begins a file of `dir`, which is made if it is not there. What stood under the name is removed, so that
    /// nobody takes an earlier run's rows for this one's.
    pub fn create(dir: &Path, name: &str) -> Result<Self, OutputError> {
        let failed = |path: &Path, source| OutputError { path: path.to_owned(), source };
        std::fs::create_dir_all(dir).map_err(|e| failed(dir, e))?;
        let (name, part) = (dir.join(name), dir.join(format!("{name}.part")));
        let file = File::create(&part).map_err(|e| failed(&part, e))?;
        match std::fs::remove_file(&name) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(failed(&name, e)),
            _ => {}
        }
        Ok(Self { writer: Some(BufWriter::new(file)), part, name })
    }

    /// An error of writing, with the file's name.
    pub fn failed(&self, source: std::io::Error) -> OutputError {
        OutputError { path: self.name.clone(), source }
    }

    /// The file is whole: it gets its name.
    pub fn finish(mut self) -> Result<PathBuf, OutputError> {
        let written = match self.writer.take() {
            Some(writer) => writer.into_inner().map_err(std::io::IntoInnerError::into_error),
            None => Err(std::io::Error::other("finished twice")),
        };
        let whole =
            written.and_then(|file| file.sync_all()).and_then(|()| std::fs::rename(&self.part, &self.name));
        match whole {
            Ok(()) => Ok(self.name.clone()),
            Err(source) => Err(self.failed(source)),
        }
    }
}

impl Write for Staged {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match &mut self.writer {
            Some(writer) => writer.write(bytes),
            None => Err(std::io::Error::other("the file is finished")),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.writer.as_mut().map_or(Ok(()), Write::flush)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // After `finish` the part is gone and this finds nothing.
        let _ = std::fs::remove_file(&self.part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_has_its_name_only_when_it_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("a/b");
        let mut staged = Staged::create(&out, "rows.csv").unwrap();
        staged.write_all(b"1\n").unwrap();
        assert_eq!(names(&out), ["rows.csv.part"]);
        staged.finish().unwrap();
        assert_eq!(names(&out), ["rows.csv"]);
        let mut second = Staged::create(&out, "rows.csv").unwrap();
        second.write_all(b"2\n").unwrap();
        drop(second);
        assert_eq!(names(&out), Vec::<String>::new(), "neither half of the new nor the old one");
    }

    #[test]
    fn a_place_that_cannot_be_written_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), b"").unwrap();
        let error = Staged::create(&dir.path().join("file/out"), "rows.csv").unwrap_err().to_string();
        assert!(error.contains("cannot be written") && error.contains("--out DIR"), "{error}");
    }
}
