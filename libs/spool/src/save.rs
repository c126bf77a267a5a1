//! The whole content to a file, while it still arrives.
//!
//! Owns: the file until it is whole. Never: a file by its final name that is not whole, or one that stays
//! behind a failure.

use crate::buffer::SpoolBuffer;
use crate::error::SaveError;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// Bytes per step: read, then written.
const STEP_BYTES: usize = 256 << 10;

impl SpoolBuffer {
    /// Writes the whole content to `path` as it arrives, pulling the source to its end; answers the length. The
    /// file gets its name when it is whole and on stable storage; an older one of that name is replaced then.
    /// Dropped, it leaves nothing.
    ///
    /// # Errors
    /// [`SaveError`]
    pub async fn save(&self, path: impl Into<PathBuf>) -> Result<u64, SaveError> {
        let path: PathBuf = path.into();
        let (at, mut file) = (path.clone(), Some(on_thread(&path, temporary).await?));
        let mut saved = 0;
        loop {
            let bytes = self.read_some(saved, STEP_BYTES).await?;
            if bytes.is_empty() {
                break;
            }
            saved += bytes.len() as u64;
            if let Some(mut open) = file.take() {
                let write = move |_: &Path| open.write_all(&bytes).map(|()| open);
                file = Some(on_thread(&at, write).await?);
            }
        }
        if let Some(open) = file {
            on_thread(&at, move |path| keep(open, path)).await?;
        }
        Ok(saved)
    }

    /// [`Self::save`] for a thread.
    ///
    /// # Errors
    /// [`SaveError`]
    pub fn save_blocking(&self, path: impl Into<PathBuf>) -> Result<u64, SaveError> {
        let path: PathBuf = path.into();
        let failed = |source| SaveError::Write { path: path.clone(), source };
        let mut file = temporary(&path).map_err(failed)?;
        let mut saved = 0;
        loop {
            let step = usize::try_from(self.filled().saturating_sub(saved)).unwrap_or(usize::MAX);
            let bytes = self.read_at_blocking(saved, step.clamp(1, STEP_BYTES))?;
            if bytes.is_empty() {
                break;
            }
            file.write_all(&bytes).map_err(failed)?;
            saved += bytes.len() as u64;
        }
        keep(file, &path).map_err(failed)?;
        Ok(saved)
    }
}

/// A file beside `path`, on the same file system.
fn temporary(path: &Path) -> io::Result<NamedTempFile> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    tempfile::Builder::new().prefix(".saving-").tempfile_in(dir)
}

fn keep(file: NamedTempFile, path: &Path) -> io::Result<()> {
    file.as_file().sync_data()?;
    file.persist(path).map_err(|refused| refused.error)?;
    Ok(())
}

async fn on_thread<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
) -> Result<T, SaveError> {
    let at = path.to_path_buf();
    let done = tokio::task::spawn_blocking(move || work(&at)).await;
    let result = done.unwrap_or_else(|_| Err(io::Error::other("the runtime is shutting down")));
    result.map_err(|source| SaveError::Write { path: path.to_path_buf(), source })
}
