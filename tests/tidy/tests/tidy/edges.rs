//! Who may depend on whom. A new edge is a commit of its own, with a line here and one in ARCHITECTURE.md.

use evenkeel_tidy::{Package, packages, report};

/// A package's directory, the packages of ours it may use in what ships, and why.
const EDGES: &[(&str, &[&str], &str)] = &[
    ("libs/model", &[], "the words of the contract stand on nothing"),
    ("libs/seam", &["model"], "the traits to the outside speak of rows, marks, topics"),
    ("libs/codec", &["model"], "bytes to and from the words"),
    ("libs/limits", &["model"], "verdicts over events"),
    ("libs/flush", &[], "counts bytes and items, whatever they are"),
    ("libs/fanout", &[], "topics and bytes, whatever they hold"),
    ("libs/onnx", &[], "bytes and columns, whatever they mean"),
    ("libs/neural", &["onnx"], "a file as it was read there; columns in, columns out, as there"),
    ("libs/onnxruntime", &["onnx"], "columns in, columns out, as there"),
    (
        "libs/scoring",
        &["model", "onnx", "neural", "onnxruntime"],
        "a model over columns, whoever runs it; features are those of window rows",
    ),
    ("libs/window", &["model", "seam"], "the core; of the seam only the commit's metadata"),
    ("libs/plan", &["model", "window", "flush"], "asks the core what its state costs"),
    ("libs/spool", &[], "buffers bytes, whatever they are"),
    ("libs/telemetry", &[], "names of metrics are its own"),
    ("libs/chassis", &["telemetry"], "logs and /metrics are part of what every service does the same"),
    ("libs/auth", &["chassis"], "files, units and secrets of the configuration"),
    ("libs/kafka", &["model", "seam", "codec"], "an adapter"),
    ("libs/cql", &["model", "seam", "codec"], "an adapter"),
    ("libs/local", &["model", "seam", "codec"], "an adapter; stores rows in the codec's form"),
    (
        "services/ingest",
        &["model", "seam", "codec", "limits", "flush", "spool", "auth", "chassis", "telemetry"],
        "a service; recordings are spooled",
    ),
    (
        "services/coalescer",
        &["model", "seam", "codec", "window", "plan", "chassis", "telemetry"],
        "a service",
    ),
    (
        "services/sink",
        &["model", "seam", "codec", "window", "chassis", "telemetry"],
        "a service; late merge is window's",
    ),
    (
        "services/gateway",
        &["model", "codec", "fanout", "auth", "chassis", "telemetry"],
        "a service; log and store come by traits of its own, because it reads and keeps nothing",
    ),
    (
        "services/scorer",
        &["model", "seam", "codec", "onnx", "onnxruntime", "scoring", "chassis", "telemetry"],
        "a service; of files too; opens the library of onnxruntime",
    ),
    (
        "services/evenkeel",
        &[
            "model",
            "seam",
            "codec",
            "window",
            "plan",
            "flush",
            "limits",
            "local",
            "kafka",
            "cql",
            "chassis",
            "telemetry",
            "ingest",
            "gateway",
            "coalescer",
            "sink",
            "scorer",
        ],
        "the wiring: the one place that names services and adapters together",
    ),
    ("tests/scenarios", &["model", "seam", "codec"], "judges by topics and rows, not by the core's insides"),
    (
        "tests/sim",
        &["model", "seam", "codec", "window", "scenarios", "coalescer", "sink", "ingest"],
        "the real drivers over a simulated log",
    ),
    (
        "tests/live",
        &["model", "seam", "codec", "scenarios", "sim", "kafka", "cql", "local"],
        "the real adapters, the binary as a process, and the simulator to compare with",
    ),
    ("tests/tidy", &[], "reads files"),
];

/// Further packages of ours that only tests of a package may use.
const TEST_EDGES: &[(&str, &[&str], &str)] = &[
    ("libs/window", &["scenarios", "codec"], "generated logs against the independent reference"),
    ("libs/local", &["scenarios"], "the contract suite of the three logs"),
    ("libs/kafka", &["scenarios"], "the contract suite of the three logs"),
    ("services/evenkeel", &["scenarios"], "generated logs and the independent reference"),
    ("services/ingest", &["local"], "a real log behind the real edge"),
    ("tests/sim", &["scorer", "scoring"], "the scorer's driver over the simulated log"),
    (
        "tests/live",
        &["ingest", "chassis", "telemetry"],
        "ingest with a clock of the test's own, which a process does not take",
    ),
];

/// An outside crate and the only packages that may name it: (crate, directories, why).
const CONFINED: &[(&str, &[&str], &str)] = &[
    ("rdkafka", &["libs/kafka"], "Kafka is met through the seam"),
    ("rdkafka-sys", &["libs/kafka"], "Kafka is met through the seam"),
    ("scylla", &["libs/cql"], "CQL is met through the seam"),
    ("rusqlite", &["libs/local"], "SQLite is met through the seam"),
    ("tract-onnx", &["libs/neural"], "tract gets what was read and measured, never a file"),
    ("ort", &["libs/onnxruntime"], "foreign code has one door"),
    ("tikv-jemallocator", &["services/evenkeel"], "a process has one allocator"),
    ("clap", &["services/evenkeel", "tests/sim"], "command lines belong to binaries"),
    ("parquet", &["services/scorer"], "the one reader of tables"),
    ("testcontainers", &["tests/live"], "real parts belong to live tests"),
];

/// Pure crates: no runtime, no IO, no clock, no random numbers. Each has a clippy.toml of its own (manifests.rs).
pub const PURE: &[&str] = &[
    "libs/codec",
    "libs/fanout",
    "libs/flush",
    "libs/limits",
    "libs/model",
    "libs/neural",
    "libs/onnx",
    "libs/plan",
    "libs/scoring",
    "libs/seam",
    "libs/window",
];

/// What a pure crate may not name, dev-dependencies apart.
const IMPURE: &[&str] = &[
    "tokio",
    "futures",
    "hyper",
    "axum",
    "rand",
    "getrandom",
    "tracing",
    "rdkafka",
    "scylla",
    "rusqlite",
    "tempfile",
];

/// `anyhow` says "somebody will read this", which is true in mains and tests only.
const ANYHOW: &[&str] = &["services/evenkeel", "tests/live", "tests/sim"];

fn allowed<'a>(table: &[(&str, &'a [&'a str], &str)], dir: &str) -> Option<&'a [&'a str]> {
    table.iter().find(|(of, _, _)| *of == dir).map(|(_, to, _)| *to)
}

fn ours(name: &str) -> Option<&str> {
    name.strip_prefix("evenkeel-")
}

#[test]
fn edges_between_our_crates_are_the_listed_ones() {
    let mut findings = Vec::new();
    for Package { dir, normal, dev, .. } in packages() {
        let Some(edges) = allowed(EDGES, &dir) else {
            findings.push(format!("{dir} is not in EDGES (tests/tidy/tests/tidy/edges.rs)"));
            continue;
        };
        let more = allowed(TEST_EDGES, &dir).unwrap_or_default();
        for to in normal.iter().filter_map(|n| ours(n)).filter(|to| !edges.contains(to)) {
            findings.push(format!("{dir} -> {to} is not a listed edge"));
        }
        for to in dev.iter().filter_map(|n| ours(n)).filter(|to| !edges.contains(to) && !more.contains(to)) {
            findings.push(format!("{dir} -> {to} is not a listed edge, nor one for tests"));
        }
    }
    report("dependency edges (ARCHITECTURE.md, \"Direction\")", &findings);
}

#[test]
fn every_listed_package_exists() {
    let dirs: Vec<String> = packages().into_iter().map(|p| p.dir).collect();
    let listed = EDGES.iter().chain(TEST_EDGES).map(|(dir, ..)| *dir).chain(PURE.iter().copied());
    let gone: Vec<String> = listed.filter(|dir| !dirs.iter().any(|d| d == dir)).map(str::to_owned).collect();
    report("packages in the lists of edges.rs that do not exist", &gone);
}

#[test]
fn the_outside_world_is_named_in_one_place_each() {
    let mut findings = Vec::new();
    for package in packages() {
        for name in package.normal.iter().chain(&package.dev) {
            let rule = CONFINED.iter().find(|(confined, ..)| confined == name);
            if let Some((_, dirs, why)) = rule.filter(|(_, dirs, _)| !dirs.contains(&package.dir.as_str())) {
                findings.push(format!("{} names {name}, which only {dirs:?} may: {why}", package.dir));
            }
        }
    }
    report("outside crates confined to one package", &findings);
}

#[test]
fn pure_crates_name_nothing_impure_and_libraries_no_anyhow() {
    let mut findings = Vec::new();
    for package in packages() {
        let dir = package.dir.as_str();
        let pure = PURE.contains(&dir);
        findings.extend(
            package
                .normal
                .iter()
                .filter(|n| pure && IMPURE.contains(&n.as_str()))
                .map(|n| format!("{dir} is pure and names {n}")),
        );
        if package.normal.iter().any(|n| n == "anyhow") && !ANYHOW.contains(&dir) {
            findings.push(format!("{dir} names anyhow: an error enum per operation instead"));
        }
    }
    report("purity", &findings);
}

/// `deploy/ci/targets` names test targets without their package, so names must not be shared between tiers.
#[test]
fn live_tests_have_names_of_their_own() {
    let packages = packages();
    let (live, rest): (Vec<_>, Vec<_>) = packages.iter().partition(|p| p.dir == "tests/live");
    let taken: Vec<&String> = rest.iter().flat_map(|p| &p.tests).collect();
    let shared: Vec<String> =
        live.iter().flat_map(|p| &p.tests).filter(|name| taken.contains(name)).cloned().collect();
    report("integration tests of tests/live that share a name with another package's", &shared);
}
