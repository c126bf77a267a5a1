//! Documents: links lead somewhere, commands exist, generated tables are up to date, the table of sources
//! names files that are there.

use evenkeel_tidy::{File, check_generated, report, root, tree};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Heading → the anchor that Markdown renderers make of it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

fn anchors(file: &File) -> BTreeSet<String> {
    let headings = file.text.lines().filter_map(|line| line.strip_prefix('#'));
    headings.map(|h| anchor(h.trim_start_matches('#'))).collect()
}

/// The targets of `[text](target)` outside code, with their lines.
fn links(file: &File) -> Vec<(usize, String)> {
    let (mut found, mut fenced) = (Vec::new(), false);
    for (n, line) in file.lines() {
        fenced ^= line.trim_start().starts_with("```");
        if !fenced {
            let targets = line.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
            found.extend(targets.map(|(target, _)| (n, target.to_owned())));
        }
    }
    found
}

#[test]
fn relative_links_lead_somewhere() {
    let files = tree();
    let mut findings = Vec::new();
    for file in files.iter().filter(|f| f.is(&["md"])) {
        let dir = file.path.rsplit_once('/').map_or("", |(dir, _)| dir);
        for (n, link) in
            links(file).into_iter().filter(|(_, l)| !l.contains("://") && !l.starts_with("mailto:"))
        {
            let (path, part) = link.split_once('#').unwrap_or((&link, ""));
            let target = if path.is_empty() { root().join(&file.path) } else { root().join(dir).join(path) };
            let Ok(target) = target.canonicalize() else {
                findings.push(format!("{}:{n}: {link} does not exist", file.path));
                continue;
            };
            let aimed = files.iter().find(|f| root().join(&f.path) == target);
            if !part.is_empty() && !aimed.is_some_and(|f| anchors(f).contains(part)) {
                findings.push(format!("{}:{n}: no heading #{part}", file.path));
            }
        }
    }
    report("links", &findings);
}

/// Text in backticks and lines of fenced blocks: what a reader may type.
fn typed(file: &File) -> Vec<(usize, String)> {
    let (mut found, mut fenced) = (Vec::new(), false);
    for (n, line) in file.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced {
            found.push((n, line.to_owned()));
        } else {
            found.extend(line.split('`').skip(1).step_by(2).map(|code| (n, code.to_owned())));
        }
    }
    found
}

fn make_targets(files: &[File]) -> BTreeSet<String> {
    let makefile = files.iter().find(|f| f.path == "Makefile").map_or("", |f| &f.text);
    let lines = makefile.lines().filter(|line| !line.starts_with([' ', '\t', '#', '.']));
    let code = lines.map(|line| line.split('#').next().unwrap_or(line));
    let rules = code.filter(|line| !line.contains('=')).filter_map(|line| line.split_once(':'));
    rules.map(|(target, _)| target.to_owned()).collect()
}

/// The variants of every `enum` that derives clap's `Subcommand`, as clap names them.
fn subcommands(files: &[File]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for file in files.iter().filter(|f| f.path.starts_with("services/evenkeel/src/") && f.is(&["rs"])) {
        for after in file.text.split("Subcommand").skip(1) {
            let Some((_, body)) = after.split_once("enum ").filter(|(before, _)| before.lines().count() < 8)
            else {
                continue;
            };
            let variants = body.lines().skip(1).take_while(|line| !line.starts_with('}'));
            let variants = variants
                .filter_map(|line| line.strip_prefix("    "))
                .filter(|l| l.starts_with(|c: char| c.is_ascii_uppercase()));
            names
                .extend(variants.map(|v| kebab(v.split(|c: char| !c.is_alphanumeric()).next().unwrap_or(v))));
        }
    }
    names
}

fn kebab(variant: &str) -> String {
    let mut name = String::new();
    for (i, c) in variant.chars().enumerate() {
        if c.is_ascii_uppercase() && i > 0 {
            name.push('-');
        }
        name.push(c.to_ascii_lowercase());
    }
    name
}

#[test]
fn commands_in_documents_exist() {
    let files = tree();
    let (targets, commands) = (make_targets(&files), subcommands(&files));
    assert!(targets.contains("test"), "{targets:?}");
    let mut findings = Vec::new();
    for file in files.iter().filter(|f| f.is(&["md"])) {
        for (n, code) in typed(file) {
            for part in code.split("&&").flat_map(|p| p.split('|')) {
                let part = part.split('#').next().unwrap_or(part).trim().trim_start_matches("$ ");
                let mut words = part.split_whitespace();
                let known = match words.next() {
                    Some("make") => words.filter(|w| !w.contains('=')).all(|w| targets.contains(w)),
                    Some("evenkeel") => {
                        words.next().is_none_or(|w| w.starts_with(['-', '…', '<']) || commands.contains(w))
                    }
                    _ => true,
                };
                if !known {
                    findings.push(format!("{}:{n}: `{part}`", file.path));
                }
            }
        }
    }
    report(
        &format!("commands that do not exist; make knows {targets:?}, evenkeel knows {commands:?}"),
        &findings,
    );
}

#[test]
fn metrics_in_documents_are_declared() {
    let files = tree();
    let names = files.iter().filter(|f| f.path.starts_with("libs/telemetry/src/names/"));
    let declared: String = names.map(|f| f.text.as_str()).collect();
    assert!(declared.contains("\"evenkeel.coalescer.ledger.imbalance\""), "{declared}");
    let mut findings = Vec::new();
    for file in files.iter().filter(|f| f.is(&["md"])) {
        let metric = |(_, code): &(usize, String)| {
            let mut parts = code.split('.');
            let named = parts.next() == Some("evenkeel") && parts.next() != Some("v1"); // a subprotocol
            named && parts.next().is_some() && !code.contains([' ', '/'])
        };
        let unknown =
            typed(file).into_iter().filter(metric).filter(|(_, m)| !declared.contains(&format!("\"{m}\"")));
        findings.extend(unknown.map(|(n, m)| format!("{}:{n}: {m}", file.path)));
    }
    report("metrics that libs/telemetry does not declare", &findings);
}

/// A tour that names functions which are gone leads nobody anywhere.
#[test]
fn the_functions_of_follow_one_event_exist() {
    let files = tree();
    let document = files.iter().find(|f| f.path == "ARCHITECTURE.md");
    let text = document.map_or("", |f| &f.text);
    let (_, tour) = text.split_once("## Follow one event").unwrap_or_default();
    let tour = File { path: String::new(), text: tour.split("\n## ").next().unwrap_or(tour).to_owned() };
    let linked: Vec<String> = links(&tour).into_iter().map(|(_, link)| link).collect();
    let sources: Vec<&File> = files.iter().filter(|f| linked.contains(&f.path)).collect();
    assert!(sources.len() > 15, "{linked:?}");
    let is_name =
        |code: &String| !code.is_empty() && code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let known = |name: &str| {
        let forms = [format!("fn {name}("), format!("fn {name}<"), format!("\"{name}\"")];
        sources.iter().any(|f| forms.iter().any(|form| f.text.contains(form.as_str())))
    };
    let names: BTreeSet<String> = typed(&tour).into_iter().map(|(_, code)| code).filter(is_name).collect();
    assert!(names.len() > 15, "{names:?}");
    let gone: Vec<String> = names.into_iter().filter(|name| !known(name)).collect();
    report("names of \"Follow one event\" that the linked files do not have", &gone);
}

/// A row of docs/faults.md ends with a link to a test's file and the function's name.
#[test]
fn every_fault_names_a_test_that_exists() {
    let files = tree();
    let document = files.iter().find(|f| f.path == "docs/faults.md").map_or("", |f| &f.text);
    let rows = document.lines().filter(|l| l.starts_with("| "));
    let rows: Vec<&str> = rows.filter(|l| !l.starts_with("| fault |") && !l.starts_with("| ---")).collect();
    assert!(rows.len() > 25, "docs/faults.md has {} rows", rows.len());
    let named = |row: &str| -> Option<(String, String)> {
        let cell = row.trim_end_matches('|').rsplit('|').next()?;
        let path = cell.split_once("](../")?.1.split_once(')')?.0;
        Some((path.to_owned(), cell.split('`').nth(1)?.to_owned()))
    };
    let exists = |(path, test): &(String, String)| {
        let source = files.iter().find(|f| f.path == *path).map_or("", |f| &f.text);
        source.split(&format!("fn {test}(")).next().is_some_and(|before| {
            before.len() < source.len() && before.lines().rev().take(4).any(|line| line.starts_with("#[t"))
        })
    };
    let findings = rows.into_iter().filter(|row| !named(row).as_ref().is_some_and(exists));
    report("faults without a test that is there", &findings.map(str::to_owned).collect::<Vec<_>>());
}

/// Each line of the table of sources: either a file that is there, or the words "not yet".
#[test]
fn the_table_of_sources_points_at_code_or_says_not_yet() {
    let files = tree();
    let document = files.iter().find(|f| f.path == "docs/sources.md").map_or("", |f| &f.text);
    let rows: Vec<&str> = document
        .lines()
        .filter(|l| {
            l.starts_with("| ")
                && !l.starts_with("| asked")
                && !l.starts_with("| promised")
                && !l.starts_with("| ---")
        })
        .collect();
    assert!(rows.len() > 40, "docs/sources.md has {} rows", rows.len());
    let silent = rows.into_iter().filter(|row| !row.contains("](") && !row.contains("not yet"));
    report("rows of docs/sources.md", &silent.map(str::to_owned).collect::<Vec<_>>());
}

#[test]
fn the_table_of_exit_codes_is_the_codes() {
    let files = tree();
    let source = files.iter().find(|f| f.path == "libs/chassis/src/exit.rs").map_or("", |f| &f.text);
    let mut table = "| code | meaning |\n| --- | --- |\n".to_owned();
    let arms = |function: &str| -> Vec<(String, String)> {
        let body = source
            .split_once(function)
            .map_or("", |(_, rest)| rest.split("\n    }\n").next().unwrap_or(rest));
        let arms = body
            .lines()
            .filter_map(|line| line.trim().strip_prefix("Self::")?.trim_end_matches(',').split_once(" => "));
        arms.map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned())).collect()
    };
    let (codes, meanings) = (arms("fn code("), arms("fn meaning("));
    assert!(codes.len() >= 5 && codes.len() == meanings.len(), "{codes:?} {meanings:?}");
    for (name, code) in codes {
        let meaning = meanings.iter().find(|(n, _)| *n == name).map_or("?", |(_, m)| m);
        let _ = writeln!(table, "| {code} | {meaning} |");
    }
    check_generated("docs/exit-codes.md", "exit codes", &table);
}

#[test]
fn the_tables_of_configuration_are_the_defaults() {
    let files = tree();
    // Defaults lie beside the sources that embed them: default.toml of a service, or a section's own file.
    let is_default = |f: &&File| f.is(&["toml"]) && f.path.contains("/src/") && !f.path.starts_with("tests/");
    let mut text = String::new();
    for file in files.iter().filter(is_default) {
        let service = match file.name() {
            "default.toml" => file.path.split('/').nth(1).unwrap_or_default(),
            own => own.trim_end_matches(".toml"),
        };
        let _ = write!(text, "\n### `[{service}]`\n\nFrom [{0}](../{0}).\n", file.path);
        text.push_str(&table_of(&file.text));
    }
    assert!(text.contains("`lateness`"), "{text}");
    text.push('\n');
    check_generated("docs/configuration.md", "configuration", &text);
}

/// Keys, defaults and the comment above each, from a default.toml: the comment is the why. Behind `#:` stands a key
/// that has no default.
fn table_of(toml: &str) -> String {
    let (mut table, mut section, mut why) = (String::new(), String::new(), String::new());
    table.push_str("\n| key | default | why |\n| --- | --- | --- |\n");
    for line in toml.lines() {
        let unset = line.strip_prefix("#: ");
        let line = unset.unwrap_or(line);
        if let Some(comment) = line.strip_prefix('#') {
            let _ = write!(why, "{}{}", if why.is_empty() { "" } else { " " }, comment.trim());
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            section = format!("{name}.");
        } else if let Some((key, value)) = line.split_once(" = ") {
            let why = why.split(" Example:").next().unwrap_or(&why).replace('|', "\\|");
            let not_set = if unset.is_some() { "not set; e.g. " } else { "" };
            let _ = writeln!(table, "| `{section}{key}` | {not_set}`{value}` | {why} |");
        }
        why.clear();
    }
    table
}
