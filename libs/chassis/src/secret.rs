//! Secrets: named by the path of a file in the configuration, never written anywhere.
//!
//! Owns: reading the file. Never: the secret in `Debug`, `Display`, a log line or the effective
//! configuration.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Largest secret, bytes.
pub const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// Why a secret could not be read. Names the file, never its content.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("the secret file {} cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file holds nothing, too much, or no text.
    #[error("the secret file {} {problem}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: &'static str,
    },
}

/// The path of a file that holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretFile(PathBuf);

impl SecretFile {
    /// A secret in this file.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Reads it: UTF-8, 1 byte to 64 KiB, line ends at its end left out. Read again to follow a rotation.
    pub fn read(&self) -> Result<Secret, SecretError> {
        let read = |source| SecretError::Read { path: self.0.clone(), source };
        let content = |problem| SecretError::Content { path: self.0.clone(), problem };
        let file = std::fs::File::open(&self.0).map_err(read)?;
        let mut bytes = Vec::new();
        file.take(SECRET_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(read)?;
        if bytes.len() as u64 > SECRET_BYTES_MAX {
            return Err(content("is larger than 64 KiB"));
        }
        let text = String::from_utf8(bytes).map_err(|_| content("is not UTF-8 text"))?;
        let text = text.trim_end_matches(['\n', '\r']);
        if text.is_empty() {
            return Err(content("is empty"));
        }
        Ok(Secret(text.to_owned()))
    }
}

/// A secret. Shows itself to `expose` only.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The secret itself. Do not log it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: &[u8]) -> (tempfile::TempDir, SecretFile) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        std::fs::write(&path, content).unwrap();
        (dir, SecretFile::new(path))
    }

    #[test]
    fn reads_without_the_line_end_and_shows_nothing() {
        let (_dir, secret) = file(b"hunter2\r\n");
        let secret = secret.read().unwrap();
        assert_eq!(secret.expose(), "hunter2");
        assert_eq!(format!("{secret:?}"), "Secret(***)");
    }

    #[test]
    fn every_refusal_names_the_file_and_not_the_content() {
        for (content, problem) in [
            (b"\n".as_slice(), "is empty"),
            (b"\xff\xfehunter2", "is not UTF-8 text"),
            (&vec![b'x'; 70_000], "is larger than 64 KiB"),
        ] {
            let (_dir, secret) = file(content);
            let error = secret.read().unwrap_err().to_string();
            assert!(error.contains("password") && error.ends_with(problem), "{error}");
            assert!(!error.contains("hunter2"));
        }
        let missing = SecretFile::new("/nowhere/password").read().unwrap_err().to_string();
        assert!(missing.starts_with("the secret file /nowhere/password cannot be read: "), "{missing}");
    }
}
