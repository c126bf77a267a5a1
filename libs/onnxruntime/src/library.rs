//! The shared library of onnxruntime: opened once per process, never closed.

use ort::LoadDynamicError;
use ort::environment::Environment;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The oldest version that will do.
pub const VERSION_MIN: &str = "1.17";

/// An opened library.
#[derive(Clone)]
pub struct Library {
    path: PathBuf,
    pub(crate) environment: Environment,
}

/// Why a library cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// There is no such file.
    #[error(
        "{}: {reason}; give the shared library of onnxruntime {VERSION_MIN} or newer, e.g. \
         onnxruntime/capi/libonnxruntime.so.1.31.1 of its Python package",
        path.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// It is no library, or not that of onnxruntime.
    #[error(
        "{}: it is not onnxruntime, or not for this machine: {reason}; give libonnxruntime.so of {VERSION_MIN} or newer",
        path.display()
    )]
    NotIt {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// It is too old.
    #[error("{}: onnxruntime {version} is too old; give {VERSION_MIN} or newer", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: String,
    },
    /// Another one is open already.
    #[error("{}: this process has opened {} already; one library per process", path.display(), open.display())]
    Other {
        /// The file.
        path: PathBuf,
        /// The one that is open.
        open: PathBuf,
    },
    /// It does not start.
    #[error("{}: onnxruntime does not start: {reason}", path.display())]
    Start {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// What became of the one library of this process, once a file was loaded that is one.
static OPEN: Mutex<Option<Result<Arc<Library>, OpenError>>> = Mutex::new(None);

impl Library {
    /// Opens a library, or hands out the one that is open if it is the same.
    pub fn open(path: &Path) -> Result<Arc<Self>, OpenError> {
        // Absolute: a bare name would be looked for in the system's directories.
        let path = std::fs::canonicalize(path)
            .map_err(|e| OpenError::Missing { path: path.to_owned(), reason: e.to_string() })?;
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        match &*open {
            Some(Ok(library)) if library.path == path => return Ok(Arc::clone(library)),
            Some(Ok(library)) => return Err(OpenError::Other { path, open: library.path.clone() }),
            Some(Err(error)) => return Err(error.clone()),
            None => {}
        }
        let builder = ort::init_from(&path).map_err(|error| refused(&path, &error))?;
        let started = match builder.with_name("evenkeel").with_telemetry(false).build() {
            Ok(environment) => Ok(Arc::new(Self { path, environment })),
            Err(e) => Err(OpenError::Start { path, reason: e.to_string() }),
        };
        open.insert(started).clone()
    }
}

impl fmt::Debug for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Library").field("path", &self.path).finish_non_exhaustive()
    }
}

fn refused(path: &Path, error: &LoadDynamicError) -> OpenError {
    match error {
        LoadDynamicError::BadVersion { version_str, .. } => {
            OpenError::Version { path: path.to_owned(), version: version_str.clone() }
        }
        other => OpenError::NotIt { path: path.to_owned(), reason: other.to_string() },
    }
}
