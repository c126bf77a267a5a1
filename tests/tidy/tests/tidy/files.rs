//! What a file may look like: its size, its header, its name.

use evenkeel_tidy::{File, RustFile, report, tree};

/// Longest source file, lines. A reader holds that much; most files should stay below 200.
const LINES_MAX: usize = 500;

/// Names that say nothing about what belongs there, so that everything ends up there.
const NAMES_WITHOUT_MEANING: &[&str] = &["utils", "util", "common", "helpers", "helper", "misc", "shared"];

/// Where `unsafe` may be written, and what for. Each such file allows it itself, in sight of the reader.
const UNSAFE: &[(&str, &str)] = &[
    (
        "libs/kafka/src/native.rs",
        "batch fetches: librdkafka's C interface hands over whole arrays of messages",
    ),
    ("libs/kafka/src/rights.rs", "authorised operations of topics: only librdkafka's C interface tells them"),
    ("libs/onnx/tests/allocations.rs", "an allocator that counts: a row allocates nothing, a file little"),
    ("libs/window/src/prefetch.rs", "the processor's prefetch: a hint, reads nothing"),
    ("libs/window/tests/accounting.rs", "an allocator that counts, to compare the account with"),
    ("services/evenkeel/src/allocator.rs", "the symbol that jemalloc reads its settings from"),
];

/// Ignored tests: (path, function, why). An ignored test is one that nobody runs.
const IGNORED: &[(&str, &str, &str)] = &[];

fn is_source(file: &&File) -> bool {
    file.is(&["rs", "ts", "js", "py", "sh", "cql"])
        || file.path.starts_with("deploy/ci/")
        || file.name() == "Makefile"
}

#[test]
fn sources_are_short_enough_to_read() {
    let long = |f: &File| f.text.lines().count() > LINES_MAX;
    let findings: Vec<String> = tree()
        .iter()
        .filter(is_source)
        .filter(|f| long(f))
        .map(|f| format!("{}: {} lines, the limit is {LINES_MAX}", f.path, f.text.lines().count()))
        .collect();
    report("files that ask to be split by subject", &findings);
}

#[test]
fn every_rust_file_says_what_it_is_for() {
    let files = tree();
    let first = |f: &File| f.text.lines().find(|l| !l.is_empty() && !l.starts_with("#![")).map(str::to_owned);
    let headed = |f: &File| first(f).is_some_and(|line| line.starts_with("//! "));
    let bare = RustFile::all(&files).into_iter().filter(|r| !headed(r.file));
    let findings: Vec<String> = bare.map(|r| r.file.path.clone()).collect();
    report("files that do not start with a `//! ` header: what it owns, what it must never do", &findings);
}

#[test]
fn no_module_is_named_after_nothing() {
    let meaningless = |part: &str| NAMES_WITHOUT_MEANING.contains(&part.trim_end_matches(".rs"));
    let findings: Vec<String> = tree()
        .iter()
        .filter(is_source)
        .filter(|f| f.path.split('/').any(meaningless))
        .map(|f| f.path.clone())
        .collect();
    report("modules named utils, common, helpers: a helper lives with its first user", &findings);
}

#[test]
fn unsafe_code_is_where_it_is_listed() {
    let files = tree();
    let tokens = [
        concat!("uns", "afe {"),
        concat!("uns", "afe fn"),
        concat!("uns", "afe impl"),
        concat!("uns", "afe extern"),
    ];
    let allow = concat!("allow(uns", "afe_code)");
    let mut findings = Vec::new();
    for RustFile { file } in RustFile::all(&files) {
        let listed = UNSAFE.iter().any(|(path, _)| *path == file.path);
        let code = |line: &str| !line.trim_start().starts_with("//");
        let used =
            |line: &str| code(line) && (tokens.iter().any(|t| line.contains(t)) || line.contains(allow));
        findings.extend(
            file.lines()
                .filter(|(_, line)| !listed && used(line))
                .map(|(n, line)| format!("{}:{n}: {}", file.path, line.trim())),
        );
    }
    let gone = UNSAFE.iter().filter(|(path, _)| !files.iter().any(|f| f.path == *path));
    findings.extend(gone.map(|(path, _)| format!("{path} is listed and does not exist")));
    report("unsafe outside the listed files", &findings);
}

#[test]
fn ignored_tests_are_listed() {
    let files = tree();
    let attribute = concat!("#[ign", "ore");
    let mut findings = Vec::new();
    for RustFile { file } in RustFile::all(&files) {
        let lines: Vec<&str> = file.text.lines().collect();
        for (i, _) in lines.iter().enumerate().filter(|(_, line)| line.trim_start().starts_with(attribute)) {
            let function = lines[i..]
                .iter()
                .find_map(|line| line.split_once("fn ")?.1.split_once('('))
                .map_or("?", |f| f.0);
            if !IGNORED.iter().any(|(path, name, _)| *path == file.path && *name == function) {
                findings.push(format!("{}: {function}", file.path));
            }
        }
    }
    report("ignored tests without a line in IGNORED", &findings);
}
