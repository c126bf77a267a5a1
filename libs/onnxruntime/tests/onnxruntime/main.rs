//! onnxruntime where it is there: `EVENKEEL_ORT_LIBRARY`, else what tests/peers/score/build.sh has installed. Without it
//! the test that needs it says so loudly and passes.
#![allow(clippy::unwrap_used, clippy::disallowed_types, clippy::disallowed_methods, clippy::print_stderr)]

use evenkeel_onnx::{Column, Data, Labels, LoadError};
use evenkeel_onnxruntime::{Foreign, ForeignError, Library, OpenError};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn models() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/models")
}

/// The library that this machine has.
fn library() -> Option<PathBuf> {
    if let Some(given) = std::env::var_os("EVENKEEL_ORT_LIBRARY") {
        return Some(given.into());
    }
    let cache = std::env::var_os("EVENKEEL_CACHE").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/evenkeel")))?;
    let python = std::fs::read_dir(cache.join("peers-score-python/lib")).ok()?;
    let folders = python.filter_map(|entry| Some(entry.ok()?.path().join("site-packages/onnxruntime/capi")));
    let files = folders.filter_map(|folder| std::fs::read_dir(folder).ok()).flatten();
    files.filter_map(|entry| Some(entry.ok()?.path())).find(|path| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("libonnxruntime.so"))
    })
}

enum Cells {
    F32(Vec<f32>),
    F64(Vec<f64>),
    I64(Vec<i64>),
    Text(Vec<String>),
}

fn number(value: &Value) -> f64 {
    match value {
        Value::String(text) => text.parse().unwrap(),
        Value::Bool(truth) => f64::from(u8::from(*truth)),
        other => other.as_f64().unwrap(),
    }
}

/// The columns of a case's inputs, and its rows.
fn columns(document: &Value) -> (Vec<Cells>, usize) {
    let (mut columns, mut rows) = (Vec::new(), 0);
    for input in document["inputs"].as_array().unwrap() {
        let cells = input["rows"].as_array().unwrap();
        rows = cells.len();
        for c in 0..cells[0].as_array().unwrap().len() {
            let numbers = || cells.iter().map(|row| number(&row[c]));
            columns.push(match input["type"].as_str().unwrap() {
                "f32" => Cells::F32(numbers().map(|x| x as f32).collect()),
                "f64" => Cells::F64(numbers().collect()),
                "i64" => Cells::I64(cells.iter().map(|row| row[c].as_i64().unwrap()).collect()),
                _ => Cells::Text(cells.iter().map(|row| row[c].as_str().unwrap().to_owned()).collect()),
            });
        }
    }
    (columns, rows)
}

/// Differences of a case's answers from those that were recorded.
fn differences(name: &str, library: &Arc<Library>) -> Vec<String> {
    let path = |extension: &str| models().join(format!("{name}.{extension}"));
    let document: Value = serde_json::from_str(&std::fs::read_to_string(path("json")).unwrap()).unwrap();
    let model = Foreign::load(&std::fs::read(path("onnx")).unwrap(), library)
        .unwrap_or_else(|e| panic!("{name}: {e}"));
    let (cells, rows) = columns(&document);
    let columns: Vec<Column<'_>> = cells
        .iter()
        .map(|cells| match cells {
            Cells::F32(cells) => Column::F32(cells),
            Cells::F64(cells) => Column::F64(cells),
            Cells::I64(cells) => Column::I64(cells),
            Cells::Text(cells) => Column::Text(cells),
        })
        .collect();
    let mut made = Vec::new();
    model.run(&columns, rows, &mut made).unwrap_or_else(|e| panic!("{name}: {e}"));
    let mut found = Vec::new();
    for (data, output) in made.iter().zip(document["outputs"].as_array().unwrap()) {
        for (r, row) in output["rows"].as_array().unwrap().iter().enumerate() {
            for (c, want) in row.as_array().unwrap().iter().enumerate() {
                let at = c * rows + r;
                let same = match data {
                    Data::Text(texts) => texts.get(at) == want.as_str().unwrap(),
                    data => {
                        let (got, want) = (data.number(at).unwrap(), number(want));
                        (got - want).abs() <= 1e-5 * want.abs().max(1.0)
                            || got == want
                            || (got.is_nan() && want.is_nan())
                    }
                };
                if !same {
                    found.push(format!("{name} {} row {r} column {c}: not {want}", output["name"]));
                }
            }
        }
    }
    found
}

/// One test: a process opens one library.
#[test]
fn the_library_of_this_machine_runs_the_golden_models() {
    let Some(path) = library() else {
        eprintln!(
            "SKIPPED: no onnxruntime here; tests/peers/score/build.sh installs it, or set EVENKEEL_ORT_LIBRARY"
        );
        return;
    };
    let library = Library::open(&path).unwrap();
    assert!(Arc::ptr_eq(&library, &Library::open(&path).unwrap()), "opened once");
    let mut findings = Vec::new();
    for folder in ["cases", "networks"] {
        let mut names: Vec<String> = std::fs::read_dir(models().join(folder))
            .unwrap()
            .filter_map(|file| file.unwrap().file_name().to_str()?.strip_suffix(".onnx").map(str::to_owned))
            .collect();
        names.sort();
        // Rules of single operators: some take a row of zeros for an error.
        for name in names.iter().filter(|name| folder == "networks" || !name.starts_with("rules")) {
            findings.extend(differences(&format!("{folder}/{name}"), &library));
        }
    }
    assert!(
        findings.is_empty(),
        "{} differences\n  {}",
        findings.len(),
        findings[..9.min(findings.len())].join("\n  ")
    );
    classes_and_one_output(&library);
    many_threads(&library);
    let error = Foreign::load(b"no model at all", &library).unwrap_err();
    assert!(matches!(error, ForeignError::Read(LoadError::Malformed(_))), "{error}");
    let mut broken = std::fs::read(models().join("networks/dense.onnx")).unwrap();
    let at = broken.windows(4).position(|w| w == b"Gemm").unwrap();
    broken[at..at + 4].copy_from_slice(b"Hemm");
    let error = Foreign::load(&broken, &library).unwrap_err().to_string();
    assert!(error.starts_with("onnxruntime cannot load it: ") && error.contains("Hemm"), "{error}");
    let other = std::env::temp_dir();
    assert!(matches!(Library::open(&other), Err(OpenError::Other { .. })));
}

fn classes_and_one_output(library: &Arc<Library>) {
    let file = std::fs::read(models().join("cases/mixed_logistic.onnx")).unwrap();
    let model = Foreign::load(&file, library).unwrap();
    assert_eq!(model.signature().outputs()[1].classes, Some(Labels::Ints(vec![0, 1])));
    assert_eq!((model.signature().outputs()[1].columns, model.signature().outputs().len()), (2, 2));
    assert_eq!(model.only(1).signature().outputs().len(), 1);
}

/// Each thread gets a session of its own, and all give the same.
fn many_threads(library: &Arc<Library>) {
    let file = std::fs::read(models().join("networks/dense.onnx")).unwrap();
    let model = Foreign::load(&file, library).unwrap();
    let cells: Vec<Vec<f32>> =
        (0..6).map(|c| (0..40).map(|r| (r * (c + 1) % 7) as f32 / 4.0).collect()).collect();
    let columns: Vec<Column<'_>> = cells.iter().map(|c| Column::F32(c)).collect();
    let run = || {
        let mut made = Vec::new();
        model.run(&columns, 40, &mut made).unwrap();
        made
    };
    let alone = run();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
        threads.into_iter().for_each(|thread| assert_eq!(thread.join().unwrap(), alone));
    });
}

/// In a process of its own, since the other test opens a library that works.
#[test]
fn a_file_that_is_no_library_says_what_would_be() {
    if std::env::var_os("EVENKEEL_NO_LIBRARY_HERE").is_none() {
        let me = std::env::current_exe().unwrap();
        let name = "a_file_that_is_no_library_says_what_would_be";
        let child = std::process::Command::new(me)
            .args([name, "--exact"])
            .env("EVENKEEL_NO_LIBRARY_HERE", "1")
            .status();
        assert!(child.unwrap().success());
        return;
    }
    let missing = Library::open(Path::new("/nowhere/libonnxruntime.so")).unwrap_err();
    assert!(matches!(missing, OpenError::Missing { .. }));
    assert!(
        missing.to_string().contains("give the shared library of onnxruntime 1.17 or newer"),
        "{missing}"
    );
    let text = Library::open(&models().join("README.md")).unwrap_err();
    assert!(
        matches!(text, OpenError::NotIt { .. })
            && text.to_string().contains("README.md: it is not onnxruntime"),
        "{text}"
    );
    let foreign = ["/lib/x86_64-linux-gnu/libm.so.6", "/lib/aarch64-linux-gnu/libm.so.6"];
    if let Some(path) = foreign.iter().map(Path::new).find(|path| path.exists()) {
        let error = Library::open(path).unwrap_err();
        assert!(
            matches!(error, OpenError::NotIt { .. }) && error.to_string().contains("OrtGetApiBase"),
            "{error}"
        );
    }
}
