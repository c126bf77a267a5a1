//! One run in a directory of its own, over the sample of tests/models.

use evenkeel_chassis::config::Sources;
use evenkeel_scorer::{Config, DEFAULT_TOML, RunError, SERVICE, Summary, prepare, run};
use serde_json::Value;
use std::path::{Path, PathBuf};

pub struct Case {
    dir: tempfile::TempDir,
    pub config: Config,
}

pub fn models() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/models")
}

impl Case {
    /// The sample's model and rows, quick arrivals.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let defaults = Sources::default().load::<Config>(SERVICE, DEFAULT_TOML).unwrap().config;
        let config = Config {
            model: models().join("sample/bowls.onnx"),
            input: models().join("sample/bowls.csv"),
            out: dir.path().join("out"),
            jitter_ms: 0.1,
            queue_max: 1_000,
            ..defaults
        };
        Self { dir, config }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file of rows and takes it for the input.
    pub fn rows(&mut self, text: &str) {
        self.config.input = self.path("rows.csv");
        std::fs::write(&self.config.input, text).unwrap();
    }

    pub fn run(&self) -> Result<Summary, RunError> {
        let plan = self.config.clone().plan().unwrap();
        run(&prepare(&plan)?, &plan, &mut |_| {})
    }

    pub fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.config.out.join(name)).unwrap()
    }

    pub fn lines(&self, name: &str) -> Vec<Value> {
        self.text(name).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Names of the files in the output directory.
    pub fn left(&self) -> Vec<String> {
        names(&self.config.out)
    }
}

pub fn names(dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
