//! The packages of the workspace, as cargo sees them.

use crate::root;
use serde_json::Value;
use std::process::Command;

/// One workspace member.
#[derive(Debug, Clone)]
pub struct Package {
    /// Name, e.g. `evenkeel-window`.
    pub name: String,
    /// Directory from the root, e.g. `libs/window`.
    pub dir: String,
    /// Names of its dependencies of every kind but dev.
    pub normal: Vec<String>,
    /// Names of its dev-dependencies.
    pub dev: Vec<String>,
    /// Names of its integration tests.
    pub tests: Vec<String>,
}

/// Every member of the workspace, by name.
///
/// # Panics
/// When `cargo metadata` fails.
pub fn packages() -> Vec<Package> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(root())
        .output()
        .unwrap_or_else(|e| panic!("cargo metadata: {e}"));
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("metadata: {e}"));
    let mut packages: Vec<Package> = list(&metadata, "packages").iter().map(package).collect();
    packages.sort_by(|a, b| a.name.cmp(&b.name));
    packages
}

fn package(value: &Value) -> Package {
    let dependencies = |dev: bool| {
        list(value, "dependencies")
            .iter()
            .filter(|d| (d["kind"] == "dev") == dev)
            .map(|d| text(d, "name"))
            .collect()
    };
    let is_test = |target: &&Value| list(target, "kind").iter().any(|kind| kind == "test");
    let manifest = text(value, "manifest_path");
    let root = root().to_string_lossy().into_owned();
    let dir = manifest.trim_start_matches(&root).trim_end_matches("/Cargo.toml").trim_matches('/');
    Package {
        name: text(value, "name"),
        dir: dir.to_owned(),
        normal: dependencies(false),
        dev: dependencies(true),
        tests: list(value, "targets").iter().filter(is_test).map(|t| text(t, "name")).collect(),
    }
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}
