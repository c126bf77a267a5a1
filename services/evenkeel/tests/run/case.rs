//! One test's data directory, and the binary run on it.

use crate::events::{FileEvent, reference};
use crate::rows::stored_row;
use evenkeel_model::StoredRow;
use evenkeel_scenarios::{Settings, judge};
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// A data directory and a place for files.
pub struct Case {
    dir: tempfile::TempDir,
}

impl Case {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Writes a file and returns its path.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// `evenkeel <args>`, nothing of the caller's environment that could matter.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
        command.args(args).env("EVENKEEL_DATA_DIR", self.data_dir()).current_dir(self.dir.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// `evenkeel run --input FILE --once --json <more>`.
    pub fn run(&self, input: &Path, more: &[&str]) -> Output {
        let input = input.to_str().unwrap();
        self.command(&[&["run", "--input", input, "--once", "--json"], more].concat()).output().unwrap()
    }

    /// The same; it must succeed. Returns its summary.
    pub fn run_ok(&self, input: &Path, more: &[&str]) -> Value {
        summary(&self.run(input, more))
    }

    /// The same with `input` on standard input.
    pub fn run_stdin(&self, input: &[u8]) -> Value {
        let mut child =
            self.command(&["run", "--input", "-", "--once", "--json"]).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        summary(&child.wait_with_output().unwrap())
    }

    /// Starts `evenkeel run --input FILE --once`.
    pub fn start(&self, input: &Path) -> Child {
        self.command(&["run", "--input", input.to_str().unwrap(), "--once"]).spawn().unwrap()
    }

    /// The lines that `evenkeel query windows --format FORMAT <more>` prints.
    pub fn query(&self, format: &str, more: &[&str]) -> Vec<String> {
        let output =
            self.command(&[&["query", "windows", "--format", format], more].concat()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    /// Every stored row.
    pub fn stored(&self) -> Vec<StoredRow> {
        self.query("json", &[]).iter().map(|line| stored_row(line)).collect()
    }

    /// What is stored equals the batch computation over these events; returns how many windows there are.
    #[track_caller]
    pub fn judge(&self, settings: &Settings, events: &[FileEvent]) -> usize {
        let verdict = judge(self.stored(), &[], &reference(settings, events));
        assert!(
            verdict.violations.is_empty(),
            "{:#?}",
            &verdict.violations[..verdict.violations.len().min(10)]
        );
        assert!(verdict.undetermined.is_empty() && verdict.compared > 0);
        verdict.compared
    }
}

/// The summary of a run that succeeded.
#[track_caller]
pub fn summary(output: &Output) -> Value {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}: {errors}", output.status);
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["ledger"], 0, "{summary}");
    summary
}

/// What the reference must know of a file run's settings.
pub fn file_settings() -> Settings {
    Settings { max_age_ms: 36_525 * 86_400_000, ..Settings::product() }
}
