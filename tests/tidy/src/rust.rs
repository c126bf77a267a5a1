//! Rust files, split into what ships and what tests it, without a parser: the house style (tests last, one
//! `#[cfg(test)]` module) makes lines enough.

use crate::File;
use std::collections::BTreeSet;

/// A Rust source file.
#[derive(Debug, Clone, Copy)]
pub struct RustFile<'a> {
    /// The file.
    pub file: &'a File,
}

impl<'a> RustFile<'a> {
    /// The Rust files among `files`.
    pub fn all(files: &'a [File]) -> Vec<Self> {
        files.iter().filter(|f| f.is(&["rs"])).map(|file| Self { file }).collect()
    }

    /// Whether the whole file belongs to tests: below a `tests` directory (the crates of tests/ included), or
    /// a module of that name.
    pub fn is_test(&self) -> bool {
        let path = &self.file.path;
        path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("/tests.rs")
    }

    /// What ships: the text before the test module. Empty for test files.
    pub fn shipped(&self) -> &'a str {
        if self.is_test() { "" } else { self.split().0 }
    }

    /// What tests: the test module, or the whole of a test file.
    pub fn testing(&self) -> &'a str {
        if self.is_test() { &self.file.text } else { self.split().1 }
    }

    fn split(&self) -> (&'a str, &'a str) {
        self.file.text.split_once("#[cfg(test)]\nmod tests {").unwrap_or((&self.file.text, ""))
    }
}

/// The rule ids in a text: `EK-`, capitals, `-`, digits.
pub fn rule_ids(text: &str) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    for (at, _) in text.match_indices("EK-") {
        let rest = &text[at + 3..];
        let letters = rest.bytes().take_while(u8::is_ascii_uppercase).count();
        let Some(rest) = rest[letters..].strip_prefix('-') else { continue };
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if letters > 0 && digits > 0 {
            ids.insert(text[at..at + 3 + letters + 1 + digits].to_owned());
        }
    }
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_and_lookalikes_are_not() {
        let found = rule_ids("EK-WIN-2 (EK-LATE-0), EK-, EK-WIN, EK-win-1, EK-SUM-12.");
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["EK-LATE-0", "EK-SUM-12", "EK-WIN-2"]);
    }

    #[test]
    fn a_file_splits_at_its_test_module() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n}\n".to_owned();
        let file = File { path: "libs/x/src/a.rs".to_owned(), text };
        let rust = RustFile { file: &file };
        assert_eq!((rust.shipped(), rust.testing()), ("fn a() {}\n", "\n}\n"));
    }
}
