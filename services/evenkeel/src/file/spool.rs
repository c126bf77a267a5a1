//! What can be read only once (standard input, a pipe) is kept in the data directory first: a load reads a
//! file twice, to know it before anything of it is in the log.

use super::error::InputError;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The kept input. Its file goes when this is dropped; one left over by a crash is replaced.
#[derive(Debug)]
pub struct Spool {
    path: PathBuf,
}

impl Spool {
    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "the kept input cannot be removed");
        }
    }
}

/// Whether `input` can be read only once: `-`, or anything but a regular file.
pub fn needs_spool(input: &Path) -> bool {
    input == Path::new("-") || std::fs::metadata(input).is_ok_and(|m| !m.is_file() && !m.is_dir())
}

/// Copies an input that can be read only once into `dir` (which this process has locked).
pub fn spool(input: &Path, dir: &Path) -> Result<Spool, InputError> {
    let path = dir.join("input.spool");
    let failed = |source| InputError::Spool { path: path.clone(), source };
    let mut from: Box<dyn Read> = match input == Path::new("-") {
        true => Box::new(std::io::stdin().lock()),
        false => {
            let open = File::open(input);
            Box::new(open.map_err(|source| InputError::Open { path: input.to_owned(), source })?)
        }
    };
    let mut to = File::create(&path).map_err(failed)?;
    let spool = Spool { path: path.clone() };
    std::io::copy(&mut from, &mut to).map_err(failed)?;
    Ok(spool)
}
