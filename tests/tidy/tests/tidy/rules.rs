//! Rule ids: each rule of docs/semantics.md is kept somewhere in the code and proved by some test, and no
//! code cites a rule that is not there.

use evenkeel_tidy::{RustFile, report, rule_ids, tree};
use std::collections::BTreeSet;

const DOCUMENT: &str = "docs/semantics.md";

#[test]
fn every_rule_is_kept_by_code_and_proved_by_a_test() {
    let files = tree();
    let document = files.iter().find(|f| f.path == DOCUMENT).map_or("", |f| &f.text);
    let rules = rule_ids(document);
    assert!(rules.len() >= 6, "{DOCUMENT} holds {rules:?}");
    let rust = RustFile::all(&files);
    let cited = |part: fn(&RustFile<'_>) -> String| -> BTreeSet<String> {
        rust.iter()
            .filter(|r| !r.file.path.starts_with("tests/tidy/"))
            .flat_map(|r| rule_ids(&part(r)))
            .collect()
    };
    let kept = cited(|r| r.shipped().to_owned());
    let proved = cited(|r| r.testing().to_owned());
    let mut findings = Vec::new();
    findings.extend(rules.difference(&kept).map(|id| format!("{id}: no code cites it")));
    findings.extend(rules.difference(&proved).map(|id| format!("{id}: no test cites it")));
    let unknown = kept.union(&proved).filter(|id| !rules.contains(*id));
    findings.extend(unknown.map(|id| format!("{id} is cited and not in {DOCUMENT}")));
    report("rule ids", &findings);
}
