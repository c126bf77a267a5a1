//! What stands in a YAML file or on the command line instead of a default. Every key may be left out.

use crate::config::{Config, Mode};
use crate::error::InputError;
use crate::runtime::RuntimeName;
use evenkeel_chassis::config::FILE_BYTES_MAX;
use evenkeel_chassis::units::Bytes;
use evenkeel_scoring::Policy;
use serde::Deserialize;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Keys as in default.toml; in a file also with `_` for `-`, as source C writes them.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Overrides {
    /// Which ways to score.
    pub mode: Option<Mode>,
    /// The ONNX model.
    pub model: Option<PathBuf>,
    /// Who runs it.
    pub runtime: Option<RuntimeName>,
    /// The shared library of onnxruntime.
    #[serde(alias = "ort_library")]
    pub ort_library: Option<PathBuf>,
    /// The rows.
    pub input: Option<PathBuf>,
    /// Where the files go.
    pub out: Option<PathBuf>,
    /// Rows that the stream modes replay.
    pub rows: Option<usize>,
    /// Where prediction 1 begins.
    pub threshold: Option<f64>,
    /// Mean gap between arrivals, ms.
    #[serde(alias = "jitter_ms")]
    pub jitter_ms: Option<f64>,
    /// Rows that may wait.
    #[serde(alias = "queue_max")]
    pub queue_max: Option<usize>,
    /// Threads that score.
    pub workers: Option<usize>,
    /// What a full queue does.
    #[serde(alias = "drop_policy")]
    pub drop_policy: Option<Policy>,
    /// The seed of the arrivals.
    pub seed: Option<u64>,
    /// The columns of a model with one input.
    pub features: Option<Vec<String>>,
    /// The class whose probability is the score.
    #[serde(alias = "positive_class")]
    pub positive_class: Option<String>,
    /// The largest input.
    #[serde(alias = "input_max")]
    pub input_max: Option<Bytes>,
}

/// Reads a YAML file. Paths in it are relative to it.
pub fn read_overrides(path: &Path) -> Result<Overrides, InputError> {
    let failed = |source| InputError::Open { path: path.to_owned(), source };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(InputError::TooLarge { path: path.to_owned(), max_bytes: FILE_BYTES_MAX });
    }
    let wrong = |message: String| InputError::Config { path: path.to_owned(), message };
    if text.trim().is_empty() {
        return Ok(Overrides::default());
    }
    let mut over: Overrides = serde_saphyr::from_str(&text).map_err(|e| wrong(e.to_string()))?;
    let base = path.parent().unwrap_or(Path::new(""));
    for file in [&mut over.model, &mut over.ort_library, &mut over.input, &mut over.out].into_iter().flatten()
    {
        *file = base.join(&*file);
    }
    Ok(over)
}

impl Overrides {
    pub(crate) fn apply(self, config: &mut Config) {
        fn put<T>(value: Option<T>, into: &mut T) {
            if let Some(value) = value {
                *into = value;
            }
        }
        put(self.mode, &mut config.mode);
        put(self.model, &mut config.model);
        put(self.runtime, &mut config.runtime);
        put(self.ort_library, &mut config.ort_library);
        put(self.input, &mut config.input);
        put(self.out, &mut config.out);
        put(self.rows, &mut config.rows);
        put(self.threshold, &mut config.threshold);
        put(self.jitter_ms, &mut config.jitter_ms);
        put(self.queue_max, &mut config.queue_max);
        put(self.workers, &mut config.workers);
        put(self.drop_policy, &mut config.drop_policy);
        put(self.seed, &mut config.seed);
        put(self.features, &mut config.features);
        put(self.positive_class, &mut config.positive_class);
        put(self.input_max, &mut config.input_max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Overrides, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.yaml");
        std::fs::write(&path, text).unwrap();
        let strip = |p: Option<PathBuf>| p.map(|p| p.strip_prefix(dir.path()).unwrap_or(&p).to_owned());
        let read = read_overrides(&path).map_err(|e| e.to_string())?;
        Ok(Overrides {
            model: strip(read.model),
            ort_library: strip(read.ort_library),
            input: strip(read.input),
            out: strip(read.out),
            ..read
        })
    }

    #[test]
    fn a_file_names_model_and_data_in_either_spelling() {
        let over =
            read("model: m.onnx\ninput: data/rows.csv\nqueue_max: 4\njitter-ms: 2.5\nfeatures: [a, b]\ninput-max: 2KiB\n")
                .unwrap();
        assert_eq!(over.model, Some("m.onnx".into()));
        assert_eq!(over.input, Some("data/rows.csv".into()));
        assert_eq!((over.queue_max, over.jitter_ms, over.workers), (Some(4), Some(2.5), None));
        assert_eq!(over.input_max.map(Bytes::bytes), Some(2_048));
        assert_eq!(over.features, Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(read("\n"), Ok(Overrides::default()));
        let over = read("runtime: ort\nort_library: lib/libonnxruntime.so\n").unwrap();
        assert_eq!(over.runtime, Some(RuntimeName::Ort));
        assert_eq!(over.ort_library, Some("lib/libonnxruntime.so".into()));
        assert!(read("runtime: tensorflow\n").unwrap_err().contains("tensorflow"));
    }

    #[test]
    fn a_key_that_nobody_knows_or_of_another_type_is_named() {
        let error = read("model: m.onnx\nworker: 3\n").unwrap_err();
        assert!(error.contains("config.yaml") && error.contains("worker"), "{error}");
        let error = read("workers: many\n").unwrap_err();
        assert!(error.contains("config.yaml") && error.contains("line 1"), "{error}");
        assert!(read("mode: twice\n").unwrap_err().contains("twice"));
    }
}
