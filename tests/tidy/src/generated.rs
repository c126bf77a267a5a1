//! Tables in documents that are generated from the sources: compared by a test, rewritten when asked.

use crate::root;

/// Compares the part of `document` (a path from the root) between `<!-- generated: name -->` and
/// `<!-- end: name -->` with `want`. With `EVENKEEL_REGENERATE=1` it writes `want` there instead.
///
/// # Panics
/// When they differ, or the document lacks the markers.
pub fn check_generated(document: &str, name: &str, want: &str) {
    let path = root().join(document);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{document}: {e}"));
    let (start, end) = (format!("<!-- generated: {name} -->\n"), format!("<!-- end: {name} -->"));
    let at = text.find(&start).unwrap_or_else(|| panic!("{document} lacks {start}")) + start.len();
    let to = text[at..].find(&end).unwrap_or_else(|| panic!("{document} lacks {end}")) + at;
    if text[at..to] == *want {
        return;
    }
    let regenerate = std::env::var_os("EVENKEEL_REGENERATE").is_some();
    assert!(regenerate, "{document}: the table {name} is out of date; run `make docs`\nwanted:\n{want}");
    let rewritten = format!("{}{want}{}", &text[..at], &text[to..]);
    std::fs::write(&path, rewritten).unwrap_or_else(|e| panic!("{document}: {e}"));
}
