//! What cannot be scored or written: a clear error each, and no file that looks complete.

use crate::case::{Case, models, names};
use evenkeel_scorer::{Mode, RunError, RuntimeName};

/// The error of a run that must not leave a file, without the directory's name.
fn refused(case: &Case) -> String {
    let error = case.run().unwrap_err();
    assert_eq!(case.left(), Vec::<String>::new());
    let dir = case.path("");
    error.to_string().replace(dir.to_str().unwrap(), "DIR/")
}

#[test]
fn a_bad_model_says_what_is_wrong_with_it() {
    let mut case = Case::new();
    case.config.model = case.path("none.onnx");
    assert!(refused(&case).starts_with("DIR/none.onnx: cannot be read: "));
    std::fs::write(&case.config.model, b"no model at all").unwrap();
    assert!(refused(&case).starts_with("DIR/none.onnx: not an ONNX model: "));
    let whole = std::fs::read(models().join("sample/bowls.onnx")).unwrap();
    std::fs::write(&case.config.model, &whole[..whole.len() / 2]).unwrap();
    assert!(refused(&case).contains("fetch the file again if it was cut off"));
    case.config.model = models().join("cases/logistic_three.onnx");
    assert!(refused(&case).contains("the model tells low, mid, top apart"));
}

/// Renames an operator in place: the new name has the length of the old one.
fn renamed(name: &str, from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut bytes = std::fs::read(models().join(name)).unwrap();
    let at = bytes.windows(from.len()).position(|w| w == from).unwrap();
    bytes[at..at + to.len()].copy_from_slice(to);
    bytes
}

#[test]
fn an_operator_that_nobody_has_is_named_with_what_each_runtime_says() {
    let mut case = Case::new();
    case.config.model = case.path("model.onnx");
    std::fs::write(
        &case.config.model,
        renamed("networks/convolution.onnx", b"\x22\x04Conv", b"\x22\x04Cony"),
    )
    .unwrap();
    let error = refused(&case);
    assert!(error.starts_with("DIR/model.onnx: input \"x\": its shape must be [rows, columns]"), "{error}");
    assert!(
        error.contains("Nor can it be run as a neural network: operator Cony of node making \"v0_0\""),
        "{error}"
    );
    std::fs::write(&case.config.model, renamed("cases/pca.onnx", b"\x22\x06MatMul", b"\x22\x06Einsum"))
        .unwrap();
    let error = refused(&case);
    assert!(error.starts_with("DIR/model.onnx: operator Einsum of node "), "{error}");
    assert!(error.contains("Nor can it be run as a neural network: operator Einsum of node "), "{error}");
    case.config.runtime = RuntimeName::Own;
    assert!(!refused(&case).contains("Nor can it be run"));
    case.config.runtime = RuntimeName::Tract;
    assert!(refused(&case).contains("of neural networks these are: Abs, Add, "));
}

#[test]
fn rows_that_do_not_fit_the_model_are_refused_before_anything_is_written() {
    let mut case = Case::new();
    case.rows("visits,room,weight_max\n1,hall,2\n");
    let error = refused(&case);
    assert_eq!(
        error,
        "DIR/rows.csv: no column \"weight_mean\", which the model takes; the columns are: visits, room, weight_max"
    );
    case.rows("visits,room,weight_max,weight_mean\n1,hall,2,3\nsome,hall,2,3\n");
    assert_eq!(refused(&case), "DIR/rows.csv: column \"visits\" must hold numbers; row 2 holds \"some\"");
    case.rows("");
    assert!(refused(&case).starts_with("DIR/rows.csv: holds no rows"));
    case.rows("visits,room,weight_max,weight_mean\n");
    assert!(refused(&case).starts_with("DIR/rows.csv: holds no rows"));
    case.rows("visits,room,weight_max,weight_mean\n1,hall,2\n");
    assert!(refused(&case).contains("line: 2"));
    case.config.input = case.path("none.csv");
    assert!(refused(&case).starts_with("DIR/none.csv: cannot be read: "));
}

#[test]
fn an_output_that_cannot_be_written_is_named() {
    let mut case = Case::new();
    std::fs::write(case.path("file"), b"").unwrap();
    case.config.out = case.path("file/out");
    let error = case.run().unwrap_err();
    assert!(matches!(error, RunError::Output(_)) && error.to_string().contains("--out DIR"), "{error}");
    // A directory in the file's place: it is not removed, and nothing half is left.
    let mut case = Case::new();
    case.config.mode = Mode::Batch;
    std::fs::create_dir_all(case.config.out.join("batch_inference.csv/kept")).unwrap();
    assert!(matches!(case.run().unwrap_err(), RunError::Output(_)));
    assert_eq!(names(&case.config.out.join("batch_inference.csv")), ["kept"]);
}

#[test]
fn a_row_that_cannot_be_scored_is_counted_and_shown_in_every_mode() {
    let mut case = Case::new();
    case.config.model = models().join("cases/linear_regression.onnx");
    case.rows("a,b,c,d,e,f\n1,2,3,4,5,6\n1,NA,3,4,5,6\n1,2,3,4,5,7\n");
    let summary = case.run().unwrap();
    assert_eq!((summary.rows, summary.errors()), (3, 3));
    for (mode, counted) in &summary.modes {
        assert_eq!((counted.scored, counted.errors), (2, 1), "{mode:?}");
        assert!(counted.shown[0].starts_with("row 2: the score is NaN"), "{:?}", counted.shown);
    }
    let batch = case.text("batch_inference.csv");
    assert!(batch.lines().nth(2).unwrap().ends_with("1,NA,3,4,5,6,,"), "{batch}");
    assert_eq!(case.lines("stream_inference.jsonl").len(), 2);
    let report = summary.report.unwrap();
    assert_eq!((report.produced, report.consumed, report.dropped, report.errors), (3, 2, 0, 1));
}
