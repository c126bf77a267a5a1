//! Words that must not be in the tree. Written in halves, so that this file passes its own test.

use evenkeel_tidy::{File, RustFile, report, tree};

/// Unfinished work: finish it, or file an issue and say so in the documents.
const UNFINISHED: &[&str] = &[
    concat!("to", "do!("),
    concat!("unimpl", "emented!("),
    concat!("db", "g!("),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
];

/// Somebody's machine, or somebody's registry: the tree must work on any machine and through any mirror.
const PLACES: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/tm", "p/t-"),
    concat!("/ro", "ot/"),
    concat!("/home", "/"),
    concat!("crates", ".io"),
    concat!("maven", ".org"),
    concat!("py", "pi.org"),
    concat!("npm", "js.org"),
    concat!("proxy.go", "lang.org"),
    concat!("deb.deb", "ian.org"),
];

/// Files that tools write, with addresses in them.
const WRITTEN_BY_TOOLS: &[&str] = &["Cargo.lock", "package-lock.json"];

fn search<'a>(files: impl Iterator<Item = &'a File>, words: &[&str]) -> Vec<String> {
    let mut findings = Vec::new();
    for file in files {
        for (n, line) in file.lines() {
            findings.extend(
                words.iter().filter(|w| line.contains(**w)).map(|w| format!("{}:{n}: {w}", file.path)),
            );
        }
    }
    findings
}

#[test]
fn nothing_is_left_unfinished() {
    let files = tree();
    let rust = RustFile::all(&files);
    report("unfinished work", &search(rust.iter().map(|r| r.file), UNFINISHED));
}

#[test]
fn no_file_knows_a_machine_or_a_registry() {
    let files = tree();
    let ours =
        files.iter().filter(|f| !WRITTEN_BY_TOOLS.contains(&f.name()) && !f.path.starts_with("tests/data/"));
    report("paths of a machine, hosts of a registry", &search(ours, PLACES));
}
