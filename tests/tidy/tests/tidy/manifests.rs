//! Manifests and lint settings: one place says each thing.

use crate::edges::PURE;
use evenkeel_tidy::{packages, report, root, tree};
use toml::{Table, Value};

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn manifest(path: &str) -> Table {
    read(path).parse().unwrap_or_else(|e| panic!("{path}: {e}"))
}

#[test]
fn members_inherit_lints_and_identity() {
    let mut findings = Vec::new();
    for package in packages() {
        let path = format!("{}/Cargo.toml", package.dir);
        let table = manifest(&path);
        let inherits =
            |value: Option<&Value>| value.and_then(|v| v.get("workspace")) == Some(&Value::Boolean(true));
        if !inherits(table.get("lints")) {
            findings.push(format!("{path}: [lints] workspace = true is missing"));
        }
        for key in ["version", "edition", "rust-version", "license", "publish"] {
            if !inherits(table.get("package").and_then(|p| p.get(key))) {
                findings.push(format!("{path}: {key}.workspace = true is missing"));
            }
        }
        let named = table.get("package").and_then(|p| p.get("description"));
        if named.and_then(Value::as_str).is_none_or(str::is_empty) {
            findings.push(format!("{path}: no description"));
        }
    }
    report("manifests", &findings);
}

#[test]
fn versions_are_said_once_in_the_root() {
    let mut findings = Vec::new();
    for package in packages() {
        let path = format!("{}/Cargo.toml", package.dir);
        let table = manifest(&path);
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(Value::Table(dependencies)) = table.get(section) else { continue };
            let own = dependencies.iter().filter(|(_, d)| d.get("workspace") != Some(&Value::Boolean(true)));
            findings.extend(own.map(|(name, _)| format!("{path}: {name} has a version of its own")));
        }
    }
    report("dependencies come from [workspace.dependencies]", &findings);
}

/// The nearest clippy.toml replaces the root's, so each pure crate's copy must be whole.
#[test]
fn pure_crates_share_one_clippy_toml_that_holds_the_roots() {
    let whole = manifest("clippy.toml");
    let first = read(&format!("{}/clippy.toml", PURE[0]));
    let mut findings: Vec<String> = PURE
        .iter()
        .map(|dir| format!("{dir}/clippy.toml"))
        .filter(|path| read(path) != first)
        .map(|path| format!("{path} differs from {}/clippy.toml", PURE[0]))
        .collect();
    let copy: Table = first.parse().unwrap_or_else(|e| panic!("{e}"));
    findings.extend(
        whole
            .iter()
            .filter(|(k, v)| copy.get(*k) != Some(v))
            .map(|(k, _)| format!("{k} of the root's is missing")),
    );
    for ban in ["disallowed-types", "disallowed-methods"] {
        if copy.get(ban).and_then(Value::as_array).is_none_or(Vec::is_empty) {
            findings.push(format!("{ban} bans nothing"));
        }
    }
    let files = tree();
    let copies = files.iter().filter(|f| f.name() == "clippy.toml" && f.path.contains('/'));
    findings.extend(
        copies
            .map(|f| f.path.trim_end_matches("/clippy.toml"))
            .filter(|dir| !PURE.contains(dir))
            .map(|dir| format!("{dir}/clippy.toml: not a pure crate; the root's would do")),
    );
    report("clippy.toml copies", &findings);
}
