//! Findings about the files and directories that the configuration names.

use super::facts::{FileUse, NamedFile};
use super::{Told, Weight};
use evenkeel_chassis::exit::Exit;

/// Bits of a mode by which anybody on the machine may read or write.
const OTHERS: u32 = 0o006;

/// Everything that may be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// It cannot be read.
    Unreadable { key: &'static str, path: String, why: String },
    /// A secret that others may read.
    NotPrivate { key: &'static str, path: String, mode: u32 },
    /// A directory that cannot be written to.
    NotWritable { key: &'static str, path: String, why: String },
}

/// Judges. A group may read a secret: that is how Kubernetes mounts them for a user that is not root.
pub fn judge(files: &[NamedFile]) -> Vec<Finding> {
    let found = files.iter().filter_map(|file| {
        let (key, path) = (file.key, file.path.display().to_string());
        match (&file.state, file.usage) {
            (Err(why), FileUse::Directory) => Some(Finding::NotWritable { key, path, why: why.clone() }),
            (Err(why), _) => Some(Finding::Unreadable { key, path, why: why.clone() }),
            (Ok(mode), FileUse::Secret) if mode & OTHERS != 0 => {
                Some(Finding::NotPrivate { key, path, mode: *mode })
            }
            (Ok(_), _) => None,
        }
    });
    found.collect()
}

impl Finding {
    /// In words.
    pub fn told(&self) -> Told {
        let (kind, weight, key, why, remedy) = match self {
            Self::Unreadable { key, path, why } => (
                "file-unreadable",
                Weight::Error(Exit::Usage),
                key,
                format!("{path} cannot be read: {why}"),
                "name the file that is there, and let this user read it".to_owned(),
            ),
            Self::NotPrivate { key, path, mode } => (
                "secret-not-private",
                Weight::Warning,
                key,
                format!("{path} holds a secret, and its mode {mode:03o} lets everybody on the machine at it"),
                format!("`chmod o-rw {path}`"),
            ),
            Self::NotWritable { key, path, why } => (
                "directory-not-writable",
                Weight::Error(Exit::Storage),
                key,
                format!("nothing can be written in {path}: {why}"),
                "make the directory, mount it writable, or let this user write there".to_owned(),
            ),
        };
        Told { kind, weight, place: (*key).to_owned(), why, remedy }
    }
}

#[cfg(test)]
mod tests {
    use super::super::trial::{Trial, try_all};
    use super::*;

    fn healthy() -> Vec<NamedFile> {
        let file = |key, usage, mode| NamedFile { key, path: "/x".into(), usage, state: Ok(mode) };
        vec![
            file("cql.auth.password-file", FileUse::Secret, 0o640),
            file("cql.tls.ca-file", FileUse::Public, 0o644),
            file("ingest.recordings.dir", FileUse::Directory, 0o777),
        ]
    }

    #[test]
    fn every_kind_has_a_cause_and_health_has_none() {
        let trials: [Trial<Vec<NamedFile>>; 5] = [
            ("file-unreadable", |f| f[0].state = Err("No such file or directory".into())),
            ("file-unreadable", |f| f[1].state = Err("Permission denied".into())),
            ("secret-not-private", |f| f[0].state = Ok(0o604)),
            ("secret-not-private", |f| f[0].state = Ok(0o602)),
            ("directory-not-writable", |f| f[2].state = Err("Read-only file system".into())),
        ];
        let told = |files: &Vec<NamedFile>| judge(files).iter().map(Finding::told).collect();
        let kinds = ["file-unreadable", "secret-not-private", "directory-not-writable"];
        try_all(healthy, told, &trials, &kinds);
    }
}
