//! What is known of a recording beside its content: a small file of JSON with the same stem.
//!
//! Owns: that file, written whole or not at all. Never: the length or whether it is finished; the recording's journal
//! says that.

use super::name::RecordingName;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What is known of a recording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct About {
    pub(crate) stream_id: String,
    pub(crate) recording_id: String,
    pub(crate) content_type: String,
    /// When it was begun, ms since the epoch.
    pub(crate) created_ms: i64,
    /// Another one for each recording that ever had this name. The bytes under it never change, they only become
    /// more: a strong validator, quotes included.
    pub(crate) etag: String,
}

impl About {
    pub(crate) fn new(name: &RecordingName, content_type: String, created_ms: i64, drawn: u64) -> Self {
        let RecordingName { stream_id, recording_id } = name.clone();
        let etag = format!("\"{created_ms:x}-{drawn:016x}\"");
        Self { stream_id, recording_id, content_type, created_ms, etag }
    }
}

/// The file with `ending` beside a recording.
pub(crate) fn beside(dir: &Path, stem: &str, ending: &str) -> PathBuf {
    dir.join(format!("{stem}.{ending}"))
}

/// Reads such a file; `None` if there is none. One that cannot be read, or was written by another version, is an error.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes such a file under another name first, so that a crash leaves the old one or the new one. `lasting`: also
/// through a loss of power.
pub(crate) fn write<T: Serialize>(path: &Path, value: &T, lasting: bool) -> io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(DRAFT);
    let draft = PathBuf::from(draft);
    fs::write(&draft, serde_json::to_vec(value)?)?;
    if lasting {
        fs::File::open(&draft)?.sync_all()?;
    }
    fs::rename(&draft, path)
}

/// What stands behind the name of a file that is being written.
pub(crate) const DRAFT: &str = ".draft";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_comes_back_as_it_was_written_and_anything_else_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = beside(dir.path(), "stem", "about");
        assert_eq!(read::<About>(&path).unwrap(), None);
        let name = RecordingName::new("imu/7".into(), "walk".into()).unwrap();
        let about = About::new(&name, "text/csv".into(), 1_700_000_000_000, 7);
        assert_eq!(about.etag, "\"18bcfe56800-0000000000000007\"");
        write(&path, &about, true).unwrap();
        assert_eq!(read(&path).unwrap(), Some(about));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no draft stays");
        fs::write(&path, b"{\"stream_id\":").unwrap();
        assert!(read::<About>(&path).is_err());
    }
}
