//! Files that are no models, or hostile ones: an error each time, never a panic.

use crate::case::{Case, Cells};
use evenkeel_onnx::{Column, Data, Dtype, LoadError, Model, RunError, Workspace};
use proptest::prelude::*;

/// Runs whatever was loaded over rows of its own types.
fn run_somehow(model: &Model, rows: usize) {
    let mut cells = Vec::new();
    for spec in model.signature().inputs() {
        for c in 0..spec.columns.min(10_000) {
            let number = |r: usize| (r as f64 - 2.0) * (c as f64 + 0.5);
            cells.push(match spec.dtype {
                Dtype::F32 => Cells::F32((0..rows).map(|r| number(r) as f32).collect()),
                Dtype::F64 => Cells::F64((0..rows).map(number).collect()),
                Dtype::I64 => Cells::I64((0..rows).map(|r| r as i64 - 1).collect()),
                Dtype::Bool => return,
                Dtype::Text => Cells::Text((0..rows).map(|r| format!("t{r}")).collect()),
            });
        }
    }
    let columns: Vec<Column<'_>> = cells.iter().map(|c| c.column(0..rows)).collect();
    let (mut work, mut out) = (Workspace::default(), Vec::new());
    if model.run(&columns, rows, &mut work, &mut out).is_ok() {
        for (data, spec) in out.iter().zip(model.signature().outputs()) {
            assert_eq!(data.len(), rows * spec.columns, "{spec:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
        if let Ok(model) = Model::load(&bytes) {
            run_somehow(&model, 3);
        }
    }

    #[test]
    fn a_real_model_with_broken_bytes_never_panics(
        which in 0..4_usize,
        places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let name = ["mixed_logistic", "lightgbm_categories", "calibrated_sigmoid", "rules_preparation"][which];
        let mut bytes = Case::read(name).model;
        for (index, byte) in places {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(model) = Model::load(&bytes) {
            run_somehow(&model, 3);
        }
    }

    #[test]
    fn a_model_cut_off_anywhere_never_panics(end in any::<prop::sample::Index>()) {
        let bytes = Case::read("naive_bayes").model;
        if let Ok(model) = Model::load(&bytes[..end.index(bytes.len())]) {
            run_somehow(&model, 3);
        }
    }
}

#[test]
fn what_is_no_model_says_so() {
    let refused = |bytes: &[u8]| Model::load(bytes).unwrap_err().to_string();
    assert!(refused(b"").starts_with("not an ONNX model: it holds no graph"));
    assert!(
        refused(b"PK\x03\x04 a zip").starts_with("not an ONNX model"),
        "{}",
        refused(b"PK\x03\x04 a zip")
    );
    assert!(refused(b"stream_id,ts\n").starts_with("not an ONNX model"));
}

/// Renames an operator in place: the new name has the length of the old one.
fn renamed(name: &str, from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut bytes = Case::read(name).model;
    let at = bytes.windows(from.len()).position(|w| w == from).unwrap();
    bytes[at..at + to.len()].copy_from_slice(to);
    bytes
}

#[test]
fn an_unsupported_operator_is_named_with_its_node_and_what_there_is() {
    let error = Model::load(&renamed("pca", b"\x22\x06MatMul", b"\x22\x06Einsum")).unwrap_err();
    let LoadError::Unsupported { op, node, supported } = &error else { panic!("{error}") };
    assert_eq!(op, "Einsum");
    assert!(!node.is_empty());
    assert!(supported.contains("MatMul") && supported.contains("ml.TreeEnsembleClassifier"), "{supported}");
    assert!(error.to_string().starts_with("operator Einsum of node "), "{error}");
}

#[test]
fn an_operator_used_as_it_cannot_be_says_why() {
    let error = Model::load(&renamed("mixed_logistic", b"LOGISTIC", b"LOGISTIX")).unwrap_err().to_string();
    assert!(error.contains("(ml.LinearClassifier): post_transform \"LOGISTIX\" is not known"), "{error}");
    let error = Model::load(&renamed("lightgbm", b"BRANCH_LEQ", b"BRANCH_LOQ")).unwrap_err().to_string();
    assert!(error.contains("node mode \"BRANCH_LOQ\" is not known"), "{error}");
}

/// A protocol-buffers field of bytes.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut n = content.len();
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
    out.extend_from_slice(content);
    out
}

#[test]
fn a_graph_that_doubles_itself_is_refused() {
    // x is [rows, 1]; each of 40 nodes joins its predecessor to itself: 2^40 columns.
    let node = |from: &str, to: &str| {
        let mut node = field(1, from.as_bytes());
        node.extend(field(1, from.as_bytes()));
        node.extend(field(2, to.as_bytes()));
        node.extend(field(4, b"Concat"));
        node.extend(field(5, &[field(1, b"axis"), vec![0x18, 1, 0xa0, 1, 2]].concat()));
        field(1, &node)
    };
    let dims = [field(1, b""), field(1, &[0x08, 1])].concat();
    let tensor = [vec![0x08, 1], field(2, &dims)].concat();
    let input = [field(1, b"x0"), field(2, &field(1, &tensor))].concat();
    let mut graph = field(11, &input);
    (0..40).for_each(|i| graph.extend(node(&format!("x{i}"), &format!("x{}", i + 1))));
    let error = Model::load(&field(7, &graph)).unwrap_err();
    assert!(matches!(error, LoadError::TooMany { .. }), "{error}");
}

#[test]
fn a_tree_that_leads_back_is_refused() {
    // The root's true side of rules_regressor's stumps: node 1 becomes node 0.
    let bytes = Case::read("xgboost_regression").model;
    let name = b"nodes_truenodeids";
    let at = bytes.windows(name.len()).position(|w| w == name).unwrap() + name.len();
    let mut broken = bytes.clone();
    let first = (at..at + 12).find(|&i| broken[i] == 1 && broken[i - 1] != 0x0a).unwrap();
    broken[first] = 0;
    let error = Model::load(&broken).unwrap_err().to_string();
    assert!(error.contains("tree 0") || error.contains("is not there"), "{error}");
}

#[test]
fn rows_that_do_not_fit_are_refused_before_anything_runs() {
    let case = Case::read("mixed_logistic");
    let model = Model::load(&case.model).unwrap();
    let (mut work, mut out) = (Workspace::default(), Vec::new());
    let columns = case.columns(0..5);
    let mut run = |columns: &[Column<'_>], rows| model.run(columns, rows, &mut work, &mut out);
    assert_eq!(run(&columns[1..], 5), Err(RunError::Columns { got: 3, want: 4 }));
    let swapped: Vec<Column<'_>> = columns.iter().rev().copied().collect();
    let error = run(&swapped, 5).unwrap_err().to_string();
    assert_eq!(error, "column 0 of input \"weight_mean\" is string, the model takes float");
    assert!(matches!(run(&columns, 6), Err(RunError::Rows { got: 5, want: 6, .. })));
    assert_eq!(run(&case.columns(0..0), 0), Ok(()));
    assert!(out.iter().all(Data::is_empty));
}

#[test]
fn a_row_that_an_operator_refuses_is_named() {
    let case = Case::read("binarizer");
    let model = Model::load(&case.model).unwrap();
    let mut cells = vec![vec![0.5_f32; 600]; 6];
    cells[2][431] = f32::NAN;
    let columns: Vec<Column<'_>> = cells.iter().map(|c| Column::F32(c)).collect();
    let error = model.run(&columns, 600, &mut Workspace::default(), &mut Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "row 431: NaN cannot be binarized; impute it first");
}
