//! The models of a worker: their files, how they fit the columns, and new versions of them.
//!
//! Owns: reading the files. Never: a row. A new version is taken when it can be loaded and takes columns that are
//! remembered; else the old one goes on.

use crate::runtime::{RuntimeChoice, RuntimeError};
use evenkeel_onnx::limits;
use evenkeel_scoring::{BindError, Binding, Bound, Frame, FrameColumn, Model, Profile, ProfileError, Wanted};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Largest profile, bytes.
const PROFILE_BYTES_MAX: u64 = 16 << 20;

/// Where the models are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelFiles {
    /// The model, if there is one.
    pub primary: Option<Source>,
    /// One that runs along.
    pub shadow: Option<Source>,
    /// What the model was trained on.
    pub profile: Option<PathBuf>,
}

/// One file and what scores call it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The ONNX file.
    pub path: PathBuf,
    /// Its name; empty = the file's.
    pub name: String,
    /// Its version; empty = of its content.
    pub version: String,
    /// What the user says about it.
    pub wanted: Wanted,
    /// Who runs it.
    pub runtime: RuntimeChoice,
}

/// A model that fits the columns.
#[derive(Debug)]
pub struct Loaded {
    /// What scores call it.
    pub name: String,
    /// What they call its version.
    pub version: String,
    /// The model.
    pub model: Model,
    /// Which column feeds what.
    pub binding: Binding,
}

/// Which model of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The one that counts.
    Primary,
    /// The one that runs along.
    Shadow,
}

/// Why a model cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// It cannot be read.
    #[error("{}: cannot be read: {source}; check the path and its permissions", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It cannot be run.
    #[error("{}: {source}", path.display())]
    Load {
        /// The file.
        path: PathBuf,
        /// Why.
        source: RuntimeError,
    },
    /// It does not fit.
    #[error("{}: {source}", path.display())]
    Bind {
        /// The file.
        path: PathBuf,
        /// Why.
        source: BindError,
    },
    /// It does not say which features it takes.
    #[error(
        "{}: it does not say which features its columns are; name them: scorer.live.features, or the model's \
         metadata property features",
        path.display()
    )]
    NoNames {
        /// The file.
        path: PathBuf,
    },
    /// Its profile.
    #[error("{}: {source}", path.display())]
    Profile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ProfileError,
    },
}

/// A model before it is fitted to columns.
#[derive(Debug)]
pub struct Unfitted {
    path: PathBuf,
    name: String,
    version: String,
    bound: Bound,
}

impl Source {
    /// Reads and checks the model.
    pub fn load(&self) -> Result<Unfitted, ModelError> {
        let bytes = read(&self.path, limits::MODEL_BYTES_MAX as u64)?;
        let path = || self.path.clone();
        let model = self.runtime.load(&bytes).map_err(|source| ModelError::Load { path: path(), source })?;
        let bound = Bound::new(model, self.wanted.clone())
            .map_err(|source| ModelError::Bind { path: path(), source })?;
        let stem = || self.path.file_stem().map_or_else(String::new, |s| s.to_string_lossy().into_owned());
        let name = if self.name.is_empty() { cut(stem()) } else { self.name.clone() };
        let version = match self.version.as_str() {
            "" => blake3::hash(&bytes).to_hex().chars().take(16).collect(),
            given => given.to_owned(),
        };
        Ok(Unfitted { path: path(), name, version, bound })
    }
}

impl Unfitted {
    /// The names of the columns that it takes.
    pub fn columns(&self) -> Result<Vec<String>, ModelError> {
        let names = self.bound.names();
        match names.is_empty() {
            true => Err(ModelError::NoNames { path: self.path.clone() }),
            false => Ok(names),
        }
    }

    /// Fits it to columns of numbers.
    pub fn fit(self, columns: &[String]) -> Result<Loaded, ModelError> {
        let Self { path, name, version, bound } = self;
        Loaded::of(name, version, Model::Onnx(Box::new(bound)), columns)
            .map_err(|source| ModelError::Bind { path, source })
    }
}

impl Loaded {
    /// A model over columns of numbers.
    pub fn of(name: String, version: String, model: Model, columns: &[String]) -> Result<Self, BindError> {
        let column = |name: &String| FrameColumn::of_numbers(name.clone(), vec![0.0]);
        let frame = Frame { columns: columns.iter().map(column).collect(), rows: 1 };
        let binding = model.bind(&frame)?;
        Ok(Self { name, version, model, binding })
    }
}

/// The models of a worker as they are at the start.
#[derive(Debug, Default)]
pub struct Models {
    /// What they take, each column once.
    pub columns: Vec<String>,
    /// The model.
    pub primary: Option<Loaded>,
    /// The one that runs along.
    pub shadow: Option<Loaded>,
    /// What the model was trained on.
    pub profile: Option<Profile>,
}

impl ModelFiles {
    /// Reads all files.
    pub fn load(&self) -> Result<Models, ModelError> {
        let load = |source: &Option<Source>| source.as_ref().map(Source::load).transpose();
        let (primary, shadow) = (load(&self.primary)?, load(&self.shadow)?);
        let mut columns: Vec<String> = Vec::new();
        for model in [&primary, &shadow].into_iter().flatten() {
            for name in model.columns()? {
                if !columns.contains(&name) {
                    columns.push(name);
                }
            }
        }
        let fit = |model: Option<Unfitted>| model.map(|model| model.fit(&columns)).transpose();
        let (primary, shadow) = (fit(primary)?, fit(shadow)?);
        let profile = self.profile.as_ref().map(|path| read_profile(path)).transpose()?;
        Ok(Models { primary, shadow, profile, columns })
    }
}

fn read_profile(path: &Path) -> Result<Profile, ModelError> {
    let bytes = read(path, PROFILE_BYTES_MAX)?;
    Profile::parse(&String::from_utf8_lossy(&bytes))
        .map_err(|source| ModelError::Profile { path: path.to_owned(), source })
}

/// Looks whether the files of the models have changed.
#[derive(Debug)]
pub struct Reloader {
    files: Vec<(Role, Source, Option<Stamp>)>,
    columns: Vec<String>,
}

/// What a file is known by: when it was written, and its length.
type Stamp = (SystemTime, u64);

impl Reloader {
    /// The files as they are now count as loaded.
    pub fn new(files: &ModelFiles, columns: &[String]) -> Self {
        let roles = [(Role::Primary, &files.primary), (Role::Shadow, &files.shadow)];
        let known = roles.into_iter().filter_map(|(role, source)| {
            let source = source.clone()?;
            let stamp = stamp(&source.path);
            Some((role, source, stamp))
        });
        Self { files: known.collect(), columns: columns.to_vec() }
    }

    /// Loads what has changed. A file that is not there keeps its model.
    pub fn look(&mut self, each: &mut dyn FnMut(Role, Result<Loaded, ModelError>)) {
        for (role, source, known) in &mut self.files {
            let now = stamp(&source.path);
            if now.is_none() || now == *known {
                continue;
            }
            *known = now;
            each(*role, source.load().and_then(|model| model.fit(&self.columns)));
        }
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.modified().ok()?, meta.len()))
}

fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, ModelError> {
    let failed = |source| ModelError::Open { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > bytes_max {
        return Err(failed(std::io::Error::other(format!("it is larger than {bytes_max} bytes"))));
    }
    Ok(bytes)
}

/// At most as long as a name may be.
fn cut(mut name: String) -> String {
    let mut end = name.len().min(evenkeel_model::limits::SCORE_NAME_BYTES_MAX);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name.truncate(end);
    if name.is_empty() { "model".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const SIX: [&str; 6] = ["v.mean", "v.max", "v.min", "v.mean@1", "gap_ms", "missing"];

    fn model(name: &str) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/models").join(name)
    }

    fn source(path: PathBuf, features: &[&str]) -> Source {
        let features = features.iter().map(|&name| name.to_owned()).collect();
        let wanted = Wanted { features, ..Wanted::default() };
        let (name, version) = (String::new(), String::new());
        Source { path, name, version, wanted, runtime: RuntimeChoice::default() }
    }

    /// Puts a file in the model's place, written `at` seconds after another.
    fn put(path: &Path, content: &[u8], at: u64) {
        std::fs::write(path, content).unwrap();
        let written = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000 + at);
        std::fs::File::options().append(true).open(path).unwrap().set_modified(written).unwrap();
    }

    fn look(reloader: &mut Reloader) -> Vec<Result<String, String>> {
        let mut said = Vec::new();
        reloader.look(&mut |role, outcome| {
            assert_eq!(role, Role::Primary);
            said.push(outcome.map(|loaded| loaded.version).map_err(|error| error.to_string()));
        });
        said
    }

    #[test]
    fn a_file_that_changes_is_loaded_and_one_that_does_not_fit_is_refused_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bowls.onnx");
        let read = |name| std::fs::read(model(name)).unwrap();
        put(&path, &read("cases/linear_regression.onnx"), 0);
        let files = ModelFiles { primary: Some(source(path.clone(), &SIX)), ..ModelFiles::default() };
        let models = files.load().unwrap();
        let first = models.primary.unwrap();
        assert_eq!(
            (first.name.as_str(), first.version.len(), models.columns.as_slice()),
            ("bowls", 16, &SIX.map(str::to_owned)[..])
        );
        let mut reloader = Reloader::new(&files, &models.columns);
        assert!(look(&mut reloader).is_empty());
        put(&path, &read("networks/dense.onnx"), 1); // a network in the place of a regression
        let second = look(&mut reloader).remove(0).unwrap();
        assert_ne!(second, first.version);
        assert!(look(&mut reloader).is_empty(), "it is loaded once");
        put(&path, b"half a file", 2);
        let refused = look(&mut reloader).remove(0).unwrap_err();
        assert!(refused.contains("bowls.onnx: not an ONNX model"), "{refused}");
        assert!(look(&mut reloader).is_empty(), "it is told once");
        put(&path, &read("sample/bowls.onnx"), 3);
        let refused = look(&mut reloader).remove(0).unwrap_err();
        assert!(
            refused.contains("no column \"weight_mean\"") || refused.contains("no column \"room\""),
            "{refused}"
        );
        std::fs::remove_file(&path).unwrap();
        assert!(look(&mut reloader).is_empty(), "a file that is gone keeps its model");
        put(&path, &read("cases/linear_regression.onnx"), 4);
        assert_eq!(look(&mut reloader), [Ok(first.version)]);
    }

    #[test]
    fn models_share_their_columns_and_a_network_names_its_own() {
        let files = ModelFiles {
            primary: Some(source(model("networks/convolution.onnx"), &[])),
            shadow: Some(source(
                model("cases/linear_regression.onnx"),
                &["weight.mean", "v.max", "v.min", "ph.mean", "gap_ms", "missing"],
            )),
            profile: None,
        };
        let models = files.load().unwrap();
        assert_eq!((models.columns.len(), models.columns[0].as_str()), (52, "weight.mean@15"));
        assert_eq!(models.columns[48..], ["v.max", "v.min", "gap_ms", "missing"]);
        assert!(models.primary.is_some() && models.shadow.is_some());
        let unnamed =
            ModelFiles { primary: Some(source(model("networks/lstm.onnx"), &[])), ..ModelFiles::default() };
        let error = unnamed.load().unwrap_err().to_string();
        assert!(error.contains("lstm.onnx: it does not say which features its columns are"), "{error}");
    }
}
