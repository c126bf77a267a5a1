//! The repository as data: its files, its packages, its rule ids. The tests of tests/tidy judge it.
//!
//! Owns: walking the tree, reading `cargo metadata`. Never: a rule (each rule is a test of its own file), a
//! change to the tree but for the generated tables, and those only when asked (`generated.rs`).

mod generated;
mod packages;
mod rust;
mod tree;

pub use generated::check_generated;
pub use packages::{Package, packages};
pub use rust::{RustFile, rule_ids};
pub use tree::{File, root, tree};

/// Fails with every finding at once: whoever mends the tree wants the whole list.
///
/// # Panics
/// When there is a finding.
#[track_caller]
pub fn report(rule: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{rule}\n  {}\n", findings.join("\n  "));
}
