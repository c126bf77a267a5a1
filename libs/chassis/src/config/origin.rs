//! Where a configuration value came from, to say so when it is wrong.

use std::collections::BTreeMap;
use std::fmt;

/// The place a value was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The service's embedded `default.toml`.
    Default,
    /// A configuration file.
    File {
        /// Its name.
        file: String,
        /// Line, from 1.
        line: usize,
    },
    /// An environment variable.
    Env {
        /// Its name.
        variable: String,
    },
    /// `--set` on the command line.
    Set,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the embedded default"),
            Self::File { file, line } => write!(f, "{file} line {line}"),
            Self::Env { variable } => write!(f, "environment variable {variable}"),
            Self::Set => f.write_str("--set"),
        }
    }
}

/// The origin of each path (`a.b`, `class[0].sizes`).
#[derive(Debug, Clone, Default)]
pub(super) struct Origins(BTreeMap<String, Origin>);

impl Origins {
    pub(super) fn put(&mut self, path: String, origin: Origin) {
        self.0.insert(path, origin);
    }

    /// Forgets what lay under a path that is replaced as a whole.
    pub(super) fn clear_under(&mut self, path: &str) {
        self.0.retain(|known, _| !under(known, path));
    }

    /// The origin of a path, or of the nearest thing around it.
    pub(super) fn of(&self, path: &str) -> Origin {
        let mut path = path;
        loop {
            if let Some(origin) = self.0.get(path) {
                return origin.clone();
            }
            match path.rfind(['.', '[']) {
                Some(cut) => path = &path[..cut],
                None => return Origin::Default,
            }
        }
    }
}

fn under(path: &str, parent: &str) -> bool {
    path.strip_prefix(parent).is_some_and(|rest| rest.starts_with(['.', '[']) || rest.is_empty())
}
